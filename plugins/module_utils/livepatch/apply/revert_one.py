# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Take a patch out of a process; its memory is freed by :mod:`memory`."""

from __future__ import annotations

import hashlib
from typing import Callable, Optional, Sequence, Tuple

from ..errors import Gone, LivepatchError, Refused, Stranded
from ..process.snapshot import Snapshot
from ..tracee.stop import Outcome
from ..tracee.tracee import Patience, Tracee
from . import layers, ledger, switch
from .installed import code_at
from .ledger import Ledger, Site
from .switch import Change, Switch

Read = Callable[[int, int], bytes]  # (address, size) -> what stands there in the process
FromFile = Callable[[Ledger, int, int], Optional[bytes]]  # the same -> what the target file of a patch has there


def check_standing(read: Read, present: Sequence[Ledger], found: Ledger, from_file: FromFile) -> None:
    """The jumps that the ledgers tell of stand, and the bytes that could be put back are the right ones.

    :param present: the patches in force, ``found`` among them
    :raises Refused: ``code_differs``
    """
    for site in found.record.sites:
        here, wanted = code_at(read, site), layers.standing(present, site)
        if here != wanted:
            raise Refused(
                "code_differs",
                f"at {site.name} stands {here.hex() or 'nothing'} instead of the jump {wanted.hex()} of {found.title}",
            )
        check_old_bytes(read, found, site, from_file)


def check_old_bytes(read: Read, found: Ledger, site: Site, from_file: FromFile) -> None:
    """With its old bytes put back, the function has the hash that the patch's manifest promised.

    :raises Refused: ``code_differs``
    """
    part = site.ranges[0]
    start = part["address"]
    code = bytearray(read(start, part["size"]))
    at = site.address - start
    code[at : at + len(site.old_bytes)] = site.old_bytes
    for place in site.text_relocations:
        if place["range"] == 0:
            original = from_file(found, start + place["offset"], place["size"])
            if original is None:
                raise Refused("code_differs", f"{site.name} has text relocations, and the target file can not be read")
            code[place["offset"] : place["offset"] + place["size"]] = original
    if hashlib.sha256(code).hexdigest() != part["sha256"]:
        raise Refused("code_differs", f"{site.name} with its old bytes put back is not the function that was patched")


def take_out(
    tracee: Tracee,
    found: Ledger,
    present: Sequence[Ledger],
    back: Sequence[Ledger],
    entry: bool,
    patience: Patience,
    between: Callable[[], None],
) -> Tuple[Outcome, int]:
    """Make what lies beneath a patch run again; the memory stays, in state ``retired``.

    :param present: the patches in force, ``found`` among them
    :param back: those whose place it had taken, if they are to come back: ``retired`` now
    :param entry: calls under way may finish in the new code
    :raises Busy, Refused, RolledBack, Stranded: as switch.perform; all patches are in the process as before
    """
    # What comes back first: from "reverting" alone recover could not tell that anything should.
    changes = [Change(each, ledger.RETIRED, ledger.REPLACING, ledger.APPLIED) for each in back]
    changes += [Change(found, ledger.APPLIED, ledger.REVERTING, ledger.RETIRED)]
    return _perform(tracee, present, [found], back, changes, entry, patience, between)


def put_back(
    tracee: Tracee,
    found: Ledger,
    present: Sequence[Ledger],
    entry: bool,
    patience: Patience,
    between: Callable[[], None],
) -> None:
    """The way back from :func:`take_out`: jump into the patch again (``all_or_nothing``).

    :param present: the patches in force, ``found`` not among them
    :param entry: calls under way may finish in the code beneath
    :raises Busy, Refused, RolledBack, Stranded: as switch.perform; the patch is retired
    """
    # Threads have been in there: recover must not free it unseen.
    changes = [Change(found, ledger.RETIRED, ledger.REVERTING, ledger.APPLIED)]
    _perform(tracee, present, [], [found], changes, entry, patience, between)


def _perform(
    tracee: Tracee,
    present: Sequence[Ledger],
    leaving: Sequence[Ledger],
    coming: Sequence[Ledger],
    changes: Sequence[Change],
    entry: bool,
    patience: Patience,
    between: Callable[[], None],
) -> Tuple[Outcome, int]:
    switch.claim(tracee, [(each, ledger.APPLIED) for each in present])
    switch.claim(tracee, [(each, ledger.RETIRED) for each in coming])
    jumps = layers.transition(present, leaving, coming)
    watched = layers.half_written(jumps) if entry else layers.watched(present, leaving, coming)
    try:
        return switch.perform(tracee, Switch(jumps, watched, changes), patience, between)
    except (LivepatchError, Gone, OSError) as error:
        if not isinstance(error, Stranded):
            switch.withdraw(tracee, changes)
        raise


def file_reader(snapshot: Snapshot) -> FromFile:
    """What ``from_file`` above asks: the target file's bytes by address in the process."""

    def read(found: Ledger, address: int, size: int) -> Optional[bytes]:
        image = snapshot.image_at(found.record.image_start)
        return None if image is None else image.file_bytes(address - image.bias, size)

    return read
