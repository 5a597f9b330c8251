# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread of a program under test, borrowed the way the product does it."""

from __future__ import annotations

import os
import time
from typing import Any, Optional

from livepatch.cpu import Cpu
from livepatch.kernel import procfs, ptrace
from livepatch.kernel.memory import Memory
from livepatch.tracee import gadgets
from livepatch.tracee.remote import Hold
from livepatch.tracee.stacks import StackMap
from tests.harness.program import PATIENCE, Program


def soon() -> float:
    """A deadline that only a hang meets."""
    return time.monotonic() + PATIENCE


def wait_until_blocked(pid: int, tid: int, sp: Optional[int] = None) -> procfs.Syscall:
    """Until a thread waits in a system call; what it waits in.

    /proc is all there is to see it by; nothing of it depends on how fast that comes.

    :param sp: the stack pointer that it must come to wait with
    """
    deadline = soon()
    while time.monotonic() < deadline:
        found = procfs.syscall(pid, tid)
        asleep = found is not None and procfs.stat(pid, tid).state == "S"
        if asleep and found == procfs.syscall(pid, tid) and sp in (None, found.sp):
            return found
        os.sched_yield()
    raise AssertionError(f"thread {tid} does not block")


def wait_until_stopped(pid: int) -> None:
    """Until a process that was let go in a group-stop has come back to it: it runs a few instructions first."""
    deadline = soon()
    while procfs.stat(pid).state != "T":
        assert time.monotonic() < deadline, f"process {pid} does not stop"
        os.sched_yield()


class Lender:
    """What is found out once about a process whose threads are borrowed."""

    def __init__(self, program: Program, cpu: Cpu) -> None:
        ptrace.prepare_waiting()
        self.cpu = cpu
        self.pid = program.pid
        mappings = procfs.maps(self.pid)
        self.memory = Memory(self.pid)
        self.memory.open_writable()
        self.stacks = StackMap(mappings, self.pid)
        self.gadgets = gadgets.find(cpu, mappings, procfs.exe(self.pid), self.memory.read)

    def hold(self, tid: int, **options: Any) -> Hold:
        """A hold that seizes and detaches the thread by itself."""
        place = options.pop("place", self.stacks)
        deadline = options.pop("deadline", soon())
        options.setdefault("seize", True)
        return Hold(tid, self.cpu, self.gadgets, self.memory, place, deadline, **options)


def come_to_event_stop(tid: int) -> ptrace.WaitStatus:
    """Stop a seized thread, handing it the signals that are about to be delivered."""
    ptrace.interrupt(tid)
    while True:
        status = ptrace.wait(tid, soon())
        assert status is not None and not status.exited
        if status.event == ptrace.EVENT_STOP:
            return status
        ptrace.resume(tid, status.signal if not status.event else 0)
