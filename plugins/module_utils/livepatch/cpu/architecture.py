# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The shape of an architecture."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Callable, Mapping, Optional, Sequence, Tuple

from .relocations import Relocation
from .signal_frame import FloatingPoint, SignalFrame
from .waiting_stub import Stub, Words

Registers = Tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Cpu:
    """One architecture, as the injector sees it.

    To add one: copy ``i386.py``, fill in every field, append it to ``cpu.ALL``.
    Every test that asks for the ``cpu`` fixture then runs on it, too.

    Registers travel as a tuple of ints in the order of the kernel's NT_PRSTATUS
    regset; the fields that are plain ints below are indices into it.
    """

    name: str
    machine: int  # e_machine in the ELF header
    elf_class: int  # 32 or 64: ELFCLASS and bits in a pointer
    word: int  # bytes in a pointer
    registers: struct.Struct  # NT_PRSTATUS: struct user_regs_struct, arch/x86/include/asm/user_{32,64}.h
    register_names: Tuple[str, ...]
    pc: int
    sp: int
    flags: int
    syscall: int  # number of the system call the thread is in, -1 where it is in none (orig_ax)
    result: int  # what a system call returns (ax)
    arguments: Tuple[int, ...]  # of a system call, six
    thread_pointer: Optional[int]  # where the thread's control block is, if a register tells (fs_base)
    dwarf_registers: Tuple[int, ...]  # DWARF number -> index; psABI, "DWARF Register Number Mapping"
    dwarf_pc: int  # DWARF number of the return address column
    red_zone: int  # bytes below the stack pointer that belong to the function; psABI, "The Stack Frame"
    endbr: bytes  # landing pad of indirect branches, kept where a function starts with it
    jump_size: int  # bytes
    jump_reach: int  # farthest a jump can go, in bytes, either way
    encode_jump: Callable[[int, int], bytes]  # (from, to) -> instruction
    decode_jump: Callable[[bytes, int], Optional[int]]  # (instruction bytes, from) -> to
    syscall_gadgets: Tuple[Tuple[bytes, int], ...]  # (instructions, words they pop before their ret)
    sigreturn_gadgets: Tuple[bytes, ...]  # instructions that call rt_sigreturn with the stack pointer as it is
    signal_frame: Callable[[Sequence[int], int, FloatingPoint, int, int, int], SignalFrame]  # see build_x86_64
    restorer_gadgets: Tuple[bytes, ...]  # where else signal handlers return to
    waiting_stub: Callable[[int, Words], Stub]  # (address, what it uses) -> code; see waiting_stub.py
    syscall_table: Callable[[], Mapping[int, str]]  # number -> name
    relocations: Mapping[int, Relocation]
    # What ld.so fills in (psABI, "Relocation Types"): the choice of a resolver, and addresses of symbols
    irelative: int
    glob_dat: int
    jump_slot: int

    @property
    def mask(self) -> int:
        """All ones in a pointer."""
        return (1 << 8 * self.word) - 1

    @property
    def dwarf_sp(self) -> int:
        """DWARF number of the stack pointer."""
        return self.dwarf_registers.index(self.sp)

    def syscall_number(self, name: str) -> int:
        """:raises KeyError: this architecture has no such call"""
        for number, known in self.syscall_table().items():
            if known == name:
                return number
        raise KeyError(f"{self.name} has no system call {name}")

    def syscall_name(self, number: int) -> str:
        """The call's name, ``#NUMBER`` where python-ptrace's table is older than the call."""
        return self.syscall_table().get(number, f"#{number}")

    def unpack(self, regset: bytes) -> Registers:
        """NT_PRSTATUS bytes -> registers."""
        return self.registers.unpack(regset)

    def pack(self, registers: Sequence[int]) -> bytes:
        """Registers -> NT_PRSTATUS bytes."""
        mask = self.mask
        return self.registers.pack(*[value & mask for value in registers])
