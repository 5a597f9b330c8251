# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The switch: at one instant, old code becomes new code, or new code old.

::

    ledger: switching      a dead injector is noticed from here on
    touch the pages        their copy-on-write happens while the process runs
    stop                   everybody, looked at; nobody inside
      compare              the bytes that stand there are those we know
      jumps                in the order in which every prefix is safe
      ledger: applied
    go
"""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import Busy, Refused, RolledBack, Stranded
from ..tracee.check import Watched
from ..tracee.stop import Outcome, StoppedThread
from ..tracee.tracee import Patience, Tracee
from . import ledger
from .ledger import Ledger
from .plan import Jump


class Switch(NamedTuple):
    """One switch of one process.

    :ivar jumps: in write order; ``old`` is what must stand there now
    :ivar watched: code that nobody may be in
    :ivar ledger_address: whose state follows
    :ivar during: the ledger's state while jumps are being written
    :ivar after: and when all of them stand
    """

    jumps: Sequence[Jump]
    watched: Sequence[Watched]
    ledger_address: int
    during: int
    after: int


def perform(tracee: Tracee, switch: Switch, patience: Patience, between: Callable[[], None]) -> Tuple[Outcome, int]:
    """Write all jumps, or none.

    On an exception the ledger's state is ``during``; the caller undoes, or sets it back.

    :param between: called between attempts; may raise to end them
    :returns: the outcome, and the number of attempts
    :raises Busy: no safe point within the patience
    :raises Refused: ``code_differs``: somebody else wrote there meanwhile
    :raises RolledBack: a write failed, and what was written was taken back
    :raises Stranded: and could not be taken back
    """
    set_state(tracee, switch.ledger_address, switch.during)

    def still(threads: Sequence[StoppedThread]) -> Optional[Busy]:
        for jump in switch.jumps:
            found = tracee.memory.read(jump.address, len(jump.old))
            if found != jump.old:
                raise Refused(
                    "code_differs",
                    f"at {jump.name} ({jump.address:#x}) stands {found.hex()} instead of {jump.old.hex()}",
                )
        return None

    still(())  # what was mapped there instead meanwhile must not be touched
    for jump in switch.jumps:
        tracee.touch_code(jump.address)

    def commit() -> None:
        done: List[Jump] = []
        try:
            for jump in switch.jumps:
                done.append(jump)
                tracee.write_code(jump.address, jump.new)
            set_state(tracee, switch.ledger_address, switch.after)
        except OSError as error:
            _take_back(tracee, done, error)

    return tracee.at_safe_point(switch.watched, still, commit, patience, between)


def _take_back(tracee: Tracee, done: Sequence[Jump], cause: OSError) -> None:
    """Everybody stands still: what was written is unwritten, the last first."""
    try:
        for jump in reversed(done):
            tracee.write_code(jump.address, jump.old)
    except ProcessLookupError:  # killed
        raise
    except OSError as error:
        raise Stranded(
            "could_not_undo", f"writing the jumps failed ({cause}), and so did taking them back ({error})"
        ) from error
    raise RolledBack("failed_midway", f"writing the jumps failed: {cause}") from cause


def claim(tracee: Tracee, mine: Ledger, state: int) -> None:
    """See that a ledger is still the one that was read, after nobody else can change it any more.

    Another livepatch may have taken the patch out, freed its memory and put the next one in the same place.

    :raises Refused: ``in_use_by``; ``being_traced``
    """
    tracee.claim()
    known = ledger.encode(mine)
    known = known[: ledger.STATE_OFFSET] + ledger.state_bytes(state) + known[ledger.STATE_OFFSET + 8 :]
    try:
        same = tracee.memory.read(mine.data[0], len(known)) == known
    except ProcessLookupError:
        raise
    except OSError:  # unmapped
        same = False
    if not same:
        raise Refused("in_use_by", f"{mine.title} in process {tracee.pid} was changed while we looked")


def withdraw(tracee: Tracee, ledger_address: int, during: int, before: int) -> None:
    """After a switch that failed: the state that the ledger had, unless the switch came to its end all the same."""
    if tracee.memory.read(ledger_address + ledger.STATE_OFFSET, 8) == ledger.state_bytes(during):
        set_state(tracee, ledger_address, before)


def set_state(tracee: Tracee, ledger_address: int, state: int) -> None:
    """One aligned write of eight bytes."""
    tracee.memory.write(ledger_address + ledger.STATE_OFFSET, ledger.state_bytes(state))
