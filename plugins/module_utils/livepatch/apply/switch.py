# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The switch: at one instant, old code becomes new code, or new code old.

::

    ledgers: switching     a dead injector is noticed from here on
    touch the pages        their copy-on-write happens while the process runs
    stop                   everybody, looked at; nobody inside
      compare              the bytes that stand there are those we know
      jumps                in the order in which every prefix is safe
      ledgers: applied
    go
"""

from __future__ import annotations

from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import Busy, Refused, RolledBack, Stranded
from ..tracee.check import Watched
from ..tracee.stop import Outcome, StoppedThread
from ..tracee.tracee import Patience, Tracee
from . import ledger
from .layers import Jump
from .ledger import Ledger


class Change(NamedTuple):
    """What becomes of one ledger's state: before the switch, while jumps are being written, and after."""

    ledger: Ledger
    before: int
    during: int
    after: int


class Switch(NamedTuple):
    """One switch of one process.

    :ivar jumps: in write order; ``old`` is what must stand there at that moment
    :ivar watched: code that nobody may be in
    :ivar changes: made in this order before the first jump, and in the reverse after the last: the first is
        that of the ledger by which :mod:`recover` knows what was going on
    """

    jumps: Sequence[Jump]
    watched: Sequence[Watched]
    changes: Sequence[Change]


def perform(tracee: Tracee, switch: Switch, patience: Patience, between: Callable[[], None]) -> Tuple[Outcome, int]:
    """Write all jumps, or none.

    On an exception the ledgers' states are ``during``; the caller undoes, or sets them back.

    :param between: called between attempts; may raise to end them
    :returns: the outcome, and the number of attempts
    :raises Busy: no safe point within the patience
    :raises Refused: ``code_differs``: somebody else wrote there meanwhile
    :raises RolledBack: a write failed, and what was written was taken back
    :raises Stranded: and could not be taken back
    """
    for change in switch.changes:
        set_state(tracee, change.ledger.data[0], change.during)
    before: Dict[int, Jump] = {}
    for jump in switch.jumps:
        before.setdefault(jump.address, jump)

    def still(threads: Sequence[StoppedThread]) -> Optional[Busy]:
        for jump in before.values():
            found = tracee.memory.read(jump.address, len(jump.old))
            if found != jump.old:
                raise Refused(
                    "code_differs",
                    f"at {jump.name} ({jump.address:#x}) stands {found.hex()} instead of {jump.old.hex()}",
                )
        return None

    still(())  # what was mapped there instead meanwhile must not be touched
    for address in before:
        tracee.touch_code(address)

    def commit() -> None:
        done: List[Jump] = []
        try:
            for jump in switch.jumps:
                done.append(jump)
                tracee.write_code(jump.address, jump.new)
            for change in reversed(switch.changes):
                set_state(tracee, change.ledger.data[0], change.after)
        except OSError as error:
            _take_back(tracee, switch.changes, done, error)

    return tracee.at_safe_point(switch.watched, still, commit, patience, between)


def _take_back(tracee: Tracee, changes: Sequence[Change], done: Sequence[Jump], cause: OSError) -> None:
    """Everybody stands still: what was written is unwritten, the last first.

    So are states: nobody must free what a jump leads to again.
    """
    try:
        for jump in reversed(done):
            tracee.write_code(jump.address, jump.old)
        for change in reversed(changes):
            set_state(tracee, change.ledger.data[0], change.during)
    except ProcessLookupError:  # killed
        raise
    except OSError as error:
        raise Stranded(
            "could_not_undo", f"writing the jumps failed ({cause}), and so did taking them back ({error})"
        ) from error
    raise RolledBack("failed_midway", f"writing the jumps failed: {cause}") from cause


def claim(tracee: Tracee, mine: Iterable[Tuple[Ledger, int]]) -> None:
    """See that ledgers are still those that were read, after nobody else can change them any more.

    Another livepatch may have taken a patch out, freed its memory and put the next one in the same place.

    :param mine: each with the state that it must have
    :raises Refused: ``in_use_by``; ``being_traced``
    """
    tracee.claim()
    for found, state in mine:
        known = found.bytes_in(state)
        try:
            same = tracee.memory.read(found.data[0], len(known)) == known
        except ProcessLookupError:
            raise
        except OSError:  # unmapped
            same = False
        if not same:
            raise Refused("in_use_by", f"{found.title} in process {tracee.pid} was changed while we looked")


def withdraw(tracee: Tracee, changes: Sequence[Change]) -> None:
    """After a switch that failed: the states that the ledgers had, unless it came to its end all the same."""
    for change in reversed(changes):
        place = change.ledger.data[0]
        if tracee.memory.read(place + ledger.STATE_OFFSET, 8) == ledger.state_bytes(change.during):
            set_state(tracee, place, change.before)


def set_state(tracee: Tracee, ledger_address: int, state: int) -> None:
    """One aligned write of eight bytes."""
    tracee.memory.write(ledger_address + ledger.STATE_OFFSET, ledger.state_bytes(state))
