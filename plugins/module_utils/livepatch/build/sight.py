# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Code by name and by address, for :mod:`clobbers`: what calls what, in the target and in new objects.

A key is the address of a function of the target, or (unit, name) of a function of an object.
"""

from __future__ import annotations

import bisect
import re
from functools import cached_property
from typing import Callable, Iterator, NamedTuple, Sequence

from ..elf import STB_LOCAL
from ..errors import Refused
from . import clobbers, instructions, names
from .bind import Binder, InTarget
from .clobbers import OUTSIDE, Effects, Key, Piece
from .debug_info import Subprogram, Unit
from .instructions import Instruction
from .objects import Field, Function, ObjectFile, has_place
from .target import TargetFile

_VECTOR = re.compile(r"\b([xyz]mm\d+|mm[0-7]|k[0-7])\b")


class UnitCode(NamedTuple):
    """The code of a unit of the target.

    :ivar calls: (function, address): what its functions call and jump to directly
    :ivar mentions: the registers that they name, of those that are no general ones
    :ivar unread: functions that could not be decoded whole
    """

    calls: tuple[tuple[Subprogram, int], ...]
    mentions: frozenset[str]
    unread: tuple[Subprogram, ...]

    def callers(self, entry: int) -> list[Subprogram]:
        """The functions that call or jump to an address."""
        return list({id(who): who for who, where in self.calls if where == entry}.values())


class TargetCode:
    """The target's functions."""

    def __init__(self, target: TargetFile) -> None:
        self._target = target
        self._effects: dict[int, Effects | None] = {}
        self._units: dict[int, UnitCode] = {}

    @cached_property
    def _functions(self) -> list[tuple[int, int]]:
        """(address, size) of every function that a symbol names, by address."""
        found = {each.address: 0 for each in self._target.functions()}
        for each in self._target.functions():
            found[each.address] = max(found[each.address], each.size)
        return sorted(found.items())

    def key(self, address: int) -> Key | None:
        """Whose code an address is."""
        at = bisect.bisect_right(self._functions, (address, 1 << 64)) - 1
        if at >= 0:
            start, size = self._functions[at]
            if start <= address < start + size:
                return start
        for section in self._target.elf.sections:
            if section.name.startswith(".plt") and section.address <= address < section.address + section.size:
                return OUTSIDE
        return None

    def effects(self, start: Key) -> Effects | None:
        """What the function at an address does by itself; None where it can not be read."""
        assert isinstance(start, int)
        if start not in self._effects:
            size = self._functions[bisect.bisect_right(self._functions, (start, 1 << 64)) - 1][1]
            code = self._target.peek(start, size)
            self._effects[start] = None if code is None else self.of_ranges([(start, start + size)])
        return self._effects[start]

    def of_ranges(self, ranges: Sequence[tuple[int, int]]) -> Effects:
        """The same of code that is known by its ranges."""
        pieces = [Piece(self._target.read(start, end - start), start) for start, end in ranges]

        def led(index: int, instruction: Instruction) -> Key | None:
            where = instructions.direct_destination(instruction)
            if where is None:
                return self._by_slot(instruction)
            return "" if any(start <= where < end for start, end in ranges) else self.key(where)

        return clobbers.effects(self._target.cpu, pieces, led)

    def _by_slot(self, instruction: Instruction) -> Key | None:
        """A jump through a word that the dynamic linker fills in leads to another function."""
        slot = instructions.slot(instruction)
        return OUTSIDE if slot is not None and slot in self._target.dynamic_relocations else None

    def of_unit(self, unit: Unit) -> UnitCode:
        """A unit's functions."""
        if id(unit) not in self._units:
            self._units[id(unit)] = self._read(unit)
        return self._units[id(unit)]

    def _read(self, unit: Unit) -> UnitCode:
        calls, mentions, unread = set(), set(), []
        for function in unit.subprograms:
            for start, end in function.ranges:
                reached = start
                for each in instructions.decode(self._target.cpu, self._target.read(start, end - start), start):
                    reached = each.end
                    mentions.update(_VECTOR.findall(each.operands))
                    where = instructions.direct_destination(each)
                    if where is not None and not start < where < end:
                        calls.add((function, where))
                if reached != end:
                    unread.append(function)
        return UnitCode(tuple(calls), frozenset(_whole(mentions)), tuple(unread))


def _whole(found: set[str]) -> Iterator[str]:
    for name in found:
        if name.startswith(("x", "y", "z")):
            yield "x" + name[1:]
            if name[0] != "x":
                yield "y" + name[1:]
        else:
            yield "mm" if name.startswith("mm") else name


class PatchCode:
    """New objects, and the target behind them.

    :param through_thunks: names that lead to the target through a thunk, which writes registers of its own
    """

    def __init__(
        self,
        target: TargetCode,
        units: Sequence[ObjectFile],
        binder: Binder,
        through_thunks: frozenset[str] = frozenset(),
    ) -> None:
        self._target = target
        self._through_thunks = through_thunks
        self._units = units
        self._binder = binder
        self._defined = {
            symbol.name: unit
            for unit, read in enumerate(units)
            for symbol in read.symbols
            if symbol.binding != STB_LOCAL and has_place(symbol)
        }

    def effects(self, key: Key) -> Effects | None:
        """What a function does by itself; None where it can not be read."""
        if isinstance(key, int):
            return self._target.effects(key)
        assert isinstance(key, tuple)
        unit, name = key
        read = self._units[unit]
        return of_object(read, read.functions[name], lambda field: self._at(unit, field))

    def _at(self, unit: int, field: Field) -> Key | None:
        spot = self._units[unit].spot(field)
        if spot.kind == "function":
            return unit, names.hot_part(spot.name) or spot.name
        if spot.kind != "external":
            return None
        home = self._defined.get(spot.name)
        if home is not None:
            return (home, spot.name) if spot.name in self._units[home].functions else None
        if spot.name in self._through_thunks:
            return OUTSIDE
        try:
            bound = self._binder.named(spot.name, self._units[unit].unit)
        except Refused:
            return None
        return self._target.key(bound.address) if isinstance(bound, InTarget) else OUTSIDE


def of_object(read: ObjectFile, function: Function, key: Callable[[Field], Key | None]) -> Effects:
    """What a function of an object does by itself.

    :param key: what a field of a call or jump leads to
    """
    pieces = [
        Piece(read.sections[each.section].data[each.start : each.start + each.size], each.start)
        for each in function.pieces
    ]

    def led(index: int, instruction: Instruction) -> Key | None:
        if instructions.direct_destination(instruction) is None:
            return None
        section = function.pieces[index].section
        for field in read.fields(section):
            if instruction.offset <= field.offset < instruction.end:
                spot = read.spot(field)
                own = spot.kind == "function" and (names.hot_part(spot.name) or spot.name) == function.name
                return "" if own else key(field)
        return ""  # within the section, which is the function's own

    return clobbers.effects(read.cpu, pieces, led)
