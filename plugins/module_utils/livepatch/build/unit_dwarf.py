# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Which DWARF speaks for which unit.

Of the old build the object's own or, where it has none, the target's (in itself or in separate debuginfo); of the
new build the object's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from ..errors import Refused
from .compare import Difference
from .debug_info import DebugInfo, Unit
from .target import TargetFile


@dataclass(frozen=True)
class UnitDwarf:
    """A unit's DWARF: before, after, and as the target has it (with the target's addresses)."""

    old: Unit
    new: Unit
    shipped: Unit | None


def gather(target: TargetFile, dwarf: DebugInfo, units: Sequence[Difference]) -> list[UnitDwarf]:
    """The DWARF of each unit.

    :raises Refused: ``no_debug_info``
    """
    return [_of(target, dwarf, each) for each in units]


def _of(target: TargetFile, dwarf: DebugInfo, difference: Difference) -> UnitDwarf:
    new = _only_unit(difference.new.path, difference.unit)
    shipped = _shipped(target, dwarf, difference)
    old = _only_unit(difference.old.path, difference.unit) or shipped
    if new is None:
        raise Refused("no_debug_info", f"{difference.new.path} has no DWARF")
    if old is None:
        raise Refused(
            "no_debug_info", f"neither {dwarf.path} nor {difference.old.path} has DWARF of {difference.unit}"
        )
    return UnitDwarf(old, new, shipped)


def _only_unit(path: str, file: str) -> Unit | None:
    return next(DebugInfo(path).units(file), None)


def _shipped(target: TargetFile, dwarf: DebugInfo, difference: Difference) -> Unit | None:
    """Of several units compiled from files of one name, the one with this unit's functions."""
    for unit in dwarf.units(difference.unit):
        for function in unit.subprograms:
            entries = {each.address for each in target.named(function.name)}
            if function.name in difference.old.functions and function.ranges[0][0] in entries:
                return unit
    return None
