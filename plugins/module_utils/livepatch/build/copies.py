# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Copies of a replaced function's old code that would go on running: inlined ones, clones, and pieces."""

from __future__ import annotations

from typing import Iterator, Sequence

from ..errors import Refused
from . import names
from .compare import Difference
from .debug_info import DebugInfo, Inlined, Unit
from .selection import Replaced
from .target import TargetFile
from .unit_dwarf import UnitDwarf


def check(
    target: TargetFile,
    dwarf: DebugInfo,
    units: Sequence[Difference],
    debug: Sequence[UnitDwarf],
    replaced: Sequence[Replaced],
) -> None:
    """Nothing of the functions that a pair of objects replaces stays behind.

    :param dwarf: the target's; where it has none, the units' own tell
    :raises Refused: ``copies_remain``, ``several_ranges``, ``no_debug_info``
    """
    for each in replaced:
        shipped = debug[each.unit].shipped
        unit = units[each.unit]
        _check_clones(target, unit.unit, unit.removed, each, replaced)
        if shipped is not None:
            _check_ranges(shipped, each)
            _check_inlined(dwarf, shipped, each, replaced)
        else:
            inside = {names.source_name(other.old_name) for other in replaced if other.unit == each.unit}
            _check_inlined_by_name(dwarf, debug[each.unit].old, each, inside, replaced)


def check_shipped(
    target: TargetFile, dwarf: DebugInfo, homes: Sequence[Unit], replaced: Sequence[Replaced]
) -> None:
    """The same for functions of which only the target tells; ``homes`` has the unit of each.

    :raises Refused: ``copies_remain``, ``several_ranges``
    """
    for each, home in zip(replaced, homes):
        _check_clones(target, home.file, (), each, replaced)
        _check_ranges(home, each)
        _check_inlined(dwarf, home, each, replaced)


def _check_clones(
    target: TargetFile, file: str, removed: Sequence[str], each: Replaced, replaced: Sequence[Replaced]
) -> None:
    """:param removed: functions that no new code calls, and whose old callers are replaced"""
    source = names.source_name(each.old_name)
    entries = {other.match.addresses[0] for other in replaced}
    for symbol in target.functions_of(file):
        kinds = names.clone_kinds(symbol.name)
        if names.source_name(symbol.name) != source or not kinds or symbol.name in removed:
            continue
        if symbol.address not in entries:
            raise Refused(
                "several_ranges" if kinds[-1] == "part" else "copies_remain",
                f"{file}: {each.old_name} changes, and {symbol.name} at {symbol.address:#x} stays as it is",
            )


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


def _check_inlined(dwarf: DebugInfo, home: Unit, each: Replaced, replaced: Sequence[Replaced]) -> None:
    """By the target's DWARF. Only what a header defines can be inlined in other units, too."""
    declared = _declared(home, each)
    entries = {other.match.addresses[0] for other in replaced}
    for unit in [home] if declared == home.file else dwarf.units():
        for copy in _copies(unit, each, declared):
            if copy.entry not in entries:
                raise _left_behind(unit, copy, f" at {copy.address:#x}")


def _check_inlined_by_name(
    dwarf: DebugInfo, unit: Unit, each: Replaced, inside: set[str], replaced: Sequence[Replaced]
) -> None:
    """By the old object's DWARF, which knows names and no addresses."""
    declared = _declared(unit, each)
    if declared != unit.file:
        if not dwarf.exists:
            what = f"{each.old_name} is defined in {declared or 'an unknown file'}"
            raise Refused(
                "no_debug_info", f"{what}, which other units may include; the target's DWARF would tell"
            )
        _check_inlined(dwarf, unit, each, replaced)
    for copy in _copies(unit, each, declared):
        if copy.inside not in inside:
            raise _left_behind(unit, copy, "")


def _declared(unit: Unit, each: Replaced) -> str:
    found = unit.find(names.source_name(each.old_name))
    return found.file if found is not None else ""


def _copies(unit: Unit, each: Replaced, declared: str) -> Iterator[Inlined]:
    source = names.source_name(each.old_name)
    return (copy for copy in unit.inlined if (copy.name, copy.file) == (source, declared))


def _left_behind(unit: Unit, copy: Inlined, where: str) -> Refused:
    return Refused(
        "copies_remain",
        f"{unit.file}: {copy.inside} has an inlined copy of {copy.name}{where} and stays as it is",
    )
