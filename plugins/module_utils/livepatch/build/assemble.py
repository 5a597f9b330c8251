# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The artifact's bytes: the selected sections, a symbol table, and the manifest."""

from __future__ import annotations

import hashlib
from typing import Callable, NamedTuple, Sequence

from ..artifact import file as artifact_file
from ..artifact.manifest import (
    FORMAT,
    BuiltWith,
    Function,
    Hooks,
    Manifest,
    Range,
    Reference,
    Target,
    TextRelocation,
)
from ..cpu import Cpu
from ..elf import (
    ET_EXEC,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_MERGE,
    SHF_STRINGS,
    SHF_WRITE,
    SHT_NOBITS,
    STB_GLOBAL,
    STB_LOCAL,
    STT_FUNC,
    STT_SECTION,
)
from ..errors import Refused
from . import eh_frame
from .bind import Bound, Imported
from .object_writer import ObjectWriter
from .objects import Section
from .request import BuildRequest, relation_of
from .selection import Destination, GotBase, Own, Replaced, Selection
from .target import TargetFile

VERSION = "0.1.0"  # of this collection, as galaxy.yml has it
_KEPT_FLAGS = SHF_WRITE | SHF_ALLOC | SHF_EXECINSTR | SHF_MERGE | SHF_STRINGS  # no groups, no link order


def assemble(
    request: BuildRequest, target: TargetFile, selection: Selection, order: Sequence[int], compiler: str
) -> bytes:
    """The artifact.

    :param order: indices of ``selection.replaced``, in the order of the jumps
    :raises Refused: ``no_unwind_tables``, ``throws_through``
    """
    return _Assembly(target.cpu, selection).to_bytes(
        lambda symbols, references: _manifest(
            request, target, selection, order, compiler, symbols, references
        )
    )


class _Names(NamedTuple):
    """The symbols of a function's new code and of its thunk."""

    symbol: str
    thunk: str | None


class _Assembly:
    def __init__(self, cpu: Cpu, selection: Selection) -> None:
        self._writer = ObjectWriter(cpu)
        self._selection = selection
        self._sections: dict[tuple[int, int], int] = {}
        self._symbols: dict[tuple[int, int], int] = {}
        self._foreign: dict[GotBase | Bound, int] = {}
        self._names: set[str] = set()
        self._function_names: list[_Names] = []
        self._references: list[Reference] = []

    def to_bytes(self, manifest: Callable[[list[_Names], list[Reference]], Manifest]) -> bytes:
        """Everything in a fixed order: the same selection gives the same bytes."""
        self._reserve_imports()
        for key in sorted(self._selection.sections):
            self._add_section(key)
        self._name_functions()
        for key, links in sorted(self._selection.sections.items()):
            for link in links:
                handle = self._handle(link.to)
                self._writer.relocation(self._sections[key], link.offset, link.type, handle, link.addend)
        self._add_unwind_tables()
        data = manifest(self._function_names, sorted(self._references, key=lambda each: each.symbol))
        self._writer.section(artifact_file.SECTION, 0, data.to_json_bytes())
        self._writer.section(".note.GNU-stack", 0, b"")
        return self._writer.to_bytes()

    def _reserve_imports(self) -> None:
        """The process looks an import up by its name in this object, so nothing else may have that name."""
        imports = {link.to for links in self._selection.sections.values() for link in links}
        for each in sorted(
            (each for each in imports if isinstance(each, Imported)), key=lambda each: each.name
        ):
            if each.name in self._names:
                raise Refused("ambiguous_symbol", f"{each.name} is imported in two versions")
            self._names.add(each.name)

    def _add_section(self, key: tuple[int, int]) -> None:
        section = self._selection.units[key[0]].new.sections[key[1]]
        header = section.header
        zeros = header.size if header.type == SHT_NOBITS else 0
        index = self._writer.section(
            _kept_name(section),
            header.flags & _KEPT_FLAGS,
            section.data,
            header.align,
            header.entry_size,
            zeros,
        )
        self._sections[key] = index

    def _name_functions(self) -> None:
        for each in self._selection.replaced:
            new = self._selection.units[each.unit].new
            symbol = new.functions[each.name].symbol
            name = self._unique(symbol.name, new.unit)
            self._define(Own(each.unit, symbol.index), name)
            thunk = None
            if each.way is not None:
                entry = self._selection.units[each.way.unit].new.functions[each.way.name].symbol
                thunk = self._unique(entry.name, new.unit)
                self._define(Own(each.way.unit, entry.index), thunk)
            self._function_names.append(_Names(name, thunk))

    def _unique(self, name: str, file: str) -> str:
        """This name, or with the source file behind it, or with a number behind that."""
        stem = f"{name}.{file}" if file else name
        chosen = name
        count = 0
        while chosen in self._names:
            chosen = stem if not count and stem != name else f"{stem}.{count}"
            count += 1
        self._names.add(chosen)
        return chosen

    def _define(self, own: Own, name: str) -> int:
        new = self._selection.units[own.unit].new
        symbol = new.symbols[own.symbol]
        section = self._sections[own.unit, symbol.section_index]
        size = symbol.size
        if symbol.type == STT_FUNC and not size:
            size = new.sections[symbol.section_index].header.size - symbol.value
        handle = self._writer.symbol(
            name, section, symbol.value, size, symbol.type,
            STB_LOCAL if symbol.type == STT_SECTION else STB_GLOBAL,
        )  # fmt: skip
        self._symbols[own] = handle
        return handle

    def _handle(self, to: Destination) -> int:
        if isinstance(to, Own):
            if to in self._symbols:
                return self._symbols[to]
            new = self._selection.units[to.unit].new
            symbol = new.symbols[to.symbol]
            name = "" if symbol.type == STT_SECTION else self._unique(symbol.name, new.unit)
            return self._define(to, name)
        if to not in self._foreign:
            self._foreign[to] = self._refer(to)
        return self._foreign[to]

    def _refer(self, to: GotBase | Bound) -> int:
        if isinstance(to, GotBase):
            return self._writer.symbol(artifact_file.GOT_BASE, 0, binding=STB_GLOBAL)
        if isinstance(to, Imported):
            name = to.name
            reference = Reference(name, "import", 0, to.version, to.library)
        else:
            name = self._unique(to.name, to.file)
            reference = Reference(name, "ifunc" if to.indirect else "target", to.address, None, None)
        self._references.append(reference)
        return self._writer.symbol(name, 0, binding=STB_GLOBAL)

    def _add_unwind_tables(self) -> None:
        """One table of all units: what a linker would make of theirs."""
        data = bytearray()
        fields = []
        for unit, difference in enumerate(self._selection.units):
            code = {section for of, section in self._sections if of == unit}
            code = {section for section in code if difference.new.sections[section].code}
            if not code:
                continue
            table = eh_frame.cut(difference.new, code)
            for field in table.fields:
                to = Own(unit, field.symbol.index)
                fields.append((len(data) + field.offset, field.type, self._handle(to), field.addend))
            data += table.data
        if not data:
            return
        word = self._writer.cpu.word
        section = self._writer.section(eh_frame.NAME, SHF_ALLOC, bytes(data), word)
        for offset, kind, handle, addend in fields:
            self._writer.relocation(section, offset, kind, handle, addend)


def _kept_name(section: Section) -> str:
    """The section's name; in front of one that the source chose, what kind it is."""
    if section.name.startswith((".text", ".rodata", ".data", ".bss")):
        return section.name
    kind = ".rodata"
    if section.code:
        kind = ".text"
    elif section.header.flags & SHF_WRITE:
        kind = ".bss" if section.header.type == SHT_NOBITS else ".data"
    return kind + "." + section.name.lstrip(".")


def _manifest(
    request: BuildRequest,
    target: TargetFile,
    selection: Selection,
    order: Sequence[int],
    compiler: str,
    symbols: Sequence[_Names],
    references: Sequence[Reference],
) -> Manifest:
    return Manifest(
        format=FORMAT,
        kind="patch",
        name=request.name,
        version=request.version,
        arch=target.cpu.name,
        needs_injector=2 if any(each.thunk for each in symbols) else 1,
        target=Target(
            build_id=target.build_id,
            text_sha256=target.elf.text_sha256(),
            name=target.name,
            soname=target.elf.soname,
            type="ET_EXEC" if target.elf.type == ET_EXEC else "ET_DYN",
        ),
        functions=tuple(_function(target, each, symbol) for each, symbol in zip(selection.replaced, symbols)),
        references=tuple(references),
        write_order=tuple(order),
        hooks=Hooks(),
        allowed=(),
        supersedes=tuple(relation_of(each) for each in request.supersedes),
        requires=tuple(relation_of(each) for each in request.requires),
        conflicts=tuple(relation_of(each) for each in request.conflicts),
        cve=tuple(request.cve),
        description=request.description,
        built_with=BuiltWith(compiler=compiler, livepatch=VERSION),
    )


def _function(target: TargetFile, each: Replaced, names: _Names) -> Function:
    chooses = target.indirect_at(each.ranges[0][0])
    if chooses is not None:
        raise Refused(
            "unsupported_relocation", f"{each.old_name} chooses what {chooses} is (IFUNC), and that was done already"
        )
    ranges, text_relocations = [], []
    for index, (address, size) in enumerate(each.ranges):
        ranges.append(Range(address, size, hashlib.sha256(target.read(address, size)).hexdigest()))
        for place, width in target.written_by_linker(address, size):
            text_relocations.append(TextRelocation(index, place - address, width))
    return Function(
        name=each.old_name,
        symbol=names.symbol,
        file=each.file,
        ranges=tuple(ranges),
        text_relocations=tuple(text_relocations),
        entry_safe=each.entry_safe,
        convention="standard" if names.thunk is None else "private",
        thunk=names.thunk,
        copies=each.copies,
    )
