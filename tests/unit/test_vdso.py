# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bytes of the 32-bit vdso, and of code that is about to return, prove."""

from __future__ import annotations

import pytest

from livepatch.elf.cfi import AT_OFFSET, REGISTER, UNDEFINED, Row, Rule
from livepatch.tracee import leaf
from livepatch.tracee.vdso import VdsoFunction, VdsoTable


class OneRow:
    """A table that knows 0x7000 to 0x8000."""

    ROW = Row(0x7000, 0x8000, Rule(REGISTER, 4, 4), {}, 8, False)

    def row(self, pc: int) -> Row | None:
        return self.ROW if 0x7000 <= pc < 0x8000 else None


# __vdso_time of a 32-bit vdso: get its own address, then the frame, then the body, and the way back.
VDSO_CODE = (
    bytes.fromhex("e8c6110000 0527fdffff 55 89e5 57 56 53 83ec3c 8b5508")
    + bytes(40)
    + bytes.fromhex("8b7508 83c43c 5b 5e 5f 5d 31d2 31c9 c3")
    + bytes.fromhex("8b45ec 8d8000000000 8b9010090000 8b4510 9090909090909090 ebdd")
)


def vdso_row(offset: int) -> Row | None:
    table = VdsoTable(OneRow(), [VdsoFunction(0x9000, VDSO_CODE)])
    return table.row(0x9000 + offset)


def test_the_frame_pointer_serves_in_the_body_of_a_vdso_function() -> None:
    for offset in (13, 20, 40, 70, 71):
        row = vdso_row(offset)
        assert row is not None and row.start == 0x9000 + offset
        assert row.cfa == Rule(REGISTER, 8, 5)
        assert (row.rules[8], row.rules[5]) == (Rule(AT_OFFSET, -4), Rule(AT_OFFSET, -8))
        assert row.rules[3].kind == row.rules[6].kind == row.rules[7].kind == UNDEFINED


def test_before_the_frame_pointer_is_set_up_the_stack_pointer_serves() -> None:
    for offset in (0, 5, 10):
        assert vdso_row(offset).cfa == Rule(REGISTER, 4, 4)
        assert 5 not in vdso_row(offset).rules
    assert vdso_row(11).cfa == Rule(REGISTER, 8, 4)
    assert vdso_row(11).rules[5] == Rule(AT_OFFSET, -8)


def test_in_an_epilogue_the_frame_pointer_is_not_trusted() -> None:
    pop = VDSO_CODE.index(b"\x5d")
    for offset in (pop + 1, pop + 3, pop + 5):
        assert vdso_row(offset) is None
        assert leaf.about_to_return(VDSO_CODE[offset : offset + 8])
    assert vdso_row(pop + 6) is not None  # behind the ret the body goes on
    assert vdso_row(-1) is None and vdso_row(len(VDSO_CODE)) is None


@pytest.mark.parametrize(
    ("code", "returns"),
    (
        ("c3", True),
        ("8b1c24 c3", True),  # mov (%esp),%ebx
        ("8b2c24 c3", True),
        ("8b2424 c3", False),  # mov (%esp),%esp
        ("8b1c25 c3", False),  # another base
        ("31c0 31d2 c3", True),
        ("31e4 c3", False),  # xor %esp,%esp
        ("3110 c3", False),  # memory
        ("58 c3", False),
        ("90 c3", False),  # not known
        ("31c0", False),
        ("31", False),
        ("8b", False),
        ("", False),
    ),
)
def test_code_that_only_returns_is_recognised(code: str, returns: bool) -> None:
    assert leaf.about_to_return(bytes.fromhex(code)) == returns


def test_the_vdsos_own_rows_come_first() -> None:
    assert VdsoTable(OneRow(), [VdsoFunction(0x7000, VDSO_CODE)]).row(0x7000 + 20) is OneRow.ROW


def test_a_function_without_the_prologue_has_no_rule() -> None:
    assert VdsoTable(OneRow(), [VdsoFunction(0x9000, bytes(100))]).row(0x9050) is None
