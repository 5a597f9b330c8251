# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause

"""An ELF file, read from its bytes."""

from __future__ import annotations

import hashlib
import struct
from functools import cached_property
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import (
    PF_X,
    PN_XNUM,
    PT_DYNAMIC,
    PT_INTERP,
    PT_LOAD,
    PT_NOTE,
    SHN_UNDEF,
    SHN_XINDEX,
    SHT_DYNSYM,
    SHT_GNU_VERDEF,
    SHT_GNU_VERNEED,
    SHT_GNU_VERSYM,
    SHT_NOBITS,
    SHT_NOTE,
    SHT_REL,
    SHT_RELA,
    SHT_SYMTAB,
    SHT_SYMTAB_SHNDX,
    Malformed,
)
from .dynamic import LEFT_ALONE, RELOCATED, DynamicEntry, DynamicTables, PltSlot, first_values, read_entries
from .layout import Buffer, Layout, Relocation, Segment, covering, of_ident, table_size
from .notes import Note, build_id, read_notes
from .symbols import StringTable, Symbol, read_symbols
from .versions import SymbolVersions, read_definitions, read_indices, read_needs


class Section(NamedTuple):
    """A section header. `offset` in the file, `size` and `entry_size` in bytes."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int


class ElfFile:
    """What the bytes of one ELF file say.

    :param data: the whole file: bytes, mmap or memoryview; not copied, and exported as long as this lives
    :param name: what messages call it
    :ivar elf_class: 32 or 64
    :ivar machine: e_machine, EM_*
    :ivar type: e_type, ET_*
    :ivar entry: link-time address of the entry point
    :ivar segments: program headers, in file order
    :raises Malformed: here and in every method: the bytes do not fit together
    """

    def __init__(self, data: Buffer, name: str = "") -> None:
        self.name = name
        self._data = memoryview(data)
        self._layout: Layout = of_ident(self._data[:16])
        self._header = self._layout.parse_header(self._data)
        self.elf_class = self._layout.elf_class
        self.machine = self._header.machine
        self.type = self._header.type
        self.entry = self._header.entry
        self.flags = self._header.flags
        self.segments: List[Segment] = self._parse_segments()

    @property
    def layout(self) -> Layout:
        """The record formats of this file's class."""
        return self._layout

    @cached_property
    def sections(self) -> List[Section]:
        """Section headers by index, the null section 0 included; empty in a file without any."""
        rows = self._section_rows
        names_index = self._header.section_names
        if names_index == SHN_XINDEX and rows:
            names_index = rows[0][6]
        names = None
        if names_index != SHN_UNDEF and rows:
            if names_index >= len(rows):
                raise Malformed(f"section names are in section {names_index} of {len(rows)}")
            _, kind, _, _, offset, size, *_ = rows[names_index]
            names = StringTable(b"" if kind == SHT_NOBITS else self._slice(offset, size, "section names"))
        return [Section(index, names.at(row[0]) if names is not None else "", *row[1:])
                for index, row in enumerate(rows)]

    def section(self, name: str) -> Optional[Section]:
        """The first section of this name, or None."""
        return self._sections_by_name.get(name)

    def content(self, section: Section) -> bytes:
        """The bytes of a section as they stand in the file; b"" for SHT_NOBITS."""
        return bytes(self._view(section))

    def symbols(self, section: Optional[Section] = None) -> List[Symbol]:
        """Every symbol of a symbol table section, the null symbol included.

        Without a section: of .symtab, else .dynsym, else of what PT_DYNAMIC leads to, else [].
        """
        if section is None:
            section = self._first(SHT_SYMTAB) or self._first(SHT_DYNSYM)
            if section is None:
                return self.dynamic_tables.symbols
        if section.type == SHT_NOBITS:
            return []
        if section.type not in (SHT_SYMTAB, SHT_DYNSYM):
            raise Malformed(f"section {section.index} {section.name} is no symbol table")
        return read_symbols(
            self._layout,
            self._view(section),
            StringTable(self._view(self._linked(section))),
            self._versions(section) if section.type == SHT_DYNSYM else None,
            self._extended_indices(section),
        )

    def dynamic_symbols(self) -> List[Symbol]:
        """Every symbol of .dynsym, or of what PT_DYNAMIC leads to where there is no such section."""
        section = self._first(SHT_DYNSYM)
        return self.dynamic_tables.symbols if section is None else self.symbols(section)

    def relocations(self, section: Section) -> List[Relocation]:
        """Every entry of a SHT_REL or SHT_RELA section. It relocates section `info` in an ET_REL file."""
        if section.type not in (SHT_REL, SHT_RELA):
            raise Malformed(f"section {section.index} {section.name} is no relocation table")
        return self._layout.parse_relocations(self._view(section), section.type == SHT_RELA)

    def build_id(self) -> Optional[str]:
        """The build ID in hexadecimal digits, or None.

        Sections are asked first: in separate debuginfo program headers describe the file that was stripped.
        """
        return build_id(self.notes())

    def notes(self) -> Iterator[Note]:
        """Every note; of sections where there are sections with notes, else of segments."""
        sections = [section for section in self.sections if section.type == SHT_NOTE]
        for section in sections:
            yield from read_notes(self._view(section), section.align)
        for segment in self.segments:
            if segment.type == PT_NOTE and not sections:
                table = self._slice(segment.offset, segment.file_size, "PT_NOTE")
                yield from read_notes(table, segment.align)

    def text_sha256(self) -> str:
        """The identity of a file without build ID: SHA-256 over the file bytes of every executable PT_LOAD.

        In the order of the program headers, p_filesz bytes each; hexadecimal digits.
        """
        texts = [segment for segment in self.segments if segment.type == PT_LOAD and segment.flags & PF_X]
        if sum(segment.file_size for segment in texts) > len(self._data):
            raise Malformed("executable segments are together longer than the file")
        digest = hashlib.sha256()
        for segment in texts:
            digest.update(self._slice(segment.offset, segment.file_size, "PT_LOAD"))
        return digest.hexdigest()

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at a link-time address, from the file part of the one PT_LOAD that holds them all."""
        found = covering(self.segments, address, size, in_file=True)
        if found is None:
            raise Malformed(f"{size} bytes at {address:#x} are in no loaded part of the file")
        segment, offset = found
        return bytes(self._slice(segment.offset + offset, size, "PT_LOAD"))

    @property
    def soname(self) -> Optional[str]:
        """DT_SONAME, or None."""
        return self.dynamic_tables.soname

    @property
    def needed(self) -> Tuple[str, ...]:
        """DT_NEEDED, in order."""
        return self.dynamic_tables.needed

    @property
    def interpreter(self) -> Optional[str]:
        """The dynamic linker that PT_INTERP asks for, or None."""
        for segment in self.segments:
            if segment.type == PT_INTERP:
                return StringTable(self._slice(segment.offset, segment.file_size, "PT_INTERP")).at(0)
        return None

    @cached_property
    def dynamic(self) -> Tuple[DynamicEntry, ...]:
        """The entries of the dynamic section, in order; () where there is none."""
        section = self.section(".dynamic")
        if section is not None and section.type == SHT_NOBITS:
            return ()  # separate debuginfo
        for segment in self.segments:
            if segment.type == PT_DYNAMIC:
                table = self._slice(segment.offset, segment.file_size, "PT_DYNAMIC")
                return read_entries(self._layout, table)
        return ()

    @cached_property
    def dynamic_tables(self) -> DynamicTables:
        """What the dynamic section leads to: symbols and relocations as a dynamic linker finds them."""
        values = first_values(self.dynamic)
        pointers = {tag: values[tag] for tag in RELOCATED + LEFT_ALONE if tag in values}
        return DynamicTables(self._layout, self.read, self._room, self.dynamic, pointers)

    def plt_slots(self) -> List[PltSlot]:
        """A slot for each function that is called through the PLT."""
        return self.dynamic_tables.plt_slots()

    def _parse_segments(self) -> List[Segment]:
        count = self._header.segment_count
        if count == PN_XNUM and self._section_rows:
            count = self._section_rows[0][7]
        size = table_size("program headers", count, self._header.segment_entry, self._layout.segment.size)
        return self._layout.parse_segments(self._slice(self._header.segment_offset, size, "program headers"))

    @cached_property
    def _section_rows(self) -> List[Tuple[int, ...]]:
        header, record = self._header, self._layout.section
        if not header.section_offset:
            return []
        count = header.section_count
        if not count:  # more than SHN_LORESERVE sections: section 0 has their number
            count = record.unpack(self._slice(header.section_offset, record.size, "section header 0"))[5]
        size = table_size("section headers", count, header.section_entry, record.size)
        return list(record.iter_unpack(self._slice(header.section_offset, size, "section headers")))

    @cached_property
    def _sections_by_name(self) -> Dict[str, Section]:
        return {section.name: section for section in reversed(self.sections)}

    def _first(self, kind: int) -> Optional[Section]:
        return next((section for section in self.sections if section.type == kind), None)

    def _linked(self, section: Section) -> Section:
        if section.link >= len(self.sections):
            raise Malformed(f"section {section.index} {section.name} is linked to section {section.link}")
        return self.sections[section.link]

    def _view(self, section: Section) -> memoryview:
        if section.type == SHT_NOBITS:
            return memoryview(b"")
        return self._slice(section.offset, section.size, f"section {section.index} {section.name}")

    def _slice(self, offset: int, size: int, what: str) -> memoryview:
        if offset + size > len(self._data):
            raise Malformed(f"{what}: {size:#x} bytes at {offset:#x} of a file of {len(self._data):#x}")
        return self._data[offset : offset + size]

    def _room(self, address: int) -> int:
        found = covering(self.segments, address, 1, in_file=True)
        return 0 if found is None else found[0].file_size - found[1]

    def _extended_indices(self, section: Section) -> Tuple[int, ...]:
        for table in self.sections:
            if table.type == SHT_SYMTAB_SHNDX and table.link == section.index:
                view = self._view(table)
                return struct.unpack(f"<{len(view) // 4}I", view[: len(view) & -4])
        return ()

    def _versions(self, symbols: Section) -> Optional[SymbolVersions]:
        indices = self._first(SHT_GNU_VERSYM)
        if indices is None or indices.link != symbols.index:
            return None
        names: Dict[int, str] = {}
        libraries: Dict[int, str] = {}
        table = self._first(SHT_GNU_VERNEED)
        if table is not None:
            strings = StringTable(self._view(self._linked(table)))
            names, libraries = read_needs(self._view(table), table.info, strings.at)
        table = self._first(SHT_GNU_VERDEF)
        if table is not None:
            strings = StringTable(self._view(self._linked(table)))
            names.update(read_definitions(self._view(table), table.info, strings.at))
        return SymbolVersions(read_indices(self._view(indices)), names, libraries)
