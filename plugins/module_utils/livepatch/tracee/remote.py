# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""System calls made by a thread of the process for us, safe against our own death.

The thread gets a signal frame with its own state (``cpu.signal_frame``) below its stack
pointer, and is pointed at a system-call instruction whose return leads to rt_sigreturn::

    stop        INTERRUPT, EVENT_STOP; registers, signal mask, extended state
    frame       one write                          below the red zone: nobody's memory
    borrow      SETREGS, then SETSIGMASK(all)      from here on the thread restores itself
    call        SYSCALL to entry, SYSCALL to exit, GETREGS; again: SETREGS before it
    give back   INTERRUPT, CONT to EVENT_STOP; SETSIGMASK, then SETREGS

If we die between any two of these, the thread goes on where it stands: it makes the call,
returns into rt_sigreturn, and has its registers, extended state and signal mask back.
The order matters: with the mask first, a death would leave all signals blocked; and only
an EVENT_STOP is left through the code that restarts an interrupted system call (kernel/signal.c,
get_signal; arch/x86/kernel/signal.c), so registers are given back there, never at a call's exit.
"""

from __future__ import annotations

import os
import time
from types import MappingProxyType
from typing import List, Mapping, NamedTuple, Optional, Sequence, Union

from ..cpu import Cpu, of_registers
from ..cpu.architecture import Registers
from ..cpu.signal_frame import FXSAVE_SIZE, FloatingPoint, UnknownState, XstateLayout
from ..errors import Busy, Refused, RolledBack, Stranded
from ..kernel import procfs, ptrace, xstate
from ..kernel.memory import Memory
from . import gadgets as gadget_search
from . import restart, rseq, seccomp
from .gadgets import Gadgets
from .seccomp import Call
from .stacks import MARGIN, StackMap, above_an_interrupted, thread_pointer
from .thread import ALL_SIGNALS, OPTIONS, Thread

_TRAP_AND_DIRECTION = 0x500  # eflags: no single step, strings upwards (psABI)
# A call that has begun is waited for, whatever the deadline of the stop was.
_CALL_S = 10.0
# A thread that was late to stop is let go when it comes; so long we wait for that.
_LATE_S = 5.0
_LOOKED_THROUGH = 64 << 10  # bytes of the stack: a signal handler on an alternate one is not deeper
_MOST_ERRNO = 4095  # include/linux/err.h
_NT_PRXFPREG = 0x46E62B7F  # <linux/elf.h>: fxsave of a 32-bit thread


class Arena(NamedTuple):
    """Memory of our own in the process, where a frame may lie instead of on the thread's stack."""

    low: int
    high: int


def room_needed(cpu: Cpu, scratch: int = 0) -> int:
    """Bytes below the stack pointer that a call takes, margin included; rounded up, exact at the stop.

    :param scratch: bytes that the caller wants beside the frame
    """
    layout = xstate.signal_frame_layout()
    area = layout[1] if layout else FXSAVE_SIZE
    return cpu.red_zone + scratch + area + 1024 + MARGIN


class Hold:
    """One thread, stopped, making calls for us; as a context manager.

    Inside, the thread stands still with its own registers until the first :meth:`call`.
    At the end it has everything back, whatever was raised.

    :param tid: a thread that was seized with :data:`OPTIONS` and runs
    :param memory: of its process
    :param place: what is known of the stacks, or memory of our own
    :param deadline: ``time.monotonic()`` seconds, for the stop; calls under way have ten seconds of their own
    :param scratch: bytes for the calls to point at, written together with the frame
    :param calls: those that will be made, for the thread's seccomp filters
    :param seize: seize the thread here, and detach it in the end
    :param keep_stopped: leave it at an EVENT_STOP, with its own registers, instead of resuming it
    :param restorers: see ``gadgets.restorers``; by them an alternate stack on the thread's own is found
    """

    registers: Registers  # the thread's own
    scratch: int  # address of the scratch bytes; they are there from the first call on

    def __init__(
        self,
        tid: int,
        cpu: Cpu,
        gadgets: Gadgets,
        memory: Memory,
        place: Union[StackMap, Arena],
        deadline: float,
        *,
        scratch: bytes = b"",
        calls: Sequence[Call] = (),
        seize: bool = False,
        keep_stopped: bool = False,
        restorers: Mapping[int, bool] = MappingProxyType({}),
    ) -> None:
        self.tid = tid
        self.cpu = cpu
        self._gadgets = gadgets
        self._memory = memory
        self._place = place
        self._deadline = deadline
        self._scratch = scratch
        self._calls = calls
        self._seize = seize
        self._keep_stopped = keep_stopped
        self._restorers = restorers
        self._filters: List[seccomp.Program] = []
        self._thread = Thread(tid, memory.pid)
        self._borrowed = False  # its registers are ours

    # -- stopping ------------------------------------------------------------------

    def __enter__(self) -> Hold:
        """Stop the thread, and look whether it can make the calls; nothing is written yet.

        :raises Refused: ``no_stack_room, seccomp, no_gadget, wrong_architecture``
        :raises Busy: ``stop_timeout``
        :raises Gone: the thread has ended
        """
        with self._thread.alive():
            if self._seize:
                ptrace.seize(self.tid, OPTIONS)
            try:
                self._halt()
                self._look()
            except BaseException:
                self._leave()
                raise
        return self

    def _halt(self) -> None:
        """Come to an EVENT_STOP outside of any restartable sequence."""
        while True:
            self._thread.halt(self._deadline)
            regset = ptrace.get_registers(self.tid)
            mode = of_registers(len(regset))
            if mode is not self.cpu:
                what = f"thread {self.tid} runs {mode.name} code in a process that is {self.cpu.name}"
                raise Refused("wrong_architecture", what)
            self.registers = self.cpu.unpack(regset)
            abort = rseq.abort_address(self.tid, self.cpu, self.registers, self._memory)
            if abort is None:
                return
            if self._thread.group_stopped:
                # It goes on at SIGCONT, and there: a thread that was preempted inside never goes on inside.
                self._set(self.registers[: self.cpu.pc] + (abort,) + self.registers[self.cpu.pc + 1 :])
                return
            self._thread.resume()

    def _look(self) -> None:
        """Save what the frame needs, place it, and ask the seccomp filters."""
        cpu = self.cpu
        self._set(restart.fix_interrupted(self.registers, cpu))
        if not gadget_search.intact(cpu, self._gadgets, self._memory.read):
            raise Refused("no_gadget", f"the borrowed instructions of process {self._memory.pid} are gone")
        self._ask_filters()
        self._sigmask = ptrace.get_sigmask(self.tid)
        low, top = self._room()
        self.scratch = (top - len(self._scratch)) & ~15
        try:
            self._frame = cpu.signal_frame(
                restart.replayed(self.registers, cpu),
                self._sigmask,
                _floating_point(self.tid, cpu),
                self.scratch,
                self._gadgets.sigreturn,
                self._gadgets.popped,
            )
        except UnknownState as error:
            raise Refused("no_stack_room", f"thread {self.tid} has no frame: {error}") from error
        if self._frame.address < low:
            what = f"thread {self.tid} lacks {low - self._frame.address} bytes of stack at {top:#x}"
            raise Refused("no_stack_room", what)

    def _set(self, registers: Optional[Registers]) -> None:
        """Change the registers that the thread goes on with, at once: we may die before we give them back."""
        if registers is not None:
            ptrace.set_registers(self.tid, self.cpu.pack(registers))
            self.registers = registers

    def _room(self) -> tuple[int, int]:
        """(low, top) of the memory that frame and scratch may take."""
        if isinstance(self._place, Arena):
            return self._place.low + MARGIN, self._place.high
        sp = self.registers[self.cpu.sp]
        stack = self._place.prove(self.tid, sp, thread_pointer(self.tid, self.cpu, self.registers))
        if stack is None:
            raise Refused(
                "no_stack_room", f"thread {self.tid} is at {sp:#x}, which is not proven to be its own stack"
            )
        words = self._memory.read(sp, min(stack.high - sp, _LOOKED_THROUGH))
        if above_an_interrupted(words, sp, stack.low, self.cpu, self._restorers):
            raise Refused("no_stack_room", f"thread {self.tid} is in a signal handler on an alternate stack")
        return stack.low + MARGIN, sp - self.cpu.red_zone

    def _ask_filters(self) -> None:
        if procfs.status(self._memory.pid, self.tid).get("Seccomp", "0") == "0":
            return
        self._filters = seccomp.read_filters(self.tid)
        behind = self._gadgets.behind_syscall
        calls = [(self._native(call), behind) for call in self._calls]
        calls.append((Call("rt_sigreturn"), self._gadgets.behind_sigreturn))
        seccomp.require(self.tid, self._filters, self.cpu, calls)
        if seccomp.allows(self._filters, self.cpu, Call("restart_syscall"), self.registers[self.cpu.pc]):
            self._set(restart.without_restart_block(self.registers, self.cpu))

    # -- calling -------------------------------------------------------------------

    def call(self, name: str, *arguments: int) -> int:
        """Make one system call.

        :param name: as in syscalls(2); ``mmap`` stands for i386's mmap2
        :param arguments: numbers; an offset of mmap in bytes
        :returns: its result, an address as an unsigned number
        :raises OSError: the call's own error
        :raises Refused: a seccomp filter does not let this call pass; nothing was called
        :raises RolledBack: the call did not come back as it should; the thread's state is kept
        :raises Stranded: the thread is stuck in the call; it restores itself when it comes out and we end
        :raises Gone: the thread has ended
        """
        call = self._native(Call(name, arguments))
        if self._filters:
            seccomp.require(self.tid, self._filters, self.cpu, [(call, self._gadgets.behind_syscall)])
        with self._thread.alive():
            self._borrow(call)
            deadline = time.monotonic() + _CALL_S
            self._to_syscall_stop(name, deadline)  # entry
            self._to_syscall_stop(name, deadline)  # exit
            registers = self.cpu.unpack(ptrace.get_registers(self.tid))
        if registers[self.cpu.pc] != self._gadgets.behind_syscall:
            what = f"thread {self.tid} came out of {name} at {registers[self.cpu.pc]:#x}"
            raise RolledBack("failed_midway", what)
        result = registers[self.cpu.result]
        error = self.cpu.mask + 1 - result
        if 0 < error <= _MOST_ERRNO:
            raise OSError(error, f"{name} in process {self._memory.pid}: {os.strerror(error)}")
        return result

    def _native(self, call: Call) -> Call:
        """The call as this architecture has it: i386's mmap takes a structure, mmap2 an offset in pages."""
        if call.name != "mmap" or self.cpu.word == 8:
            return call
        *others, offset = call.arguments
        if offset is not None and offset % procfs.PAGE:
            raise ValueError(f"mmap: offset {offset:#x} is not a multiple of a page")
        return Call("mmap2", (*others, offset and offset // procfs.PAGE))

    def _borrow(self, call: Call) -> None:
        """Point the thread at the system call; from here on it would restore itself."""
        cpu = self.cpu
        first = not self._borrowed
        if first:
            self._write_frame()
            self._borrowed = True
        registers = list(self.registers)
        registers[cpu.result] = cpu.syscall_number(call.name)
        registers[cpu.syscall] = -1  # in no call: nothing to restart when it goes on from here
        registers[cpu.pc] = self._gadgets.syscall
        registers[cpu.sp] = self._frame.address
        registers[cpu.flags] &= ~_TRAP_AND_DIRECTION
        for index, argument in zip(cpu.arguments, (*call.arguments, 0, 0, 0, 0, 0, 0)):
            registers[index] = argument or 0
        ptrace.set_registers(self.tid, cpu.pack(registers))
        if first:
            ptrace.set_sigmask(self.tid, ALL_SIGNALS)

    def _write_frame(self) -> None:
        address, image = self._frame
        try:
            self._memory.write(address, image.ljust(self.scratch - address, b"\0") + self._scratch)
        except ProcessLookupError:
            raise
        except OSError as error:
            what = f"the stack of thread {self.tid} can not be written at {address:#x}: {error.strerror}"
            raise Refused("no_stack_room", what) from error

    def _to_syscall_stop(self, name: str, deadline: float) -> None:
        """:raises Stranded: the call takes too long"""
        try:
            self._thread.to_syscall_stop(deadline)
        except Busy as error:
            what = f"thread {self.tid} has not come out of {name} for {_CALL_S:.0f} s"
            raise Stranded("could_not_undo", what) from error

    # -- giving back ---------------------------------------------------------------

    def __exit__(self, *exc: object) -> None:
        with self._thread.alive():
            self._leave()

    def _leave(self) -> None:
        """Give the thread back its state and let it go.

        :raises Busy: ``stop_timeout``: it did not even stop; it will, and goes on when we end
        """
        thread = self._thread
        if thread.gone or (self._borrowed and thread.stop is None):
            return  # in the latter case it is stuck in a call, and restores itself when it comes out and we end
        thread.halt(time.monotonic() + _LATE_S, faults=not self._borrowed)
        if self._borrowed:
            ptrace.set_sigmask(self.tid, self._sigmask)
            ptrace.set_registers(self.tid, self.cpu.pack(self.registers))
        self._borrowed = False
        if self._seize:
            thread.detach()
        elif not self._keep_stopped:
            thread.resume()


def _floating_point(tid: int, cpu: Cpu) -> FloatingPoint:
    """The extended state of a stopped thread (arch/x86/kernel/ptrace.c, x86_32_regsets and x86_64_regsets)."""
    layout = xstate.signal_frame_layout()
    if layout is not None:
        extended: Optional[bytes] = ptrace.get_regset(tid, ptrace.NT_X86_XSTATE)
    else:
        extended = ptrace.get_regset(tid, _NT_PRXFPREG) if cpu.word == 4 else None
    needs_legacy = cpu.word == 4 or extended is None
    legacy = ptrace.get_regset(tid, ptrace.NT_PRFPREG) if needs_legacy else b""
    return FloatingPoint(legacy, extended, XstateLayout(*layout) if layout else None)
