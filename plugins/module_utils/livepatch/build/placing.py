# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The replaced functions: where the old code is, all of it, and whether a jump has room there."""

from __future__ import annotations

from typing import Sequence

from ..errors import Refused
from . import instructions
from .bind import Binder
from .compare import Difference
from .selection import Replaced
from .target import TargetFile
from .unit_dwarf import UnitDwarf


def replaced(
    target: TargetFile, units: Sequence[Difference], debug: Sequence[UnitDwarf], binder: Binder
) -> list[Replaced]:
    """Every function whose code changed, by unit and name.

    :raises Refused: ``code_differs``, ``symbol_not_found``, ``ambiguous_symbol``, ``several_ranges``,
        ``function_too_short``
    """
    found = []
    for unit, difference in enumerate(units):
        for name in difference.changed:
            old = difference.old.functions[difference.functions[name]]
            match = binder.function(difference.old, old)
            ranges = [(address, piece.size) for address, piece in zip(match.addresses, old.pieces)]
            ranges[0] = with_room(target, name, *ranges[0])
            file = (debug[unit].shipped or debug[unit].old).name
            found.append(Replaced(unit, name, old, match, tuple(ranges), file))
    return found


def with_room(target: TargetFile, name: str, address: int, size: int) -> tuple[int, int]:
    """The range of a function's entry, made longer by verified padding where the jump needs it.

    The jump stands behind ``endbr``, which indirect calls land on. Padding is what lies between the function
    and the next symbol, and consists of no-ops or int3 alone.

    :raises Refused: ``function_too_short``
    """
    cpu = target.cpu
    endbr = len(cpu.endbr) if target.read(address, len(cpu.endbr)) == cpu.endbr else 0
    missing = endbr + cpu.jump_size - size
    if missing <= 0:
        return address, size
    room = min(target.next_symbol(address + size - 1) - address - size, 15)
    if room >= missing and instructions.is_padding(cpu, target.read(address + size, room)):
        return address, size + missing
    raise Refused(
        "function_too_short",
        f"{name} has {size} bytes in the target, and a jump needs {endbr + cpu.jump_size}",
    )
