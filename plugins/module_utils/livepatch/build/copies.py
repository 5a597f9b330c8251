# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Copies of a replaced function's old code that would go on running: inlined ones, clones, and pieces.

Each must be replaced, too, or be accepted by the name of what holds it. A refusal lists them all.
"""

from __future__ import annotations

import dataclasses
from typing import Iterator, NamedTuple, Sequence

from ..artifact.manifest import Copy
from ..errors import Refused, UsageError
from . import names
from .compare import Difference
from .debug_info import DebugInfo, Inlined, Unit
from .selection import Replaced
from .target import TargetFile, TargetSymbol
from .unit_dwarf import UnitDwarf


class _Left(NamedTuple):
    """A copy that stays; ``what`` says so to a person, behind the name of what holds it."""

    copy: Copy
    what: str
    piece: bool = False


def settled(
    target: TargetFile,
    dwarf: DebugInfo,
    units: Sequence[Difference],
    debug: Sequence[UnitDwarf],
    replaced: Sequence[Replaced],
    accepted: Sequence[str],
) -> list[Replaced]:
    """The functions that a pair of objects replaces, each with the copies that stay because they are accepted.

    :param dwarf: the target's; where it has none, the units' own tell
    :param accepted: names of functions that hold copies, and of clones
    :raises Refused: ``copies_remain``, ``several_ranges``, ``no_debug_info``
    :raises UsageError: one of ``accepted`` is no copy
    """
    left: list[list[_Left]] = []
    for each in replaced:
        shipped = debug[each.unit].shipped
        unit = units[each.unit]
        found = list(_clones(target, unit.unit, unit.removed, each, replaced))
        if shipped is not None:
            _check_ranges(shipped, each)
            found += _inlined(dwarf, shipped, each, replaced)
        else:
            inside = {names.source_name(other.old_name) for other in replaced if other.unit == each.unit}
            found += _inlined_by_name(target, dwarf, debug[each.unit].old, each, inside, replaced)
        left.append(found)
    return _with_accepted(replaced, left, accepted)


def settled_by_hand(
    target: TargetFile,
    dwarf: DebugInfo,
    homes: Sequence[Unit],
    replaced: Sequence[Replaced],
    added: Sequence[str],
    accepted: Sequence[str],
) -> list[Replaced]:
    """The same for functions of which only the target tells; ``homes`` has the unit of each.

    :param added: functions that the patch defines for everybody to see, and that the target has no symbol of
    :raises Refused: ``copies_remain``, ``several_ranges``
    :raises UsageError: one of ``accepted`` is no copy
    """
    _check_added(target, dwarf, added, replaced)
    left = []
    for each, home in zip(replaced, homes):
        _check_ranges(home, each)
        found = list(_clones(target, home.file, (), each, replaced))
        left.append([*found, *_inlined(dwarf, home, each, replaced)])
    return _with_accepted(replaced, left, accepted)


def warnings(replaced: Sequence[Replaced]) -> Iterator[str]:
    """What was accepted, a sentence each."""
    for each in replaced:
        for holder in sorted({copy.name for copy in each.copies}):
            yield f"{holder} goes on running the old code of {each.old_name}: accepted"


def _with_accepted(
    replaced: Sequence[Replaced], left: Sequence[Sequence[_Left]], accepted: Sequence[str]
) -> list[Replaced]:
    holders = {each.copy.name for found in left for each in found}
    for name in accepted:
        if name not in holders:
            there = f"those that stay: {', '.join(sorted(holders))}" if holders else "no copy stays"
            raise UsageError(f"--accept-copy {name}: no such copy; {there}")
    refused = [each for found in left for each in found if each.copy.name not in accepted]
    if refused:
        reason = "several_ranges" if all(each.piece for each in refused) else "copies_remain"
        raise Refused(reason, "; ".join(dict.fromkeys(f"{each.copy.name} {each.what}" for each in refused)))
    return [
        dataclasses.replace(each, copies=tuple(dict.fromkeys(left_over.copy for left_over in found)))
        for each, found in zip(replaced, left)
    ]


def _entries(replaced: Sequence[Replaced]) -> set[int]:
    """Where code begins that nobody enters any more."""
    return {address for each in replaced for address, _ in each.ranges}


def clones_of(target: TargetFile, file: str, name: str) -> Iterator[TargetSymbol]:
    """The clones and pieces of a function that the target has symbols of."""
    source = names.source_name(name)
    for symbol in target.functions_of(file):
        whole = names.clone_kinds(symbol.name) and names.hot_part(symbol.name) is None
        if whole and names.source_name(symbol.name) == source:
            yield symbol


def _clones(
    target: TargetFile, file: str, removed: Sequence[str], each: Replaced, replaced: Sequence[Replaced]
) -> Iterator[_Left]:
    """:param removed: functions that no new code calls, and whose old callers are replaced"""
    entries = _entries(replaced)
    for symbol in clones_of(target, file, each.old_name):
        if symbol.address not in entries and symbol.name not in removed:
            copy = Copy(symbol.name, symbol.address, "clone", True)
            what = f"({file}) at {symbol.address:#x} is a clone of {each.old_name} and stays as it is"
            yield _Left(copy, what, names.clone_kinds(symbol.name)[-1] == "part")


def _check_ranges(unit: Unit, each: Replaced) -> None:
    found = unit.find(names.source_name(each.old_name), each.match.addresses[0])
    if found is None:
        return
    if not found.ranges_known:
        raise Refused("several_ranges", f"{unit.file}: the ranges of {each.old_name} can not be read")
    for start, end in found.ranges:
        if not any(address <= start and end <= address + size for address, size in each.ranges):
            raise Refused(
                "several_ranges",
                f"{unit.file}: {each.old_name} has code at {start:#x} to {end:#x}, and no symbol there",
            )


def _inlined(dwarf: DebugInfo, home: Unit, each: Replaced, replaced: Sequence[Replaced]) -> Iterator[_Left]:
    """By the target's DWARF. Only what a header defines can be inlined in other units, too."""
    declared = _declared(home, each)
    entries = _entries(replaced)
    source = names.source_name(each.old_name)
    for unit in [home] if declared == home.file else dwarf.units_naming(source):
        for copy in _copies(unit, each, declared):
            if copy.entry not in entries:
                yield _inlined_there(unit, copy, copy.address)


def _inlined_by_name(
    target: TargetFile,
    dwarf: DebugInfo,
    unit: Unit,
    each: Replaced,
    inside: set[str],
    replaced: Sequence[Replaced],
) -> Iterator[_Left]:
    """By the old object's DWARF, which knows names and no addresses."""
    declared = _declared(unit, each)
    if declared != unit.file:
        if not dwarf.exists:
            what = f"{each.old_name} is defined in {declared or 'an unknown file'}"
            raise Refused(
                "no_debug_info", f"{what}, which other units may include; the target's DWARF would tell"
            )
        yield from _inlined(dwarf, unit, each, replaced)
    for copy in _copies(unit, each, declared):
        if copy.inside not in inside:
            places = target.local_symbols(copy.inside, unit.file) or target.named(copy.inside)
            yield _inlined_there(unit, copy, places[0].address if places else each.ranges[0][0])


def _inlined_there(unit: Unit, copy: Inlined, address: int) -> _Left:
    call = f", called at {copy.call}" if copy.call else ""
    what = f"({unit.file}) has an inlined copy of {copy.name}{call} at {address:#x} and stays as it is"
    return _Left(Copy(copy.inside, address, "inlined", True), what)


def _check_added(
    target: TargetFile, dwarf: DebugInfo, added: Sequence[str], replaced: Sequence[Replaced]
) -> None:
    """A function of which the target has only copies can not be replaced, only those that hold them."""
    entries = _entries(replaced)
    for name in added:
        left = [
            f"{symbol.name} at {symbol.address:#x}"
            for file in sorted(target.files)
            for symbol in clones_of(target, file, name)
            if symbol.address not in entries
        ]
        for unit in dwarf.units_naming(name):
            for copy in unit.inlined:
                if copy.name == name and copy.entry not in entries:
                    left.append(f"{copy.inside} ({unit.file}, inlined at {copy.call}) at {copy.address:#x}")
        if left:
            what = f"the target has of {name} only copies, which stay: {', '.join(dict.fromkeys(left))}"
            raise Refused("copies_remain", f"{what}. Make {name} static if the patch means another function")


def _declared(unit: Unit, each: Replaced) -> str:
    found = unit.find(names.source_name(each.old_name))
    return found.file if found is not None else ""


def _copies(unit: Unit, each: Replaced, declared: str) -> Iterator[Inlined]:
    source = names.source_name(each.old_name)
    return (copy for copy in unit.inlined if (copy.name, copy.file) == (source, declared))
