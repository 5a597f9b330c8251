# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""DWARF expressions, one operation after the other."""

from __future__ import annotations

import random
import time

import pytest

from livepatch.elf import Malformed
from livepatch.elf.expression import Unavailable, evaluate

from .eh_frame_bytes import sleb, uleb

REGISTERS = [100 + number for number in range(16)] + [None]
ALL_ONES = (1 << 64) - 1
LIT = 0x30


def read(address: int, size: int) -> bytes:
    """Memory where each word holds its address plus 1."""
    return (address + 1).to_bytes(8, "little")[:size]


def lits(*numbers: int) -> bytes:
    return bytes(LIT + number for number in numbers)


@pytest.mark.parametrize(
    ("expression", "value"),
    (
        (lits(31), 31),
        (b"\x03" + (0x1122334455667788).to_bytes(8, "little"), 0x1122334455667788),  # addr
        (b"\x08\xff", 255),  # const1u
        (b"\x09\xff", ALL_ONES),  # const1s
        (b"\x0a\xff\xff", 65535),
        (b"\x0b\xfe\xff", ALL_ONES - 1),
        (b"\x0c\xff\xff\xff\xff", 0xFFFFFFFF),
        (b"\x0d\xff\xff\xff\xff", ALL_ONES),
        (b"\x0e" + b"\xff" * 8, ALL_ONES),
        (b"\x0f" + b"\xff" * 8, ALL_ONES),
        (b"\x10" + uleb(1 << 40), 1 << 40),
        (b"\x11" + sleb(-3), ALL_ONES - 2),
        (b"\x77" + sleb(-8), 107 - 8),  # breg7
        (b"\x92\x07" + sleb(8), 107 + 8),  # bregx
        (lits(9) + b"\x06", 10),  # deref
        (b"\x0a\xff\x01\x94\x01", 0),  # deref_size 1: the low byte of 0x200
        (lits(5) + b"\x12\x22", 10),  # dup plus
        (lits(5, 6) + b"\x13", 5),  # drop
        (lits(5, 6) + b"\x14", 5),  # over
        (lits(5, 6, 7) + b"\x15\x02", 5),  # pick
        (lits(5, 6) + b"\x16\x1c", 1),  # swap minus: 6 - 5
        (lits(1, 2, 3) + b"\x17", 2),  # rot: 3 1 2
        (lits(1, 2, 3) + b"\x17\x13", 1),
        (lits(1, 2, 3) + b"\x17\x13\x13", 3),
        (lits(5) + b"\x1f\x19", 5),  # neg abs
        (lits(12, 10) + b"\x1a", 8),
        (lits(7) + b"\x1f" + lits(2) + b"\x1b", ALL_ONES - 2),  # -7 / 2 = -3
        (lits(3, 5) + b"\x1c", ALL_ONES - 1),
        (lits(17, 5) + b"\x1d", 2),
        (lits(17, 5) + b"\x1e", 85),
        (lits(0) + b"\x20", ALL_ONES),
        (lits(12, 10) + b"\x21", 14),
        (lits(1) + b"\x23" + uleb(300), 301),
        (lits(1, 4) + b"\x24", 16),
        (lits(1) + b"\x08\x80\x24", 0),  # shifted by 128: nothing is left
        (lits(16, 4) + b"\x25", 1),
        (lits(16) + b"\x1f" + lits(4) + b"\x26", ALL_ONES),
        (lits(16) + b"\x1f\x08\xff\x26", ALL_ONES),
        (lits(12, 10) + b"\x27", 6),
        (lits(1, 1) + b"\x29", 1),
        (lits(1) + b"\x1f" + lits(1) + b"\x2a", 0),  # -1 >= 1: comparisons are signed
        (lits(2, 1) + b"\x2b", 1),
        (lits(2, 1) + b"\x2c", 0),
        (lits(1) + b"\x1f" + lits(1) + b"\x2d", 1),
        (lits(2, 1) + b"\x2e", 1),
        (lits(1) + b"\x2f\x01\0" + lits(2, 3), 3),  # skip over one byte
        (lits(7, 1) + b"\x28\x01\0" + lits(2), 7),  # bra
        (lits(7, 0) + b"\x28\x01\0" + lits(2), 2),
        (lits(4) + b"\x96", 4),  # nop
        # An i386-style PLT entry's CFA on x86_64: rsp + 8 + ((rip & 15) >= 11) * 8, here with %r15 for %rip
        (b"\x77\x08\x7f\x00" + lits(15) + b"\x1a" + lits(11) + b"\x2a" + lits(3) + b"\x24\x22", 107 + 8),
    ),
)
def test_an_operation_does_what_dwarf_says(expression: bytes, value: int) -> None:
    assert evaluate(expression, REGISTERS, read, 8) == value


def test_arithmetic_wraps_at_a_word() -> None:
    assert evaluate(b"\x0c\xff\xff\xff\xff\x31\x22", REGISTERS, read, 4) == 0
    assert evaluate(b"\x0c\xff\xff\xff\xff\x31\x22", REGISTERS, read, 8) == 1 << 32
    assert evaluate(b"\x09\xff", REGISTERS, read, 4) == 0xFFFFFFFF


def test_the_stack_begins_with_what_is_given() -> None:
    assert evaluate(b"\x23\x08", REGISTERS, read, 8, (0x1000,)) == 0x1008


def test_a_register_that_nobody_knows_is_unavailable() -> None:
    for expression in (b"\x80\0", b"\x8f\0", b"\x92\x10\0", b"\x92\x80\x01\0"):
        with pytest.raises(Unavailable):
            evaluate(expression, REGISTERS, read, 8)


@pytest.mark.parametrize(
    "expression",
    (
        b"",
        b"\x06",
        b"\x22",
        lits(1) + b"\x22",
        b"\x13",
        lits(1) + b"\x15\x05",
        lits(1, 0) + b"\x1b",  # by zero
        lits(1, 0) + b"\x1d",
        b"\x9c",  # call_frame_cfa
        b"\x50",  # reg0: a place, no value
        b"\x0e\x01",
        b"\x10" + b"\x80" * 30,
        b"\x2f\x00\x40",
        b"\x2f\x00\x80",
        b"\x2f\xfd\xff",  # for ever
        lits(1) * 100,
        lits(1) + b"\x94\x09",
    ),
)
def test_what_makes_no_sense_is_malformed(expression: bytes) -> None:
    with pytest.raises(Malformed):
        evaluate(expression, REGISTERS, read, 8)


def test_what_reading_raises_comes_through() -> None:
    def fails(address: int, size: int) -> bytes:
        raise OSError(14, "")

    with pytest.raises(OSError):
        evaluate(lits(1) + b"\x06", REGISTERS, fails, 8)


def test_noise_is_malformed_or_has_a_value_in_time() -> None:
    chance = random.Random(1)
    began = time.process_time()
    for _ in range(3000):
        noise = bytes(chance.choice((chance.randrange(256), LIT, 0x22, 0x2F, 0x28, 0x12)) for _ in range(20))
        try:
            assert 0 <= evaluate(noise, REGISTERS, read, 8) <= ALL_ONES
        except (Malformed, Unavailable):
            pass
    assert time.process_time() - began < 20
