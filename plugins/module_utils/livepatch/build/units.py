# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The units of a build: read, paired, compared."""

from __future__ import annotations

import dataclasses
from typing import Sequence

from ..errors import Refused
from . import names
from .compare import Difference, compare
from .objects import ObjectFile
from .request import BuildRequest
from .target import TargetFile


def differences(request: BuildRequest, target: TargetFile) -> list[Difference]:
    """The units whose code changed.

    Where there is a pair built with ``-D__LINE__=0``, it decides what changed: in the normal one every assertion below
    an inserted line differs. The code itself always comes from the normal one.

    :raises Refused: ``nothing_changed``, ``data_changed``, ``objects_do_not_pair``, ``wrong_architecture``, ...
    """
    units = [compare(old, new) for old, new in _pairs(request.old_objects, request.new_objects, target)]
    if request.old_objects_noline:
        pairs = _pairs(request.old_objects_noline, request.new_objects_noline, target)
        deciding = [compare(old, new) for old, new in pairs]
        if [each.unit for each in deciding] != [each.unit for each in units]:
            raise Refused("objects_do_not_pair", "the objects built with -D__LINE__=0 are of other units")
        units = [_decided(unit, by) for unit, by in zip(units, deciding)]
    for unit in units:
        if unit.data:
            raise Refused("data_changed", "; ".join(unit.data))
    if not any(each.changed for each in units):
        raise Refused(
            "nothing_changed", "no function that the target has differs between old and new objects"
        )
    return [_with_whole_functions(unit) for unit in units if _matters(unit)]


def _pairs(old: Sequence[str], new: Sequence[str], target: TargetFile) -> list[tuple[ObjectFile, ObjectFile]]:
    """Objects, first with first, second with second."""
    if len(old) != len(new):
        raise Refused("objects_do_not_pair", f"there are {len(old)} old objects and {len(new)} new ones")
    pairs = [(ObjectFile(before), ObjectFile(after)) for before, after in zip(old, new)]
    for before, after in pairs:
        for each in (before, after):
            if each.cpu is not target.cpu:
                raise Refused(
                    "wrong_architecture",
                    f"{each.path} is for {each.cpu.name}, and {target.path} for {target.cpu.name}",
                )
        if before.unit != after.unit:
            raise Refused(
                "objects_do_not_pair",
                f"{before.path} was compiled from {before.unit}, and {after.path} from {after.unit}",
            )
    return pairs


def _decided(normal: Difference, by: Difference) -> Difference:
    """The normal pair with the other one's verdict."""
    changed = []
    for name in by.changed:
        plain = names.without_numbers(name)
        found = [each for each in normal.functions if each == name] or [
            each for each in normal.functions if names.without_numbers(each) == plain
        ]
        if len(found) != 1:
            raise Refused(
                "objects_do_not_pair",
                f"{normal.unit}: {name} differs with -D__LINE__=0 and is not in the normal pair",
            )
        changed.append(found[0])
    return dataclasses.replace(normal, changed=tuple(changed), data=by.data)


def _matters(unit: Difference) -> bool:
    """Whether a unit has anything that the target does not have."""
    return bool(
        unit.changed or unit.added or any(each.index not in unit.variables.old for each in unit.new.objects)
    )


def _with_whole_functions(unit: Difference) -> Difference:
    """A function that gcc split (``f``, ``f.part.0``) is replaced whole, even where one half is the same."""
    split = {names.source_name(name) for name in unit.changed} & {
        names.source_name(name) for name in unit.functions if "part" in names.clone_kinds(name)
    }
    more = {
        name
        for name in unit.functions
        if names.source_name(name) in split and set(names.clone_kinds(name)) <= {"part"}
    }
    return dataclasses.replace(unit, changed=tuple(sorted({*unit.changed, *more})))
