# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""How much extended state this kernel saves in a signal frame, read from one of our own.

CPUID would tell, but Python has no way to ask it; and the length of the NT_X86_XSTATE
regset is that of the machine's largest state (11 KB with AMX), while the frames of
processes that never asked for AMX are smaller (2.8 KB).
"""

from __future__ import annotations

import ctypes
import signal
import struct
from functools import lru_cache
from typing import Optional, Tuple

# <bits/sigaction.h>, <bits/sigstack.h>; the same in glibc and musl, 64- and 32-bit.
_SA_ONSTACK = 0x08000000
_STACK_SIZE = 1 << 16


class _Sigaction(ctypes.Structure):
    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_uint8 * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


class _StackT(ctypes.Structure):
    _fields_ = [("sp", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def _own_signal_frame() -> bytes:
    """What the kernel leaves on an alternate stack when a signal is delivered there.

    The handler is a function of libc that does next to nothing, getpid; so no Python runs in it, and
    ctypes need not make executable memory, which SELinux may deny.
    """
    # PyDLL: the interpreter lock stays ours, no other thread sees the handler.
    libc = ctypes.PyDLL(None)
    number = int(signal.SIGRTMAX)
    memory = ctypes.create_string_buffer(_STACK_SIZE)
    stack, old_stack = _StackT(ctypes.addressof(memory), 0, _STACK_SIZE), _StackT()
    action, old_action = _Sigaction(), _Sigaction()
    action.handler = ctypes.cast(libc.getpid, ctypes.c_void_p).value
    action.flags = _SA_ONSTACK
    old_mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    libc.sigaltstack(ctypes.byref(stack), ctypes.byref(old_stack))
    libc.sigaction(number, ctypes.byref(action), ctypes.byref(old_action))
    try:
        getattr(libc, "raise")(number)
    finally:
        libc.sigaction(number, ctypes.byref(old_action), None)
        libc.sigaltstack(ctypes.byref(old_stack), None)
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
    return memory.raw


def find_layout(frame: bytes) -> Optional[Tuple[int, int]]:
    """Look for struct _fpx_sw_bytes (arch/x86/include/uapi/asm/sigcontext.h) whose second magic is in place.

    :returns: (components, bytes); None where there is none: a machine without XSAVE
    """
    first, second = struct.pack("<I", 0x46505853), struct.pack("<I", 0x46505845)
    at = frame.find(first)
    while at >= 0:
        if at + 20 <= len(frame):
            _, _, features, size = struct.unpack_from("<IIQI", frame, at)
            start = at - 464  # fxsave.sw_reserved
            if start >= 0 and frame[start + size : start + size + 4] == second:
                return features, size
        at = frame.find(first, at + 1)
    return None


@lru_cache(maxsize=None)
def signal_frame_layout() -> Optional[Tuple[int, int]]:
    """Which state components a signal frame holds, and how many bytes they take.

    Asked of the kernel once in a run.  The same for 64- and 32-bit processes
    (arch/x86/kernel/fpu/xstate.c, fpu_user_cfg.default_features).

    :returns: (mask of components, size of the xsave area); None: no XSAVE, fxsave only
    """
    return find_layout(_own_signal_frame())
