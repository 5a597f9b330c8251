# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A patch from one C file that defines functions anew; ``extern`` names bind to the target.

Nothing of the old build is at hand but the target's own DWARF and code, so that is what the file is held
against: prototypes, layouts, and who calls the old functions directly.
"""

from __future__ import annotations

from typing import Iterator

from ..artifact.file import GOT_BASE
from ..elf import STB_LOCAL, STB_WEAK
from ..errors import Refused
from . import (
    clones,
    convention,
    copies,
    declared,
    limits,
    names,
    patch_file,
    placing,
    private,
)
from .bind import Binder
from .compare import Difference
from .convention import Constraint
from .debug_info import DebugInfo, Unit
from .match import Match
from .objects import ObjectFile
from .proposal import Proposal
from .request import BuildRequest
from .scope import Scope
from .selection import Replaced
from .source_files import SourceFiles
from .statics import Pairing
from .target import TargetFile, TargetSymbol


def propose(request: BuildRequest, target: TargetFile, dwarf: DebugInfo) -> Proposal:
    """Replace each function of the target that the file defines, too; its static functions are its own.

    :raises Refused: ``compile_failed``, ``no_debug_info``, ``nothing_changed``, ``symbol_not_found``,
        ``ambiguous_symbol``, ``data_changed``, ``layout_changed``, ``prototype_differs``, ``private_abi``,
        ``copies_remain``, ``several_ranges``, ``function_too_short``
    """
    if not dwarf.exists:
        raise Refused("no_debug_info", f"{dwarf.path} has no DWARF, which the file would be held against")
    patch = patch_file.compiled(request, target)
    new, unit = patch.new, patch.unit
    scope = Scope(target, SourceFiles(target, dwarf), patch.names)
    replaced = _placed(target, dwarf, new, scope)
    if not replaced:
        what = f"{request.patch_source} defines no function that {target.path} has"
        raise Refused("nothing_changed", f"{what}; static functions of the file are its own")
    for variable in new.objects:
        if variable.binding != STB_LOCAL:
            declared.check_new_variable(scope, unit, variable.name)
    names_inside = tuple(each.name for each in replaced)
    added = tuple(sorted(set(new.functions) - set(names_inside)))
    difference = Difference(new, new, {}, names_inside, added, (), Pairing({}, frozenset()), ())
    homes = [_home(dwarf, each.match.symbol) for each in replaced]
    for each, home in zip(replaced, homes):
        limits.check_layouts(home, unit)
        declared.check_prototype(each.name, each.match.symbol, home, unit)
    replaced = clones.absorbed(target, homes, replaced)
    fresh = [name for name in added if not new.functions[name].local and not names.is_thunk(name)]
    replaced = copies.settled_by_hand(target, dwarf, homes, replaced, fresh, request.accept_copies)
    undefined = sorted({each.name for each in new.symbols if each.name and not each.defined})
    used = {name: scope.find(name) for name in undefined if name != GOT_BASE}
    found_there = {name: found for name, found in used.items() if found is not None}  # the rest is imported
    patch_file.add_declared(request, target, unit, found_there)
    called = []
    for symbol, found in found_there.items():
        defined_in = declared.check_reference(dwarf, symbol, found, unit)
        if found.function and defined_in is not None:
            called.append(private.Called(symbol, found, defined_in))
    proposal = Proposal(
        (difference,), (unit,), tuple(replaced), Binder(target, scope=scope), tuple(_preferences(new, replaced))
    )
    return private.settle(request, target, proposal, homes, called)


def _placed(target: TargetFile, dwarf: DebugInfo, new: ObjectFile, scope: Scope) -> list[Replaced]:
    """The functions of the file that the target has, each with all of its old code.

    What C++ emits wherever it is used (weak) is the file's own, unless a macro says otherwise.
    """
    found: list[Replaced] = []
    for name, function in sorted(new.functions.items()):
        by_macro = name in scope.replaces
        own = function.local or names.is_thunk(name) or function.symbol.binding == STB_WEAK
        symbol = scope.replaced_by(name) if by_macro or not own else None
        if symbol is None:
            continue
        same = next((each for each in found if each.match.addresses[0] == symbol.address), None)
        if same is not None:
            what = f"{same.name} and {name} would both take the place of {symbol.name}"
            raise Refused("ambiguous_symbol", f"{what} at {symbol.address:#x}")
        home = _home(dwarf, symbol)
        ranges = placing.with_pieces(target, home, symbol)
        match = Match(function, symbol, tuple(address for address, _ in ranges))
        found.append(Replaced(0, name, function, match, tuple(ranges), home.name))
    return found


def _home(dwarf: DebugInfo, symbol: TargetSymbol) -> Unit:
    """The unit of the target that a replaced function is in."""
    unit = dwarf.unit_at(symbol.address)
    if unit is None:
        raise Refused("no_debug_info", f"{dwarf.path} has no DWARF of {symbol.name}")
    return unit


def _preferences(new: ObjectFile, replaced: list[Replaced]) -> Iterator[Constraint]:
    """Callers before callees as the new code has it: old calls through a PLT are not seen in the target."""
    inside = {each.name: index for index, each in enumerate(replaced)}
    for call in convention.calls(new):
        if call.caller in inside and call.callee in inside:
            yield Constraint(inside[call.caller], inside[call.callee], False)
