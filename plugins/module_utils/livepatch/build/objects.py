# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A compiled object as the builder sees it: functions, data, and what every field points at."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Iterator, NamedTuple

from ..elf import (
    ET_REL,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_MERGE,
    SHF_STRINGS,
    SHF_WRITE,
    SHN_ABS,
    SHN_COMMON,
    SHN_LORESERVE,
    SHN_UNDEF,
    SHT_REL,
    SHT_RELA,
    STB_LOCAL,
    STT_FILE,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_OBJECT,
    STT_TLS,
    Malformed,
)
from ..elf.file import Section as Header
from ..elf.layout import Relocation
from ..elf.symbols import Symbol
from ..errors import Refused
from . import instructions, names
from .inputs import architecture, read_elf


class Field(NamedTuple):
    """A relocation: a field in a section and what the linker puts there.

    :ivar offset: of the field in its section
    :ivar type: r_type
    :ivar addend: as a RELA entry has it, or as a REL entry leaves it in the field
    :ivar past: bytes from the field to where a pc-relative type of an instruction counts from (its end), else 0
    :ivar branch: whether the instruction around it is a call or a jump
    """

    offset: int
    type: int
    symbol: Symbol
    addend: int
    past: int
    branch: bool

    @property
    def point(self) -> int:
        """What is pointed at, as an offset in the symbol's section."""
        return self.symbol.value + self.addend + self.past


@dataclass(frozen=True)
class Section:
    """A section of an object; ``data`` is empty where it is NOBITS."""

    header: Header
    data: bytes

    @property
    def name(self) -> str:
        """As the section header table has it."""
        return self.header.name

    @property
    def code(self) -> bool:
        """Whether it is executable."""
        return bool(self.header.flags & SHF_EXECINSTR)

    @property
    def takes_memory(self) -> bool:
        """Whether it is there at run time."""
        return bool(self.header.flags & SHF_ALLOC) and self.name != ".eh_frame"

    @property
    def merged(self) -> bool:
        """Whether linkers merge equal entries: no two objects have the same bytes at the same place."""
        return bool(self.header.flags & SHF_MERGE)

    @property
    def strings(self) -> bool:
        """Whether it holds NUL-terminated strings."""
        return bool(self.header.flags & SHF_STRINGS)

    @property
    def writable(self) -> bool:
        """Whether the program may write to it; what is read-only once it is relocated is not."""
        return bool(self.header.flags & SHF_WRITE) and not self.name.startswith(".data.rel.ro")

    def entry_at(self, point: int) -> tuple[bytes, int]:
        """Of a merged section: the string from here on, or the whole constant and where in it this is."""
        width = self.header.entry_size or 1
        if self.strings:
            end = point
            while any(self.data[end : end + width]):
                end += width
            return self.data[point:end], 0
        start = point - point % width
        return self.data[start : start + width], point - start


class Piece(NamedTuple):
    """One run of a function's code: ``size`` bytes from ``start`` in a section."""

    section: int
    start: int
    size: int


@dataclass(frozen=True)
class Function:
    """A function of an object: its code, the unlikely half (``.cold``) included.

    :param symbol: the one that names it; of several at its entry a global one
    :param aliases: the other symbols there
    """

    name: str
    symbol: Symbol
    pieces: tuple[Piece, ...]
    aliases: tuple[Symbol, ...]

    @property
    def local(self) -> bool:
        """Whether no other unit can name it."""
        return self.symbol.binding == STB_LOCAL


class Spot(NamedTuple):
    """What a field points at.

    :ivar kind: ``external`` (another unit's ``name``), ``function``, ``object`` (data with a name), ``content``
        (what only its bytes identify), ``section`` (nameless, writable), ``absolute``
    :ivar offset: from the start of the symbol; of ``content`` and ``section`` from the start of the section
    :ivar section: index in this object, 0 for ``external`` and common symbols
    """

    kind: str
    name: str
    offset: int
    section: int
    symbol: Symbol | None


class ObjectFile:
    """One compiled object.

    :raises Refused: here and in every method: ``wrong_architecture``, ``x32``, ``lto_objects``,
        ``file_malformed``, ``unsupported_relocation``
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._elf = read_elf(path)
        self.cpu = architecture(self._elf)
        if self._elf.type != ET_REL:
            raise Refused("wrong_architecture", f"{path} is no relocatable object (e_type {self._elf.type})")
        try:
            self.sections = [Section(each, self._elf.content(each)) for each in self._elf.sections]
            table = self._elf.section(".symtab")
            self.symbols = self._elf.symbols(table) if table is not None else []
            self._tables = {
                each.info: self._elf.relocations(each)
                for each in self._elf.sections
                if each.type in (SHT_REL, SHT_RELA)
            }
        except Malformed as error:
            raise Refused("file_malformed", f"{path}: {error}") from error
        if any(each.name.startswith(".gnu.lto_") for each in self.sections):
            raise Refused("lto_objects", f"{path} holds the compiler's intermediate code (.gnu.lto_*)")
        self.unit = next((each.name for each in self.symbols if each.type == STT_FILE), "")
        self.functions = {each.name: each for each in self._find_functions()}
        self._in_section: dict[int, list[Function]] = {}
        for function in self.functions.values():
            for piece in function.pieces:
                self._in_section.setdefault(piece.section, []).append(function)
        self._objects: dict[int, list[Symbol]] = {}
        for symbol in self.symbols:
            if symbol.type in (STT_OBJECT, STT_TLS) and has_place(symbol):
                self._objects.setdefault(symbol.section_index, []).append(symbol)
        self._fields: dict[int, tuple[Field, ...]] = {}
        self._labels: dict[int, set[int]] = {}

    def _find_functions(self) -> Iterator[Function]:
        entries: dict[tuple[int, int], list[Symbol]] = {}
        for symbol in self.symbols:
            if symbol.type in (STT_FUNC, STT_GNU_IFUNC) and has_place(symbol):
                entries.setdefault((symbol.section_index, symbol.value), []).append(symbol)
        main: dict[str, list[Symbol]] = {}
        cold: dict[str, list[Symbol]] = {}
        for found in entries.values():
            found.sort(key=lambda each: (each.binding == STB_LOCAL, each.name))
            hot = names.hot_part(found[0].name)
            if hot is None:
                main[found[0].name] = found
            else:
                cold.setdefault(hot, []).append(found[0])
        for name in sorted(set(cold) - set(main)):
            raise Refused("several_ranges", f"{self.path} has {name}.cold, and no {name}")
        for name, symbols in main.items():
            pieces = [
                Piece(each.section_index, each.value, each.size or self._rest(each))
                for each in [symbols[0], *cold.get(name, ())]
            ]
            yield Function(name, symbols[0], tuple(pieces), tuple(symbols[1:]))

    def _rest(self, symbol: Symbol) -> int:
        """The size of code whose symbol has none (``__x86.get_pc_thunk.bx``): to its section's end."""
        return self.sections[symbol.section_index].header.size - symbol.value

    def functions_in(self, section: int) -> list[Function]:
        """The functions with code in this section."""
        return self._in_section.get(section, [])

    def function_at(self, section: int, offset: int) -> Function | None:
        """The function whose code is at this offset of a section; where there is one alone, that one."""
        found = self.functions_in(section)
        if len(found) == 1:
            return found[0]
        for function in found:
            for piece in function.pieces:
                if piece.section == section and piece.start <= offset < piece.start + piece.size:
                    return function
        return None

    def fields(self, section: int) -> tuple[Field, ...]:
        """The relocations of a section, by offset."""
        if section not in self._fields:
            self._fields[section] = tuple(self._read_fields(self.sections[section]))
        return self._fields[section]

    def fields_of(self, function: Function) -> Iterator[Field]:
        """The relocations of a function's code, piece after piece."""
        for piece in function.pieces:
            for field in self.fields(piece.section):
                if piece.start <= field.offset < piece.start + piece.size:
                    yield field

    def _read_fields(self, section: Section) -> Iterator[Field]:
        raw = sorted(self._tables.get(section.header.index, ()), key=lambda each: each.offset)
        around = {}
        if section.code:
            around = instructions.holders(self.cpu, section.data, [each.offset for each in raw])
        for each in raw:
            instruction = around.get(each.offset)
            if section.code and instruction is None:
                where = f"{self.path}: the field at {section.name}+{each.offset:#x}"
                raise Refused("unsupported_relocation", f"{where} is in no instruction")
            past = 0
            if instruction is not None and self.counts_from_itself(each.type):
                past = instruction.end - each.offset
            branch = instruction is not None and instruction.branch
            yield Field(
                each.offset,
                each.type,
                self.symbols[each.symbol_index],
                self._addend(section, each),
                past,
                branch,
            )

    def _addend(self, section: Section, relocation: Relocation) -> int:
        if relocation.addend is not None:
            return relocation.addend
        field = section.data[relocation.offset : relocation.offset + self.width(relocation.type)]
        return int.from_bytes(field, "little", signed=True)

    def width(self, kind: int) -> int:
        """Bytes that a relocation of this type changes."""
        entry = self.cpu.relocations.get(kind)
        # Types without a formula are thread-local ones here, all of them 4 bytes wide in code.
        return 4 if entry is None or (entry.formula is None and entry.width == 0) else entry.width

    def counts_from_itself(self, kind: int) -> bool:
        """Whether fields of this type hold a distance from where they stand."""
        entry = self.cpu.relocations.get(kind)
        return entry is not None and entry.formula is not None and "P" in entry.formula.text.split()

    def spot(self, field: Field) -> Spot:
        """What a field points at."""
        symbol = field.symbol
        if symbol.section_index in (SHN_UNDEF, SHN_COMMON):
            kind = "external" if symbol.section_index == SHN_UNDEF else "object"
            return Spot(kind, symbol.name, field.addend + field.past, 0, symbol)
        if symbol.section_index == SHN_ABS:
            return Spot("absolute", symbol.name, symbol.value + field.addend, 0, symbol)
        return self.at(symbol.section_index, field.point, symbol)

    def at(self, index: int, point: int, named: Symbol | None = None) -> Spot:
        """What is at this offset of a section; ``named`` is the symbol that it was reached by."""
        section = self.sections[index]
        if section.code:
            function = self.function_at(index, point)
            if function is None:
                return Spot("section", section.name, point, index, None)
            piece = next(each for each in function.pieces if each.section == index)
            name = function.name if piece == function.pieces[0] else function.name + ".cold"
            return Spot("function", name, point - piece.start, index, function.symbol)
        found = None if section.merged else self._object(index, point, named)
        if found is not None and not self._belongs_to_code(found):
            return Spot("object", found.name, point - found.value, index, found)
        return Spot("section" if section.writable else "content", section.name, point, index, None)

    def next_label(self, section: int, point: int) -> int:
        """The lowest offset above this one in a section that a field of the object points at, else its end."""
        if not self._labels:
            for each in self.sections:
                for field in self.fields(each.header.index) if each.takes_memory else ():
                    if has_place(field.symbol):
                        self._labels.setdefault(field.symbol.section_index, set()).add(field.point)
        above = [each for each in self._labels.get(section, ()) if each > point]
        return min(above, default=self.sections[section].header.size)

    def _object(self, section: int, point: int, named: Symbol | None) -> Symbol | None:
        objects = self._objects.get(section, [])
        if named is not None and named in objects:
            return named
        if len({each.value for each in objects}) == 1:  # a section of its own: &array[-1] is still the array
            return min(objects, key=lambda each: (each.binding == STB_LOCAL, each.name))
        return next((each for each in objects if each.value <= point < each.value + max(each.size, 1)), None)

    @functools.cached_property
    def objects(self) -> list[Symbol]:
        """The data that has a name in the source: what the compiler made for itself is left out."""
        found = [
            each
            for each in self.symbols
            if each.type in (STT_OBJECT, STT_TLS) and (has_place(each) or each.section_index == SHN_COMMON)
        ]
        return [each for each in found if not self._belongs_to_code(each)]

    def _belongs_to_code(self, symbol: Symbol) -> bool:
        """Whether a constant is the compiler's own, or a table of labels of a function: code, but for its place."""
        if symbol.section_index == SHN_COMMON or self.sections[symbol.section_index].writable:
            return False
        return names.is_anonymous(symbol.name) or bool(self.entered_by(symbol))

    def entered_by(self, symbol: Symbol) -> set[str]:
        """The functions that a variable holds addresses inside of: labels, whose addresses gcc lets one take."""
        end = symbol.value + symbol.size
        inside = self._labels_held.get(symbol.section_index, ())
        return {name for offset, name in inside if symbol.value <= offset < end}

    @functools.cached_property
    def _labels_held(self) -> dict[int, list[tuple[int, str]]]:
        """Section of data -> (offset of a field, the function that it points into)."""
        found: dict[int, list[tuple[int, str]]] = {}
        for section in self._objects:
            for field in self.fields(section):
                there = field.symbol.section_index
                if has_place(field.symbol) and self.sections[there].code:
                    function = self.function_at(there, field.point)
                    if function is not None and field.point != function.symbol.value:
                        found.setdefault(section, []).append((field.offset, function.name))
        return found


def has_place(symbol: Symbol) -> bool:
    """Whether a symbol is defined in a section."""
    return 0 < symbol.section_index < SHN_LORESERVE
