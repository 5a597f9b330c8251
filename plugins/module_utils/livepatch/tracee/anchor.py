# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The one thread of a process that stays seized from the first hold to the end.

It runs in between.  A second livepatch that comes along sees it (TracerPid), so
whoever has it works on the process alone.
"""

from __future__ import annotations

import os
import time
from typing import Callable, Optional, Sequence

from ..errors import Busy, Gone, Refused
from ..kernel import procfs, ptrace
from ..process.fitness import traced_by
from ..process.observations import tracer as observed_tracer
from . import late
from .orphan import Orphans
from .thread import OPTIONS, Thread

_HOLD_S = 1.0  # for one thread to stop


class Anchor:
    """Nobody at first.

    :ivar tid: the thread; None: nobody
    :param pid: the process
    :param living: its threads that have not exited
    :param filtered: threads have seccomp filters, which may kill for restart_syscall
    :param orphans: calls that an injector which died may have left in threads
    """

    def __init__(self, pid: int, living: Callable[[], Sequence[int]], filtered: bool, orphans: Orphans) -> None:
        self.tid: Optional[int] = None
        self._pid = pid
        self._living = living
        self._filtered = filtered
        self._orphans: Optional[Orphans] = orphans

    def take(self, tid: int) -> bool:
        """Make a thread the anchor, in place of the one before; whether it could be.

        :raises Refused: ``being_traced``, ``in_use_by``: somebody was faster; ``not_permitted``
        """
        alone = self.tid is not None  # has been seen
        try:
            ptrace.seize(tid, OPTIONS)
        except ProcessLookupError:
            return False
        except PermissionError as error:
            self._explain(tid, error)
            return False
        self.release()  # not before: without any thread of ours a second livepatch would believe us dead
        self.tid = tid
        if not alone:
            self._demand_alone()
        self._adopt_orphans()
        return True

    def _explain(self, tid: int, error: PermissionError) -> None:
        """:raises Refused: why, unless it is about to end; or is ours, and came too late for a stop"""
        try:
            status = procfs.status(self._pid, tid)
        except ProcessLookupError:
            return
        tracer = status.get("TracerPid", "0")
        if status.get("State", "?")[0] in "ZX" or tracer == str(os.getpid()):
            return
        if tracer != "0":
            raise traced_by(observed_tracer(int(tracer)), f"thread {tid} of process {self._pid}") from error
        raise Refused("not_permitted", f"thread {tid} of process {self._pid}: {error}") from error

    def _demand_alone(self) -> None:
        """Nobody else holds a thread: of two who take one each at the same time, each sees the other here.

        :raises Refused: ``being_traced``, ``in_use_by``
        """
        for tid in self._living():
            try:
                tracer = int(procfs.status(self._pid, tid).get("TracerPid", "0"))
            except ProcessLookupError:
                continue
            if tracer not in (0, os.getpid()):
                raise traced_by(observed_tracer(tracer), f"thread {tid} of process {self._pid}")

    def _adopt_orphans(self) -> None:
        """Once, before anything else: no call of an injector that died may come in the middle of ours.

        :raises Busy: ``stop_timeout``; :raises RolledBack: ``failed_midway``
        """
        orphans, self._orphans = self._orphans, None
        if orphans is not None:
            for tid in orphans.find(self._living()):
                orphans.give_back(tid, self.tid, time.monotonic() + _HOLD_S)

    def release(self) -> None:
        """Let go of it: only a stopped thread can be detached."""
        tid, self.tid = self.tid, None
        if tid is None:
            return
        try:
            Thread(tid, self._pid).release(time.monotonic() + _HOLD_S, self._filtered)
        except Busy:  # stuck in the kernel
            late.add(tid, self._pid, self._filtered)
        except (Gone, ProcessLookupError):
            pass
