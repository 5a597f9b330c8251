# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The shipped file: its identity, its symbols, its bytes, what it imports from where."""

from __future__ import annotations

import os
import re
from functools import cached_property
from typing import Iterator, NamedTuple

from ..elf import (
    DT_FLAGS,
    DT_PLTGOT,
    DT_SYMBOLIC,
    ET_DYN,
    ET_EXEC,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHT_NOBITS,
    STB_LOCAL,
    STT_FILE,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_OBJECT,
    STT_SECTION,
    STV_DEFAULT,
    Malformed,
)
from ..elf.symbols import Symbol
from ..errors import Refused
from . import libraries
from .inputs import architecture, read_elf
from .objects import has_place

DT_FLAGS_1 = 0x6FFFFFFB
DF_SYMBOLIC = 0x2
DF_1_PIE = 0x08000000
_GOT_BASE = "_GLOBAL_OFFSET_TABLE_"


class TargetSymbol(NamedTuple):
    """A symbol that the target defines; ``file`` is the source of a local one, "" where nothing says."""

    name: str
    address: int
    size: int
    symbol: Symbol
    file: str

    @property
    def local(self) -> bool:
        """Whether it was local in its unit. What was hidden is local in the table, and of no file."""
        return self.symbol.binding == STB_LOCAL and bool(self.file)

    @property
    def function(self) -> bool:
        """Whether it names code."""
        return self.symbol.type in (STT_FUNC, STT_GNU_IFUNC)


class Import(NamedTuple):
    """Where an imported symbol came from when the patch was built."""

    name: str
    version: str | None
    library: str | None
    type: int  # STT_* as the library has it, 0 where the library was not read


class TargetFile:
    """The target and, where it is stripped, its separate debuginfo.

    :raises Refused: ``file_malformed``, ``wrong_architecture``, ``x32``, ``build_id_mismatch``, ``no_debug_info``
    """

    def __init__(self, path: str, debuginfo: str | None = None) -> None:
        self.path = path
        self.elf = read_elf(path)
        self.cpu = architecture(self.elf)
        if self.elf.type not in (ET_DYN, ET_EXEC):
            raise Refused("wrong_architecture", f"{path} is no program or library (e_type {self.elf.type})")
        self.debug_path = debuginfo or path
        self.debug_elf = self.elf if debuginfo is None else read_elf(debuginfo)
        if self.debug_elf.build_id() != self.build_id:
            raise Refused(
                "build_id_mismatch",
                f"{debuginfo} has build ID {self.debug_elf.build_id()}, and {path} has {self.build_id}",
            )
        self.files: set[str] = set()  # of STT_FILE: source files, mostly without folders
        self._by_name: dict[str, list[TargetSymbol]] = {}
        for symbol in self._read_symbols():
            self._by_name.setdefault(symbol.name, []).append(symbol)
        if not self._by_name:
            raise Refused("no_debug_info", f"{self.debug_path} has no symbol table (.symtab)")

    def _read_symbols(self) -> Iterator[TargetSymbol]:
        table = self.debug_elf.section(".symtab")
        if table is None and self.debug_elf is not self.elf:
            table = self.elf.section(".symtab")
        if table is None or table.type == SHT_NOBITS:
            return
        file = ""
        for symbol in self.debug_elf.symbols(table):
            if symbol.type == STT_FILE:
                file = symbol.name
                self.files.add(file)
            elif has_place(symbol) and symbol.name and symbol.type != STT_SECTION:
                name = symbol.name[:1] + symbol.name[1:].split("@")[0]  # name@VERSION, name@@VERSION
                of_file = file if symbol.binding == STB_LOCAL else ""
                yield TargetSymbol(name, symbol.value, symbol.size, symbol, of_file)

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return os.path.basename(self.path)

    @cached_property
    def build_id(self) -> str | None:
        """In hexadecimal, or None."""
        return self.elf.build_id()

    @cached_property
    def library(self) -> bool:
        """Whether it is a shared library; libc.so.6 can be executed, too, and a static PIE has no interpreter."""
        if self.elf.type != ET_DYN:
            return False
        program = self.elf.interpreter is not None or self._dynamic(DT_FLAGS_1) & DF_1_PIE
        return self.elf.soname is not None or not program

    def _dynamic(self, tag: int) -> int:
        return next((entry.value for entry in self.elf.dynamic if entry.tag == tag), 0)

    def named(self, name: str) -> list[TargetSymbol]:
        """Every symbol of this name that the target defines."""
        return self._by_name.get(name, [])

    def function_statics(self, name: str) -> list[TargetSymbol]:
        """The variables inside of functions that the source calls so: gcc has ``name.N``, clang ``function.name``."""
        spelled = re.compile(rf"(?:[^.]+\.)?{re.escape(name)}(?:\.\d+)?")
        found = (each for key, some in self._by_name.items() if spelled.fullmatch(key) for each in some)
        return [each for each in found if each.symbol.type == STT_OBJECT and each.local and each.name != name]

    def global_symbol(self, name: str) -> TargetSymbol | None:
        """The symbol that other units see under this name.

        :raises Refused: ``ambiguous_symbol``
        """
        found = {each.address: each for each in self.named(name) if not each.local}
        if len(found) > 1:
            raise Refused("ambiguous_symbol", f"{self.debug_path} has {name} at {_addresses(found)}")
        return next(iter(found.values()), None)

    def local_symbols(self, name: str, file: str) -> list[TargetSymbol]:
        """The local symbols of this name and source file; where the table names no files, all of this name."""
        local = [each for each in self.named(name) if each.symbol.binding == STB_LOCAL]
        return [each for each in local if each.file == file] or [each for each in local if not each.file]

    def functions(self) -> Iterator[TargetSymbol]:
        """Every function that a symbol names."""
        for found in self._by_name.values():
            yield from (each for each in found if each.function)

    def functions_of(self, file: str) -> list[TargetSymbol]:
        """The local functions of a source file."""
        found = [each for some in self._by_name.values() for each in some]
        return [
            each for each in found if each.function and each.symbol.binding == STB_LOCAL and each.file == file
        ]

    def next_symbol(self, address: int) -> int:
        """The lowest address above this one at which a function or a section of code begins or ends."""
        ends = [each.address for found in self._by_name.values() for each in found if each.address > address]
        ends += [each.address + each.size for each in self.elf.sections if each.address + each.size > address]
        return min(ends, default=address)

    def read(self, address: int, size: int) -> bytes:
        """Bytes of the file at a link-time address.

        :raises Refused: ``code_differs``: the file has no such bytes
        """
        try:
            return self.elf.read(address, size)
        except Malformed as error:
            raise Refused("code_differs", f"{self.path}: {error}") from error

    def peek(self, address: int, size: int) -> bytes | None:
        """Bytes of the file at a link-time address, or None where it has none."""
        try:
            return self.elf.read(address, size)
        except Malformed:
            return None

    def holds_word(self, address: int) -> bool:
        """Whether some word of the data, or of what the dynamic linker reads, is this address."""
        field = address.to_bytes(self.cpu.word, "little")
        data = (
            each for each in self.elf.sections if each.flags & SHF_ALLOC and not each.flags & SHF_EXECINSTR
        )
        return any(field in self.elf.content(each) for each in data if each.type != SHT_NOBITS)

    def names_at(self, address: int) -> set[str]:
        """The names of what begins at an address."""
        return self._names_by_address.get(address, set())

    def indirect_at(self, address: int) -> str | None:
        """The name of an indirect function whose resolver begins at an address."""
        return next(
            (
                name
                for name in sorted(self.names_at(address))
                if any(each.address == address and each.symbol.type == STT_GNU_IFUNC for each in self.named(name))
            ),
            None,
        )

    @cached_property
    def _names_by_address(self) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        for name, symbols in self._by_name.items():
            for each in symbols:
                if each.symbol.type in (STT_FUNC, STT_GNU_IFUNC, STT_OBJECT):
                    found.setdefault(each.address, set()).add(name)
        return found

    @cached_property
    def got_base(self) -> int | None:
        """What GOT offsets of the target count from."""
        found = self.named(_GOT_BASE)
        return found[0].address if found else self._dynamic(DT_PLTGOT) or None

    @cached_property
    def dynamic_relocations(self) -> dict[int, int]:
        """Address -> relocation type, of what the dynamic linker writes."""
        return {each.offset: each.type for each in self.elf.dynamic_tables.relocations()}

    def written_by_linker(self, address: int, size: int) -> Iterator[tuple[int, int]]:
        """(address, size) of the words in a run of the target that the dynamic linker writes, by address."""
        for place in sorted(self.dynamic_relocations):
            if address <= place < address + size:
                width = self.cpu.relocations[self.dynamic_relocations[place]].width or self.cpu.word
                yield place, min(width, address + size - place)

    @cached_property
    def _dynamic_symbols(self) -> dict[str, Symbol]:
        found: dict[str, Symbol] = {}
        for symbol in self.elf.dynamic_symbols():
            if symbol.name and symbol.binding != STB_LOCAL and not (symbol.defined and symbol.hidden_version):
                found.setdefault(symbol.name, symbol)
        return found

    def exported(self, name: str) -> Symbol | None:
        """The default definition of a name that other files see."""
        symbol = self._dynamic_symbols.get(name)
        return symbol if symbol is not None and symbol.defined else None

    def interposable(self, name: str) -> bool:
        """Whether the dynamic linker may bind this library's own uses of a name to another file's definition."""
        symbol = self.exported(name)
        if not self.library or symbol is None or symbol.visibility != STV_DEFAULT:
            return False
        symbolic = any(entry.tag == DT_SYMBOLIC for entry in self.elf.dynamic)
        return not symbolic and not self._dynamic(DT_FLAGS) & DF_SYMBOLIC

    def has_plt_address(self, name: str) -> bool:
        """Whether non-PIC code took an imported function's address (psABI, "Function Addresses")."""
        symbol = self._dynamic_symbols.get(name)
        return symbol is not None and not symbol.defined and symbol.value != 0 and self.elf.type == ET_EXEC

    def imports(self, name: str) -> bool:
        """Whether the target itself uses another file's symbol of this name."""
        symbol = self._dynamic_symbols.get(name)
        return symbol is not None and not symbol.defined

    def imported(self, name: str) -> Import | None:
        """Where the target, or a library that it needs, finds a symbol that it does not define."""
        symbol = self._dynamic_symbols.get(name)
        version = symbol.version if symbol is not None and not symbol.defined else None
        for library in self._libraries:
            found = library.lookup(name, version)
            if found is not None:
                return Import(name, found.version, library.soname, found.type)
        if symbol is None or symbol.defined:
            return None
        return Import(name, version, None, 0)

    @cached_property
    def _libraries(self) -> list[libraries.Library]:
        return list(libraries.needed(self.elf, self.path))

    def own_version(self, name: str) -> str | None:
        """The version under which the target exports a name."""
        symbol = self.exported(name)
        return symbol.version if symbol is not None else None


def _addresses(found: dict[int, TargetSymbol]) -> str:
    return " and ".join(f"{address:#x}" for address in sorted(found))
