# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What an architecture is, as a value.

It is chosen per thread (:func:`of_registers`) and per ELF file
(:func:`of_machine`), never taken from the host: a 64-bit injector serves 32-bit
processes, and both kinds can be in one job.

====================  ==========================================================
``architecture``      :class:`Cpu`: what has to be said of one
``x86_64``, ``i386``  the two values
``syscalls``          system calls by their names
``relocations``       how each type of relocation is computed and stored
``jump``              the jump at the start of an old function
``signal_frame``      what rt_sigreturn(2) restores a thread from
``waiting_stub``      the code in which threads wait for others
====================  ==========================================================
"""

from __future__ import annotations

from typing import Optional

from .architecture import Cpu
from .i386 import I386
from .x86_64 import X86_64

__all__ = ["ALL", "Cpu", "I386", "X86_64", "of_machine", "of_registers"]

ALL = (X86_64, I386)


def of_machine(machine: int, elf_class: int) -> Optional[Cpu]:
    """The architecture of an ELF file, by ``e_machine`` and class (32 or 64).

    ``None`` for every other one; x32 (EM_X86_64 with ELFCLASS32) is none of ours.
    """
    for cpu in ALL:
        if (cpu.machine, cpu.elf_class) == (machine, elf_class):
            return cpu
    return None


def of_registers(length: int) -> Cpu:
    """The architecture a thread is in, by the length of its NT_PRSTATUS regset.

    arch/x86/kernel/ptrace.c, task_user_regset_view: the kernel answers with the
    thread's own mode, whatever the tracer's is.  A 64-bit process that is inside
    an ``int 0x80`` call or a 32-bit code segment would show 68 bytes, too.

    :raises ValueError: neither of ours
    """
    for cpu in ALL:
        if cpu.registers.size == length:
            return cpu
    raise ValueError(f"no architecture has {length} bytes of general registers")
