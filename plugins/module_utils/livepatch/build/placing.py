# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The replaced functions: where the old code is, all of it, and whether a jump has room there."""

from __future__ import annotations

from typing import Iterator, Sequence

from ..errors import Refused
from . import instructions, names
from .bind import Binder
from .compare import Difference
from .debug_info import Unit
from .selection import Replaced
from .target import TargetFile, TargetSymbol
from .unit_dwarf import UnitDwarf


def replaced(
    target: TargetFile, units: Sequence[Difference], debug: Sequence[UnitDwarf], binder: Binder
) -> list[Replaced]:
    """Every function whose code changed, by unit and name.

    :raises Refused: ``code_differs``, ``symbol_not_found``, ``ambiguous_symbol``, ``several_ranges``,
        ``function_too_short``
    """
    found = []
    taken: set[int] = set()
    for unit, difference in enumerate(units):
        for name in difference.changed:
            old = difference.old.functions[difference.functions[name]]
            match = binder.function(difference.old, old)
            ranges = [(address, piece.size) for address, piece in zip(match.addresses, old.pieces)]
            ranges[0] = with_room(target, name, *ranges[0])
            taken |= set(match.addresses)
            for clone in _removed_clones(difference, old.name):
                gone = binder.function(difference.old, difference.old.functions[clone])
                if not taken & set(gone.addresses):
                    ranges += [(at, piece.size) for at, piece in zip(gone.addresses, gone.function.pieces)]
                    taken |= set(gone.addresses)
            file = (debug[unit].shipped or debug[unit].old).name
            found.append(Replaced(unit, name, old, match, tuple(ranges), file))
    return found


def _removed_clones(difference: Difference, name: str) -> Iterator[str]:
    """Clones of a function that the new build does not have: out of use with it, and no thread may be inside."""
    for clone in difference.removed:
        if names.clone_kinds(clone) and names.source_name(clone) == names.source_name(name):
            yield clone


def with_pieces(target: TargetFile, home: Unit, symbol: TargetSymbol) -> list[tuple[int, int]]:
    """The ranges of a function of which only the target tells: by DWARF, else by symbols.

    :raises Refused: ``function_too_short``, ``several_ranges``
    """
    known = home.at(symbol.address)
    if known is not None and not known.ranges_known:
        raise Refused("several_ranges", f"{home.file}: the ranges of {symbol.name} can not be read")
    size = symbol.size
    if known is not None and not size:
        size = known.ranges[0][1] - symbol.address
    ranges = [with_room(target, symbol.name, symbol.address, size)]
    if known is None:
        pieces = target.named(symbol.name + ".cold")
        return ranges + [(each.address, each.size) for each in pieces if each.file in (home.file, "")]
    inside = range(symbol.address, symbol.address + size)
    return ranges + [
        (start, end - start) for start, end in known.ranges if start not in inside and end > start
    ]


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
