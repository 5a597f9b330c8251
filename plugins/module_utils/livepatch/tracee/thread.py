# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""One seized thread, and the stop that it is in."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import Iterator, Optional

from ..cpu import of_registers
from ..errors import Busy, Gone, RolledBack
from ..kernel import ptrace
from .restart import mend

OPTIONS = ptrace.O_SYSGOOD  # a thread must be seized with it, for system-call stops to be told apart

ALL_SIGNALS = (1 << 64) - 1

# How long a thread that has died may take until the kernel lets us reap it, seconds.
_REAP_S = 5.0


class Thread:
    """Stops and resumes one thread, and passes on what comes for it meanwhile.

    Methods raise ``Gone`` when the thread has ended; it has been reaped then.

    :param tid: a seized thread
    :param pid: its process
    """

    def __init__(self, tid: int, pid: int) -> None:
        self.tid = tid
        self.pid = pid
        self.stop: Optional[ptrace.WaitStatus] = None  #: None: it runs
        self.gone = False

    @property
    def at_event_stop(self) -> bool:
        """Whether it is in the stop that PTRACE_INTERRUPT asks for, or in a group-stop."""
        return self.stop is not None and self.stop.event == ptrace.EVENT_STOP

    @property
    def group_stopped(self) -> bool:
        """Whether the whole process is stopped by a signal."""
        return self.stop is not None and self.stop.group_stopped

    def wait(self, deadline: float) -> ptrace.WaitStatus:
        """The next stop.

        :param deadline: ``time.monotonic()`` seconds
        :raises Busy: ``stop_timeout``
        """
        try:
            status = ptrace.wait(self.tid, deadline)
        except ChildProcessError:
            self.gone = True
            raise Gone(self.pid) from None
        if status is None:
            raise Busy("stop_timeout", f"thread {self.tid} of process {self.pid} did not stop in time")
        if status.exited:
            self.gone = True
            raise Gone(self.pid)
        self.stop = status
        return status

    def halt(self, deadline: float, faults: bool = True) -> None:
        """Come to an EVENT_STOP; signals that are about to be delivered before it, are.

        :param faults: deliver all signals; False: only SIGSTOP, because all others are blocked
            and what comes all the same is the fault of what we made the thread do
        :raises Busy: ``stop_timeout``; the request stays, the thread will stop some time
        """
        while not self.at_event_stop:
            # Any other stop takes the request away (kernel/signal.c, ptrace_stop: "any trap clears
            # pending STOP trap"), so it is made anew at each, before the thread goes on.
            ptrace.interrupt(self.tid)
            if self.stop is not None:
                self._pass_on(self.stop, faults)
            self.wait(deadline)

    def _pass_on(self, status: ptrace.WaitStatus, faults: bool) -> None:
        """Let it go on from a stop that we did not ask for."""
        delivered = 0
        if status.event == ptrace.EVENT_CLONE:
            self._let_go(ptrace.get_event_message(self.tid))
        elif status.event == 0 and not status.at_syscall and (faults or status.signal == signal.SIGSTOP):
            delivered = status.signal
        ptrace.resume(self.tid, delivered)
        self.stop = None

    def _let_go(self, tid: int) -> None:
        """Detach a thread that the kernel seized for us, because ours has started it."""
        status = ptrace.wait(tid, time.monotonic() + _REAP_S)
        if status is not None and not status.exited:
            ptrace.detach(tid)

    def run_to_syscall(self, deadline: float, delivered: int = 0) -> ptrace.WaitStatus:
        """Go on to the next entry or exit of a system call, or whatever stops it before.

        :param delivered: the signal to go on with from a signal's delivery
        :raises Busy: ``stop_timeout``
        """
        ptrace.resume_to_syscall(self.tid, delivered)
        self.stop = None
        return self.wait(deadline)

    def to_syscall_stop(self, deadline: float) -> None:
        """Run a thread that has all signals blocked to the next entry or exit of a call.

        SIGSTOP, which can not be blocked, is delivered: the process counts as stopped, this thread goes on
        for us, and stays stopped when it is resumed or let go in the end.

        :raises Busy: ``stop_timeout``
        :raises RolledBack: ``failed_midway``: another signal came, which is the fault of what we made it do
        """
        delivered = 0
        while True:
            status = self.run_to_syscall(deadline, delivered)
            if status.at_syscall:
                return
            delivered = 0
            if status.event == 0:
                if status.signal != signal.SIGSTOP:
                    what = f"thread {self.tid} got signal {status.signal} instead of making a call for us"
                    raise RolledBack("failed_midway", what)
                delivered = status.signal

    def resume(self) -> None:
        """Let it go on from an EVENT_STOP; in a stopped process it stays stopped."""
        if self.group_stopped:
            ptrace.listen(self.tid)
        else:
            ptrace.resume(self.tid)
        self.stop = None

    def detach(self) -> None:
        """Let go of it at an EVENT_STOP; in a stopped process it stays stopped."""
        ptrace.detach(self.tid)
        self.stop = None

    def release(self, deadline: float, filtered: bool) -> None:
        """Stop it and let go of it for good; a call that this stop breaks off will start again.

        :param filtered: see ``restart.mend``
        :raises Busy: ``stop_timeout``
        """
        with self.alive():
            self.halt(deadline)
            regset = ptrace.get_registers(self.tid)
            cpu = of_registers(len(regset))
            mended = mend(cpu.unpack(regset), cpu, filtered)
            if mended is not None:
                ptrace.set_registers(self.tid, cpu.pack(mended))
            self.detach()

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Turn ESRCH, which any request answers once the thread was killed, into ``Gone``, and reap it.

        :raises ProcessLookupError: it was not killed; the request did not fit its state
        """
        try:
            yield
        except ProcessLookupError:
            try:
                while not self.gone:
                    self.wait(time.monotonic() + _REAP_S)
            except (Gone, Busy):
                pass
            if not self.gone:
                raise
            raise Gone(self.pid) from None
