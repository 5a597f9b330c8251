# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Which instruction each relocated field belongs to.

The end of the instruction is where a pc-relative field counts from, and only
there the difference between ``mov $1, x(%rip)`` and ``mov %eax, x(%rip)`` shows.
"""

from __future__ import annotations

import re
from typing import Iterator, NamedTuple, Sequence

import capstone

from ..cpu import Cpu

_PC_RELATIVE = re.compile(r"\[rip ([+-]) (?:0x)?([0-9a-f]+)\]")
_MOVES_TO_ITSELF = re.compile(r"lea (e..), \[\1\]|mov (e..), \2")
_NUMBER = re.compile(r"0x([0-9a-f]+)")
_BRANCH = ("call", "jmp", "lcall", "ljmp")
_PREFIXES = ("bnd ", "notrack ", "data16 ", "addr32 ", "rep ", "repne ")
_SLOT = re.compile(r"ptr \[(?:(rip) ([+-]) )?0x([0-9a-f]+)\]")


class Instruction(NamedTuple):
    """One instruction: offset and size in bytes, and whether it calls or jumps."""

    offset: int
    size: int
    mnemonic: str
    operands: str

    @property
    def branch(self) -> bool:
        """Whether it calls or jumps, on a condition or without."""
        return self.mnemonic in _BRANCH or self.mnemonic.startswith("j")

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.offset + self.size


def decode(cpu: Cpu, code: bytes, address: int = 0) -> Iterator[Instruction]:
    """The instructions of a run of code, one after the other, until its end or one that is none.

    :param address: of the first byte; ``offset`` in the result counts from zero with it
    """
    mode = capstone.CS_MODE_64 if cpu.word == 8 else capstone.CS_MODE_32
    engine = capstone.Cs(capstone.CS_ARCH_X86, mode)
    for where, size, mnemonic, operands in engine.disasm_lite(code, address):
        yield plain(where, size, mnemonic, operands)


def plain(where: int, size: int, mnemonic: str, operands: str) -> Instruction:
    """An instruction as capstone spells it, less the prefixes."""
    for prefix in _PREFIXES:
        if mnemonic.startswith(prefix):
            mnemonic = mnemonic[len(prefix) :]
    return Instruction(where, size, mnemonic, operands)


def holders(cpu: Cpu, code: bytes, fields: Sequence[int]) -> dict[int, Instruction]:
    """The instruction around each field, by the field's offset; fields in no instruction are left out."""
    found: dict[int, Instruction] = {}
    wanted = iter(sorted(set(fields)))
    field = next(wanted, None)
    for instruction in decode(cpu, code):
        while field is not None and field < instruction.end:
            if field >= instruction.offset:
                found[field] = instruction
            field = next(wanted, None)
        if field is None:
            break
    return found


def direct_destination(instruction: Instruction) -> int | None:
    """Where a call or jump goes, if the instruction itself says so."""
    text = instruction.operands
    return int(text, 16) if instruction.branch and text.startswith("0x") else None


def slot(instruction: Instruction) -> int | None:
    """The address of the word that a jump or call goes through, if the instruction itself says so."""
    found = _SLOT.search(instruction.operands) if instruction.branch else None
    if found is None:
        return None
    distance = int(found.group(3), 16) * (-1 if found.group(2) == "-" else 1)
    return distance + (instruction.end if found.group(1) else 0)


def mentioned(instruction: Instruction) -> int | None:
    """The address that an instruction holds and does not go to: pc-relative, else the last number in it."""
    found = _PC_RELATIVE.search(instruction.operands)
    if found is not None:
        return instruction.end + int(found.group(1) + found.group(2), 16)
    numbers = [] if instruction.branch else _NUMBER.findall(instruction.operands)
    return int(numbers[-1], 16) if numbers else None


def is_padding(cpu: Cpu, code: bytes) -> bool:
    """Whether a run of bytes consists of whole no-ops and int3 alone."""
    end = 0
    for instruction in decode(cpu, code):
        words = f"{instruction.mnemonic} {instruction.operands}"
        # 32-bit assemblers pad with these, too; in 64-bit code they clear the upper half of the register.
        moves = cpu.word == 4 and _MOVES_TO_ITSELF.fullmatch(words)
        if instruction.mnemonic not in ("nop", "int3") and words != "xchg ax, ax" and not moves:
            return False
        end = instruction.end
    return end == len(code)
