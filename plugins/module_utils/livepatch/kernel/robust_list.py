# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""get_robust_list(2): where a running thread keeps its list of robust mutexes.

glibc keeps it inside the thread's descriptor (struct pthread), which ends the
thread's stack: so it tells, without a stop, where that stack is.
"""

from __future__ import annotations

import ctypes
import os
import struct

# <asm/unistd_64.h>, <asm/unistd_32.h>
_GET_ROBUST_LIST = 274 if struct.calcsize("P") == 8 else 312

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def head(tid: int) -> int:
    """Address of the list head; 0: the thread has none.

    0 for 32-bit threads when we are 64-bit, too: the kernel keeps their list apart and shows it to 32-bit
    callers only (kernel/futex/syscalls.c, compat_sys_get_robust_list).

    :raises ProcessLookupError: the thread is gone
    :raises PermissionError: PTRACE_MODE_READ was denied
    """
    address = ctypes.c_void_p()
    length = ctypes.c_size_t()
    arguments = (ctypes.c_long(_GET_ROBUST_LIST), ctypes.c_long(tid))
    if _syscall(*arguments, ctypes.byref(address), ctypes.byref(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return address.value or 0
