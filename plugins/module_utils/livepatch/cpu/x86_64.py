# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""x86_64 (System V psABI, AMD64 supplement)."""

from __future__ import annotations

import struct

from . import jump, signal_frame, syscalls, waiting_stub
from .architecture import Cpu
from .relocations import X86_64 as RELOCATIONS

# struct user_regs_struct, arch/x86/include/asm/user_64.h
_NAMES = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi",
    "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
)  # fmt: skip
_AT = {name: index for index, name in enumerate(_NAMES)}

X86_64 = Cpu(
    name="x86_64",
    machine=62,  # EM_X86_64
    elf_class=64,
    word=8,
    registers=struct.Struct("<27Q"),
    register_names=_NAMES,
    pc=_AT["rip"],
    sp=_AT["rsp"],
    flags=_AT["eflags"],
    syscall=_AT["orig_rax"],
    result=_AT["rax"],
    arguments=tuple(_AT[name] for name in ("rdi", "rsi", "rdx", "r10", "r8", "r9")),  # syscall(2)
    thread_pointer=_AT["fs_base"],
    dwarf_registers=tuple(  # psABI figure 3.36
        _AT[name] for name in (
            "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp",
            "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
        )
    ),  # fmt: skip
    dwarf_pc=16,
    red_zone=128,  # psABI 3.2.2
    endbr=b"\xf3\x0f\x1e\xfa",
    jump_size=jump.SIZE,
    jump_reach=jump.REACH,
    encode_jump=jump.encode_64,
    decode_jump=jump.decode_64,
    syscall_gadgets=((b"\x0f\x05\xc3", 0),),  # syscall; ret
    sigreturn_gadgets=(
        b"\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05",  # mov $15,%rax; syscall: glibc's __restore_rt
        b"\xb8\x0f\x00\x00\x00\x0f\x05",  # mov $15,%eax; syscall: musl's, Go's
    ),
    signal_frame=signal_frame.build_x86_64,
    restorer_gadgets=(),
    waiting_stub=waiting_stub.build_x86_64,
    syscall_table=syscalls.x86_64,
    relocations=RELOCATIONS,
    irelative=37,
    glob_dat=6,
    jump_slot=7,
)
