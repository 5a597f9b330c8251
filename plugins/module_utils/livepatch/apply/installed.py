# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The patches that are in a process, read from the process.

No stop and no file are needed: every patch has a named data mapping, which
/proc/PID/maps shows, and its ledger stands at the start of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Union

from ..loading.load import Leftovers, bears_our_name, leftovers
from ..process.snapshot import Snapshot, memory_task
from ..tracee import waiting_room
from . import layers, ledger
from .layers import Jump
from .ledger import Damaged, Ledger, Site

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Installed:
    """What of ours is in a process.

    :ivar ledgers: the lowest first
    :ivar damaged: sentences about mappings of ours that can not be understood
    :ivar stray: memory and descriptors of ours that belong to no ledger
    :ivar rooms: where threads waited to be out of a function
    :ivar lost: patches that say they are in force, and whose library was unloaded since, or loaded anew
    """

    ledgers: List[Ledger] = field(default_factory=list)
    damaged: List[str] = field(default_factory=list)
    stray: Leftovers = Leftovers((), (), ())
    rooms: waiting_room.Left = waiting_room.Left()
    lost: List[Ledger] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        """Whether there is anything of ours at all."""
        return bool(self.ledgers or self.cut_off)

    @property
    def cut_off(self) -> bool:
        """Whether something waits to be recovered."""
        return bool(
            self.damaged
            or self.stray.texts
            or self.stray.descriptors
            or self.rooms.anything
            or any(found.state in ledger.CUT_OFF for found in self.ledgers)
        )

    @property
    def retired(self) -> List[Ledger]:
        """Patches of which only the memory is left."""
        return [found for found in self.ledgers if found.state == ledger.RETIRED or found in self.lost]

    @property
    def unfinished(self) -> str:
        """What was cut off, in words."""
        cut_off = [found for found in self.ledgers if found.state in ledger.CUT_OFF]
        parts = [f"{found.title} is {ledger.STATES[found.state]}" for found in cut_off]
        if self.stray.texts or self.stray.descriptors:
            parts.append("memory of an interrupted load is left")
        if self.rooms.anything:
            parts.append("a waiting room is left")
        return "; ".join([*self.damaged, *parts])

    @property
    def in_force(self) -> List[Ledger]:
        """Patches whose code runs, but where one above has replaced a function once more."""
        return [found for found in self.ledgers if found.state == ledger.APPLIED and found not in self.lost]


def has_any(pid: int) -> bool:
    """Whether a process has anything that bears our name; far cheaper than a snapshot.

    :raises ProcessLookupError: it is gone
    """
    task = memory_task(pid)
    return bears_our_name(task) or waiting_room.exists(task)


def read(snapshot: Snapshot, read_memory: Read) -> Installed:
    """:raises ProcessLookupError: the process is gone"""
    left = leftovers(snapshot)
    found: List[Ledger] = []
    damaged: List[str] = []
    for start, size in left.data:
        try:
            found.append(_read_one(start, start + size, read_memory))
        except Damaged as error:
            damaged.append(f"the memory at {start:#x} of process {snapshot.pid} carries our name, but {error}")
    known = {each.text[0] for each in found}
    stray = left._replace(data=(), texts=[text for text in left.texts if text[0] not in known])
    lost = [each for each in found if each.state == ledger.APPLIED and _is_lost(snapshot, each, read_memory)]
    return Installed(layers.in_order(found), damaged, stray, waiting_room.find(snapshot), lost)


def _is_lost(snapshot: Snapshot, found: Ledger, read_memory: Read) -> bool:
    """Whether no jump of a patch stands because its library is not there any more, or was mapped anew."""
    code = [(site, code_at(read_memory, site)) for site in found.record.sites]
    if all(here == site.old_bytes for site, here in code):
        return True
    target = found.record.target
    images = snapshot.targets(target["build_id"], target["text_sha256"])
    there = any(image.start == found.record.image_start for image in images)
    return not there and all(here != site.new_bytes for site, here in code)


def _read_one(start: int, end: int, read_memory: Read) -> Ledger:
    try:
        head = read_memory(start, ledger.HEADER.size)
        total = ledger.size_of(head)
        if total > end - start:
            raise Damaged("the ledger would be longer than its mapping")
        return ledger.decode(read_memory(start, total), (start, end))
    except ProcessLookupError:
        raise
    except OSError as error:
        raise Damaged(f"it can not be read: {error}") from error


def described(installed: Installed, read_memory: Read) -> List[Dict[str, Any]]:
    """The patches for a report."""
    return [
        {
            "id": found.record.artifact,
            "name": found.record.name,
            "version": found.record.version,
            "state": _state(installed, found, read_memory),
            "functions": sorted(site.name for site in found.record.sites),
            "target": found.record.target["name"],
            "at": found.record.at,
            "by": found.record.by,
            "comment": found.record.comment,
        }
        for found in installed.ledgers
    ]


def _state(installed: Installed, found: Ledger, read_memory: Read) -> str:
    """The ledger's word, if the jumps bear it out."""
    if found in installed.lost or found.state == ledger.APPLIED and not stands(installed, found, read_memory):
        return "overwritten"
    return ledger.STATES[found.state]


def stands(installed: Installed, found: Ledger, read_memory: Read) -> bool:
    """Whether where a patch in force has put its jumps, its own or those of patches above stand."""
    return all(
        code_at(read_memory, site) == layers.standing(installed.in_force, site) for site in found.record.sites
    )


def code_at(read_memory: Read, where: Union[Site, Jump]) -> bytes:
    """What stands where a jump goes; nothing where its library was unloaded since."""
    size = len(where.new if isinstance(where, Jump) else where.new_bytes)
    try:
        return read_memory(where.address, size)
    except ProcessLookupError:
        raise
    except OSError:
        return b""
