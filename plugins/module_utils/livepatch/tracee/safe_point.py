# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The search for an instant at which nobody is inside of code that is about to change.

A few plain attempts, spaced; then, where functions are always on somebody's stack, attempts after waiting
for them to be left (waiting.py).  All of it together may take as long as the :class:`Patience` says.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional, Sequence, Tuple

from ..errors import Busy
from . import stacks
from .check import Watched
from .sharing import Sharing
from .stacks import StackMap
from .stop import Look, Outcome, Stop, StoppedThread
from .waiting import PLAIN_ATTEMPTS, Waiting

if TYPE_CHECKING:
    from .tracee import Tracee

# Retries are spaced: a stop renews relative time-outs of calls, so a storm of them would starve a timer.
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.250


class Patience(NamedTuple):
    """How long and how often to look for a safe point."""

    seconds: float
    attempts: int
    stop: float  # the longest stop, seconds
    coroutines: str = "auto"  # see process.coroutines.why_search


def find(
    tracee: Tracee,
    stop: Stop,
    waiting: Waiting,
    watched: Sequence[Watched],
    still: Look,
    commit: Callable[[], None],
    patience: Patience,
    between: Callable[[], None],
) -> Tuple[Outcome, int]:
    """See :meth:`Tracee.at_safe_point`.

    :param stop: holds the anchor
    :param waiting: is not over when this ends; the caller cleans up
    """
    search = tracee.search(watched, patience)
    check = tracee.stack_check(watched, patience.stop, searched=search is not None)
    sharing = Sharing(tracee.pid, tracee.task)
    deadline = 0.0

    def nobody_suspended(threads: Sequence[StoppedThread]) -> Optional[Busy]:
        if search is None:
            return None
        mappings = tracee.mappings()
        return search.look(mappings, stacks.of_threads(threads, StackMap(mappings, tracee.pid)), deadline)

    def alone_and_still(threads: Sequence[StoppedThread]) -> Optional[Busy]:
        return sharing.look_again(stop.tids) or still(threads) or nobody_suspended(threads)

    begin = time.monotonic()
    pause = _FIRST_PAUSE
    attempt = 1
    told: Optional[Busy] = None
    while True:
        between()
        blocker = search.ahead(tracee.mappings()) if search else None
        blocker = blocker or sharing.look()  # in this order: it looks once more at who came since
        if blocker is None:
            deadline = time.monotonic() + patience.stop
            if waiting.possible:
                look, all_still, done = waiting.look, waiting.still(alone_and_still), waiting.committing(commit)
            else:
                look, all_still, done = check, alone_and_still, commit
            outcome = tracee.attempt(stop, patience.stop, look, all_still, done)
            blocker = outcome.blocker
            if blocker is None:
                return outcome, attempt
        if told is None or blocker.reason != "stop_timeout":
            told = blocker  # that a stop once took too long says less than who was in the way before
        elapsed = time.monotonic() - begin
        if attempt >= patience.attempts or elapsed + pause > patience.seconds:
            tried = f"{attempt} attempts in {elapsed:.1f} s" if attempt > 1 else "one attempt"
            stopped = "; a signal has stopped the process: nothing is left before SIGCONT" if stop.group_stopped else ""
            raise Busy(told.reason, f"{told.what} ({tried}{waiting.said}{stopped})")
        may_wait = waiting.untried and search is None and not stop.group_stopped
        if attempt >= PLAIN_ATTEMPTS and blocker.reason == "function_on_stack" and may_wait:
            waiting.begin(watched, len(tracee.living()))
            stop.exchange(tracee.claim())
        attempt += waiting.idle(stop, pause, begin + patience.seconds)
        pause = min(2 * pause, _LONGEST_PAUSE)
