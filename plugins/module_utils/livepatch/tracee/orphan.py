# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A call that an injector which died has left to a thread.

A thread that we have borrowed makes its call and restores itself when we die.  At once, if it may run; in
a process that a signal has stopped, at SIGCONT.  By then others may have recovered, and mapped the next
patch in the same place: what the late call unmaps or closes would be theirs.  So whoever comes next takes
the call away: the thread goes on behind it, and stops again with its own state.

That is before anything else is done in the process; who has nothing to do there does nothing.  A call that
begins a load then makes an empty memory file at SIGCONT, which a later command finds and closes.

A borrowed thread is told from others by its program counter, in one of the borrowed instructions, and by
its frame, which leads to rt_sigreturn and has ``ss_flags`` that no kernel writes (cpu/signal_frame.py).
"""

from __future__ import annotations

from typing import Iterable, List, Optional

from ..cpu import Cpu
from ..cpu.architecture import Registers
from ..cpu.signal_frame import is_ours
from ..errors import RolledBack
from ..kernel import procfs, ptrace
from ..kernel.memory import Memory
from .gadgets import Gadgets
from .thread import ALL_SIGNALS, OPTIONS, Thread


class Orphans:
    """The borrowed threads of a process that nobody has given back.

    :param memory: of the process
    """

    def __init__(self, pid: int, cpu: Cpu, gadgets: Gadgets, memory: Memory) -> None:
        self.pid = pid
        self.cpu = cpu
        self._gadgets = gadgets
        self._memory = memory

    def find(self, tids: Iterable[int]) -> List[int]:
        """Those among the threads that may be one; nobody is stopped.

        A thread that runs is none for long, and not found.
        """
        found = []
        for tid in tids:
            try:
                place = procfs.syscall(self.pid, tid)
            except ProcessLookupError:
                continue
            if place is not None and self._borrowed(place.pc, place.sp):
                found.append(tid)
        return found

    def give_back(self, tid: int, anchor: Optional[int], deadline: float) -> None:
        """Have a thread restore itself without making its call; it goes on, or stays stopped, as its process is.

        :param anchor: a thread that is seized already, and stays so
        :raises Busy: ``stop_timeout``
        :raises Gone: the thread has ended
        :raises RolledBack: ``failed_midway``: it did not go the way that it should
        """
        thread = Thread(tid, self.pid)
        with thread.alive():
            if tid != anchor:
                ptrace.seize(tid, OPTIONS)
            thread.halt(deadline)
            registers = self.cpu.unpack(ptrace.get_registers(tid))
            if self._borrowed(registers[self.cpu.pc], registers[self.cpu.sp]):
                self._run(thread, registers, deadline)
            if tid == anchor:
                thread.resume()
            else:
                thread.detach()

    def _borrowed(self, pc: int, sp: int) -> bool:
        word, popped = self.cpu.word, self._gadgets.popped
        behind = pc - self._gadgets.behind_syscall
        if pc == self._gadgets.syscall:
            frame = sp + popped * word
        elif 0 <= behind <= popped:  # each pop is one byte
            frame = sp + (popped - behind) * word
        elif self._gadgets.sigreturn <= pc < self._gadgets.behind_sigreturn:
            frame = sp - word
        else:
            return False
        restorer = self._gadgets.sigreturn.to_bytes(word, "little")
        return self._read(frame, word) == restorer and is_ours(
            self.cpu.name, lambda offset, size: self._read(frame + offset, size)
        )

    def _read(self, address: int, size: int) -> bytes:
        try:
            return self._memory.read(address, size)
        except ProcessLookupError:
            raise
        except OSError:
            return b""

    def _run(self, thread: Thread, registers: Registers, deadline: float) -> None:
        """From behind the call through rt_sigreturn, and to an EVENT_STOP."""
        changed = list(registers)
        changed[self.cpu.syscall] = -1  # no call to start again
        if changed[self.cpu.pc] == self._gadgets.syscall:
            changed[self.cpu.pc] = self._gadgets.behind_syscall
        ptrace.set_registers(thread.tid, self.cpu.pack(changed))
        ptrace.set_sigmask(thread.tid, ALL_SIGNALS)  # the frame has its own
        thread.to_syscall_stop(deadline)
        number = self.cpu.unpack(ptrace.get_registers(thread.tid))[self.cpu.syscall]
        if self.cpu.syscall_name(number) != "rt_sigreturn":
            raise RolledBack(
                "failed_midway", f"thread {thread.tid} made the call {number} instead of rt_sigreturn"
            )
        thread.to_syscall_stop(deadline)
        thread.halt(deadline)
