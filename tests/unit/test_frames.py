# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unwind rules out of bytes that are written here; the system's libraries are test_frames_oracle.py's."""

from __future__ import annotations

import random
import struct
import time

import pytest

from livepatch.elf import Malformed
from livepatch.elf.cfi import (
    AT_EXPRESSION,
    AT_OFFSET,
    IS_EXPRESSION,
    IS_OFFSET,
    REGISTER,
    SAME_VALUE,
    UNDEFINED,
    Rule,
    rows,
)
from livepatch.elf.cursor import Cursor
from livepatch.elf.frames import FrameTable

from .eh_frame_bytes import INITIAL, cie, fde, header, record, section, sleb, uleb

ADDRESS, START = 0x1000, 0x4000
RETURN = {16: Rule(AT_OFFSET, -8)}


def table(*programs: bytes, **of_cie: object) -> FrameTable:
    return FrameTable.from_section(section(*programs, **of_cie), ADDRESS, 8)


def rules_after(program: bytes, **of_cie: object) -> tuple[Rule, dict[int, Rule]]:
    """(CFA, rules) at the end of a function with this program."""
    row = table(program, **of_cie).row(START + 0xFF)
    assert row is not None
    return row.cfa, row.rules


def test_a_function_has_a_row_for_each_stretch_of_its_code() -> None:
    # push %rbp; mov %rsp,%rbp; ...; pop %rbp; ret
    found = table(b"\x41\x0e\x10\x86\x02" b"\x43\x0d\x06" b"\x02\x20\x0c\x07\x08\xc6")
    made = rows(next(iter(found)).program)
    assert [(row.start - START, row.end - START, row.cfa.register, row.cfa.offset) for row in made] == [
        (0, 1, 7, 8),
        (1, 4, 7, 16),
        (4, 0x24, 6, 16),
        (0x24, 0x100, 7, 8),
    ]
    assert found.row(START).rules == RETURN
    assert found.row(START + 1).rules == found.row(START + 0x23).rules == {**RETURN, 6: Rule(AT_OFFSET, -16)}
    assert found.row(START + 0x24).rules == RETURN
    assert found.row(START - 1) is None and found.row(START + 0x100) is None and found.find(0) is None


@pytest.mark.parametrize(
    ("program", "number", "rule"),
    (
        (b"\x83" + uleb(3), 3, Rule(AT_OFFSET, -24)),  # DW_CFA_offset
        (b"\x05\x03" + uleb(300), 3, Rule(AT_OFFSET, -2400)),  # DW_CFA_offset_extended
        (b"\x11\x03" + sleb(-2), 3, Rule(AT_OFFSET, 16)),  # DW_CFA_offset_extended_sf
        (b"\x2f\x03\x02", 3, Rule(AT_OFFSET, 16)),  # DW_CFA_GNU_negative_offset_extended
        (b"\x14\x03\x02", 3, Rule(IS_OFFSET, -16)),  # DW_CFA_val_offset
        (b"\x15\x03" + sleb(-2), 3, Rule(IS_OFFSET, 16)),  # DW_CFA_val_offset_sf
        (b"\x09\x03\x0c", 3, Rule(REGISTER, register=12)),  # DW_CFA_register
        (b"\x10\x03\x02\x77\x08", 3, Rule(AT_EXPRESSION, expression=b"\x77\x08")),  # DW_CFA_expression
        (b"\x16\x03\x02\x77\x08", 3, Rule(IS_EXPRESSION, expression=b"\x77\x08")),  # DW_CFA_val_expression
        (b"\x07\x03", 3, Rule(UNDEFINED)),  # DW_CFA_undefined
        (b"\x83\x03\x08\x03", 3, Rule(SAME_VALUE)),  # DW_CFA_same_value
        (b"\x07\x10", 16, Rule(UNDEFINED)),
        (b"\x07\x10\xd0", 16, RETURN[16]),  # DW_CFA_restore: back to the CIE's
        (b"\x07\x10\x06\x10", 16, RETURN[16]),  # DW_CFA_restore_extended
        (b"\x83\x03\xc3", 3, None),  # nothing in the CIE
        (b"\x83\x03\x06\x03", 3, None),
        (b"\x2e\x10\x00\x83\x03", 3, Rule(AT_OFFSET, -24)),  # DW_CFA_GNU_args_size and DW_CFA_nop say nothing
        (b"\x05\x43\x02", 67, None),  # %xmm16: read and forgotten
    ),
)
def test_an_instruction_sets_a_rule(program: bytes, number: int, rule: Rule | None) -> None:
    assert rules_after(program)[1].get(number) == rule


@pytest.mark.parametrize(
    ("program", "cfa"),
    (
        (b"\x0c\x06\x20", Rule(REGISTER, 32, 6)),  # DW_CFA_def_cfa
        (b"\x12\x06" + sleb(-4), Rule(REGISTER, 32, 6)),  # DW_CFA_def_cfa_sf: factored
        (b"\x0d\x06", Rule(REGISTER, 8, 6)),  # DW_CFA_def_cfa_register
        (b"\x0e\x30", Rule(REGISTER, 48, 7)),  # DW_CFA_def_cfa_offset
        (b"\x13" + sleb(-6), Rule(REGISTER, 48, 7)),  # DW_CFA_def_cfa_offset_sf
        (b"\x0f\x02\x77\x10", Rule(IS_EXPRESSION, expression=b"\x77\x10")),  # DW_CFA_def_cfa_expression
        (b"\x0a\x0e\x30\x0b", Rule(REGISTER, 8, 7)),  # remember and restore bring the CFA back, too
        (b"\x0a\x0e\x30\x0a\x0e\x40\x0b", Rule(REGISTER, 48, 7)),
    ),
)
def test_an_instruction_defines_the_cfa(program: bytes, cfa: Rule) -> None:
    assert rules_after(program)[0] == cfa


@pytest.mark.parametrize("advance", (b"\x50", b"\x02\x10", b"\x03\x10\0", b"\x04\x10\0\0\0"))
def test_advances_of_all_widths_count_in_code_alignments(advance: bytes) -> None:
    found = table(advance + b"\x0e\x10", code=4)
    assert (found.row(START + 63).cfa.offset, found.row(START + 64).cfa.offset) == (8, 16)


def test_set_loc_goes_to_an_address() -> None:
    # The operand stands at: CIE, the FDE's fields, the instruction
    operand = ADDRESS + len(cie()) + 17 + 1
    found = table(b"\x01" + struct.pack("<i", START + 0x20 - operand) + b"\x0e\x10")
    assert (found.row(START + 0x1F).cfa.offset, found.row(START + 0x20).cfa.offset) == (8, 16)


@pytest.mark.parametrize("version", (1, 3, 4))
def test_versions_differ_in_the_cie_only(version: int) -> None:
    assert rules_after(b"", version=version) == (Rule(REGISTER, 8, 7), RETURN)


def test_a_personality_and_its_data_are_kept() -> None:
    first = cie(augmentation=b"zPLR", data=b"\x9b" + struct.pack("<i", 0x100) + b"\x1b\x1b")
    data = first
    for lsda in (0x40, 0):
        place = ADDRESS + len(data)
        data += fde(place, START + len(data), 4, cie_at=ADDRESS, data=struct.pack("<i", lsda))
    throwing, plain = FrameTable.from_section(data, ADDRESS, 8)
    personality = ADDRESS + 19 + 0x100
    assert throwing.cie.personality == plain.cie.personality == personality
    assert throwing.lsda == ADDRESS + len(first) + 17 + 0x40
    assert plain.lsda is None
    assert throwing.takes_part_in_exceptions and plain.takes_part_in_exceptions
    assert not next(iter(table(b""))).takes_part_in_exceptions


def test_signal_frames_are_marked() -> None:
    assert table(b"", augmentation=b"zRS").row(START).signal_frame
    assert not table(b"").row(START).signal_frame


def test_without_augmentation_pointers_are_absolute() -> None:
    body = struct.pack("<IQQ", len(cie(augmentation=b"")) + 4, START, 0x10) + b"\x0e\x20"
    found = FrameTable.from_section(cie(augmentation=b"") + record(body), ADDRESS, 8)
    assert found.row(START).cfa.offset == 32


def test_a_terminator_in_the_middle_is_passed_over() -> None:
    """Linkers leave the terminators of their inputs."""
    one = section(b"")
    two = cie() + fde(ADDRESS + len(one) + 4 + len(cie()), 0x9000, 0x10, b"", ADDRESS + len(one) + 4)
    found = FrameTable.from_section(one + bytes(4) + two + bytes(4), ADDRESS, 8)
    assert [each.start for each in found] == [START, 0x9000]


def headed(count: int = 3, encoding: int = 0x3B) -> tuple[bytes, int]:
    """(.eh_frame with its header behind it, the header's address)."""
    programs = [b"\x0e" + uleb(16 * (index + 1)) for index in range(count)]
    data = section(*programs) + bytes(4)
    places, position = [], len(cie())
    while position < len(data) - 4:
        places.append((START + 0x100 * len(places), ADDRESS + position))
        position += 4 + int.from_bytes(data[position : position + 4], "little")
    at = ADDRESS + len(data)
    made = bytearray(header(ADDRESS, at, places))
    made[3] = encoding
    return data + bytes(made), at


@pytest.mark.parametrize("encoding", (0x3B, 0xFF, 0x03))
def test_the_header_leads_to_the_same_rows(encoding: int) -> None:
    """Where its table is of a kind that we do not know, the section is read from its start."""
    data, at = headed(encoding=encoding)
    found = FrameTable.from_header(data, ADDRESS, at, 8)
    assert [found.row(START + 0x100 * index + 5).cfa.offset for index in range(3)] == [16, 32, 48]
    assert found.row(START + 0x300) is None
    assert len(found) == 3


def test_a_table_that_says_otherwise_than_the_section_is_malformed() -> None:
    data, at = headed()
    data = bytearray(data)
    data[-8] ^= 1  # the last start
    with pytest.raises(Malformed, match="the search table"):
        FrameTable.from_header(data, ADDRESS, at, 8).row(START + 0x280)


@pytest.mark.parametrize(
    "broken",
    (
        section(b"\x3f"),  # no such instruction
        section(b"\x0b"),  # nothing remembered
        section(b"\x0a" * 100),
        section(b"\x04\xff\xff\xff\x7f"),  # beyond the function
        section(b"\x86" + b"\x80" * 40),  # a number without an end
        section(b"\x0f\x7f"),  # an expression longer than the record
        section(b"\x41", program=b""),  # no CFA
        section(b"", program=b"\x41" + INITIAL),  # a CIE that advances
        section(b"\x0f\x01\x30\x0e\x08"),  # an offset for a CFA that has none
        section(b"\0" * (1 << 17)),
    ),
)
def test_instructions_that_make_no_sense_are_malformed(broken: bytes) -> None:
    with pytest.raises(Malformed):
        FrameTable.from_section(broken, ADDRESS, 8).row(START)


@pytest.mark.parametrize(
    "broken",
    (
        section(b"", version=2),
        section(b"", augmentation=b"eh"),
        section(b"", augmentation=b"zQ"),
        section(b"", augmentation=b"zR", data=b""),
        section(b"", augmentation=b"zR", data=b"\x3b"),  # relative to what?
        section(b"", augmentation=b"zR", data=b"\x0f"),
        section(b"", column=77),
        section(b"")[:-1],
        struct.pack("<I", 0x7FFFFFFF) + bytes(16),
        struct.pack("<IQ", 0xFFFFFFFF, 1 << 60) + bytes(16),
        record(struct.pack("<I", 0x40)),  # its CIE would be in front of everything
        cie() + record(struct.pack("<I", 4)),  # itself
    ),
)
def test_records_that_make_no_sense_are_malformed(broken: bytes) -> None:
    with pytest.raises(Malformed):
        FrameTable.from_section(broken, ADDRESS, 8)


@pytest.mark.parametrize("at", (ADDRESS - 1, ADDRESS + 5, 1 << 63))
def test_a_header_that_is_not_there_is_malformed(at: int) -> None:
    with pytest.raises(Malformed):
        FrameTable.from_header(section(b""), ADDRESS, at, 8)


def test_a_header_that_counts_too_many_is_malformed() -> None:
    data, at = headed()
    data = bytearray(data)
    struct.pack_into("<I", data, at - ADDRESS + 8, 0x20000000)
    with pytest.raises(Malformed):
        FrameTable.from_header(data, ADDRESS, at, 8)


@pytest.mark.parametrize("seed", range(120))
def test_mutated_bytes_are_malformed_or_read_in_time(seed: int) -> None:
    """Nothing else is raised, and it ends."""
    chance = random.Random(seed)
    data, at = headed(8)
    data = bytearray(data)
    for _ in range(chance.randint(1, 12)):
        data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    began = time.process_time()
    for read in (
        lambda: FrameTable.from_header(data, ADDRESS, at, chance.choice((4, 8))),
        lambda: FrameTable.from_section(data, ADDRESS, chance.choice((4, 8))),
    ):
        try:
            found = read()
        except Malformed:
            continue
        for pc in range(START, START + 0x900, 0x77):
            try:
                row = found.row(pc)
                assert row is None or row.start <= pc < row.end
            except Malformed:
                pass
    assert time.process_time() - began < 2


def test_a_cursor_ends_where_it_must() -> None:
    cursor = Cursor(b"\x01\x02\x03ab\0", 0, 6)
    assert (cursor.unsigned(2), cursor.signed(1), cursor.string(), cursor.left) == (0x201, 3, b"ab", 0)
    for read in (lambda: cursor.unsigned(1), cursor.uleb128, cursor.string, lambda: cursor.skip(-1)):
        with pytest.raises(Malformed):
            read()
    with pytest.raises(Malformed):
        Cursor(b"", 0, 1)
    for value in (0, 1, 63, 64, -1, -64, -65, 1 << 40, -(1 << 62)):
        assert Cursor(sleb(value), 0, len(sleb(value))).sleb128() == value
        assert Cursor(uleb(abs(value)), 0, len(uleb(abs(value)))).uleb128() == abs(value)
