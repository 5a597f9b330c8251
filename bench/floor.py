# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""floor.py PID: the least that a stop of all threads costs from Python, and nothing else.

SEIZE; then, timed: INTERRUPT everybody, wait for everybody, GETREGSET, DETACH. No stack is read and nothing is
written, so no live patch can be shorter. Prints the microseconds from the first INTERRUPT on.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time

# <linux/ptrace.h>, <linux/elf.h>, <linux/wait.h>
SEIZE, INTERRUPT, GETREGSET, DETACH = 0x4206, 0x4207, 0x4204, 17
NT_PRSTATUS = 1
WALL = 0x40000000

_c = ctypes.PyDLL(None, use_errno=True)
_ptrace = _c.ptrace
_ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_ptrace.restype = ctypes.c_long


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def stop_once(pid: int) -> float:
    """Stop all threads of a process in one phase and let them go.

    :returns: microseconds from the first INTERRUPT to the last DETACH
    :raises OSError: a thread can not be traced
    """
    threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    registers = ctypes.create_string_buffer(216)
    vector = _Iovec(ctypes.addressof(registers), len(registers))
    where = ctypes.addressof(vector)
    for tid in threads:
        if _ptrace(SEIZE, tid, None, None):
            raise OSError(ctypes.get_errno(), f"PTRACE_SEIZE of thread {tid}")
    start = time.perf_counter()
    for tid in threads:
        _ptrace(INTERRUPT, tid, None, None)
    for tid in threads:
        os.waitpid(tid, WALL)
    for tid in threads:
        vector.length = len(registers)
        _ptrace(GETREGSET, tid, NT_PRSTATUS, where)
    for tid in threads:
        _ptrace(DETACH, tid, None, None)
    return (time.perf_counter() - start) * 1e6


if __name__ == "__main__":
    print(f"{stop_once(int(sys.argv[1])):.0f}")
