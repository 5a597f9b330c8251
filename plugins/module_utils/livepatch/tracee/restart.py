# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a stop does to a system call that it interrupts, and how to make good for it.

A stop wakes a sleeping thread as a signal does.  Most calls then leave a code
(include/linux/errno.h) in the result register by which the kernel restarts them when
the thread goes on and no handler ran (arch/x86/kernel/signal.c, arch_do_signal_or_restart)::

    -512  ERESTARTSYS            again, or EINTR after a handler without SA_RESTART
    -513  ERESTARTNOINTR         again
    -514  ERESTARTNOHAND         again, or EINTR after any handler
    -516  ERESTART_RESTARTBLOCK  restart_syscall with the time that is left, or EINTR after any handler

Some give up with a plain EINTR, which no program expects that has no handlers.
:func:`fix_interrupted` turns it into -514 where that is safe.

A thread that restores itself through rt_sigreturn has no restart logic (orig_ax is -1 then,
and the restart block is cleared); :func:`replayed` does beforehand what the kernel would do.
"""

from __future__ import annotations

from typing import Dict, FrozenSet, Optional

from ..cpu import Cpu
from ..cpu.architecture import Registers

_EINTR = -4
_ERESTARTNOHAND = -514
_ERESTART_RESTARTBLOCK = -516
_RESTARTING = frozenset((-512, -513, _ERESTARTNOHAND, _ERESTART_RESTARTBLOCK))

# Calls whose EINTR means that nothing happened: no data taken, no event consumed, nothing
# left half-way; signal(7), "Interruption of system calls and library functions by stop signals",
# lists most of them.  Numbers: arch/x86/entry/syscalls/syscall_{64,32}.tbl.
#
# read and the receiving calls get there on sockets with SO_RCVTIMEO (include/net/sock.h,
# sock_intr_errno), and only with nothing received.  io_uring_enter: only with nothing submitted.
#
# Never here: close (the descriptor is gone), ioctl (anything), connect (goes on in the background), and
# what sends or writes (with TCP_FASTOPEN_CONNECT the first send has begun to connect).
_NOTHING_HAPPENED: Dict[str, FrozenSet[int]] = {
    "x86_64": frozenset(
        (
            0,  # read
            19,  # readv
            43,  # accept
            45,  # recvfrom
            47,  # recvmsg
            65,  # semop
            128,  # rt_sigtimedwait
            208,  # io_getevents
            220,  # semtimedop
            232,  # epoll_wait
            281,  # epoll_pwait
            288,  # accept4
            299,  # recvmmsg
            426,  # io_uring_enter
            441,  # epoll_pwait2
        )
    ),
    "i386": frozenset(
        (
            3,  # read
            145,  # readv
            177,  # rt_sigtimedwait
            247,  # io_getevents
            256,  # epoll_wait
            319,  # epoll_pwait
            337,  # recvmmsg
            364,  # accept4
            371,  # recvfrom
            372,  # recvmsg
            417,  # recvmmsg_time64
            420,  # semtimedop_time64
            421,  # rt_sigtimedwait_time64
            426,  # io_uring_enter
            441,  # epoll_pwait2
        )
    ),
}

# i386 calls that are many: the first argument says which one.
# <linux/net.h>: SYS_ACCEPT, SYS_RECV, SYS_RECVFROM, SYS_RECVMSG, SYS_ACCEPT4, SYS_RECVMMSG
# <linux/ipc.h>: SEMOP, SEMTIMEDOP; the upper half of the word is a version
_MULTIPLEXED: Dict[str, Dict[int, FrozenSet[int]]] = {
    "x86_64": {},
    "i386": {102: frozenset((5, 10, 12, 17, 18, 19)), 117: frozenset((1, 4))},
}
_WHICH = 0xFFFF

_RESTART_SYSCALL = {"x86_64": 219, "i386": 0}


def _signed(value: int, cpu: Cpu) -> int:
    value &= cpu.mask
    return value - cpu.mask - 1 if value > cpu.mask >> 1 else value


def _with(registers: Registers, index: int, value: int) -> Registers:
    return registers[:index] + (value,) + registers[index + 1 :]


def is_restart_syscall(number: int, cpu: Cpu) -> bool:
    """Whether a call number is that of restart_syscall(2)."""
    return number == _RESTART_SYSCALL[cpu.name]


def fix_interrupted(registers: Registers, cpu: Cpu) -> Optional[Registers]:
    """Make a call that a stop has just broken off with EINTR start again when the thread goes on.

    With -514 the kernel repeats the call if no handler runs first; if one does, the
    program sees EINTR, as it must.  A relative time-out starts anew.

    :param registers: of a thread at a PTRACE_EVENT_STOP
    :returns: the registers to set instead; None: leave them as they are
    """
    if registers[cpu.result] != _EINTR & cpu.mask:
        return None
    number = registers[cpu.syscall]
    if number not in _NOTHING_HAPPENED[cpu.name]:
        which = _MULTIPLEXED[cpu.name].get(number)
        if which is None or registers[cpu.arguments[0]] & _WHICH not in which:
            return None
    return _with(registers, cpu.result, _ERESTARTNOHAND & cpu.mask)


def interrupted_by(registers: Registers, cpu: Cpu) -> Optional[int]:
    """The restart code of the call that a stop has broken off; None: no call waits to be restarted."""
    result = _signed(registers[cpu.result], cpu)
    if _signed(registers[cpu.syscall], cpu) < 0 or result not in _RESTARTING:
        return None
    return result


def mend(registers: Registers, cpu: Cpu, filtered: bool) -> Optional[Registers]:
    """What a stopped thread must have instead, for its call to start again; None: what it has.

    :param filtered: it may have a seccomp filter that kills for restart_syscall.  Then the call is
        repeated as it was made, and a relative time-out begins anew.
    """
    fixed = fix_interrupted(registers, cpu)
    if fixed is None and filtered:
        return without_restart_block(registers, cpu)
    return fixed


def without_restart_block(registers: Registers, cpu: Cpu) -> Optional[Registers]:
    """Have a call with a time-out repeated as it was, instead of going on as restart_syscall.

    For a process whose seccomp filter knows no restart_syscall: any stop would kill it.
    The time-out starts anew.

    :returns: the registers to set instead; None: no restart_syscall is to come, or one is under way
        already (the filter lets it pass, then)
    """
    if interrupted_by(registers, cpu) != _ERESTART_RESTARTBLOCK:
        return None
    if is_restart_syscall(registers[cpu.syscall], cpu):
        return None
    return _with(registers, cpu.result, _ERESTARTNOHAND & cpu.mask)


def replayed(registers: Registers, cpu: Cpu) -> Registers:
    """The registers with which a thread must come out of rt_sigreturn so that its call goes on.

    What is used only if we die; the ordinary way gives back the registers as they were.

    - A call that would be restarted is repeated with its own number and arguments, also after
      -516: a time-out then starts anew (nanosleep(2) with both pointers the same goes on with
      what was left).  A handler that runs meanwhile does not end it, as with SA_RESTART.
    - restart_syscall itself can not be repeated, because rt_sigreturn clears the restart block
      and nothing tells which call it stood for: the program sees EINTR.
    """
    if interrupted_by(registers, cpu) is None:
        return registers
    number = registers[cpu.syscall]
    if is_restart_syscall(number, cpu):
        return _with(registers, cpu.result, _EINTR & cpu.mask)
    # syscall, sysenter's landing pad and int $0x80 are two bytes, all of them.
    again = _with(registers, cpu.pc, registers[cpu.pc] - 2 & cpu.mask)
    return _with(again, cpu.result, number)
