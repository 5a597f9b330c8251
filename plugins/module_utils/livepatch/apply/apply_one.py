# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Put a patch into a process."""

from __future__ import annotations

import time
from typing import Callable, Tuple

from ..errors import Gone, LivepatchError, RolledBack, Stranded
from ..loading import load
from ..tracee.stop import Outcome
from ..tracee.tracee import Patience, Tracee
from . import ledger, memory, switch
from .installed import code_at
from .plan import Plan
from .switch import Change, Switch


def put_in(tracee: Tracee, plan: Plan, patience: Patience, between: Callable[[], None]) -> Tuple[Outcome, int]:
    """Load, switch; on any failure the process is as it was.

    :returns: the stop's outcome, and the number of attempts
    :raises Busy: there was no safe point in time
    :raises Refused: what only a stop could show
    :raises RolledBack: it went wrong on the way
    :raises Stranded: and could not be undone
    """
    load_into(tracee, plan, patience, between)
    # Whoever waited outside is in the new code next, and has to be seen there when the waiting room is to go.
    mine = plan.ledger
    tracee.add_patch(mine.text[0], mine.text[0] + mine.text[1], mine.title, *mine.record.eh_frame)
    # Ours first: while it says "switching", recover knows what the others wait for.
    changes = [Change(plan.ledger, ledger.LOADED, ledger.SWITCHING, ledger.APPLIED)]
    changes += [Change(found, ledger.APPLIED, ledger.REPLACING, ledger.RETIRED) for found in plan.displaced]
    try:
        switch.claim(tracee, [(found, ledger.APPLIED) for found in plan.beneath])
        between()
        return switch.perform(tracee, Switch(plan.jumps, plan.watched, changes), patience, between)
    except Stranded:
        raise
    except (LivepatchError, OSError, Gone) as error:
        _check_no_jump(tracee, plan, error)
        switch.withdraw(tracee, changes)
        _unload(tracee, plan, error)
        if isinstance(error, LivepatchError):
            raise
        raise RolledBack("failed_midway", f"{error}") from error


def _check_no_jump(tracee: Tracee, plan: Plan, cause: Exception) -> None:
    """Memory that a jump leads to must stay, whatever went wrong.

    :raises Stranded: a jump stands; the ledger says ``switching``, or ``applied``
    :raises ProcessLookupError: the process has ended
    """
    for site in plan.ledger.record.sites:
        if code_at(tracee.memory.read, site) == site.new_bytes:
            raise Stranded("could_not_undo", f"{cause}; the jump at {site.name} stands") from cause


def load_into(tracee: Tracee, plan: Plan, patience: Patience, between: Callable[[], None]) -> None:
    """Bring code, data and ledger into the process; no jump leads there yet.

    :raises Busy: no thread came to make the calls within the patience
    """
    content = load.Content(plan.data, plan.linked.text, plan.layout.data_span, plan.layout.text_span)
    until = time.monotonic() + patience.seconds
    while True:
        held = loaded = False
        try:
            with tracee.hold(load.calls_needed(content), load.scratch(plan.artifact_id)) as hold:
                held = True
                load.load(hold, content, plan.linked.data_address, plan.linked.text_address)
                loaded = True
            return
        except LivepatchError as error:
            if loaded:  # the thread did not come back from the last call in time
                _unload(tracee, plan, error)
            if held or error.reason != "stop_timeout" or time.monotonic() > until:
                raise
        between()


def _unload(tracee: Tracee, plan: Plan, cause: Exception) -> None:
    """Free memory that nothing leads to yet; what can not be freed now, recover frees."""
    try:
        memory.free(tracee, plan.ledger, ledger.LOADED)
        tracee.forget_patch(plan.ledger.text[0])
    except (LivepatchError, OSError, Gone) as error:
        raise RolledBack("memory_left", f"{cause} (and {error})") from error
