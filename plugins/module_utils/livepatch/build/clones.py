# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Clones that only replaced functions enter: old code of theirs that nobody comes to any more.

::

    old work ----calls---> old f.part.0        work and f are replaced, so f.part.0 is out of use. It becomes a
    old f -----jumps to----^                   range of f: no thread may be inside when the jumps are written.

gcc makes clones for direct calls, so the code of one unit has all of them; one whose address stands anywhere else
is left alone.
"""

from __future__ import annotations

import dataclasses
from typing import Iterable, Mapping, Sequence

from . import copies, instructions, names
from .debug_info import Unit
from .selection import Replaced
from .target import TargetFile, TargetSymbol


def absorbed(target: TargetFile, homes: Sequence[Unit], replaced: Sequence[Replaced]) -> list[Replaced]:
    """The replaced functions, their ranges made more by those of clones that only they call.

    :raises Refused: ``code_differs``
    """
    owners: dict[int, int] = {}  # address of a clone -> index of its function
    symbols: dict[int, TargetSymbol] = {}
    entries = {each.match.addresses[0] for each in replaced}
    for index, (each, home) in enumerate(zip(replaced, homes)):
        for symbol in copies.clones_of(target, home.file, each.old_name):
            if symbol.address not in entries and home.at(symbol.address) is not None:
                owners.setdefault(symbol.address, index)
                symbols[symbol.address] = symbol
    if not owners:
        return list(replaced)
    users = _users(target, {home.path: home for home in homes}.values(), set(owners))
    free = {address for address in owners if not target.holds_word(address)}
    while True:
        still = {address for address in free if users[address] <= entries | free}
        if still == free:
            break
        free = still
    result = list(replaced)
    for address in sorted(free):
        at = owners[address]
        ranges = dict.fromkeys([*result[at].ranges, *_ranges(target, homes[at], symbols[address])])
        result[at] = dataclasses.replace(result[at], ranges=tuple(ranges))
    return result


def _ranges(target: TargetFile, home: Unit, clone: TargetSymbol) -> list[tuple[int, int]]:
    known = home.at(clone.address)
    ranges = [(clone.address, clone.size)]
    if known is not None and known.ranges_known:
        ranges += [(start, end - start) for start, end in known.ranges if start != clone.address]
    for each in target.functions_of(home.file):
        if names.hot_part(each.name) == clone.name and (each.address, each.size) not in ranges:
            ranges.append((each.address, each.size))
    return ranges


def _users(target: TargetFile, homes: Iterable[Unit], wanted: set[int]) -> Mapping[int, set[int]]:
    """For each of some addresses: the functions that go there, by their entry; -1 for one that only holds it."""
    found: dict[int, set[int]] = {address: set() for address in wanted}
    for home in homes:
        for function in home.subprograms:
            for start, end in function.ranges:
                reached = start
                for instruction in instructions.decode(target.cpu, target.read(start, end - start), start):
                    reached = instruction.end
                    to = instructions.direct_destination(instruction)
                    if to in found:
                        found[to].add(function.ranges[0][0])
                    held = instructions.mentioned(instruction)
                    if held in found:
                        found[held].add(-1)
                if reached != end:  # no code: whom it calls can not be told
                    for users in found.values():
                        users.add(-1)
    return found
