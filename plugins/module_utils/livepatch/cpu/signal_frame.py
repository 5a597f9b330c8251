# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A thread's whole state as the signal frame that rt_sigreturn(2) restores it from.

The kernel writes such a frame when it delivers a signal; we write one ourselves, so
that a thread we have borrowed can restore itself without us.  What a field means is
in arch/x86/include/uapi/asm/{sigcontext,ucontext}.h, arch/x86/include/asm/sigframe.h;
who reads it back: arch/x86/kernel/signal_64.c and signal_32.c (before 6.2 also
arch/x86/ia32/ia32_signal.c), sys_rt_sigreturn, and arch/x86/kernel/fpu/signal.c.

x86_64, struct rt_sigframe, growing downwards from ``top``::

    top          ....................................................
                 FP_XSTATE_MAGIC2                             4 bytes
                 xsave area: fxsave, header, components    xstate_size
    fpstate      .......................................  64-aligned
                 siginfo (nobody reads it back)                   128
                 uc_sigmask                                         8
                 uc_mcontext: struct sigcontext_64                256
                 uc_stack: ss_flags = 4                            24
                 uc_flags, uc_link                                 16
                 pretcode: address of the rt_sigreturn gadget       8
    address      words that the system-call gadget pops, then ret

i386, struct rt_sigframe_ia32 (struct rt_sigframe of a 32-bit kernel)::

    top          ....................................................
                 FP_XSTATE_MAGIC2                             4 bytes
                 xsave area                                xstate_size
                 .......................................  64-aligned
    fpstate      struct fregs_state: the fsave image             112
                 uc_sigmask                                         8
                 uc_mcontext: struct sigcontext_32                 88
                 uc_stack: ss_flags = 4                            12
                 uc_flags, uc_link                                  8
                 siginfo (nobody reads it back)                   128
                 sig, pinfo, puc                                   12
                 pretcode                                           4
    address      words that the system-call gadget pops, then ret

``ss_flags = 4`` is invalid on purpose: do_sigaltstack (kernel/signal.c) answers
EINVAL, which sys_rt_sigreturn ignores, and the thread's alternate stack stays as it is.
"""

from __future__ import annotations

import struct
from typing import Callable, NamedTuple, Optional, Sequence

# arch/x86/include/uapi/asm/sigcontext.h
_MAGIC1 = 0x46505853  # "FPXS" in fxsave.sw_reserved: an xsave area, not only fxsave
_MAGIC2 = struct.pack("<I", 0x46505845)  # behind the area: it is there to its end
_SW_RESERVED = 464  # offset in the fxsave image; 48 bytes
_SW_BYTES = struct.Struct("<IIQI")  # magic1, extended_size, xfeatures, xstate_size
# arch/x86/include/uapi/asm/ucontext.h
_UC_FP_XSTATE = 1
_UC_SIGCONTEXT_SS = 2
_UC_STRICT_RESTORE_SS = 4
_INVALID_SS_FLAGS = 4

FXSAVE_SIZE = 512  # Intel SDM volume 1, 10.5.1
_FSAVE_SIZE = 112  # struct fregs_state, the last word being software's
_XSTATE_BV = 512  # offset in the xsave area: which components are not in their initial state
_TILE_DATA = 1 << 18  # AMX; the only component so far that a process has only if it asks
_SIGINFO = bytes(128)
# Offset of uc_stack.ss_flags from the word that leads to rt_sigreturn, see the pictures above.
_SS_FLAGS = {"x86_64": 8 + 16 + 8, "i386": 16 + len(_SIGINFO) + 8 + 4}
# Offset of the interrupted stack pointer from the word that leads to rt_sigreturn (True), or to sigreturn:
# struct sigframe_ia32 has only the handler's number before its struct sigcontext_32.
_INTERRUPTED_SP = {
    "x86_64": {True: 8 + 16 + 24 + (8 + 7) * 8},
    "i386": {True: 16 + len(_SIGINFO) + 20 + 7 * 4, False: 8 + 7 * 4},
}


class UnknownState(ValueError):
    """The thread uses a component of the extended state that no frame of ours would restore."""


class XstateLayout(NamedTuple):
    """What this kernel puts into the signal frames of a process that asked for nothing special."""

    features: int  # bit N: component N
    size: int  # bytes, the two magic words not counted


class FloatingPoint(NamedTuple):
    """The registers beyond the general ones, as the kernel's regsets have them."""

    legacy: bytes  # NT_PRFPREG: 512 bytes of fxsave (x86_64), 108 of fsave (i386)
    extended: Optional[bytes]  # NT_X86_XSTATE; i386 without XSAVE: 512 bytes of NT_PRXFPREG
    layout: Optional[XstateLayout]  # None: no XSAVE on this machine


class SignalFrame(NamedTuple):
    """Bytes to be written at an address that is the stack pointer for the system-call gadget."""

    address: int
    image: bytes


def _sealed(state: FloatingPoint, before: int) -> bytes:
    """The xsave area as check_xstate_in_sigframe (arch/x86/kernel/fpu/signal.c) believes it.

    A regset is as long as the machine's largest state; a frame must not be longer than
    the state that this process has (``fpstate->user_size``), or the kernel takes no more
    than fxsave from it.

    :param before: bytes of the frame's floating-point part that stand before the area
    :raises UnknownState: the thread uses a component that the layout leaves out
    """
    if state.layout is None:
        area = bytearray(state.extended or state.legacy)
        area[_SW_RESERVED:FXSAVE_SIZE] = bytes(FXSAVE_SIZE - _SW_RESERVED)
        return bytes(area)
    assert state.extended is not None
    features, size = state.layout
    used = int.from_bytes(state.extended[_XSTATE_BV : _XSTATE_BV + 8], "little")
    if used & ~features:
        if used & ~features != _TILE_DATA:
            raise UnknownState(f"the thread uses state components {used:#x}, a frame holds {features:#x}")
        # Who has used tiles has the largest state there is
        # (arch/x86/kernel/fpu/xstate.c, __xfd_enable_feature).
        features, size = features | _TILE_DATA, len(state.extended)
    area = bytearray(state.extended[:size])
    area[_SW_RESERVED:FXSAVE_SIZE] = bytes(FXSAVE_SIZE - _SW_RESERVED)
    _SW_BYTES.pack_into(area, _SW_RESERVED, _MAGIC1, before + size + len(_MAGIC2), features, size)
    return bytes(area) + _MAGIC2


def build_x86_64(
    registers: Sequence[int], sigmask: int, state: FloatingPoint, top: int, restorer: int, popped: int
) -> SignalFrame:
    """The frame of a 64-bit thread.

    :param registers: as NT_PRSTATUS has them, with the program counter and result to go on with
    :param sigmask: blocked signals, bit N - 1 for signal N
    :param top: the frame lies below this address
    :param restorer: address of the rt_sigreturn gadget
    :param popped: words that the system-call gadget pops before its ret
    :raises UnknownState: the frame would lose a part of the extended state
    """
    (r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi,
     _, rip, cs, eflags, rsp, ss, _, _, _, _, fs, gs) = registers  # fmt: skip
    area = _sealed(state, 0)
    fpstate = (top - len(area)) & ~63
    flags = _UC_SIGCONTEXT_SS | _UC_STRICT_RESTORE_SS | (_UC_FP_XSTATE if state.layout else 0)
    frame = b"".join(
        (
            struct.pack("<Q", restorer),
            struct.pack("<QQ", flags, 0),
            struct.pack("<QIIQ", 0, _INVALID_SS_FLAGS, 0, 0),
            struct.pack("<8Q", r8, r9, r10, r11, r12, r13, r14, r15),
            struct.pack("<10Q", rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags),
            struct.pack("<4H", cs & 0xFFFF, gs & 0xFFFF, fs & 0xFFFF, ss & 0xFFFF),
            struct.pack("<4QQ64x", 0, 0, sigmask, 0, fpstate),  # err, trapno, oldmask, cr2, fpstate
            struct.pack("<Q", sigmask),
            _SIGINFO,
        )
    )
    # A function's stack pointer at its entry is 8 below a multiple of 16 (align_sigframe).
    return _placed(((fpstate - len(frame)) & ~15) - 8, frame, fpstate, area, bytes(8 * popped))


def build_i386(
    registers: Sequence[int], sigmask: int, state: FloatingPoint, top: int, restorer: int, popped: int
) -> SignalFrame:
    """The frame of a 32-bit thread; parameters as :func:`build_x86_64`."""
    ebx, ecx, edx, esi, edi, ebp, eax, ds, es, fs, gs, _, eip, cs, eflags, esp, ss = registers
    area = _sealed(state, _FSAVE_SIZE)
    fpstate = ((top - len(area)) & ~63) - _FSAVE_SIZE
    area = state.legacy.ljust(_FSAVE_SIZE, b"\0") + area
    context = b"".join(
        (
            struct.pack("<II", _UC_FP_XSTATE if state.layout else 0, 0),
            struct.pack("<III", 0, _INVALID_SS_FLAGS, 0),
            struct.pack("<8H", gs & 0xFFFF, 0, fs & 0xFFFF, 0, es & 0xFFFF, 0, ds & 0xFFFF, 0),
            struct.pack("<8I", edi, esi, ebp, esp, ebx, edx, ecx, eax),
            struct.pack("<IIIHHI", 0, 0, eip, cs & 0xFFFF, 0, eflags),  # trapno, err, ip, cs, flags
            struct.pack("<IHHIII", esp, ss & 0xFFFF, 0, fpstate, sigmask & 0xFFFFFFFF, 0),
            struct.pack("<Q", sigmask),
        )
    )
    size = 16 + len(_SIGINFO) + len(context)
    # A function's stack pointer at its entry is 4 below a multiple of 16 (align_sigframe).
    address = ((fpstate - size) & ~15) - 4
    head = struct.pack("<IIII", restorer, 0, address + 16, address + 16 + len(_SIGINFO))
    return _placed(address, head + _SIGINFO + context, fpstate, area, bytes(4 * popped))


def _placed(address: int, frame: bytes, fpstate: int, area: bytes, popped: bytes) -> SignalFrame:
    gap = bytes(fpstate - address - len(frame))
    return SignalFrame(address - len(popped), popped + frame + gap + area)


def is_ours(architecture: str, read: Callable[[int, int], bytes]) -> bool:
    """Whether one of these frames lies somewhere, and not one that the kernel has written.

    :param read: (offset from the word that leads to rt_sigreturn, size) -> memory
    """
    return read(_SS_FLAGS[architecture], 4) == struct.pack("<I", _INVALID_SS_FLAGS)


def interrupted_sp(architecture: str, through_rt: bool) -> int:
    """Where a frame that the kernel has written keeps the stack pointer of what was interrupted.

    :param through_rt: the handler returns through rt_sigreturn
    :returns: offset from the word that the handler returns to
    """
    return _INTERRUPTED_SP[architecture][through_rt]
