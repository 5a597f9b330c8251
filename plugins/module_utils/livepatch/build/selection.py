# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Which sections of the new objects a patch needs, and where every field of theirs leads.

The replaced functions come first; what they refer to and the target does not have follows them. Constants
are taken along, whole: an equal one of the target may be in use for something else.

A *call* of a replaced function goes to its new code at once. Its *address*, stored or compared, stays the one
that it has in the target: the program may hold it already, and may keep it after a revert.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Sequence, Union

from ..artifact.manifest import Copy
from ..cpu.relocations import ABSOLUTE, RELATIVE
from ..elf import STB_LOCAL, STT_TLS
from ..errors import Refused
from . import names
from .bind import Binder, Bound, Imported, InTarget
from .compare import Difference
from .match import Match
from .objects import Field, Function, Section, Spot, has_place

_GOT_BASE = "_GLOBAL_OFFSET_TABLE_"


class Own(NamedTuple):
    """A symbol of a new object: index of the unit, index of the symbol."""

    unit: int
    symbol: int


class GotBase(NamedTuple):
    """The patch's own base of GOT offsets."""


Destination = Union[Own, GotBase, Bound]


class Link(NamedTuple):
    """A field of a section that the patch takes along, and where it leads."""

    offset: int
    type: int
    addend: int
    to: Destination


class Way(NamedTuple):
    """The thunk through which a replaced function is entered.

    :ivar unit: index of the unit that has it
    :ivar calls: the name by which it calls the new code
    :ivar arguments: whether the function at the old address takes its arguments as no other code would pass them
    """

    unit: int
    name: str
    calls: str
    arguments: bool


@dataclass(frozen=True)
class Replaced:
    """A function of the target and its new code."""

    unit: int
    name: str  # in the new object
    old: Function
    match: Match
    ranges: tuple[tuple[int, int], ...]  # (address, size) in the target
    file: str  # as the target's build named it
    way: Way | None = None
    entry_safe: bool = False
    copies: tuple[Copy, ...] = ()  # of the old code that stay, accepted by name

    @property
    def old_name(self) -> str:
        """The target's symbol."""
        return self.match.symbol.name


@dataclass
class Selection:
    """What goes into the artifact.

    :ivar sections: (unit, section index) -> the fields of that section, in the order in which they were found
    :ivar warnings: what a person should know, a sentence each
    """

    units: Sequence[Difference]
    replaced: Sequence[Replaced]
    sections: dict[tuple[int, int], list[Link]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def select(units: Sequence[Difference], replaced: Sequence[Replaced], binder: Binder) -> Selection:
    """Everything that the replaced functions' new code needs.

    :raises Refused: ``symbol_not_found``, ``ambiguous_symbol``, ``unsupported_relocation``, ``code_differs``,
        ``needs_function_sections``
    """
    return _Selector(Selection(units, replaced), binder).run()


class _Selector:
    def __init__(self, selection: Selection, binder: Binder) -> None:
        self._selection = selection
        self._binder = binder
        self._replaced = {(each.unit, each.name): each for each in selection.replaced}
        self._defined = {
            symbol.name: (unit, symbol)
            for unit, difference in enumerate(selection.units)
            for symbol in difference.new.symbols
            if symbol.binding != STB_LOCAL and has_place(symbol)
        }
        for each in selection.replaced:
            if each.way is not None:
                new = selection.units[each.unit].new
                self._defined[each.way.calls] = (each.unit, new.functions[each.name].symbol)
        self._waiting: list[tuple[int, int]] = []

    def run(self) -> Selection:
        for each in self._selection.replaced:
            self._take_function(each.unit, each.name)
            if each.way is not None:
                self._take_function(each.way.unit, each.way.name)
        while self._waiting:
            unit, section = self._waiting.pop(0)
            links = self._selection.sections[unit, section]
            new = self._selection.units[unit].new
            links.extend(self._link(unit, new.sections[section], found) for found in new.fields(section))
        return self._selection

    def _take_function(self, unit: int, name: str) -> None:
        for piece in self._selection.units[unit].new.functions[name].pieces:
            self._take(unit, piece.section)

    def _take(self, unit: int, section: int) -> None:
        if (unit, section) not in self._selection.sections:
            self._selection.sections[unit, section] = []
            self._waiting.append((unit, section))

    def _link(self, unit: int, section: Section, found: Field) -> Link:
        new = self._selection.units[unit].new
        kind = new.cpu.relocations.get(found.type)
        if kind is None or (kind.formula is None) or found.symbol.type == STT_TLS:
            name = kind.name if kind is not None else f"type {found.type}"
            raise Refused(
                "unsupported_relocation",
                f"{new.path}: {section.name}+{found.offset:#x} needs {name} for {found.symbol.name}",
            )
        if found.symbol.name == _GOT_BASE:
            return Link(found.offset, found.type, found.addend, GotBase())
        spot = new.spot(found)
        home, spot = self._at_home(unit, spot)
        to = self._destination(home, spot, _Use(unit, section, found, kind.formula is ABSOLUTE))
        if isinstance(to, Own):
            # Within a unit as the compiler wrote it; from another unit by the symbol's name.
            own = Own(unit, found.symbol.index) if home == unit and spot.kind != "external" else to
            return Link(found.offset, found.type, found.addend, own)
        narrow = kind.width < new.cpu.word and kind.formula in (ABSOLUTE, RELATIVE)
        if isinstance(to, Imported) and narrow and not found.branch and not self._binder.stands_near(to):
            raise Refused(
                "relocation_overflow",
                f"{new.path}: {section.name}+{found.offset:#x} needs {to.name} of {to.library} within 2 GiB",
            )
        start = (
            spot.symbol.value if spot.symbol is not None and has_place(found.symbol) else found.symbol.value
        )
        return Link(found.offset, found.type, found.addend + found.symbol.value - start, to)

    def _at_home(self, unit: int, spot: Spot) -> tuple[int, Spot]:
        """A name that another of the new objects defines leads there."""
        if spot.kind == "external" and spot.name in self._defined:
            home, symbol = self._defined[spot.name]
            there = self._selection.units[home].new.at(symbol.section_index, symbol.value, symbol)
            return home, there._replace(offset=spot.offset)
        return unit, spot

    def _destination(self, unit: int, spot: Spot, use: _Use) -> Destination:
        difference = self._selection.units[unit]
        if spot.kind == "function":
            return self._function(unit, difference, spot, use)
        if spot.kind == "object":
            return self._variable(unit, difference, spot, use)
        if spot.kind == "content":
            self._take(unit, spot.section)
            return Own(unit, use.field.symbol.index)
        if spot.kind == "external":
            return self._new_code(self._binder.named(spot.name, difference.unit), spot, use)
        raise Refused("ambiguous_symbol", f"{use}: {spot.name}+{spot.offset:#x} has no name to find it by")

    def _new_code(self, to: Bound, spot: Spot, use: _Use) -> Destination:
        """A call of a replaced function by a name that the patch has for the old one goes to the new code, too."""
        if isinstance(to, InTarget) and not to.indirect and use.field.branch and not spot.offset:
            for each in self._selection.replaced:
                if each.match.addresses[0] == to.address:
                    new = self._selection.units[each.unit].new
                    return Own(each.unit, new.functions[each.name].symbol.index)
        return to

    def _function(self, unit: int, difference: Difference, spot: Spot, use: _Use) -> Destination:
        function = difference.new.functions[names.hot_part(spot.name) or spot.name]
        replaced = self._replaced.get((unit, function.name))
        own = Own(unit, function.symbol.index)
        if replaced is not None:
            if spot.offset == 0 and use.takes_address and spot.name == function.name:
                if replaced.way is not None and replaced.way.arguments:  # nobody could call it there
                    self._warn(f"{use} takes the address of the new code of {function.name}: a revert takes it away")
                    return own
                return InTarget(replaced.old_name, replaced.match.addresses[0], replaced.match.symbol.file)
            return own
        old_name = difference.functions.get(function.name)
        if old_name is None or names.is_thunk(function.name):
            if old_name is None and use.takes_address:
                self._warn(
                    f"{use} takes the address of the new function {function.name}: a revert takes it away"
                )
            self._take_function(unit, function.name)
            return own
        if spot.offset or spot.name != function.name:
            raise Refused(
                "code_differs", f"{use} leads into {function.name} at {spot.offset:#x}, which stays as it is"
            )
        old = difference.old.functions[old_name]
        if not function.local:
            return self._binder.named(old_name, difference.unit)
        found = self._binder.function(difference.old, old)
        return InTarget(found.symbol.name, found.addresses[0], found.symbol.file)

    def _variable(self, unit: int, difference: Difference, spot: Spot, use: _Use) -> Destination:
        symbol = spot.symbol
        assert symbol is not None
        if symbol.type == STT_TLS:
            raise Refused("unsupported_relocation", f"{use}: {symbol.name} is thread-local")
        if symbol.index in difference.variables.undecided:
            raise Refused(
                "ambiguous_symbol", f"{use}: {symbol.name} may be one of several variables of that name"
            )
        old = difference.variables.old.get(symbol.index)
        if old is not None:
            return self._binder.variable(difference.old, old)
        if not has_place(symbol):
            raise Refused(
                "unsupported_relocation", f"{use}: {symbol.name} is common; compile with -fno-common"
            )
        section = difference.new.sections[symbol.section_index]
        neighbours = [each for each in difference.new.objects if each.section_index == symbol.section_index]
        others = [each.name for each in neighbours if each.value != symbol.value]
        if others and section.writable:
            raise Refused(
                "needs_function_sections",
                f"{difference.new.path}: {symbol.name} shares section {section.name} with {others[0]}",
            )
        if section.writable:
            self._warn(
                f"{difference.unit}: {symbol.name} is new; the state that it should hold does not exist yet"
            )
        self._take(unit, symbol.section_index)
        return Own(unit, symbol.index)

    def _warn(self, sentence: str) -> None:
        if sentence not in self._selection.warnings:
            self._selection.warnings.append(sentence)


class _Use(NamedTuple):
    """Who refers to something, and how."""

    unit: int
    section: Section
    field: Field
    absolute: bool

    @property
    def takes_address(self) -> bool:
        """Whether the address itself is wanted; a pc-relative word of data belongs to a jump table."""
        return not self.field.branch and (self.section.code or self.absolute)

    def __str__(self) -> str:
        return f"{self.section.name}+{self.field.offset:#x}"
