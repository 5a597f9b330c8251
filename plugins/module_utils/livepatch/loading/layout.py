# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Where each section of a relocatable object will stand: sizes and offsets, no addresses yet.

Two parts come out, because no memory may be writable and executable::

    data (rw-)                                      text (r-x)
    +--------+-----+---------------+-------+----+   +---------+-------+-----------+-----------+
    | ledger | GOT | .data*        | .bss* |COM |   | .text.* | stubs | .rodata*  | .eh_frame |
    |        |     | .data.rel.ro* |       |MON |   |         |       | and alike | and its 0 |
    +--------+-----+---------------+-------+----+   +---------+-------+-----------+-----------+
    0        ^     ^               ^            ^   0                                         ^
             ledger_size           |    data_size                                     text_size
                   got, then data  data_file_size: zeros from here

Within a group, sections keep the object's order: the same object gives the same
layout.  Everything that the object says is checked here, so that what
:func:`livepatch.loading.link.link` works on is sound.

Section groups (COMDAT) need nothing: an object holds each of its groups once,
and the patch uses its own copy.  Mergeable strings are kept as they are.
"""

from __future__ import annotations

import enum
from typing import Iterable, Mapping, NamedTuple, Sequence

from ..cpu import Cpu
from ..elf import (
    ET_REL,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_TLS,
    SHF_WRITE,
    SHN_COMMON,
    SHN_LORESERVE,
    SHT_NOBITS,
    SHT_NOTE,
    SHT_PROGBITS,
    SHT_SYMTAB,
    STT_TLS,
    Malformed,
)
from ..elf.file import ElfFile, Section
from ..elf.symbols import Symbol
from ..errors import Refused
from . import fields
from .fields import Field

PAGE = 4096  # bytes, on both architectures

_SHT_X86_64_UNWIND = 0x70000001  # AMD64 psABI, "Special Sections": another type that .eh_frame may have
_SHF_COMPRESSED = 0x800
_SHN_X86_64_LCOMMON = 0xFF02  # AMD64 psABI: COMMON in the medium and large models
_COMMON = (SHN_COMMON, _SHN_X86_64_LCOMMON)
_CONSTRUCTORS = (".ctors", ".dtors", ".init", ".fini", ".init_array", ".fini_array", ".preinit_array")
_TERMINATOR = 4  # bytes: an entry of length zero ends .eh_frame (LSB 5.0, "Exception Frames")
_STUB_ALIGNMENT = 16


class Part(enum.Enum):
    """One of the two mappings."""

    TEXT = "text"
    DATA = "data"


class Place(NamedTuple):
    """A position that gets its address when its part gets one; ``offset`` in bytes."""

    part: Part
    offset: int


class Layout(NamedTuple):
    """What :func:`lay_out` decided; sizes and offsets in bytes."""

    cpu: Cpu
    sections: Mapping[int, Place]  # section index -> where it starts
    contents: Sequence[tuple[Place, bytes]]  # what is copied; the rest is zeros
    fields: Sequence[Field]
    places: Mapping[int, Place]  # symbol index -> where it is: those that the object defines and loads
    slots: Mapping[int, Place]  # symbol index -> its slot in the GOT
    stubs: Mapping[int, Place]  # symbol index -> its near-call stub, which jumps through its slot
    symbols: Sequence[Symbol]
    functions: Mapping[str, Place]  # the new code's entry points, by symbol
    got: Place
    eh_frame: tuple[int, int]  # (offset in the text part, size with the terminator); size 0: there is none
    ledger_size: int
    text_size: int
    data_file_size: int
    data_size: int

    @property
    def needs_low_addresses(self) -> bool:
        """Whether code takes addresses of the patch in 32 of 64 bits: it must stand below 2 GiB then.

        That is non-PIC code, for an executable that stands there, too.
        """
        return self.cpu.word > 4 and any(
            field.relocation.holds_low_address and field.symbol.index in self.places for field in self.fields
        )

    @property
    def data_span(self) -> int:
        """The data part in whole pages, bytes."""
        return _up(self.data_size, PAGE)

    @property
    def text_span(self) -> int:
        """The text part in whole pages, bytes."""
        return _up(self.text_size, PAGE)


def lay_out(elf: ElfFile, cpu: Cpu, ledger_size: int, functions: Iterable[str]) -> Layout:
    """Decide where everything in a relocatable object goes, and check all of it.

    :param ledger_size: bytes to keep free at the start of the data part
    :param functions: symbols of the new code; each must be defined once, in code
    :raises Refused: ``artifact_malformed``, ``wrong_architecture``,
        ``not_supported_yet`` (constructors, thread-local data, memory that is
        both writable and executable, alignment above a page),
        ``unsupported_relocation`` (with its name)
    """
    if (elf.machine, elf.elf_class) != (cpu.machine, cpu.elf_class):
        raise Refused(
            "wrong_architecture",
            f"The patch is {elf.elf_class}-bit code for machine {elf.machine}, the process is {cpu.name}",
        )
    try:
        return _lay_out(elf, cpu, ledger_size, functions)
    except Malformed as error:
        raise Refused("artifact_malformed", f"The patch's object is unsound: {error}") from error


def _lay_out(elf: ElfFile, cpu: Cpu, ledger_size: int, functions: Iterable[str]) -> Layout:
    symbols = _symbols(elf)
    loaded = {section.index: section for section in elf.sections if _is_loaded(section)}
    relocated = list(fields.read(elf, cpu, loaded, symbols))
    groups = _Groups.of(loaded.values())

    text = _Packer(Part.TEXT, 0)
    sections = text.add_sections(groups.code)
    stubs = _stubs(relocated, text)
    sections.update(text.add_sections(groups.constants))
    sections.update(text.add_sections(groups.frames[:1]))
    frames_start = sections[groups.frames[0].index].offset if groups.frames else 0
    # No padding between them: four zero bytes would end the table early.
    sections.update(text.add_sections(groups.frames[1:], packed=True))
    if groups.frames:
        text.add(_TERMINATOR, 1)
    frames_size = text.size - frames_start if groups.frames else 0

    data = _Packer(Part.DATA, ledger_size)
    got = data.add(0, 16)
    slotted = {field.symbol.index: None for field in relocated if field.formula.needs_slot}
    slots = {index: data.add(cpu.word, cpu.word) for index in {**slotted, **dict.fromkeys(stubs)}}
    sections.update(data.add_sections(groups.initialised))
    data_file_size = data.size
    sections.update(data.add_sections(groups.zeros))

    places = _symbol_places(symbols, loaded, sections, data)
    return Layout(
        cpu=cpu,
        sections=sections,
        contents=[
            (place, elf.content(loaded[index]))
            for index, place in sections.items()
            if loaded[index].type != SHT_NOBITS
        ],
        fields=relocated,
        places=places,
        slots=slots,
        stubs=stubs,
        symbols=symbols,
        functions={name: _entry_point(name, symbols, loaded, places) for name in functions},
        got=got,
        eh_frame=(frames_start, frames_size),
        ledger_size=ledger_size,
        text_size=text.size,
        data_file_size=data_file_size,
        data_size=data.size,
    )


def _symbols(elf: ElfFile) -> Sequence[Symbol]:
    if elf.type != ET_REL:
        raise Malformed(f"ELF type {elf.type} is not a relocatable object")
    if len(elf.sections) >= SHN_LORESERVE:
        raise Malformed(f"{len(elf.sections)} sections")
    tables = [section for section in elf.sections if section.type == SHT_SYMTAB]
    if len(tables) != 1:
        raise Malformed(f"{len(tables)} symbol tables instead of one")
    return elf.symbols(tables[0])


def _is_loaded(section: Section) -> bool:
    """Whether a section becomes part of the process.

    :raises Refused: ``not_supported_yet``
    :raises Malformed: it makes no sense
    """
    # Notes (.note.gnu.property) are for linkers and ld.so.
    if not section.flags & SHF_ALLOC or section.type == SHT_NOTE:
        return False
    if section.align & (section.align - 1) or section.flags & _SHF_COMPRESSED:
        raise Malformed(f"section {section.name} has alignment {section.align} and flags {section.flags:#x}")
    writable, executable = section.flags & SHF_WRITE, section.flags & SHF_EXECINSTR
    problem = ""
    if section.flags & SHF_TLS:
        problem = "holds thread-local data"
    elif writable and executable:
        problem = "is writable and executable"
    elif section.type not in (SHT_PROGBITS, SHT_NOBITS, _SHT_X86_64_UNWIND) or section.name.startswith(
        _CONSTRUCTORS
    ):
        problem = f"of type {section.type:#x} is for a linker or ld.so, constructors for example"
    elif executable and section.type == SHT_NOBITS:
        problem = "is code without content"
    elif section.align > PAGE:
        problem = f"wants an alignment of {section.align} bytes, more than a page"
    if problem and section.size:
        raise Refused("not_supported_yet", f"Section {section.name} {problem}")
    return not problem


class _Groups(NamedTuple):
    """The loaded sections by where they go, each group in the object's order."""

    code: Sequence[Section]
    constants: Sequence[Section]
    frames: Sequence[Section]
    initialised: Sequence[Section]
    zeros: Sequence[Section]

    @classmethod
    def of(cls, sections: Iterable[Section]) -> _Groups:
        groups: dict[str, list[Section]] = {name: [] for name in cls._fields}
        for section in sections:
            if section.flags & SHF_EXECINSTR:
                name = "code"
            elif section.type == SHT_NOBITS:
                name = "zeros"
            elif section.flags & SHF_WRITE:
                name = "initialised"
            else:
                name = "frames" if section.name == ".eh_frame" else "constants"
            groups[name].append(section)
        return cls(**groups)


class _Packer:
    """Gives out places in one part, one after the other."""

    def __init__(self, part: Part, size: int) -> None:
        self.part = part
        self.size = size

    def add(self, size: int, alignment: int) -> Place:
        place = Place(self.part, _up(self.size, alignment))
        self.size = place.offset + size
        return place

    def add_sections(self, sections: Iterable[Section], packed: bool = False) -> dict[int, Place]:
        return {
            section.index: self.add(section.size, 1 if packed else section.align or 1) for section in sections
        }


def _up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def _stubs(relocated: Iterable[Field], text: _Packer) -> dict[int, Place]:
    """One stub for each symbol that is called and may turn out to be far; unused ones cost a few bytes."""
    wanted = {field.symbol.index: field.stub for field in relocated if field.stub is not None}
    if wanted:
        text.add(0, _STUB_ALIGNMENT)
    return {index: text.add(stub.size, stub.size) for index, stub in wanted.items()}


def _symbol_places(
    symbols: Sequence[Symbol], loaded: Mapping[int, Section], sections: Mapping[int, Place], data: _Packer
) -> dict[int, Place]:
    places = {}
    for symbol in symbols:
        if symbol.section_index in _COMMON:
            # gABI, "Symbol Values": the value of a COMMON symbol is its alignment.
            if not 0 < symbol.value <= PAGE or symbol.value & (symbol.value - 1):
                raise Malformed(f"COMMON symbol {symbol.name} has alignment {symbol.value}")
            places[symbol.index] = data.add(symbol.size, symbol.value)
        elif symbol.section_index in sections and symbol.type != STT_TLS:
            if symbol.value > loaded[symbol.section_index].size:
                raise Malformed(f"symbol {symbol.name} is outside of its section")
            start = sections[symbol.section_index]
            places[symbol.index] = Place(start.part, start.offset + symbol.value)
    return places


def _entry_point(
    name: str, symbols: Sequence[Symbol], loaded: Mapping[int, Section], places: Mapping[int, Place]
) -> Place:
    found = [symbol for symbol in symbols if symbol.name == name and symbol.index in places]
    if len(found) != 1:
        raise Malformed(f"the new function {name} is defined {len(found)} times")
    section = loaded.get(found[0].section_index)
    if section is None or not section.flags & SHF_EXECINSTR or found[0].value >= section.size:
        raise Malformed(f"the new function {name} is not in code")
    return places[found[0].index]
