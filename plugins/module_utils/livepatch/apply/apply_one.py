# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Put a patch into a process."""

from __future__ import annotations

from typing import Callable, Tuple

from ..errors import Busy, LivepatchError, RolledBack, Stranded
from ..loading import load
from ..tracee.stop import Outcome
from ..tracee.tracee import Patience, Tracee, Watched
from . import ledger, switch
from .plan import Plan
from .switch import Switch


def put_in(tracee: Tracee, plan: Plan, patience: Patience, between: Callable[[], None]) -> Tuple[Outcome, int]:
    """Load, switch; on any failure the process is as it was.

    :returns: the stop's outcome, and the number of attempts
    :raises Busy: there was no safe point in time
    :raises Refused: what only a stop could show
    :raises RolledBack: it went wrong on the way
    :raises Stranded: and could not be undone
    """
    load_into(tracee, plan)
    try:
        between()
        return switch.perform(
            tracee,
            Switch(
                jumps=plan.jumps,
                watched=[
                    Watched(start, end, name)
                    for (start, end), name in zip(plan.ranges, plan.range_names)
                ],
                ledger_address=plan.linked.data_address,
                during=ledger.SWITCHING,
                after=ledger.APPLIED,
            ),
            patience,
            between,
        )
    except (Stranded, ProcessLookupError):
        raise
    except (LivepatchError, OSError) as error:
        switch.set_state(tracee, plan.linked.data_address, ledger.LOADED)
        _unload(tracee, plan, error)
        if isinstance(error, LivepatchError):
            raise
        raise RolledBack("failed_midway", f"{error}") from error


def load_into(tracee: Tracee, plan: Plan) -> None:
    """Bring code, data and ledger into the process; no jump leads there yet."""
    content = load.Content(plan.data, plan.linked.text, plan.layout.data_span, plan.layout.text_span)
    with tracee.hold(load.calls_needed(content)) as hold:
        load.load(hold, content, plan.linked.data_address, plan.linked.text_address, plan.artifact_id)


def _unload(tracee: Tracee, plan: Plan, cause: Exception) -> None:
    try:
        with tracee.hold(load.UNLOAD_CALLS) as hold:
            load.unload(hold, plan.ledger.text, plan.ledger.data)
    except (Busy, LivepatchError, OSError) as error:
        raise Stranded(
            "could_not_undo", f"{cause}; and the memory of the patch, which is not in use, could not be freed: {error}"
        ) from error
