# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a patch file declares, held against what the target defines: prototypes and types of variables."""

from __future__ import annotations

import re

from ..errors import Refused
from . import limits, names
from .debug_info import DebugInfo, Unit
from .scope import Scope
from .target import TargetSymbol


def check_prototype(name: str, symbol: TargetSymbol, home: Unit, unit: Unit) -> None:
    """A function has in the patch, where it is called ``name``, the prototype that it has in its unit.

    :raises Refused: ``prototype_differs``
    """
    if names.clone_kinds(symbol.name):
        return  # DWARF has the source's prototype, and a clone may have lost parameters
    known = home.at(symbol.address)
    before = known.prototype if known is not None else home.prototypes.get(symbol.name)
    after = unit.prototypes.get(name)
    if before is None or after is None or before == after:
        return
    there = home.line(f"{known.name if known is not None else symbol.name}()", before)
    raise Refused(
        "prototype_differs",
        f"{_both(name, symbol)} is {limits.readable(before)} in the target{there}"
        f" and {limits.readable(after)} in the patch{unit.line(name + '()', after)}",
    )


def check_reference(dwarf: DebugInfo, name: str, symbol: TargetSymbol, unit: Unit) -> Unit | None:
    """What the patch declares as ``name`` is what the target has; the unit that defines it, if DWARF knows one.

    :raises Refused: ``prototype_differs``, ``layout_changed``
    """
    if symbol.function:
        home = dwarf.unit_at(symbol.address)
        if home is not None:  # else a part of the C library, in a static program
            check_prototype(name, symbol, home, unit)
            limits.check_layouts(home, unit, limits.reachable(unit, unit.prototypes.get(name, "")))
        return home
    home = None
    for home, key in dwarf.variables_at(symbol.address):
        for after in sorted(unit.variables.get(name, ())):
            kinds = sorted(home.variables[key])
            if not any(_fits(after, before) for before in kinds):
                raise Refused(
                    "prototype_differs",
                    f"{_both(name, symbol)} is {limits.readable(kinds[0])} in the target{home.line(key, kinds[0])}"
                    f" and {limits.readable(after)} in the patch{unit.line(name, after)}",
                )
            limits.check_layouts(home, unit, limits.reachable(unit, after))
    return home


def check_new_variable(scope: Scope, unit: Unit, name: str) -> None:
    """What the patch defines for everybody to see, the target has not.

    :raises Refused: ``data_changed``, ``ambiguous_symbol``
    """
    found = scope.find(name)
    if found is None:
        return
    kinds = sorted(unit.variables.get(name, ("",)))
    here = unit.line(name, kinds[0]) or " here"
    what = f"the target has {scope.described(found)}, and{here} defines {name} anew"
    raise Refused(
        "data_changed", f"{what}: declare it extern to use the target's, or static to have another one"
    )


def _both(name: str, symbol: TargetSymbol) -> str:
    return name if name == symbol.name else f"{name} ({symbol.name} of the target)"


def _fits(declared: str, defined: str) -> bool:
    """Whether a declaration is of the type that is defined; the length of an array may be left open."""
    spelled = re.escape(declared).replace(re.escape("[]"), r"\[\d*\]")
    return re.fullmatch(spelled, defined) is not None
