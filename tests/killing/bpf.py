# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A seccomp filter that reports some system calls to the tracer and lets all others pass.

PTRACE_SYSCALL would stop the injector twice for every call of its start-up, which is the most of them. With
SECCOMP_RET_TRACE it stops only for those that may change a process (seccomp(2), "SECCOMP_RET_TRACE").
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_RET_ALLOW = 0x7FFF0000
_RET_TRACE = 0x7FF00000
_LOAD_NUMBER = (0x20, 0, 0, 0)  # BPF_LD | BPF_W | BPF_ABS: seccomp_data.nr
_RETURN = 0x06
_JUMP_IF_EQUAL = 0x15


class _Program(ctypes.Structure):  # struct sock_fprog
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def program(numbers: Iterable[int]) -> bytes:
    """The filter as an array of ``struct sock_filter``: RET_TRACE for these call numbers, else RET_ALLOW."""
    wanted = sorted(numbers)
    lines = [_LOAD_NUMBER]
    for place, number in enumerate(wanted):
        lines.append((_JUMP_IF_EQUAL, len(wanted) - place, 0, number))
    lines += [(_RETURN, 0, 0, _RET_ALLOW), (_RETURN, 0, 0, _RET_TRACE)]
    return b"".join(struct.pack("<HBBI", *line) for line in lines)


def install(filter_bytes: bytes) -> None:
    """Put this process under the filter, for good.

    :raises OSError: the kernel said no
    """
    room = ctypes.create_string_buffer(filter_bytes, len(filter_bytes))
    described = _Program(len(filter_bytes) // 8, ctypes.addressof(room))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(described), 0, 0),
    ):
        if prctl(*arguments):
            raise OSError(ctypes.get_errno(), f"prctl: {os.strerror(ctypes.get_errno())}")
