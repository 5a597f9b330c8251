# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The files that the builder is given: opened, and their architecture known."""

from __future__ import annotations

from ..cpu import Cpu, of_machine
from ..elf import EM_X86_64, Malformed
from ..elf.file import ElfFile
from ..errors import Refused


def read_elf(path: str) -> ElfFile:
    """The ELF file at ``path``.

    :raises Refused: ``file_malformed``
    """
    try:
        with open(path, "rb") as file:
            return ElfFile(file.read(), path)
    except OSError as error:
        raise Refused("file_malformed", f"{path}: {error.strerror}") from error
    except Malformed as error:
        raise Refused("file_malformed", f"{path}: {error}") from error


def architecture(elf: ElfFile) -> Cpu:
    """The architecture of an ELF file.

    :raises Refused: ``x32``, ``wrong_architecture``
    """
    cpu = of_machine(elf.machine, elf.elf_class)
    if cpu is not None:
        return cpu
    if elf.machine == EM_X86_64:
        raise Refused("x32", f"{elf.name} is an x32 file (EM_X86_64 with ELFCLASS32)")
    raise Refused(
        "wrong_architecture", f"{elf.name} is for e_machine {elf.machine}, ELF class {elf.elf_class}"
    )
