# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What DWARF says about a compile unit: types, prototypes, variables, inlined copies, how it was compiled."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Iterator, NamedTuple

from elftools.common.exceptions import DWARFError, ELFError
from elftools.elf.elffile import ELFFile

from ..errors import Refused
from . import dwarf_places, signatures, type_text
from .signatures import Signature

_CPLUSPLUS = {0x04, 0x1A, 0x21, 0x2B, 0x3A}  # DW_LANG_C_plus_plus: 98, 11, 14, 17, 20 (DWARF 5, table 7.17)


class Subprogram(NamedTuple):
    """A function of a unit that has code.

    :ivar ranges: (first address, one past the last); section offsets in a relocatable object
    :ivar ranges_known: whether all of them could be read
    :ivar signature: what it takes and gives, and where that is at its entry
    """

    name: str
    prototype: str
    ranges: tuple[tuple[int, int], ...]
    ranges_known: bool
    file: str
    signature: Signature


class Inlined(NamedTuple):
    """An inlined copy of ``name``, which ``file`` defines, in the function ``inside`` that begins at ``entry``.

    :ivar address: of its first byte
    :ivar call: "FILE:LINE" of the call in the source
    """

    name: str
    file: str
    inside: str
    entry: int
    address: int
    call: str


@dataclass
class Unit:
    """A compile unit.

    :ivar types: "struct NAME" and the like -> the texts of its layouts (local types may share a name)
    :ivar prototypes: of everything that is called or defined, by name
    :ivar variables: "NAME", or "FUNCTION: NAME" of a function's static one -> its types
    :ivar places: the same names -> addresses, of those that it defines
    :ivar lines: (a key of ``types`` or ``variables``, or "NAME()" of a prototype; its text) -> "FILE:LINE"
    :ivar folder: where the compiler ran; the name may be relative to that
    """

    name: str
    producer: str
    cplusplus: bool
    types: dict[str, set[str]] = field(default_factory=dict)
    prototypes: dict[str, str] = field(default_factory=dict)
    variables: dict[str, set[str]] = field(default_factory=dict)
    places: dict[str, set[int]] = field(default_factory=dict)
    subprograms: list[Subprogram] = field(default_factory=list)
    inlined: list[Inlined] = field(default_factory=list)
    lines: dict[tuple[str, str], str] = field(default_factory=dict)
    folder: str = ""

    @property
    def path(self) -> str:
        """The source file with its folder, as far as DWARF tells."""
        return os.path.normpath(os.path.join(self.folder, self.name))

    @property
    def file(self) -> str:
        """The source file without its folder, as symbol tables have it."""
        return os.path.basename(self.name)

    def at(self, address: int) -> Subprogram | None:
        """The function that begins at an address."""
        return next((each for each in self.subprograms if each.ranges[0][0] == address), None)

    def line(self, key: str, what: str) -> str:
        """Where something is declared, " (FILE:LINE)", or "" where nothing says so; keys as in ``lines``."""
        found = self.lines.get((key, what))
        return f" ({found})" if found else ""

    def find(self, name: str, address: int | None = None) -> Subprogram | None:
        """A function by its name in the source, and by its entry where that is known."""
        for each in self.subprograms:
            if each.name == name and (address is None or any(start == address for start, _ in each.ranges)):
                return each
        return None


class DebugInfo:
    """The DWARF of one file, read unit by unit when it is asked for.

    :raises Refused: every method: ``file_malformed``, ``no_debug_info`` (split up in ways that are not read here)
    """

    def __init__(self, path: str) -> None:
        self.path = path
        content, relocated = dwarf_places.relocated(path)
        try:
            elf = ELFFile(io.BytesIO(content))
            found = elf.get_section_by_name(".debug_info") is not None
            self._dwarf = elf.get_dwarf_info(relocate_dwarf_sections=not relocated) if found else None
        except (ELFError, DWARFError) as error:
            raise Refused("file_malformed", f"{path}: {error}") from error

    @property
    def exists(self) -> bool:
        """Whether the file has any."""
        return self._dwarf is not None

    def refuse_link_time_optimisation(self) -> None:
        """What gcc made of all units at once corresponds to no object, and may be inlined anywhere.

        :raises Refused: ``lto_objects``
        """
        for cu in self._dwarf.iter_CUs() if self._dwarf is not None else ():
            if type_text.text(cu.get_top_DIE(), "producer").startswith("GNU GIMPLE"):
                raise Refused("lto_objects", f"{self.path} was made by link-time optimisation")

    def units(self, file: str | None = None) -> Iterator[Unit]:
        """The units, or those compiled from a source file of this name (its folder does not count)."""
        if self._dwarf is None:
            return
        try:
            for cu in self._dwarf.iter_CUs():
                top = cu.get_top_DIE()
                name = type_text.text(top, "name")
                if top.tag == "DW_TAG_compile_unit" and file in (None, os.path.basename(name)):
                    yield self._read(cu.cu_offset)
        except (ELFError, DWARFError) as error:
            raise Refused("file_malformed", f"{self.path}: DWARF: {error}") from error

    def unit_names(self) -> Iterator[str]:
        """The source files that units were compiled from, as the compiler was told them."""
        for cu in self._dwarf.iter_CUs() if self._dwarf is not None else ():
            yield type_text.text(cu.get_top_DIE(), "name")

    def units_naming(self, name: str) -> Iterator[Unit]:
        """The units whose bytes may name something so; others are not read."""
        if self._dwarf is None:
            return
        spelled = name.encode() + b"\0"
        table = self._dwarf.debug_str_sec
        strings = bytes(table.stream.getbuffer()) if table is not None else b""
        places = [found.start() for found in re.finditer(re.escape(spelled), strings)]
        found = []
        for cu in self._dwarf.iter_CUs():
            indexed = "DW_AT_str_offsets_base" in cu.get_top_DIE().attributes
            data = self._bytes(cu)
            fields = (each.to_bytes(cu.structs.dwarf_format // 8, "little") for each in places)
            if spelled in data or (places and indexed) or any(each in data for each in fields):
                found.append(cu)
        if any(each.get_top_DIE().tag != "DW_TAG_compile_unit" for each in found):
            yield from self.units()  # dwz(1) moved the name to where all units may refer to it
            return
        for cu in found:
            yield self._read(cu.cu_offset)

    def _bytes(self, cu: Any) -> bytes:
        """What .debug_info has of a unit."""
        assert self._dwarf is not None
        end = cu.cu_offset + cu["unit_length"] + cu.structs.initial_length_field_size()
        return bytes(self._dwarf.debug_info_sec.stream.getbuffer()[cu.cu_offset : end])

    def unit_at(self, address: int) -> Unit | None:
        """The unit with the function that begins at an address of the target."""
        offsets = [offset for start, end, offset in self._code if start <= address < end]
        for unit in map(self._read, offsets) if offsets else self.units():
            if any(start == address for each in unit.subprograms for start, _ in each.ranges):
                return unit
        return None

    @cached_property
    def _code(self) -> list[tuple[int, int, int]]:
        """(first address, one past the last, offset of the unit): clang writes no .debug_aranges."""
        found = []
        for cu in self._dwarf.iter_CUs() if self._dwarf is not None else ():
            ranges, _ = dwarf_places.ranges(self._dwarf, cu, cu.get_top_DIE())
            found += [(start, end, cu.cu_offset) for start, end in ranges]
        return found

    def variables_at(self, address: int) -> Iterator[tuple[Unit, str]]:
        """The units with a variable at this address of the target, and the key that it has in ``places``."""
        for offset in sorted(self._mentioning(address)):
            unit = self._read(offset)
            for key, places in unit.places.items():
                if address in places:
                    yield unit, key

    def _mentioning(self, address: int) -> set[int]:
        """Offsets of the units whose bytes hold an address: reading them all would take minutes."""
        found = set()
        for cu in self._dwarf.iter_CUs() if self._dwarf is not None else ():
            assert self._dwarf is not None
            field = address.to_bytes(cu["address_size"], "little")
            base = cu.get_top_DIE().attributes.get("DW_AT_addr_base")
            if field in self._bytes(cu):
                found.add(cu.cu_offset)
            elif base is not None and self._dwarf.debug_addr_sec is not None:
                table = self._dwarf.debug_addr_sec.stream.getbuffer()
                size = int.from_bytes(table[base.value - 8 : base.value - 4], "little") - 4
                if bytes(table[base.value : base.value + size]).find(field) >= 0:
                    found.add(cu.cu_offset)
        return found

    def add_pointees(self, prefix: str, unit: Unit) -> None:
        """Add to a unit what the first unit's pointers ``prefixNAME`` point to, as what it declares as NAME."""
        assert self._dwarf is not None
        cu = next(self._dwarf.iter_CUs())
        for die in cu.get_top_DIE().iter_children():
            name = type_text.text(die, "name")
            if die.tag != "DW_TAG_variable" or not name.startswith(prefix):
                continue
            name = name[len(prefix) :]
            pointer = die.get_DIE_from_attribute("DW_AT_type")
            text = type_text.of(pointer, qualified=True)
            if pointer.get_DIE_from_attribute("DW_AT_type").tag == "DW_TAG_subroutine_type":
                unit.prototypes[name] = text
            else:
                unit.variables.setdefault(name, set()).add(text)
        asking = self._read(cu.cu_offset)
        for key, layouts in asking.types.items():
            unit.types.setdefault(key, set()).update(layouts)
        unit.lines.update({key: line for key, line in asking.lines.items() if key not in unit.lines})

    @lru_cache(maxsize=None)  # noqa: B019 - lives as long as the build, which is one process
    def _read(self, offset: int) -> Unit:
        assert self._dwarf is not None
        cu = self._dwarf.get_CU_at(offset)
        top = cu.get_top_DIE()
        if {"DW_AT_GNU_dwo_name", "DW_AT_dwo_name"} & set(top.attributes):
            raise Refused("no_debug_info", f"{self.path} has split DWARF; compile without -gsplit-dwarf")
        unit = Unit(
            type_text.text(top, "name"),
            type_text.text(top, "producer"),
            type_text.attribute(top, "language") in _CPLUSPLUS,
            folder=type_text.text(top, "comp_dir"),
        )
        _Walk(self._dwarf, cu, unit).children(top, "")
        return unit


class _Walk:
    """One pass over the entries of a unit."""

    def __init__(self, dwarf: Any, cu: Any, unit: Unit) -> None:
        self._dwarf = dwarf
        self._cu = cu
        self._unit = unit
        self._files: list[str] | None = None

    def children(self, parent: Any, function: str, entry: int | None = None) -> None:
        """:param function: the one that this is inside of; ``entry`` its address, where this is its code"""
        for die in parent.iter_children():
            tag = die.tag
            if tag in type_text.RECORDS or tag == "DW_TAG_typedef":
                self._type(die)
                self.children(die, function)
            elif tag == "DW_TAG_subprogram":
                self._subprogram(die)
            elif tag == "DW_TAG_imported_unit":  # dwz(1) moves what units share into partial ones
                self.children(die.get_DIE_from_attribute("DW_AT_import"), function)
            elif tag == "DW_TAG_variable":
                self._variable(die, function)
            elif tag == "DW_TAG_inlined_subroutine":
                if entry is not None:
                    self._inlined(die, function, entry)
                self.children(die, function, entry)
            elif die.has_children and tag != "DW_TAG_array_type":
                self.children(die, function, entry)

    def _type(self, die: Any) -> None:
        if "DW_AT_signature" in die.attributes:
            raise Refused(
                "no_debug_info",
                f"{self._unit.name}: types stand apart; compile without -fdebug-types-section",
            )
        name = type_text.text(die, "name")
        if not name or "DW_AT_declaration" in die.attributes:
            return
        if die.tag == "DW_TAG_typedef":
            key, layout = f"typedef {name}", type_text.of(die)
        else:
            key, layout = f"{type_text.RECORDS[die.tag]} {name}", type_text.layout(die)
        self._unit.types.setdefault(key, set()).add(layout)
        self._note_line(key, layout, die)

    def _subprogram(self, die: Any) -> None:
        name = type_text.text(die, "linkage_name") or type_text.text(die, "name")
        prototype = type_text.prototype(die)
        self._unit.prototypes.setdefault(name, prototype)
        self._note_line(f"{name}()", prototype, die)
        ranges, known = dwarf_places.ranges(self._dwarf, self._cu, die)
        if not ranges:
            self.children(die, name)
            return
        entry = ranges[0][0]
        signature = signatures.read(self._dwarf, self._cu, die, entry)
        self._unit.subprograms.append(
            Subprogram(name, prototype, ranges, known, self._file(die), signature)
        )
        self.children(die, name, entry)

    def _variable(self, die: Any, function: str) -> None:
        place = dwarf_places.static_address(self._dwarf, self._cu, die)
        declared = "DW_AT_declaration" in type_text.origin(die).attributes
        if function and place is None and not declared:
            return
        name = type_text.text(die, "name")
        key = f"{function}: {name}" if function and not declared else name
        kind = type_text.of(die, qualified=True)
        self._unit.variables.setdefault(key, set()).add(kind)
        self._note_line(key, kind, die)
        if place is not None:
            self._unit.places.setdefault(key, set()).add(place)

    def _note_line(self, key: str, what: str, die: Any) -> None:
        line = type_text.attribute(die, "decl_line")
        if line is not None:
            self._unit.lines.setdefault((key, what), f"{self._file(die)}:{line}")

    def _inlined(self, die: Any, inside: str, entry: int) -> None:
        ranges, _ = dwarf_places.ranges(self._dwarf, self._cu, die)
        name = type_text.text(die, "linkage_name") or type_text.text(die, "name")
        address = ranges[0][0] if ranges else entry
        line = type_text.attribute(die, "call_line")
        call = f"{self._file(die, 'call_file')}:{line}" if line is not None else ""
        self._unit.inlined.append(Inlined(name, self._file(die), inside, entry, address, call))

    def _file(self, die: Any, attribute: str = "decl_file") -> str:
        """The source file that declares it, without its folder."""
        if self._files is None:
            program = self._dwarf.line_program_for_CU(self._cu)
            entries = program.header["file_entry"] if program is not None else []
            self._files = [each.name.decode("utf-8", "backslashreplace") for each in entries]
            if self._cu["version"] < 5:
                self._files.insert(0, "")
        index = type_text.attribute(die, attribute)
        known = isinstance(index, int) and 0 <= index < len(self._files)
        return os.path.basename(self._files[index]) if known else ""
