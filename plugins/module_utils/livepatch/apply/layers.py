# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Patches on top of one another: what stands where, and what a change of patches writes.

Decided over ledgers; nothing is done.  Layers are the patches in force, the lowest first::

                            f          g          h
    3  fix-c                jump                            f enters fix-c, g fix-b, h fix-a;
    2  fix-b                jump       jump                 below the lowest jump lies the
    1  fix-a                jump                  jump      target's own code
    0  the target's file    code       code       code

A *transition* takes some patches out and puts others in, at one instant for the
process.  Should we die in the middle of it, some jumps are written and some are
not, so its order matters: what leaves does so from the top, each patch in the
reverse of its write order, down to what lies beneath; then what comes goes in, in
its write order.  Every prefix of that is a prefix of reverting one patch or of
applying another, which the builder has proven to be safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

from ..errors import Refused
from ..tracee.check import Watched
from .ledger import Ledger, Site


@dataclass(frozen=True)
class Jump:
    """Bytes that change at one instant."""

    name: str
    address: int
    old: bytes
    new: bytes

    @property
    def undone(self) -> Jump:
        return Jump(self.name, self.address, self.new, self.old)


def in_order(ledgers: Iterable[Ledger]) -> List[Ledger]:
    """The lowest first."""
    return sorted(ledgers, key=lambda each: (each.record.order, each.record.at, each.data[0]))


def without(layers: Iterable[Ledger], gone: Iterable[Ledger]) -> List[Ledger]:
    """A patch is the same one if its ledger stands at the same place."""
    places = {each.data[0] for each in gone}
    return [each for each in layers if each.data[0] not in places]


def site_at(found: Ledger, address: int) -> Optional[Site]:
    """What a patch has put where a jump stands."""
    return next((site for site in found.record.sites if site.address == address), None)


def standing(layers: Sequence[Ledger], site: Site) -> bytes:
    """What stands at a site while these patches are in force."""
    for found in reversed(in_order(layers)):
        there = site_at(found, site.address)
        if there is not None:
            return there.new_bytes
    return site.old_bytes


def transition(layers: Sequence[Ledger], leaving: Sequence[Ledger], coming: Sequence[Ledger]) -> List[Jump]:
    """What is written when some patches leave and others come, in order.

    The same address may be written twice.

    :param layers: the patches in force before; ``coming`` are not among them
    """
    now: Dict[int, bytes] = {}
    jumps: List[Jump] = []
    present = in_order(layers)

    def settle(site: Site) -> None:
        before, after = now.get(site.address, standing(layers, site)), standing(present, site)
        now[site.address] = after
        if before != after:
            jumps.append(Jump(site.name, site.address, before, after))

    for found in reversed(in_order(leaving)):
        present = without(present, [found])
        for site in reversed(found.record.sites):
            settle(site)
    for found in in_order(coming):
        present = [*present, found]
        for site in found.record.sites:
            settle(site)
    return jumps


def progress(jumps: Sequence[Jump], read: Callable[[Jump], bytes]) -> int:
    """How many jumps of a transition were written before it was cut off.

    :param read: what stands where a jump goes; nothing where its library was unloaded
    :raises Refused: ``code_differs``: none of its steps has left what stands there
    """
    expected: Dict[int, bytes] = {}
    found: Dict[int, bytes] = {}
    for jump in jumps:
        expected.setdefault(jump.address, jump.old)
        found[jump.address] = read(jump)
    for done, jump in enumerate(jumps):
        if expected == found:
            return done
        expected[jump.address] = jump.new
    if expected == found:
        return len(jumps)
    jump = next((each for each in jumps if found[each.address] not in (each.old, each.new)), jumps[-1])
    here = found[jump.address].hex() or "nothing"
    raise Refused("code_differs", f"at {jump.name} stands {here}, which is neither its code nor a patch's jump")


def watched(
    layers: Sequence[Ledger], leaving: Sequence[Ledger], coming: Sequence[Ledger], retired: Sequence[Ledger] = ()
) -> List[Watched]:
    """The code that nobody may be in at a transition, for ``strict`` consistency.

    That is all new code of what leaves; and of every function that is replaced, each version that there
    has been: the target's own, and those of the patches beneath.

    :param retired: patches out of use whose memory is still there, with a thread in it perhaps
    """
    result = [_whole(found) for found in leaving]
    for found in coming:
        result += [
            Watched(part["address"], part["address"] + part["size"], site.name)
            for site in found.record.sites
            for part in site.ranges
        ]
    replaced = {site.address for found in coming for site in found.record.sites}
    for found in without(layers, leaving):
        if any(site.address in replaced for site in found.record.sites):
            result += _code_of(found, replaced)
    result += [
        _whole(found)
        for found in without(retired, coming)
        if any(site.address in replaced for site in found.record.sites)
    ]
    return result


def half_written(jumps: Sequence[Jump]) -> List[Watched]:
    """The code that nobody may be in for ``entry`` consistency: behind the first byte of each jump."""
    return [Watched(jump.address + 1, jump.address + len(jump.new), jump.name) for jump in jumps]


def _title(found: Ledger) -> str:
    return f"the new code of {found.title}"


def _whole(found: Ledger) -> Watched:
    return Watched(found.text[0], found.text[0] + found.text[1], _title(found))


def _code_of(found: Ledger, replaced: Set[int]) -> List[Watched]:
    """A patch's text, less its functions that stay in force: it may have more than functions say."""
    start, end = found.text[0], found.text[0] + found.text[1]
    staying = sorted(
        (part["address"], part["address"] + part["size"])
        for site in found.record.sites
        if site.address not in replaced
        for part in site.code
    )
    return [Watched(low, high, _title(found)) for low, high in _between(start, end, staying)]


def _between(start: int, end: int, holes: Sequence[Tuple[int, int]]) -> Iterator[Tuple[int, int]]:
    for low, high in [*holes, (end, end)]:
        if start < low:
            yield start, low
        start = max(start, high)


def unpatched(layers: Sequence[Ledger], start: int, code: bytes) -> bytes:
    """Code of the target as it was before any patch, made from what stands in memory.

    :param start: its address in the process
    :raises Refused: ``code_differs``: a jump that should stand there does not
    """
    result = bytearray(code)
    for site in {site.address: site for found in layers for site in found.record.sites}.values():
        at = site.address - start
        if 0 <= at < len(code):
            wanted = standing(layers, site)
            here = code[at : at + len(wanted)]
            if here != wanted:
                raise Refused("code_differs", f"at {site.name} stands {here.hex()} instead of a patch's jump")
            result[at : at + len(wanted)] = site.old_bytes
    return bytes(result)
