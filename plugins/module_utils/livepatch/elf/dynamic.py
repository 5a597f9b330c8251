# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause

"""The dynamic section and the tables that it leads to, as a dynamic linker sees them."""

from __future__ import annotations

import struct
from functools import cached_property
from typing import Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from . import (
    DT_GNU_HASH,
    DT_HASH,
    DT_JMPREL,
    DT_NEEDED,
    DT_NULL,
    DT_PLTGOT,
    DT_PLTREL,
    DT_PLTRELSZ,
    DT_REL,
    DT_RELA,
    DT_RELASZ,
    DT_RELSZ,
    DT_SONAME,
    DT_STRSZ,
    DT_STRTAB,
    DT_SYMTAB,
    DT_VERDEF,
    DT_VERDEFNUM,
    DT_VERNEED,
    DT_VERNEEDNUM,
    DT_VERSYM,
    SHN_ABS,
    STB_GLOBAL,
    STB_GNU_UNIQUE,
    STB_WEAK,
    STT_COMMON,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_NOTYPE,
    STT_OBJECT,
    STT_TLS,
    Malformed,
)
from .gnu_hash import GnuHash
from .layout import Buffer, Layout, Relocation
from .symbols import StringTable, Symbol, read_symbols
from .versions import SymbolVersions, read_definitions, read_indices, read_needs

# what a lookup can find (glibc elf/dl-lookup.c, check_match and do_lookup_x)
_FOUND_TYPES = frozenset((STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_COMMON, STT_TLS, STT_GNU_IFUNC))
_FOUND_BINDINGS = frozenset((STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE))

# Entries that are addresses: what glibc adds the bias to in place (elf/get-dynamic-info.h), all of them or
# none, and what it leaves as the file has it.
RELOCATED = (DT_HASH, DT_PLTGOT, DT_STRTAB, DT_SYMTAB, DT_RELA, DT_REL, DT_JMPREL, DT_VERSYM, DT_GNU_HASH)
LEFT_ALONE = (DT_VERDEF, DT_VERNEED)

_LONGEST_VERSIONS = 1 << 20  # bytes of a version table: an index has 15 bits, a record 16 bytes


class DynamicEntry(NamedTuple):
    """One entry of the dynamic section."""

    tag: int  # DT_*
    value: int


class PltSlot(NamedTuple):
    """A word that ld.so fills with the address of a function which this image calls through its PLT."""

    address: int  # link-time address of the word in .got.plt (or .got)
    symbol: Optional[Symbol]  # None: an IRELATIVE slot, filled by a resolver of the image itself
    type: int  # relocation type
    addend: Optional[int]  # IRELATIVE: the resolver's link-time address; None in REL tables


def read_entries(layout: Layout, table: Buffer) -> Tuple[DynamicEntry, ...]:
    """The entries of a dynamic section up to DT_NULL."""
    entries = []
    whole = len(table) - len(table) % layout.dynamic.size
    for tag, value in layout.dynamic.iter_unpack(table[:whole]):
        if tag == DT_NULL:
            break
        entries.append(DynamicEntry(tag, value))
    return tuple(entries)


def first_values(entries: Iterable[DynamicEntry]) -> Dict[int, int]:
    """tag -> its first value."""
    values: Dict[int, int] = {}
    for tag, value in entries:
        values.setdefault(tag, value)
    return values


class DynamicTables:
    """Symbols, versions and relocations found through PT_DYNAMIC: no section headers needed.

    :param read: read(link-time address, size) -> exactly `size` bytes, or Malformed
    :param room: room(link-time address) -> bytes from there to the end of its segment, 0 outside
    :param entries: the dynamic section
    :param pointers: DT tag -> link-time address, of entries that are addresses

    :raises Malformed: (every method) a table does not fit what can be read
    """

    def __init__(
        self,
        layout: Layout,
        read: Callable[[int, int], bytes],
        room: Callable[[int], int],
        entries: Tuple[DynamicEntry, ...],
        pointers: Mapping[int, int],
    ) -> None:
        self._layout = layout
        self._read = read
        self._room = room
        self._entries = entries
        self._values = first_values(entries)
        self._pointers = pointers

    @property
    def soname(self) -> Optional[str]:
        """DT_SONAME, or None."""
        offset = self._values.get(DT_SONAME)
        return None if offset is None else self.strings.at(offset)

    @property
    def needed(self) -> Tuple[str, ...]:
        """DT_NEEDED, in order."""
        return tuple(self.strings.at(value) for tag, value in self._entries if tag == DT_NEEDED)

    @cached_property
    def strings(self) -> StringTable:
        """The dynamic string table."""
        address = self._pointers.get(DT_STRTAB)
        return StringTable(b"" if address is None else self._read(address, self._values.get(DT_STRSZ, 0)))

    @cached_property
    def versions(self) -> Optional[SymbolVersions]:
        """Symbol versions, or None where the image has none."""
        address = self._pointers.get(DT_VERSYM)
        if address is None:
            return None
        names: Dict[int, str] = {}
        libraries: Dict[int, str] = {}
        table = self._pointers.get(DT_VERNEED)
        if table is not None:
            count = self._values.get(DT_VERNEEDNUM, 0)
            names, libraries = read_needs(self._to_next(table), count, self.strings.at)
        table = self._pointers.get(DT_VERDEF)
        if table is not None:
            count = self._values.get(DT_VERDEFNUM, 0)
            names.update(read_definitions(self._to_next(table), count, self.strings.at))
        return SymbolVersions(read_indices(self._read(address, 2 * self.symbol_count)), names, libraries)

    @cached_property
    def symbol_count(self) -> int:
        """Number of dynamic symbols, which nothing says directly.

        DT_HASH says it. DT_GNU_HASH knows the last *defined* symbol, and nothing where none is defined; then
        imports reach as far as relocations use them.
        """
        if DT_SYMTAB not in self._pointers:
            return 0
        if DT_HASH in self._pointers:
            # nbucket, nchain: one chain entry for each symbol
            return int(struct.unpack("<II", self._read(self._pointers[DT_HASH], 8))[1])
        hashed = self._gnu_hash.symbol_count if self._gnu_hash is not None else 0
        used = max((relocation.symbol_index for relocation in self._all_relocations), default=0)
        return max(hashed, used + 1)

    @cached_property
    def symbols(self) -> List[Symbol]:
        """Every dynamic symbol, imports too, with versions."""
        return read_symbols(self._layout, self._symbol_table, self.strings, self.versions)

    def relocations(self) -> List[Relocation]:
        """Every dynamic relocation: DT_REL, DT_RELA and DT_JMPREL. (DT_RELR moves words by the bias only.)"""
        return list(self._all_relocations)

    def plt_slots(self) -> List[PltSlot]:
        """What DT_JMPREL describes: a slot for each function that is called through the PLT."""
        return [
            PltSlot(entry.offset, self.symbol(entry.symbol_index) if entry.symbol_index else None,
                    entry.type, entry.addend)
            for entry in self._plt_relocations
        ]

    def mentions(self, name: str) -> bool:
        """Whether any string ends in `name`: without it no symbol has this name. Quicker than to read them all."""
        return self.strings.mentions(name)

    def symbol(self, index: int) -> Symbol:
        """The dynamic symbol at `index`."""
        return self._at(index)

    def lookup(self, name: str, version: Optional[str] = None) -> Optional[Symbol]:
        """The definition of `name` that ld.so would take from this image, or None.

        With a version: the definition of that version, hidden or not, else one without any version.
        Without: the unversioned one, else the default (name@@VERSION), as dlsym(3) does.
        The type may be STT_GNU_IFUNC. Source: glibc elf/dl-lookup.c, check_match. Unlike there an undefined
        symbol that has the address of a PLT entry is never an answer.
        """
        default = None
        for symbol in self._named(name):
            if (
                not symbol.defined
                or symbol.type not in _FOUND_TYPES
                or symbol.binding not in _FOUND_BINDINGS
                or (symbol.value == 0 and symbol.section_index != SHN_ABS and symbol.type != STT_TLS)
            ):
                continue
            if symbol.version == version or (symbol.version is None and not symbol.hidden_version):
                return symbol
            if version is None and not symbol.hidden_version and default is None:
                default = symbol
        return default

    def _named(self, name: str) -> Iterable[Symbol]:
        if self._gnu_hash is None:
            return [self._at(index) for index in self._indices.get(name, ())]
        return [symbol for symbol in map(self._at, self._gnu_hash.candidates(name)) if symbol.name == name]

    @cached_property
    def _indices(self) -> Dict[str, List[int]]:
        """name -> indices: for images without a GNU hash table."""
        indices: Dict[str, List[int]] = {}
        for symbol in self.symbols:
            indices.setdefault(symbol.name, []).append(symbol.index)
        return indices

    @cached_property
    def _gnu_hash(self) -> Optional[GnuHash]:
        address = self._pointers.get(DT_GNU_HASH)
        return None if address is None else GnuHash(self._layout, self._read, self._room, address)

    @cached_property
    def _symbol_table(self) -> bytes:
        count = self.symbol_count
        return self._read(self._pointers[DT_SYMTAB], count * self._layout.symbol.size) if count else b""

    def _at(self, index: int) -> Symbol:
        size = self._layout.symbol.size
        if (index + 1) * size > len(self._symbol_table):
            count = len(self._symbol_table) // size
            raise Malformed(f"symbol {index} is not among the {count} dynamic symbols")
        row = self._symbol_table[index * size : (index + 1) * size]
        version, hidden = self.versions.of(index) if self.versions is not None else (None, False)
        return read_symbols(self._layout, row, self.strings)[0]._replace(
            index=index, version=version, hidden_version=hidden
        )

    @cached_property
    def _all_relocations(self) -> List[Relocation]:
        return [
            *self._relocations(DT_RELA, DT_RELASZ, True),
            *self._relocations(DT_REL, DT_RELSZ, False),
            *self._plt_relocations,
        ]

    @cached_property
    def _plt_relocations(self) -> List[Relocation]:
        return self._relocations(DT_JMPREL, DT_PLTRELSZ, self._values.get(DT_PLTREL) == DT_RELA)

    def _relocations(self, table: int, size: int, has_addends: bool) -> List[Relocation]:
        address = self._pointers.get(table)
        if address is None:
            return []
        return self._layout.parse_relocations(self._read(address, self._values.get(size, 0)), has_addends)

    def _to_next(self, address: int) -> bytes:
        """From `address` to the next table: version tables have a count, and no size."""
        to_next = [other - address for other in self._pointers.values() if other > address]
        return self._read(address, min(self._room(address), _LONGEST_VERSIONS, *to_next))
