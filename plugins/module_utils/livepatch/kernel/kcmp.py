# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""kcmp(2): whether two tasks share something."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

# <asm/unistd_64.h>, <asm/unistd_32.h>; the C library has no wrapper.
_KCMP = 312 if struct.calcsize("P") == 8 else 349
_KCMP_VM = 1  # <linux/kcmp.h>

_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long


def same_address_space(one: int, other: int) -> bool:
    """Whether two tasks share their memory (kcmp(2), KCMP_VM).

    :raises ProcessLookupError: one of them is gone
    :raises PermissionError: PTRACE_MODE_READ was denied for one of them
    :raises OSError: ENOSYS where the kernel has no kcmp
    """
    arguments = (ctypes.c_long(value) for value in (_KCMP, one, other, _KCMP_VM, 0, 0))
    result = int(_syscall(*arguments))
    if result < 0:
        number = ctypes.get_errno()
        if number == errno.ESRCH:
            raise ProcessLookupError(number, os.strerror(number))
        raise OSError(number, os.strerror(number))
    return result == 0
