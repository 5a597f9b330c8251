# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Put right what an injector that died has left.

==========================  ===================================================
found                       done
==========================  ===================================================
loaded                      free the memory: no jump was written
switching, all jumps        it is applied, and what it displaced is retired
switching, some jumps       take them back, put back what it would displace,
                            free the memory
switching, none             free the memory
reverting, all jumps        it is applied: a child that was forked while a
                            revert waited for a safe point was asked nothing
reverting                   finish the revert, free the memory; what it had
                            displaced comes back where that had begun
replacing                   as the patch that displaces it; without one, it is
                            applied as before
retired                     free the memory, if nothing leads there
applied, and its library    retired, then that
unloaded or loaded anew
text without ledger         unmap: the ledger, which goes last, is gone already
open memfd of ours          close it
==========================  ===================================================

A death in the middle of any of these leaves one of the same states.
"""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Sequence, Tuple

from ..errors import Refused
from ..loading import load
from ..tracee import waiting
from ..tracee.tracee import Patience, Tracee
from . import layers, ledger, memory, revert_one, switch
from .installed import Installed, code_at
from .layers import Jump
from .ledger import Ledger
from .revert_one import FromFile
from .switch import Change, Switch


class CutOff(NamedTuple):
    """An act that was cut off: a patch that came or left, and those that it displaced."""

    found: Ledger
    displaced: Sequence[Ledger]
    present: Sequence[Ledger]  # all patches that take part or are in force, the lowest first

    @property
    def jumps(self) -> List[Jump]:
        """What it would have written from its beginning to its end."""
        if self.found.state == ledger.REVERTING:
            return layers.transition(layers.without(self.present, self.displaced), [self.found], self.displaced)
        return layers.transition(layers.without(self.present, [self.found]), self.displaced, [self.found])

    @property
    def changes(self) -> List[Change]:
        """To where it all began, in the order in which a death on the way is understood."""
        own = Change(self.found, self.found.state, ledger.REVERTING, ledger.RETIRED)
        others = [Change(each, each.state, ledger.REPLACING, ledger.APPLIED) for each in self.displaced]
        return [*others, own]


def cut_off(installed: Installed) -> List[CutOff]:
    """The acts that were cut off: one, where every writing command recovers first."""
    result = []
    for found in installed.ledgers:
        if found.state == ledger.SWITCHING:
            displaced = _displaced(installed, found, (ledger.APPLIED, ledger.REPLACING, ledger.RETIRED))
        elif found.state == ledger.REVERTING:
            displaced = _displaced(installed, found, (ledger.REPLACING,))
        else:
            continue
        present = layers.in_order([*layers.without(installed.in_force, [found, *displaced]), found, *displaced])
        result.append(CutOff(found, displaced, present))
    return result


def _displaced(installed: Installed, found: Ledger, states: Tuple[int, ...]) -> List[Ledger]:
    return [each for each in installed.ledgers if _took_the_place(found, each) and each.state in states]


def _took_the_place(found: Ledger, other: Ledger) -> bool:
    """Whether ``other`` is one that ``found`` has displaced, and not one that came there after that was freed."""
    return other.data[0] in found.record.displaced and other.record.order < found.record.order


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
    acts = cut_off(installed)
    for act in acts:
        done.append(_finish(tracee, act, from_file, patience, between))
    left = layers.without(installed.ledgers, [each for act in acts for each in (act.found, *act.displaced)])
    for found in left:
        if found.state == ledger.LOADED:
            memory.free(tracee, found, ledger.LOADED)  # nobody has ever been in there
            done.append(f"removed {found.title}, which was not in force yet")
        elif found.state == ledger.REPLACING:
            done.append(_release(tracee, found, installed))
        elif found in installed.retired:
            if found in installed.lost:
                switch.claim(tracee, [(found, ledger.APPLIED)])
                switch.set_state(tracee, found.data[0], ledger.RETIRED)
                done.append(f"{found.title} is out of use: its library was unloaded")
            if not memory.collect(tracee, found, between):
                done.append(f"freed the memory of {found.title}")
    stray = installed.stray
    if stray.texts or stray.descriptors:
        with tracee.hold(load.CLEAN_CALLS) as hold:
            load.clean(hold, stray)
        done.append("closed and unmapped what an interrupted load had left")
    return done


def _finish(
    tracee: Tracee, act: CutOff, from_file: FromFile, patience: Patience, between: Callable[[], None]
) -> str:
    found = act.found
    switch.claim(tracee, [(each, each.state) for each in (found, *act.displaced)])
    jumps = act.jumps
    written = layers.progress(jumps, lambda jump: code_at(tracee.memory.read, jump))
    if found.state == ledger.SWITCHING:
        if written == len(jumps):
            for each in act.displaced:
                switch.set_state(tracee, each.data[0], ledger.RETIRED)
            switch.set_state(tracee, found.data[0], ledger.APPLIED)
            return f"{found.title} was complete"
        if not written:
            for each in act.displaced:
                switch.set_state(tracee, each.data[0], ledger.APPLIED)
            memory.free(tracee, found, ledger.SWITCHING)  # nobody has ever been in there
            return f"removed {found.title}, which was not in force yet"
        left = [jump.undone for jump in reversed(jumps[:written])]
    else:
        if jumps and not written:
            for each in act.displaced:
                switch.set_state(tracee, each.data[0], ledger.RETIRED)
            switch.set_state(tracee, found.data[0], ledger.APPLIED)
            return f"{found.title} is in force; its revert had not begun"
        left = jumps[written:]
    if left:
        for each in (found, *act.displaced):
            for site in each.record.sites:
                revert_one.check_old_bytes(tracee.memory.read, each, site, from_file)
        watched = layers.watched(act.present, [found], act.displaced)
        switch.perform(tracee, Switch(left, watched, act.changes), patience, between)
    else:
        for change in reversed(act.changes):
            switch.set_state(tracee, change.ledger.data[0], change.after)
    kept = memory.collect(tracee, found, between)
    return f"took {found.title} back" + (f"; {kept}" if kept else "")


def _release(tracee: Tracee, found: Ledger, installed: Installed) -> str:
    """A patch that waits for one that is not there any more, or has come to its end.

    :raises Refused: ``code_differs``: its jumps do not stand
    """
    successors = [each for each in installed.in_force if _took_the_place(each, found)]
    state = ledger.RETIRED if successors else ledger.APPLIED
    present = [*installed.in_force, *([] if successors else [found])]
    for site in found.record.sites:
        here = code_at(tracee.memory.read, site)
        if here != layers.standing(present, site):
            what = f"at {site.name} stands {here.hex() or 'nothing'}, which {found.title} can not explain"
            raise Refused("code_differs", what)
    switch.claim(tracee, [(found, found.state)])
    switch.set_state(tracee, found.data[0], state)
    return f"{found.title} is {ledger.STATES[state]}"
