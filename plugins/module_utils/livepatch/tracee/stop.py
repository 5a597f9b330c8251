# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""All threads of a process, stopped for an instant.

::

    gather          seize everybody (they run on)             not felt
    phase 1         stop those that sleep in system calls     felt by those that wake up
    phase 2         stop those that run                       felt: this is the gap
    commit          a few writes
    let go          those that ran first, then the sleepers

Every wait has a deadline.  When one passes, everybody is let go at once, and
the stop of the late thread is taken when it comes.  If we die anywhere, the
kernel lets everybody go (kernel/ptrace.c, exit_ptrace).
"""

from __future__ import annotations

import gc
import os
import time
from contextlib import contextmanager
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set

from ..cpu import Cpu, of_registers
from ..cpu.architecture import Registers
from ..errors import Busy, Gone, Refused
from ..kernel import procfs, ptrace
from ..process.fitness import traced_by
from ..process.observations import tracer as observed_tracer
from . import late
from .restart import mend

_OPTIONS = ptrace.O_SYSGOOD | ptrace.O_CLONE
# A thread that did not stop in time may sit in the kernel for seconds.  So long
# we wait; who comes later still, ``late`` lets go.
_LATE_S = 5.0
_TURN_S = 0.001  # for one of them, until the next is looked at


class StoppedThread(NamedTuple):
    tid: int
    cpu: Cpu  # of the mode the thread is in right now
    registers: Registers


class Timing(NamedTuple):
    """Microseconds."""

    held: int  # how long the threads that ran stood still
    whole: int  # from the first interrupt until the last thread was let go


class Outcome(NamedTuple):
    """What an attempt came to."""

    blocker: Optional[Busy]  # why nothing was committed; None: it was
    timing: Timing
    threads: int

    @classmethod
    def nothing(cls, blocker: Busy) -> Outcome:
        """Nobody was stopped."""
        return cls(blocker, Timing(0, 0), 0)


Look = Callable[[Sequence[StoppedThread]], Optional[Busy]]


class Stop:
    """Stops a process, as often as it takes.

    :param pid: the process
    :param anchor: a thread that is seized already, runs, and stays seized between attempts
    :param filtered: threads have seccomp filters, which may kill for restart_syscall
    """

    def __init__(self, pid: int, anchor: int, filtered: bool) -> None:
        self.pid = pid
        self.anchor = anchor
        self._filtered = filtered
        self._regsets: Dict[int, ptrace.Regset] = {anchor: ptrace.Regset(anchor)}  # seized and alive
        self._asked: Set[int] = set()  # will stop: interrupted by us, or just born
        self._stopped: List[int] = []
        self._mended: Set[int] = set()  # of those, the ones whose interrupted call will start again
        self._anchor_in_group_stop = False  # at its latest stop
        self._zombies = 0  # an exited leader counts as a thread, but can not be stopped
        self._tasks = os.open(f"/proc/{pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        """Forget the process; nobody but the anchor is ours any more."""
        try:
            self._settle()  # whoever came too late, or was seized and never stopped
        finally:
            for tid in self._asked - {self.anchor}:
                late.add(tid, self.pid, self._filtered)
            os.close(self._tasks)

    @property
    def tids(self) -> List[int]:
        """The threads that are seized."""
        return list(self._regsets)

    @property
    def group_stopped(self) -> bool:
        """Whether a signal had stopped the process when the anchor was last seen."""
        return self._anchor_in_group_stop

    @property
    def holds_anchor(self) -> bool:
        """Whether the anchor is still alive and ours."""
        return self.anchor in self._regsets

    def adopt(self, anchor: int) -> None:
        """Another anchor, seized and running; the one before has ended or was let go."""
        self.anchor = anchor
        self._regsets[anchor] = ptrace.Regset(anchor)

    def exchange(self, anchor: int) -> None:
        """Another anchor, or the same: between attempts somebody else has held threads."""
        self._forget(self.anchor)
        self.adopt(anchor)

    def gather(self) -> None:
        """Seize every thread that is not ours yet; nobody stops.

        :raises Refused: ``being_traced``, ``not_permitted``
        :raises Busy: ``threads_changing``, ``in_use_by``
        :raises Gone: the process has ended
        """
        for _ in range(100):
            self._zombies = 0
            try:
                fresh = [tid for tid in procfs.tids(self.pid) if tid not in self._regsets]
            except ProcessLookupError as error:
                raise Gone(self.pid) from error
            if not sum([self._seize(tid) for tid in fresh]):
                return
        self._settle()  # a seized thread stops for every signal: none stays so while we wait
        raise Busy("threads_changing", f"process {self.pid} starts threads faster than they can be seized")

    def _seize(self, tid: int) -> bool:
        try:
            ptrace.seize(tid, _OPTIONS)
        except ProcessLookupError:
            return False
        except PermissionError as error:
            return self._explain(tid, error)
        self._regsets[tid] = ptrace.Regset(tid)
        return True

    def _explain(self, tid: int, error: PermissionError) -> bool:
        """EPERM: it is ours by a clone event already, exiting, somebody else's, or forbidden."""
        try:
            status = procfs.status(self.pid, tid)
        except ProcessLookupError:
            return False
        tracer = int(status.get("TracerPid", "0"))
        if tracer == os.getpid():
            self._born(tid)
            return True
        if tracer:
            refusal = traced_by(observed_tracer(tracer), f"thread {tid} of process {self.pid}")
            if refusal.reason == "in_use_by":  # it sees us and goes: we were first
                self._settle()
                raise Busy("in_use_by", refusal.what) from error
            raise refusal from error
        if status.get("State", "?")[0] in "ZX":
            self._zombies += tid == self.pid  # any other is about to vanish from the count
            return False
        raise Refused("not_permitted", f"thread {tid} of process {self.pid} can not be traced: {error}")

    def _born(self, tid: int) -> None:
        """A thread that a traced one has started: it is ours and stops before its first instruction."""
        if tid not in self._regsets:
            self._regsets[tid] = ptrace.Regset(tid)
            self._asked.add(tid)

    def attempt(
        self,
        sleepers: Iterable[int],
        limit: float,
        check: Look,
        still: Look,
        commit: Callable[[], None],
    ) -> Outcome:
        """Stop everybody, look, commit, let everybody go.

        :param sleepers: threads that were seen asleep in a system call
        :param limit: the longest stop, seconds
        :param check: looks at the threads of one phase; a :class:`Busy` ends the attempt
        :param still: looks at the process when all threads stand still
        :param commit: what must happen at one instant
        """
        asleep = set(sleepers)
        first = [tid for tid in self._regsets if tid in asleep]
        second = [tid for tid in self._regsets if tid not in asleep]
        with _undisturbed():
            begin = held = time.monotonic()
            deadline = begin + limit
            try:
                threads: List[StoppedThread] = []
                blocker = self._halt(first, deadline, check, threads)
                if blocker is None:
                    held = time.monotonic()
                    blocker = self._halt(second, deadline, check, threads) or self._miscounted() or still(threads)
                if blocker is None:
                    commit()
            finally:
                self._let_go([tid for tid in self._stopped if tid not in asleep])
                freed = time.monotonic()
                self._let_go(list(self._stopped))
                end = time.monotonic()
                self._settle()
        return Outcome(blocker, Timing(round((freed - held) * 1e6), round((end - begin) * 1e6)), len(threads))

    def _halt(
        self, tids: Sequence[int], deadline: float, check: Look, threads: List[StoppedThread]
    ) -> Optional[Busy]:
        """Stop some threads, and those that they start meanwhile, look at them, and append them to ``threads``."""
        before = len(self._stopped)
        for tid in tids:
            self._interrupt(tid)
        while self._asked:
            late = self._await(next(iter(self._asked)), deadline)
            if late is not None:
                return late
        fresh = self._read(self._stopped[before:])
        threads += fresh
        blocker = check(fresh) if fresh else None
        if blocker is None and time.monotonic() > deadline:
            return Busy("stop_timeout", f"looking at the threads of process {self.pid} took too long")
        return blocker

    def _interrupt(self, tid: int) -> None:
        if tid in self._asked:
            return
        try:
            ptrace.interrupt(tid)
        except ProcessLookupError:  # a zombie that waits for us to reap it
            pass
        self._asked.add(tid)

    def _await(self, tid: int, deadline: float) -> Optional[Busy]:
        """Take events of a thread until it stands still."""
        while True:
            try:
                status = ptrace.wait(tid, deadline)
            except ChildProcessError:
                self._forget(tid)
                return None
            if status is None:
                return Busy("stop_timeout", f"thread {tid} of process {self.pid} did not stop in time")
            if status.exited:
                self._forget(tid)
                return None
            if status.event == ptrace.EVENT_STOP:
                if tid == self.anchor:
                    self._anchor_in_group_stop = status.group_stopped
                self._asked.discard(tid)
                self._mended.discard(tid)  # that was at a stop before
                self._stopped.append(tid)
                return None
            try:
                # This stop has taken our request away (kernel/signal.c, ptrace_stop).
                ptrace.interrupt(tid)
                if status.event == ptrace.EVENT_CLONE:
                    self._born(ptrace.get_event_message(tid))
                    ptrace.resume(tid)
                else:  # a signal on its way: it is delivered now, and the stop follows
                    self._read([tid])
                    ptrace.resume(tid, status.signal)
            except ProcessLookupError:  # killed; the next wait tells
                continue

    def _forget(self, tid: int) -> None:
        self._asked.discard(tid)
        self._regsets.pop(tid, None)

    def _read(self, tids: Sequence[int]) -> List[StoppedThread]:
        """Registers of stopped threads; a call that our stop cut short will start again."""
        result = []
        for tid in tids:
            regset = self._regsets[tid]
            try:
                cpu = of_registers(regset.read())
                registers = cpu.registers.unpack_from(regset.buffer)
                mended = mend(registers, cpu, self._filtered)
                if mended is not None:
                    regset.write(cpu.pack(mended))
            except ProcessLookupError:  # killed
                continue
            self._mended.add(tid)
            result.append(StoppedThread(tid, cpu, registers))
        return result

    def _miscounted(self) -> Optional[Busy]:
        """Whether the process has threads that we do not hold (fs/proc/base.c, proc_task_getattr)."""
        count = os.fstat(self._tasks).st_nlink - 2
        if count != len(self._stopped) + self._zombies:
            return Busy("threads_changing", f"process {self.pid} has {count} threads, {len(self._stopped)} were held")
        return None

    def idle(self, seconds: float) -> None:
        """Wait between attempts, and hand the anchor the signals that come for it."""
        deadline = time.monotonic() + seconds
        while self.anchor in self._regsets:
            try:
                status = ptrace.wait(self.anchor, deadline)
            except ChildProcessError:
                self._forget(self.anchor)
                break
            if status is None:
                return
            if status.exited:
                self._forget(self.anchor)
            elif status.group_stopped:
                ptrace.listen(self.anchor)
            else:
                self._read([self.anchor])
                ptrace.resume(self.anchor, 0 if status.event else status.signal)
        time.sleep(max(0.0, deadline - time.monotonic()))

    def _let_go(self, tids: Sequence[int]) -> None:
        """Let stopped threads go on; the anchor stays seized.

        Where a signal has stopped the process, they stay stopped: a thread that is detached takes up
        the group-stop by itself, and the anchor listens for its end (ptrace(2), "Group-stop").
        """
        self._read([tid for tid in tids if tid not in self._mended])
        self._mended.difference_update(tids)
        for tid in tids:
            try:
                if tid == self.anchor:
                    (ptrace.listen if self._anchor_in_group_stop else ptrace.resume)(tid)
                else:
                    ptrace.detach(tid)
                    self._forget(tid)
            except ProcessLookupError:  # killed: it is a zombie that we must reap
                self._asked.add(tid)
        gone = set(tids)
        self._stopped = [tid for tid in self._stopped if tid not in gone]

    def _settle(self) -> None:
        """Take the stops that are still to come, and let go of everybody but the anchor."""
        deadline = time.monotonic() + _LATE_S
        running = set(self._regsets) - self._asked - {self.anchor}
        for tid in running:
            self._interrupt(tid)
        while self._asked:
            # In turn: those that stand still already must not wait for one that is late.
            for tid in list(self._asked):
                self._await(tid, min(deadline, time.monotonic() + _TURN_S))
                self._let_go(list(self._stopped))
            if time.monotonic() > deadline:
                return


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No garbage collection, and nobody who takes our CPU away while others stand still."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    collecting = gc.isenabled()
    gc.disable()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:  # not privileged, or a cgroup without real-time budget
        pass
    try:
        yield
    finally:
        try:
            os.sched_setscheduler(0, policy, priority)
        except OSError:
            pass
        if collecting:
            gc.enable()
