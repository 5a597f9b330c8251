# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""ptrace(2) as PTRACE_SEIZE has it, and waiting for its stops with a deadline.

Constants and the error class are python-ptrace's; what it lacks stands here.
The call is bound through ``ctypes.PyDLL``: inside a stop the interpreter lock
would be given up and taken back for nothing.  This is the only file that calls
ptrace(2).

Functions raise ``ProcessLookupError`` where the thread is gone, is not stopped,
or is not ours (ESRCH means all three), else ``OSError`` with the kernel's word.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import List, NamedTuple, Optional, Tuple

from ..python_ptrace import without_library_search

with without_library_search():
    from ptrace.binding import func as binding

CONT = binding.PTRACE_CONT
DETACH = binding.PTRACE_DETACH
SYSCALL = binding.PTRACE_SYSCALL
GETREGSET = binding.PTRACE_GETREGSET
SETREGSET = binding.PTRACE_SETREGSET
POKETEXT = binding.PTRACE_POKETEXT
GETEVENTMSG = binding.PTRACE_GETEVENTMSG
O_SYSGOOD = binding.PTRACE_O_TRACESYSGOOD
O_CLONE = binding.PTRACE_O_TRACECLONE
EVENT_CLONE = binding.PTRACE_EVENT_CLONE
WALL = binding.THREAD_TRACE_FLAGS
NT_PRSTATUS = binding.NT_PRSTATUS
# <linux/ptrace.h>
SEIZE = 0x4206
INTERRUPT = 0x4207
LISTEN = 0x4208
GETSIGMASK = 0x420A
SETSIGMASK = 0x420B
SECCOMP_GET_FILTER = 0x420C
GET_THREAD_AREA = 25
GET_RSEQ_CONFIGURATION = 0x420F
EVENT_STOP = 128
# <linux/elf.h>
NT_PRFPREG = 2
NT_X86_XSTATE = 0x202

# An xsave area has been 11 KB at the most so far (AMX); the kernel tells how much it filled in.
_REGSET_ROOM = 1 << 16

_c = ctypes.PyDLL(None, use_errno=True)
_ptrace = _c.ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long
_errno = ctypes.get_errno


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def _call(request: int, tid: int, address: Optional[int] = None, data: Optional[int] = None) -> int:
    result = int(_ptrace(request, tid, address, data))
    if result == -1:
        number = _errno()
        raise OSError(number, f"ptrace request {request:#x} on thread {tid}: {os.strerror(number)}")
    return result


def seize(tid: int, options: int) -> None:
    """Become the tracer; the thread runs on.

    :raises PermissionError: not allowed, or another tracer has it
    """
    _call(SEIZE, tid, 0, options)


def interrupt(tid: int) -> None:
    """Ask for an EVENT_STOP; wait for it with :func:`wait`."""
    _call(INTERRUPT, tid)


def resume(tid: int, signal_number: int = 0) -> None:
    """PTRACE_CONT."""
    _call(CONT, tid, 0, signal_number)


def resume_to_syscall(tid: int, signal_number: int = 0) -> None:
    """Run to the next entry or exit of a system call."""
    _call(SYSCALL, tid, 0, signal_number)


def listen(tid: int) -> None:
    """Leave a thread in its group-stop, and hear of SIGCONT."""
    _call(LISTEN, tid)


def detach(tid: int) -> None:
    """Let go of a stopped thread."""
    _call(DETACH, tid)


class Regset:
    """A buffer for one register set of one thread, allocated before the stop."""

    def __init__(self, tid: int, note: int = NT_PRSTATUS, room: int = 216) -> None:
        self.tid = tid
        self.note = note
        self.room = room
        self.buffer = bytearray(room)
        self._keep = (ctypes.c_char * room).from_buffer(self.buffer)
        self._iovec = _Iovec(ctypes.addressof(self._keep), room)
        self._pointer = ctypes.addressof(self._iovec)

    def read(self) -> int:
        """Fill the buffer; how many bytes the kernel gave."""
        self._iovec.length = self.room
        if _ptrace(GETREGSET, self.tid, self.note, self._pointer) == -1:
            number = _errno()
            raise OSError(number, f"registers of thread {self.tid}: {os.strerror(number)}")
        return int(self._iovec.length)

    def write(self, data: bytes) -> None:
        """Set the thread's registers."""
        self.buffer[: len(data)] = data
        self._iovec.length = len(data)
        _call(SETREGSET, self.tid, self.note, self._pointer)


def get_regset(tid: int, note: int) -> bytes:
    """A register set of a stopped thread, as long as the kernel made it.

    For NT_PRSTATUS the length tells the thread's mode, whatever ours is: 216 bytes
    from a 64-bit thread, 68 from a 32-bit one (arch/x86/kernel/ptrace.c,
    task_user_regset_view).

    :raises OSError: ENODEV: this machine has no such set
    """
    regset = Regset(tid, note, _REGSET_ROOM)
    return bytes(regset.buffer[: regset.read()])


def get_registers(tid: int) -> bytes:
    """NT_PRSTATUS of a stopped thread."""
    regset = Regset(tid)
    return bytes(regset.buffer[: regset.read()])


def set_registers(tid: int, data: bytes) -> None:
    """NT_PRSTATUS of a stopped thread, in its own mode's layout."""
    Regset(tid).write(data)


def get_sigmask(tid: int) -> int:
    """Blocked signals, bit N - 1 for signal N."""
    mask = ctypes.c_uint64()
    _call(GETSIGMASK, tid, 8, ctypes.addressof(mask))
    return mask.value


def set_sigmask(tid: int, mask: int) -> None:
    """Blocked signals, bit N - 1 for signal N."""
    value = ctypes.c_uint64(mask)
    _call(SETSIGMASK, tid, 8, ctypes.addressof(value))


def get_event_message(tid: int) -> int:
    """What came with the event: the new thread's id at EVENT_CLONE."""
    message = ctypes.c_ulong()
    _call(GETEVENTMSG, tid, 0, ctypes.addressof(message))
    return message.value


def get_seccomp_filter(tid: int, index: int) -> List[Tuple[int, int, int, int]]:
    """A classic BPF program as (code, jt, jf, k), the newest filter at index 0.

    :raises FileNotFoundError: there are no more filters
    :raises PermissionError: CAP_SYS_ADMIN is missing
    """
    count = _call(SECCOMP_GET_FILTER, tid, index, 0)
    program = ctypes.create_string_buffer(8 * count)
    _call(SECCOMP_GET_FILTER, tid, index, ctypes.addressof(program))
    raw = program.raw
    return [
        (
            int.from_bytes(raw[at : at + 2], "little"),
            raw[at + 2],
            raw[at + 3],
            int.from_bytes(raw[at + 4 : at + 8], "little"),
        )
        for at in range(0, 8 * count, 8)
    ]


def get_thread_area(tid: int, entry: int) -> int:
    """Base address of a GDT entry (arch/x86/kernel/tls.c); 32-bit threads keep their TLS there."""
    descriptor = (ctypes.c_uint32 * 4)()
    _call(GET_THREAD_AREA, tid, entry, ctypes.addressof(descriptor))
    return int(descriptor[1])


def get_rseq(tid: int) -> int:
    """Address of a thread's struct rseq (<linux/rseq.h>); 0: it has registered none.

    :raises OSError: EIO before Linux 5.13, or without CONFIG_RSEQ: it can not be asked for
    """
    configuration = (ctypes.c_uint64 * 3)()
    _call(GET_RSEQ_CONFIGURATION, tid, ctypes.sizeof(configuration), ctypes.addressof(configuration))
    return int(configuration[0])


def poke_text(tid: int, address: int, data: bytes) -> None:
    """Write one word where /proc/PID/mem may not (proc_mem.force_override=never).

    :param data: exactly one word of ours, 8 bytes for a 64-bit injector
    """
    _call(POKETEXT, tid, address, int.from_bytes(data, "little"))


class WaitStatus(NamedTuple):
    """What waitpid(2) told of one thread."""

    tid: int
    exited: bool  # it has ended (and was reaped)
    signal: int  # the signal it stopped with
    event: int  # PTRACE_EVENT_*, 0 for a signal-delivery-stop or a system-call stop

    @property
    def interrupted(self) -> bool:
        """The stop that PTRACE_INTERRUPT asks for; new threads start with it, too."""
        return self.event == EVENT_STOP and self.signal == signal.SIGTRAP

    @property
    def group_stopped(self) -> bool:
        """SIGSTOP, SIGTSTP, SIGTTIN or SIGTTOU has stopped the whole process."""
        return self.event == EVENT_STOP and self.signal != signal.SIGTRAP

    @property
    def at_syscall(self) -> bool:
        """Entry or exit of a system call (with O_SYSGOOD)."""
        return self.signal == signal.SIGTRAP | 0x80


def _decode(tid: int, status: int) -> WaitStatus:
    if status & 0xFF != 0x7F:
        return WaitStatus(tid, True, 0, 0)
    return WaitStatus(tid, False, status >> 8 & 0xFF, status >> 16)


def poll(tid: int) -> Optional[WaitStatus]:
    """The thread's next state change, if it is there; ``tid`` -1 asks for anyone's.

    :raises ChildProcessError: we trace no such thread (any more)
    """
    got, status = os.waitpid(tid, WALL | os.WNOHANG)
    return _decode(got, status) if got else None


# A running thread takes 5 to 50 us to stop.  Polling that long is cheaper than
# being put to sleep and woken; then sleeping is fairer, should it share our CPU.
_SPIN = 40e-6


def wait(tid: int, deadline: float) -> Optional[WaitStatus]:
    """The thread's next state change.

    Sleeps for SIGCHLD, which the kernel sends a tracer for every stop; it must be
    blocked (:func:`prepare_waiting`).

    :param tid: the thread, or -1 for any
    :param deadline: ``time.monotonic()`` seconds
    :returns: ``None`` when the deadline has passed
    :raises ChildProcessError: we trace no such thread (any more)
    """
    spin_until = min(time.monotonic() + _SPIN, deadline)
    while True:
        got, status = os.waitpid(tid, WALL | os.WNOHANG)
        if got:
            return _decode(got, status)
        now = time.monotonic()
        if now >= deadline:
            return None
        if now >= spin_until:
            try:
                signal.sigtimedwait((signal.SIGCHLD,), deadline - now)
            except InterruptedError:
                continue


def prepare_waiting() -> None:
    """Block SIGCHLD in this process, so that :func:`wait` can take it as an event.

    An ignored SIGCHLD, which a parent may have handed down, would not be sent.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
