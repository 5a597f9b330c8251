# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Restartable sequences (rseq(2)): code that must not go on after its thread was stopped.

A thread that is preempted inside such a sequence is sent to the sequence's abort address
when it goes on (kernel/rseq.c, rseq_ip_fixup), if its program counter is still inside.
When we have pointed it elsewhere meanwhile, the kernel forgets the sequence instead, and a
thread that later gets its old program counter back goes on in the middle of it: what it
computes for one CPU it may write on another.  Allocators are built on this.  So no thread
makes a call for us while it is inside.
"""

from __future__ import annotations

import errno
import struct
from typing import Optional

from ..cpu import Cpu
from ..cpu.architecture import Registers
from ..errors import Refused
from ..kernel import ptrace
from ..kernel.memory import Memory

_RSEQ_CS = 8  # offset of rseq_cs in struct rseq, an address in 64 bits also for 32-bit threads
_SEQUENCE = struct.Struct("<IIQQQ")  # struct rseq_cs: version, flags, start, length, abort


def abort_address(tid: int, cpu: Cpu, registers: Registers, memory: Memory) -> Optional[int]:
    """Where the kernel will send a stopped thread that is in a restartable sequence; None: it is in none.

    A thread in a system call is in none: calls are forbidden there.

    :raises Refused: ``rseq_unknown``: it runs, and the kernel can not say
    """
    if registers[cpu.syscall] != cpu.mask:  # -1: in no system call
        return None
    try:
        area = ptrace.get_rseq(tid)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        what = f"thread {tid} runs, and this kernel can not tell whether it is in a restartable sequence"
        raise Refused("rseq_unknown", what) from error
    if not area:
        return None
    address = int.from_bytes(memory.read(area + _RSEQ_CS, 8), "little") & cpu.mask
    if not address:
        return None
    _, _, start, length, abort = _SEQUENCE.unpack(memory.read(address, _SEQUENCE.size))
    return int(abort) if 0 <= registers[cpu.pc] - start < length else None
