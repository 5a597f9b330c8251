# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ELF reader on mapped images: a mapping that the test makes itself, so that every byte of it is known."""

from __future__ import annotations

import errno
import os
import random
import struct
from pathlib import Path

import pytest

from livepatch.elf import DT_NULL, DT_VERDEF, DT_VERNEED, PT_DYNAMIC, PT_LOAD, Malformed
from livepatch.elf.dynamic import RELOCATED
from livepatch.elf.file import ElfFile
from livepatch.elf.loaded import LoadedImage

BIAS = {64: 0x7F12_3456_7000, 32: 0xF7D0_1000}
PAGE = 4096
MAP = Path(__file__).with_name("elf_shape.map")


class Mapped:
    """What a loader makes of a file: its PT_LOADs at `bias`, with glibc's hands on the dynamic section or not."""

    def __init__(self, data: bytes, bias: int, relocated: bool = True) -> None:
        self.file = ElfFile(data)
        self.bias = bias
        loads = [segment for segment in self.file.segments if segment.type == PT_LOAD]
        self.base = bias + (loads[0].address & -PAGE)
        size = -(-(loads[-1].address + loads[-1].memory_size) // PAGE) * PAGE - (loads[0].address & -PAGE)
        self.memory = bytearray(size)
        for load in loads:
            start = load.address & -PAGE
            chunk = data[load.offset - (load.address - start) : load.offset + load.file_size]
            place = start + bias - self.base
            self.memory[place : place + len(chunk)] = chunk
        if relocated:
            self.relocate()

    def relocate(self) -> None:
        """glibc elf/get-dynamic-info.h, ADJUST_DYN_INFO."""
        layout = self.file.layout
        dynamic = next((each for each in self.file.segments if each.type == PT_DYNAMIC), None)
        for index in range(dynamic.file_size // layout.dynamic.size if dynamic else 0):
            place = dynamic.address + self.bias - self.base + index * layout.dynamic.size
            tag, value = layout.dynamic.unpack_from(self.memory, place)
            if tag == DT_NULL:
                break
            if tag in RELOCATED:
                layout.dynamic.pack_into(self.memory, place, tag, (value + self.bias) & layout.mask)

    def read(self, address: int, size: int) -> bytes:
        start = address - self.base
        if start < 0 or start + size > len(self.memory):
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        return bytes(self.memory[start : start + size])

    def image(self) -> LoadedImage:
        return LoadedImage(self.read, self.base)


@pytest.fixture
def library(compile) -> bytes:
    return compile("elf_shape.c", "-shared", "-fPIC", f"-Wl,--version-script={MAP}").read_bytes()


@pytest.fixture(params=["gnu", "sysv", "both"])
def hashed_library(compile, request) -> bytes:
    """Either hash table tells how many symbols there are."""
    flags = ("-shared", "-fPIC", f"-Wl,--version-script={MAP}", f"-Wl,--hash-style={request.param}")
    return compile("elf_shape.c", *flags).read_bytes()


@pytest.mark.parametrize("relocated", [True, False], ids=["glibc", "musl"])
def test_memory_says_what_the_file_says(cpu, hashed_library, relocated) -> None:
    file = ElfFile(hashed_library)
    mapped = Mapped(hashed_library, BIAS[cpu.elf_class], relocated)
    image = mapped.image()
    assert (image.bias, image.machine, image.elf_class) == (BIAS[cpu.elf_class], cpu.machine, cpu.elf_class)
    assert image.symbols() == file.dynamic_symbols()
    assert image.build_id() == file.build_id() is not None
    assert (image.soname, image.needed) == (file.soname, file.needed)
    assert image.plt_slots() == file.plt_slots()
    for name, version in (("answer", None), ("answer", "SHAPE_1"), ("chosen", None), ("nobody", None)):
        assert image.lookup(name, version) == file.dynamic_tables.lookup(name, version)
    hdr = file.section(".eh_frame_hdr")
    assert image.eh_frame_hdr == (hdr.address, hdr.size)


@pytest.mark.parametrize("flags", [("-no-pie", "-fno-pie"), ("-pie", "-fPIE"), ("-static",), ("-static-pie", "-fPIE")])
def test_executables_of_every_linkage(cpu, compile, flags) -> None:
    data = compile("elf_plain.c", *flags).read_bytes()
    file = ElfFile(data)
    bias = BIAS[cpu.elf_class] if "pie" in flags[0] and flags[0] != "-no-pie" else 0
    image = Mapped(data, bias).image()
    assert image.bias == bias
    assert image.build_id() == file.build_id() is not None
    imports = {symbol.name for symbol in image.symbols() if symbol.name and not symbol.defined}
    assert imports == {symbol.name for symbol in file.dynamic_symbols() if symbol.name and not symbol.defined}
    assert ("puts" in imports) == ("-static" not in flags[0])


def test_a_slot_of_the_plt_is_where_the_linker_put_it(cpu, compile) -> None:
    data = compile("elf_plain.c", "-fPIE", "-pie", "-Wl,-z,lazy").read_bytes()
    image = Mapped(data, BIAS[cpu.elf_class]).image()
    slots = {slot.symbol.name: slot for slot in image.plt_slots() if slot.symbol is not None}
    assert "puts" in slots
    file = ElfFile(data)
    got = file.section(".got.plt") or file.section(".got")
    assert got.address <= slots["puts"].address < got.address + got.size


def test_a_segment_that_is_not_mapped_is_malformed(cpu, library) -> None:
    mapped = Mapped(library, BIAS[cpu.elf_class])
    del mapped.memory[PAGE:]
    with pytest.raises(Malformed):
        mapped.image().symbols()


def test_a_process_that_is_gone_is_no_malformed_image(cpu, library) -> None:
    def read(address: int, size: int) -> bytes:
        raise ProcessLookupError(errno.ESRCH, "gone")

    with pytest.raises(ProcessLookupError):
        LoadedImage(read, 0x400000)


def test_hostile_memory_raises_malformed_and_nothing_else(cpu, library) -> None:
    random_numbers = random.Random(7 + cpu.elf_class)
    clean = Mapped(library, BIAS[cpu.elf_class])
    # the first page holds the headers, notes, symbols and hash; the dynamic section has its own
    dynamic = next(segment for segment in clean.file.segments if segment.type == PT_DYNAMIC)
    places = [*range(0, 2048, 4), *range(dynamic.address, dynamic.address + dynamic.file_size, 4)]
    for place in places * 3:
        mapped = Mapped(library, BIAS[cpu.elf_class])
        bits = random_numbers.choice((12, 32))
        word = random_numbers.choice((0, 0xFFFFFFFF, 0x7FFFFFFF, random_numbers.getrandbits(bits)))
        struct.pack_into("<I", mapped.memory, place, word)
        try:
            image = mapped.image()
        except Malformed:
            continue
        for ask in (
            image.symbols,
            image.build_id,
            image.plt_slots,
            image.relocations,
            lambda image=image: image.lookup("answer", "SHAPE_1"),
            lambda image=image: (image.soname, image.needed, image.eh_frame_hdr, image.extent),
        ):
            try:
                ask()
            except Malformed:
                pass


def test_a_table_longer_than_any_real_one_is_not_read(cpu, library) -> None:
    """A dynamic section that claims 4 GB of strings: no allocation, a clear answer."""
    mapped = Mapped(library, BIAS[cpu.elf_class])
    asked = []

    def read(address: int, size: int) -> bytes:
        asked.append(size)
        return mapped.read(address, size)

    image = LoadedImage(read, mapped.base)
    with pytest.raises(Malformed):
        image.read(image.segments[0].address, 1 << 40)
    assert max(asked) < 1 << 20


def test_version_tables_are_not_relocated_by_glibc() -> None:
    assert not {DT_VERDEF, DT_VERNEED} & set(RELOCATED)
