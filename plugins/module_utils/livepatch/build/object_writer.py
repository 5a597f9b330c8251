# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Writes a relocatable object (ET_REL; gABI chapter 4).  The same calls give the same bytes."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..cpu import Cpu
from ..elf import (
    ELFDATA2LSB,
    ET_REL,
    SHT_NOBITS,
    SHT_PROGBITS,
    SHT_REL,
    SHT_RELA,
    SHT_STRTAB,
    SHT_SYMTAB,
    STB_LOCAL,
    STT_NOTYPE,
    STV_DEFAULT,
)
from ..elf.layout import ELF32, ELF64, Layout

_SHF_INFO_LINK = 0x40


@dataclass
class _Section:
    name: str
    type: int
    flags: int
    align: int
    entry_size: int
    data: bytearray
    size: int
    relocations: list[tuple[int, int, int, int]] = field(default_factory=list)  # offset, type, symbol, addend


@dataclass
class _Symbol:
    name: str
    section: int
    value: int
    size: int
    type: int
    binding: int


class ObjectWriter:
    """Collects sections, symbols and relocations; :meth:`to_bytes` makes the file."""

    def __init__(self, cpu: Cpu) -> None:
        self.cpu = cpu
        self._sections: list[_Section] = []
        self._symbols: list[_Symbol] = []

    def section(
        self, name: str, flags: int, data: bytes, align: int = 1, entry_size: int = 0, zeros: int = 0
    ) -> int:
        """Add a section; its index.

        :param zeros: bytes of a section that has none in the file (SHT_NOBITS), instead of ``data``
        """
        kind = SHT_NOBITS if zeros else SHT_PROGBITS
        size = zeros or len(data)
        self._sections.append(_Section(name, kind, flags, align, entry_size, bytearray(data), size))
        return len(self._sections)

    def symbol(
        self,
        name: str,
        section: int,
        value: int = 0,
        size: int = 0,
        type: int = STT_NOTYPE,
        binding: int = STB_LOCAL,
    ) -> int:
        """Add a symbol; a handle for :meth:`relocation`."""
        self._symbols.append(_Symbol(name, section, value, size, type, binding))
        return len(self._symbols) - 1

    def relocation(self, section: int, offset: int, type: int, symbol: int, addend: int) -> None:
        """Add a relocation of a section. Where entries have no addend (i386), it goes into the field."""
        entry = self._sections[section - 1]
        if self.cpu.word == 4:
            width = self.cpu.relocations[type].width
            entry.data[offset : offset + width] = (addend & (1 << 8 * width) - 1).to_bytes(width, "little")
        entry.relocations.append((offset, type, symbol, addend))

    def to_bytes(self) -> bytes:
        """The file."""
        layout = ELF64 if self.cpu.word == 8 else ELF32
        numbers = self._number_symbols()
        rows = list(self._sections)
        symbol_table = len(rows) + sum(1 for each in rows if each.relocations) + 1
        links: dict[int, tuple[int, int]] = {}
        for index, each in enumerate(self._sections, 1):
            if each.relocations:
                rows.append(self._relocation_section(layout, each, numbers))
                links[len(rows)] = (symbol_table, index)
        names = _Strings()
        rows.append(self._symbol_section(layout, numbers, names))
        first_global = 1 + sum(1 for each in self._symbols if each.binding == STB_LOCAL)
        links[len(rows)] = (len(rows) + 1, first_global)
        rows.append(_Section(".strtab", SHT_STRTAB, 0, 1, 0, names.data, len(names.data)))
        section_names = _Strings()
        for each in rows:
            section_names.add(each.name)
        section_names.add(".shstrtab")
        data = section_names.data
        rows.append(_Section(".shstrtab", SHT_STRTAB, 0, 1, 0, data, len(data)))
        return self._lay_out(layout, rows, links, section_names)

    def _number_symbols(self) -> list[int]:
        """Index in the file of each symbol: local ones first (gABI, sh_info of a symbol table)."""
        order = sorted(range(len(self._symbols)), key=lambda each: self._symbols[each].binding != STB_LOCAL)
        numbers = [0] * len(order)
        for number, handle in enumerate(order, 1):
            numbers[handle] = number
        return numbers

    def _symbol_section(self, layout: Layout, numbers: list[int], names: _Strings) -> _Section:
        table = bytearray(layout.symbol.size * (len(numbers) + 1))
        for handle, each in enumerate(self._symbols):
            info = each.binding << 4 | each.type
            name = names.add(each.name)
            row: tuple[int, ...] = (name, each.value, each.size, info, STV_DEFAULT, each.section)
            if layout.word == 8:
                row = (name, info, STV_DEFAULT, each.section, each.value, each.size)
            layout.symbol.pack_into(table, layout.symbol.size * numbers[handle], *row)
        return _Section(".symtab", SHT_SYMTAB, 0, layout.word, layout.symbol.size, table, len(table))

    def _relocation_section(self, layout: Layout, section: _Section, numbers: list[int]) -> _Section:
        explicit = layout.word == 8
        record = layout.rela if explicit else layout.rel
        table = bytearray()
        for offset, kind, symbol, addend in section.relocations:
            info = numbers[symbol] << layout.symbol_shift | kind
            table += record.pack(offset, info, addend) if explicit else record.pack(offset, info)
        name = (".rela" if explicit else ".rel") + section.name
        kind = SHT_RELA if explicit else SHT_REL
        return _Section(name, kind, _SHF_INFO_LINK, layout.word, record.size, table, len(table))

    def _lay_out(
        self, layout: Layout, rows: list[_Section], links: dict[int, tuple[int, int]], names: _Strings
    ) -> bytes:
        file = bytearray(layout.header.size)
        headers = bytearray(layout.section.size)
        for index, each in enumerate(rows, 1):
            file += bytes(-len(file) % max(each.align, 1))
            link, info = links.get(index, (0, 0))
            headers += layout.section.pack(
                names.add(each.name), each.type, each.flags, 0, len(file), each.size, link, info, each.align,
                each.entry_size,
            )  # fmt: skip
            file += each.data
        file += bytes(-len(file) % layout.word)
        ident = b"\x7fELF" + bytes((2 if layout.word == 8 else 1, ELFDATA2LSB, 1)) + bytes(9)
        header = layout.header.pack(
            ET_REL, self.cpu.machine, 1, 0, 0, len(file), 0, layout.header.size, 0, 0,
            layout.section.size, len(rows) + 1, len(rows),
        )  # fmt: skip
        file[: len(header)] = ident + header[len(ident) :]
        return bytes(file + headers)


class _Strings:
    """A string table: every string once, in the order of the first use."""

    def __init__(self) -> None:
        self.data = bytearray(1)
        self._offsets = {"": 0}

    def add(self, text: str) -> int:
        """The offset of a string."""
        if text not in self._offsets:
            self._offsets[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self._offsets[text]
