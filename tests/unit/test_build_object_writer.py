# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The object writer: pyelftools reads back what was written."""

from __future__ import annotations

import io

from elftools.elf.elffile import ELFFile

from livepatch.build.object_writer import ObjectWriter
from livepatch.cpu import Cpu
from livepatch.elf import SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, STB_GLOBAL, STT_FUNC, STT_SECTION


def written(cpu: Cpu) -> bytes:
    writer = ObjectWriter(cpu)
    text = writer.section(".text.f", SHF_ALLOC | SHF_EXECINSTR, b"\xe8" + bytes(4) + b"\xc3", align=16)
    bss = writer.section(".bss.n", SHF_ALLOC | SHF_WRITE, b"", align=4, zeros=24)
    outside = writer.symbol("outside", 0, binding=STB_GLOBAL)
    inside = writer.symbol("f", text, 0, 6, STT_FUNC, STB_GLOBAL)
    section = writer.symbol("", bss, type=STT_SECTION)
    for number, symbol in enumerate((outside, inside, section)):
        writer.relocation(text, 1, 2, symbol, -4 - number)
    return writer.to_bytes()


def test_what_is_written_is_read_back(cpu: Cpu) -> None:
    elf = ELFFile(io.BytesIO(written(cpu)))
    assert (elf.header.e_type, elf.elfclass) == ("ET_REL", 8 * cpu.word)
    text = elf.get_section_by_name(".text.f")
    assert text.header.sh_offset % 16 == 0 and text.header.sh_size == 6
    bss = elf.get_section_by_name(".bss.n")
    assert (bss.header.sh_type, bss.header.sh_size) == ("SHT_NOBITS", 24)
    table = elf.get_section_by_name((".rela" if cpu.word == 8 else ".rel") + ".text.f")
    symbols = elf.get_section(table.header.sh_link)
    assert elf.get_section(table.header.sh_info).name == ".text.f"
    named = [symbols.get_symbol(each.entry.r_info_sym) for each in table.iter_relocations()]
    assert [each.name for each in named] == ["outside", "f", ""]
    assert [each.entry.r_info_type for each in table.iter_relocations()] == [2, 2, 2]
    if cpu.word == 8:
        assert [each.entry.r_addend for each in table.iter_relocations()] == [-4, -5, -6]


def test_local_symbols_come_first(cpu: Cpu) -> None:
    symbols = ELFFile(io.BytesIO(written(cpu))).get_section_by_name(".symtab")
    bindings = [each.entry.st_info.bind for each in symbols.iter_symbols()]
    assert bindings == ["STB_LOCAL", "STB_LOCAL", "STB_GLOBAL", "STB_GLOBAL"]
    assert symbols.header.sh_info == 2


def test_an_addend_without_a_place_of_its_own_goes_into_the_field() -> None:
    from livepatch.cpu import I386

    writer = ObjectWriter(I386)
    text = writer.section(".text.f", SHF_ALLOC | SHF_EXECINSTR, b"\xe8" + bytes(4))
    writer.relocation(text, 1, 2, writer.symbol("g", 0, binding=STB_GLOBAL), -4)
    elf = ELFFile(io.BytesIO(writer.to_bytes()))
    assert elf.get_section_by_name(".text.f").data() == b"\xe8\xfc\xff\xff\xff"


def test_the_same_calls_give_the_same_bytes(cpu: Cpu) -> None:
    assert written(cpu) == written(cpu)
