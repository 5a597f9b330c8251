# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Who calls a replaced function directly, and what such a caller may rely on.

gcc sees a callee of the same unit and may rely on more than the psABI promises: registers that the callee
happens to leave alone (-fipa-ra), arguments in registers (i386, local functions), a changed
parameter list (-fipa-sra, -fipa-cp). The standard convention is certain where it could not see through: in
another unit, and through a symbol that another file may interpose. ``private`` has what is done elsewhere.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple, Sequence

from ..elf import STB_LOCAL, STV_DEFAULT
from ..errors import Refused
from . import clobbers
from .bind import Binder
from .compare import Difference, same_code
from .debug_info import Unit
from .objects import Field, ObjectFile
from .selection import Replaced
from .sight import PatchCode, TargetCode
from .target import TargetFile


class Call(NamedTuple):
    """A direct call or jump from one function of an object to another one."""

    caller: str
    callee: str
    field: Field


def calls(read: ObjectFile) -> Iterator[Call]:
    """Every direct call between two functions of an object, or from one to another unit."""
    for function in read.functions.values():
        for field in read.fields_of(function):
            spot = read.spot(field)
            entry = spot.kind in ("function", "external") and spot.offset == 0
            if field.branch and entry and spot.name != function.name:
                yield Call(function.name, spot.name, field)


def assumes_standard(call: Call, unit: Unit | None) -> bool:
    """Whether the compiler had to assume the psABI's convention for this call within a unit."""
    symbol = call.field.symbol
    if symbol.binding == STB_LOCAL or symbol.visibility != STV_DEFAULT or symbol.name != call.callee:
        return False
    return unit is not None and may_be_interposed(unit.producer)


def may_be_interposed(producer: str) -> bool:
    """Whether gcc, given these options, looks at no default-visible function's code (-fsemantic-interposition)."""
    options = producer.split()
    position = [each for each in options if each.lower() in ("-fpic", "-fpie", "-fno-pic", "-fno-pie")]
    forbidden = {"-fno-semantic-interposition", "-Ofast", "-flto", "-fwhole-program"}
    looks_through = any(each.split("=")[0] in forbidden for each in options)
    return producer.startswith("GNU C") and position[-1:] in (["-fPIC"], ["-fpic"]) and not looks_through


def is_optimised(unit: Unit | None) -> bool:
    """Whether calls within the unit may have a convention of their own: never at -O0."""
    if unit is None or not unit.producer.startswith("GNU C"):
        return True
    levels = [each for each in unit.producer.split() if each.startswith("-O")]
    return bool(levels) and levels[-1] != "-O0"


def check(
    target: TargetFile,
    units: Sequence[Difference],
    debug: Sequence[Unit | None],
    replaced: Sequence[Replaced],
    binder: Binder,
) -> None:
    """Every direct caller that stays as it is gets along with the new code that it calls.

    The compiler made the same code of it when it had the new callee in sight: then whatever it relied on holds. Where
    only builds with ``-D__LINE__=0`` agree, nothing that it may have relied on has changed.

    :raises Refused: ``private_abi``
    """
    sight: list[PatchCode] = []
    for index, difference in enumerate(units):
        places = {each.old.name: each for each in replaced if each.unit == index}
        for call in calls(difference.old):
            if call.callee not in places or call.caller in places or assumes_standard(call, debug[index]):
                continue
            if same_code(difference, call.caller):
                continue
            if not sight:
                code = TargetCode(target)
                sight = [PatchCode(code, [getattr(each, age) for each in units], binder) for age in ("old", "new")]
            before = clobbers.closure(target.cpu, (index, call.callee), sight[0].effects, True)
            after = clobbers.closure(target.cpu, (index, places[call.callee].name), sight[1].effects, False)
            aligned = before.leaves_sight or not after.wants_alignment
            if not after.registers <= before.registers or not aligned:
                raise Refused(
                    "private_abi",
                    f"{difference.unit}: {call.caller} stays as it is and calls {call.callee}, which changes;"
                    " the compiler saw both",
                )


class Constraint(NamedTuple):
    """One function's jump is to be written before another's: indices of replaced functions."""

    before: int
    after: int
    must: bool


def constraints(
    units: Sequence[Difference],
    debug: Sequence[Unit | None],
    replaced: Sequence[Replaced],
    prototypes: Sequence[set[str]],
) -> Iterator[Constraint]:
    """Callers before callees: old code of a caller must never meet a new private interface.

    :param prototypes: per unit, the new names of functions whose prototype changed
    """
    inside = {(each.unit, each.old.name): index for index, each in enumerate(replaced)}
    outside = {each.old.name: index for index, each in enumerate(replaced) if not each.old.local}
    for unit, difference in enumerate(units):
        for call in calls(difference.old):
            before = inside.get((unit, call.caller))
            after = inside.get((unit, call.callee))
            if before is None:
                continue
            if after is None:
                after = outside.get(call.callee)
                if after is not None and after != before:
                    yield Constraint(before, after, False)
                continue
            private = is_optimised(debug[unit]) and not assumes_standard(call, debug[unit])
            yield Constraint(before, after, private or replaced[after].name in prototypes[unit])
