# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Put right what an injector that died has left.

======================  =======================================================
found                   done
======================  =======================================================
loaded                  free the memory: no jump was written
switching, all jumps    it is applied
switching, some jumps   take them back, free the memory
switching, none         free the memory
reverting, no jump      free the memory
reverting, some or all  finish the revert, free the memory
retired                 free the memory, if nothing leads there
text without ledger     unmap: the ledger, which goes last, is gone already
open memfd of ours      close it
======================  =======================================================

A death in the middle of any of these leaves one of the same states.
"""

from __future__ import annotations

from typing import Callable, List, Optional, Sequence

from ..errors import Refused
from ..loading import load
from ..tracee import waiting
from ..tracee.tracee import Patience, Tracee
from . import ledger, memory, revert_one, switch
from .installed import Installed, code_at
from .ledger import Ledger, Site
from .switch import Switch

FromFile = Callable[[Ledger, int, int], Optional[bytes]]


def recover(
    tracee: Tracee, installed: Installed, from_file: FromFile, patience: Patience, between: Callable[[], None]
) -> List[str]:
    """Everything that was cut off in one process.

    :returns: what was done, in words
    :raises Busy: a thread is inside code that must go; nothing is worse than before
    :raises Refused: ``ledger_unreadable``, ``code_differs``: not touched
    """
    if installed.damaged:
        raise Refused("ledger_unreadable", installed.damaged[0])
    done = []
    if installed.rooms.anything:
        waiting.recover(tracee, installed.rooms, patience.stop)
        done.append("removed a waiting room")
    for found in installed.ledgers:
        if found.state in ledger.CUT_OFF:
            done.append(_finish(tracee, found, from_file, patience, between))
        elif found.state == ledger.RETIRED:
            kept = memory.collect(tracee, found, between)
            if not kept:
                done.append(f"freed the memory of {found.title}")
    stray = installed.stray
    if stray.texts or stray.descriptors:
        with tracee.hold(load.CLEAN_CALLS) as hold:
            load.clean(hold, stray)
        done.append("closed and unmapped what an interrupted load had left")
    return done


def _finish(
    tracee: Tracee, found: Ledger, from_file: FromFile, patience: Patience, between: Callable[[], None]
) -> str:
    standing = [site for site in found.record.sites if _stands(tracee, site)]
    if standing and found.state == ledger.SWITCHING and len(standing) == len(found.record.sites):
        switch.set_state(tracee, found.data[0], ledger.APPLIED)
        return f"{found.title} was complete"
    if not standing and found.state != ledger.REVERTING:
        memory.free(tracee, found, found.state)  # nobody has ever been in there
        return f"removed {found.title}, which was not in force yet"
    if standing:
        for site in standing:
            revert_one.check_old_bytes(tracee.memory.read, found, site, from_file)
        _take_back(tracee, found, standing, patience, between)
    switch.set_state(tracee, found.data[0], ledger.RETIRED)
    kept = memory.collect(tracee, found, between)
    return f"took {found.title} back" + (f"; {kept}" if kept else "")


def _stands(tracee: Tracee, site: Site) -> bool:
    """:raises Refused: ``code_differs``: neither old nor new bytes stand there"""
    here = code_at(tracee.memory.read, site)
    if here not in (site.old_bytes, site.new_bytes):
        what = f"at {site.name} stands {here.hex() or 'nothing'}, neither the old code nor the patch's jump"
        raise Refused("code_differs", what)
    return here == site.new_bytes


def _take_back(
    tracee: Tracee, found: Ledger, standing: Sequence[Site], patience: Patience, between: Callable[[], None]
) -> None:
    names = {site.name for site in standing}
    switch.claim(tracee, found, found.state)
    switch.perform(
        tracee,
        Switch(
            jumps=[jump for jump in revert_one.backwards(found) if jump.name in names],
            watched=[memory.new_code(found)],
            ledger_address=found.data[0],
            during=ledger.REVERTING,  # threads may have been in there: it is never freed unseen
            after=ledger.RETIRED,
        ),
        patience,
        between,
    )
