# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""i386 (System V psABI, Intel386 supplement), under a 32- or a 64-bit kernel."""

from __future__ import annotations

import struct

from . import jump, signal_frame, syscalls, waiting_stub
from .architecture import Cpu
from .relocations import I386 as RELOCATIONS

# struct user_regs_struct, arch/x86/include/asm/user_32.h
_NAMES = (
    "ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "fs", "gs", "orig_eax",
    "eip", "cs", "eflags", "esp", "ss",
)  # fmt: skip
_AT = {name: index for index, name in enumerate(_NAMES)}

I386 = Cpu(
    name="i386",
    machine=3,  # EM_386
    elf_class=32,
    word=4,
    registers=struct.Struct("<17I"),
    register_names=_NAMES,
    pc=_AT["eip"],
    sp=_AT["esp"],
    flags=_AT["eflags"],
    syscall=_AT["orig_eax"],
    result=_AT["eax"],
    arguments=tuple(_AT[name] for name in ("ebx", "ecx", "edx", "esi", "edi", "ebp")),  # syscall(2)
    thread_pointer=None,  # %gs selects a descriptor; its base is in the thread area
    dwarf_registers=tuple(  # psABI table 2.14
        _AT[name] for name in ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip")
    ),
    dwarf_pc=8,
    red_zone=0,  # psABI 2.2.2: none
    endbr=b"\xf3\x0f\x1e\xfb",
    jump_size=jump.SIZE,
    jump_reach=1 << 32,
    encode_jump=jump.encode_32,
    decode_jump=jump.decode_32,
    syscall_gadgets=(
        (b"\xcd\x80\xc3", 0),  # int $0x80; ret
        (b"\xcd\x80\x5d\x5a\x59\xc3", 3),  # the vdso's: int $0x80; pop %ebp; pop %edx; pop %ecx; ret
    ),
    sigreturn_gadgets=(b"\xb8\xad\x00\x00\x00\xcd\x80",),  # mov $173,%eax; int $0x80
    signal_frame=signal_frame.build_i386,
    restorer_gadgets=(
        b"\x58\xb8\x77\x00\x00\x00\xcd\x80",  # pop %eax; mov $119,%eax; int $0x80: handlers without SA_SIGINFO
    ),
    waiting_stub=waiting_stub.build_i386,
    syscall_table=syscalls.i386,
    relocations=RELOCATIONS,
    irelative=42,
    glob_dat=6,
    jump_slot=7,
)
