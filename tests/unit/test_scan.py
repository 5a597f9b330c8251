# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quick look at stacks against the slow one."""

from __future__ import annotations

import random
import struct

import pytest

from livepatch.tracee.scan import Scanner, extent

FORMATS = {4: "<I", 8: "<Q"}
BASES = {
    4: (0x08049000, 0x0804FF00, 0x56550000, 0xF7CFFFF0, 0xF7D00000, 0xFFFFF000),
    8: (0x401000, 0x4FFF80, 0x555555554000, 0x7F3A12341180, 0x7F3A1234FFF8, 0x7F3A12FFFFF0, 0x7F3A00000000),
}


def slowly(buffer: bytes, word: int, ranges: list[tuple[int, int]]) -> list[int]:
    """Every word, one after the other."""
    return [
        offset
        for offset in range(0, len(buffer) - word + 1, word)
        if any(start <= struct.unpack_from(FORMATS[word], buffer, offset)[0] <= end for start, end in ranges)
    ]


def stack(chance: random.Random, word: int, ranges: list[tuple[int, int]], words: int) -> bytearray:
    """Zeros, small numbers, noise, and many addresses in and just beside the ranges, also misaligned ones."""
    mask = (1 << 8 * word) - 1
    out = bytearray()
    for _ in range(words):
        start, end = chance.choice(ranges)
        edge = chance.choice((start, end)) + chance.choice((-256, -1, 0, 0, 1, 256, 65536))
        inside, noise = chance.randint(start, end), chance.getrandbits(8 * word)
        value = chance.choice((0, 0, chance.randrange(4096), noise, edge, inside))
        out += (value & mask).to_bytes(word, "little")
        if chance.random() < 0.02:
            out += chance.randint(start, end).to_bytes(word, "little")[: chance.randrange(word)]
    return out


@pytest.mark.parametrize("word", (4, 8))
@pytest.mark.parametrize("seed", range(60))
def test_it_finds_what_a_look_at_each_word_finds(word: int, seed: int) -> None:
    chance = random.Random(seed)
    mask = (1 << 8 * word) - 1
    ranges = []
    for _ in range(chance.randint(1, 5)):
        start = min(mask - 1, chance.choice(BASES[word]) + chance.choice((0, 0, 1, 255, 4096, 65535)))
        size = chance.choice((1, 5, 16, 255, 256, 257, 4096, 65535, 65536, 70000, 1 << 20, 1 << 25))
        ranges.append((start, min(mask, start + size)))
    buffer = stack(chance, word, ranges, chance.randint(0, 3000))
    assert Scanner(word, ranges).find(buffer) == slowly(buffer, word, ranges)
    assert Scanner(word, ranges).find(bytes(buffer)) == slowly(buffer, word, ranges)


@pytest.mark.parametrize("word", (4, 8))
def test_both_ends_count(word: int) -> None:
    """The end: a call that never returns may be the last instruction."""
    buffer = b"".join(value.to_bytes(word, "little") for value in (0x804FFEF, 0x804FFF0, 0x8050010, 0x8050011))
    assert Scanner(word, [(0x804FFF0, 0x8050010)]).find(buffer) == [word, 2 * word]


def test_bytes_beyond_the_given_size_do_not_count() -> None:
    buffer = (0x401005).to_bytes(8, "little") * 3
    scanner = Scanner(8, [(0x401000, 0x401010)])
    assert scanner.find(buffer, 16) == scanner.find(buffer, 23) == [0, 8]
    assert scanner.find(buffer, 7) == scanner.find(b"") == []


def test_an_address_that_is_not_aligned_is_no_hit() -> None:
    assert Scanner(8, [(0x401000, 0x401010)]).find(b"\0" * 4 + (0x401005).to_bytes(8, "little") + b"\0" * 4) == []


@pytest.mark.parametrize("word", (4, 8))
def test_addresses_whose_high_bytes_are_zero_are_found(word: int) -> None:
    """Nothing is mapped there, and nobody shall have to rely on it."""
    ranges = [(0x10, 0x20), (0, 1)]
    buffer = b"".join(value.to_bytes(word, "little") for value in (0, 1, 2, 0x10, 0x20, 0x21, 0x10010))
    assert Scanner(word, ranges).find(buffer) == slowly(buffer, word, ranges)


def test_a_range_of_gigabytes_is_found_in() -> None:
    ranges = [(0x7F0000000000, 0x7F8000000000)]
    buffer = b"".join(v.to_bytes(8, "little") for v in (0x7EFFFFFFFFFF, 0x7F0000000000, 0x7F4444444444, 0x7F8000000001))
    assert Scanner(8, ranges).find(buffer) == [8, 16]


def test_registers_are_looked_at_as_values() -> None:
    scanner = Scanner(8, [(0x401000, 0x401010), (0x500000, 0x500001)])
    assert scanner.contains((0, 5, 0x401010))
    assert not scanner.contains((0, 5, 0x401011, -1))
    assert not scanner.contains(())


@pytest.mark.parametrize(
    ("sp", "expected"),
    (
        (0x1000, (0x1000, 0x1000)),  # all of it
        (0x1FF8, (0x1FF8, 8)),
        (0xFF8, None),  # below: not this stack
        (0x2000, None),  # above
        (0x1FFC, None),  # misaligned
    ),
)
def test_the_used_part_of_a_stack_goes_from_the_stack_pointer_up(sp: int, expected: tuple[int, int] | None) -> None:
    assert extent(sp, 0x1000, 0x2000, 8, 1 << 20) == expected


def test_a_stack_that_is_too_long_has_no_extent() -> None:
    assert extent(0x1000, 0x1000, 0x2000, 8, 0xFFF) is None
