# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A patch from one C file that defines functions anew; ``extern`` names bind to the target.

Nothing of the old build is at hand but the target's own DWARF and code, so that is what the file is held
against: prototypes, layouts, and who calls the old functions directly.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import Iterator

from ..elf import ET_EXEC, STB_LOCAL
from ..errors import Refused
from . import convention, copies, instructions, limits, names, placing
from .bind import Binder
from .compare import Difference
from .convention import Constraint
from .debug_info import DebugInfo, Subprogram, Unit
from .match import Match
from .objects import Function, ObjectFile
from .proposal import Proposal
from .request import BuildRequest
from .selection import Replaced
from .statics import Pairing
from .target import TargetFile, TargetSymbol

#: What the target's place in memory asks of the code, and what an artifact needs.
_FLAGS = (
    "-c", "-g", "-O2", "-ffunction-sections", "-fdata-sections", "-fno-common", "-fasynchronous-unwind-tables",
)  # fmt: skip


def propose(request: BuildRequest, target: TargetFile, dwarf: DebugInfo) -> Proposal:
    """Replace each function of the target that the file defines, too; its static functions are its own.

    :raises Refused: ``compile_failed``, ``no_debug_info``, ``nothing_changed``, ``symbol_not_found``,
        ``ambiguous_symbol``, ``data_changed``, ``layout_changed``, ``prototype_differs``, ``private_abi``,
        ``copies_remain``, ``several_ranges``, ``function_too_short``
    """
    if not dwarf.exists:
        raise Refused("no_debug_info", f"{dwarf.path} has no DWARF, which the file would be held against")
    new, unit = _compiled(request, target)
    written = sorted(
        each.name for each in new.functions.values() if not each.local and not names.is_thunk(each.name)
    )
    there = [(name, _placed(target, new.functions[name])) for name in written]
    replaced = [_replaced(target, dwarf, name, new.functions[name], found) for name, found in there if found]
    if not replaced:
        what = f"{request.patch_source} defines no function that {target.path} has"
        raise Refused("nothing_changed", f"{what}; static functions of the file are its own")
    for variable in new.objects:
        if variable.binding != STB_LOCAL and target.global_symbol(variable.name) is not None:
            raise Refused("data_changed", f"the target has {variable.name}; declare it extern")
    names_inside = tuple(each.name for each in replaced)
    added = tuple(sorted(set(new.functions) - set(names_inside)))
    difference = Difference(new, new, {}, names_inside, added, (), Pairing({}, frozenset()), ())
    homes = [_home(dwarf, each.match.symbol) for each in replaced]
    for each, home in zip(replaced, homes):
        limits.check_layouts(home, unit)
        _check_prototype(each.old_name, home, unit)
        _check_local(target, each.match.symbol, home)
    copies.check_shipped(target, dwarf, homes, replaced)
    for symbol in sorted({each.name for each in new.symbols if each.name and not each.defined}):
        _check_reference(target, dwarf, symbol, unit)
    binder = Binder(target, locals_too=True)
    constraints = [*_constraints(target, homes, replaced), *_preferences(new, replaced)]
    return Proposal((difference,), (unit,), tuple(replaced), binder, tuple(constraints))


def _compiled(request: BuildRequest, target: TargetFile) -> tuple[ObjectFile, Unit]:
    """The object, read, and its DWARF. A folder of its own keeps the compiler's files apart."""
    source = str(request.patch_source)
    bits = "-m64" if target.cpu.word == 8 else "-m32"
    position = ["-fno-pie", "-fno-pic"] if target.elf.type == ET_EXEC else ["-fPIC"]
    folder = tempfile.mkdtemp(prefix="livepatch-build-")
    try:
        path = os.path.join(folder, "patch.o")
        command = [request.cc, bits, *_FLAGS, *position, *request.cflags, "-o", path, source]
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
        except OSError as error:
            raise Refused("compile_failed", f"{request.cc}: {error.strerror}") from error
        if done.returncode:
            raise Refused("compile_failed", f"{' '.join(command)}:\n{done.stdout.strip()}")
        new = ObjectFile(path)
        if new.cpu is not target.cpu:
            raise Refused("wrong_architecture", f"{request.cc} compiled for {new.cpu.name}")
        unit = next(DebugInfo(path).units(), None)
    finally:
        shutil.rmtree(folder)
    if unit is None:
        raise Refused("no_debug_info", f"{request.cc} wrote no DWARF; leave -g in the flags")
    return new, unit


def _placed(target: TargetFile, function: Function) -> TargetSymbol | None:
    """The target's function of this name: an exported one first, else a local one if it is the only one."""
    found = target.global_symbol(function.name)
    if found is None:
        local = {each.address: each for each in target.named(function.name) if each.function}
        if len(local) > 1:
            where = ", ".join(sorted(each.file or "?" for each in local.values()))
            raise Refused("ambiguous_symbol", f"{target.debug_path} has {function.name} in {where}")
        found = next(iter(local.values()), None)
    return found if found is not None and found.function else None


def _replaced(
    target: TargetFile, dwarf: DebugInfo, name: str, new: Function, found: TargetSymbol
) -> Replaced:
    ranges = [placing.with_room(target, name, found.address, found.size)]
    ranges += [(each.address, each.size) for each in target.named(name + ".cold") if each.file == found.file]
    match = Match(new, found, tuple(address for address, _ in ranges))
    return Replaced(0, name, new, match, tuple(ranges), _home(dwarf, found).name)


def _home(dwarf: DebugInfo, symbol: TargetSymbol) -> Unit:
    """The unit of the target that a replaced function is in."""
    unit = dwarf.unit_at(symbol.address)
    if unit is None:
        raise Refused("no_debug_info", f"{dwarf.path} has no DWARF of {symbol.name}")
    return unit


def _check_prototype(name: str, target_unit: Unit, unit: Unit) -> None:
    before, after = target_unit.prototypes.get(name), unit.prototypes.get(name)
    if before is not None and after is not None and before != after:
        raise Refused(
            "prototype_differs",
            f"{name} is {limits.readable(before)} in the target and {limits.readable(after)} in the patch",
        )


def _check_local(target: TargetFile, symbol: TargetSymbol, home: Unit) -> None:
    """i386: gcc passes arguments of local functions in registers (gcc(1), regparm; ix86_function_regparm)."""
    if names.clone_kinds(symbol.name):
        raise Refused(
            "private_abi", f"{symbol.name} is a copy that the compiler made, with a convention of its own"
        )
    if target.cpu.word == 8 or symbol.symbol.binding != STB_LOCAL:
        return
    found = home.find(symbol.name, symbol.address)
    if found is None or not all(found.arguments_in_memory):
        raise Refused(
            "private_abi",
            f"{symbol.name} of {home.file} is local and takes arguments in registers, or may do so",
        )


def _check_reference(target: TargetFile, dwarf: DebugInfo, name: str, unit: Unit) -> None:
    """What the file declares is what the target defines."""
    found = target.global_symbol(name)
    if found is None:
        local = {each.address: each for each in target.named(name)}
        found = next(iter(local.values())) if len(local) == 1 else None
    if found is None:
        return  # an import, or refused when it is bound
    if found.function:
        home = dwarf.unit_at(found.address)
        if home is None:
            return  # a part of the C library, in a static program
        _check_prototype(found.name, home, unit)
        _check_local(target, found, home)
        return
    declared = unit.variables.get(name)
    defined = {kind for home, key in dwarf.variables_at(found.address) for kind in home.variables[key]}
    if declared and defined and not declared <= defined:
        raise Refused(
            "prototype_differs",
            f"{name} is {limits.readable(min(defined))} in the target and {limits.readable(min(declared))} here",
        )


def _direct_callers(target: TargetFile, home: Unit, entry: int) -> Iterator[Subprogram]:
    """The functions of a unit that call or jump to an address directly.

    :raises Refused: ``private_abi``: code that is none
    """
    for function in home.subprograms:
        for start, end in function.ranges:
            reached = start
            for instruction in instructions.decode(target.cpu, target.read(start, end - start), start):
                reached = instruction.end
                if instructions.direct_destination(instruction) == entry:
                    yield function
                    break
            else:
                if reached != end:
                    where = f"{home.file}: {function.name} has no instruction at {reached:#x}"
                    raise Refused("private_abi", f"{where}; whom it calls can not be told")


def _constraints(target: TargetFile, homes: list[Unit], replaced: list[Replaced]) -> Iterator[Constraint]:
    """Callers before callees, and no direct caller of the same unit left behind.

    :raises Refused: ``private_abi``
    """
    entries = {each.match.addresses[0]: index for index, each in enumerate(replaced)}
    for index, (each, home) in enumerate(zip(replaced, homes)):
        entry = each.match.addresses[0]
        interposable = target.interposable(each.old_name) and convention.may_be_interposed(home.producer)
        for caller in _direct_callers(target, home, entry):
            before = entries.get(caller.ranges[0][0])
            if before == index:
                continue
            if before is None:
                raise Refused(
                    "private_abi",
                    f"{home.file}: {caller.name} stays as it is and calls {each.old_name}, which changes;"
                    " the compiler saw both",
                )
            yield Constraint(before, index, not interposable and convention.is_optimised(home))


def _preferences(new: ObjectFile, replaced: list[Replaced]) -> Iterator[Constraint]:
    """Callers before callees as the new code has it: old calls through a PLT are not seen in the target."""
    inside = {each.name: index for index, each in enumerate(replaced)}
    for call in convention.calls(new):
        if call.caller in inside and call.callee in inside:
            yield Constraint(inside[call.caller], inside[call.callee], False)
