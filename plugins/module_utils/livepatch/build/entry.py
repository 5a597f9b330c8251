# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Whether calls under way may finish in the old code of a function whose first bytes are a jump now.

::

    f:       endbr64          stays, the jump stands behind it
    f+4:     jmp new f        5 bytes; whoever lands in the last 4 of them executes half an instruction
    f+9:     old code

Whoever jumps to the jump itself would begin anew in new code with a call that is half done; a call of f is welcome.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Iterable, Iterator, Sequence

from . import instructions
from .convention import Constraint
from .instructions import Instruction
from .selection import Replaced
from .target import TargetFile

_ABSOLUTE = re.compile(r"[qd]word ptr \[(\w+)\*([48]) \+ 0x([0-9a-f]+)\]")
_RELATIVE = re.compile(r"(\w+), dword ptr \[(\w+) \+ (\w+)\*4\]")
_ADDRESS = re.compile(r"(\w+), \[rip ([+-]) 0x([0-9a-f]+)\]")
_MOST_ENTRIES = 4096
_LOOKS_BACK = 6  # instructions between a table's address and its jump


def proven(
    target: TargetFile, replaced: Sequence[Replaced], constraints: Iterable[Constraint]
) -> tuple[Replaced, ...]:
    """The functions with what could be proven of each.

    A function whose jump must be written before or after another's has an interface that only old or only new code
    knows: calls under way could meet the other one.
    """
    bound = {index for each in constraints if each.must for index in (each.before, each.after)}
    return tuple(
        dataclasses.replace(each, entry_safe=index not in bound and is_safe(target, each.ranges))
        for index, each in enumerate(replaced)
    )


def is_safe(target: TargetFile, ranges: Sequence[tuple[int, int]]) -> bool:
    """Whether no branch of the old code lands in the bytes that the jump covers.

    :param ranges: (address, size) of the old code, the entry's first
    """
    cpu = target.cpu
    entry = ranges[0][0]
    code: list[Instruction] = []
    for address, size in ranges:
        part = list(instructions.decode(cpu, target.read(address, size), address))
        if not part or part[-1].end != address + size:
            return False
        code += part
    jump = entry + (len(cpu.endbr) if target.read(entry, len(cpu.endbr)) == cpu.endbr else 0)
    for index, each in enumerate(code):
        if not each.branch:
            continue
        where = instructions.direct_destination(each)
        if where is None:
            if each.mnemonic != "call" and not _leads_elsewhere(target, code, index, ranges, jump):
                return False
        elif jump < where < jump + cpu.jump_size or (entry <= where <= jump and each.mnemonic != "call"):
            return False
    return True


def _leads_elsewhere(
    target: TargetFile, code: Sequence[Instruction], index: int, ranges: Sequence[tuple[int, int]], jump: int
) -> bool:
    """Whether an indirect jump goes to another file, or by a table whose entries are all known."""
    slot = instructions.slot(code[index])
    if slot is not None:
        return slot in target.dynamic_relocations  # a word of another function's address
    entries = list(_entries(target, code, index, ranges))
    covered = range(ranges[0][0], jump + target.cpu.jump_size)
    return bool(entries) and not any(each in covered for each in entries)


def _entries(
    target: TargetFile, code: Sequence[Instruction], index: int, ranges: Sequence[tuple[int, int]]
) -> Iterator[int]:
    """Where a table's jump may go: its entries up to the first one that is not in the function."""
    absolute = _ABSOLUTE.fullmatch(code[index].operands)
    table = int(absolute.group(3), 16) if absolute else _table(code, index)
    if table is None:
        return
    width = target.cpu.word if absolute else 4
    for number in range(_MOST_ENTRIES):
        place = table + number * width
        word = target.peek(place, width)
        if word is None or place in target.dynamic_relocations:
            return
        value = int.from_bytes(word, "little", signed=not absolute) + (0 if absolute else table)
        if not any(address <= value < address + size for address, size in ranges):
            return
        yield value


def _table(code: Sequence[Instruction], index: int) -> int | None:
    """The table of a position-independent switch on x86_64: lea, movsxd, add, jmp in one straight line."""
    before = code[max(index - _LOOKS_BACK, 0) : index]
    if len(before) < 3 or before[-1].mnemonic != "add" or before[-2].mnemonic != "movsxd":
        return None
    load = _RELATIVE.fullmatch(before[-2].operands)
    if load is None or before[-1].operands != f"{load.group(1)}, {load.group(2)}":
        return None
    if code[index].operands != load.group(1):
        return None
    for number in range(len(before) - 3, -1, -1):
        each = before[number]
        if not each.operands.startswith(f"{load.group(2)},"):
            if each.branch or load.group(2)[1:] in each.operands.split(",")[0]:
                return None
            continue
        found = _ADDRESS.fullmatch(each.operands) if each.mnemonic == "lea" else None
        entered = any(
            each.offset < (instructions.direct_destination(other) or 0) <= code[index].offset for other in code
        )
        if found is None or entered:
            return None
        return each.end + int(found.group(3), 16) * (-1 if found.group(2) == "-" else 1)
    return None
