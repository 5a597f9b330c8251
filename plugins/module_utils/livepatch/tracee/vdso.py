# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The 32-bit vdso, most of whose functions have no unwind rule.

arch/x86/entry/vdso builds it without asynchronous unwind tables; only the hand-written
``__kernel_vsyscall`` and the two sigreturns have rows.  But its C is built with
``-fno-omit-frame-pointer``, so that the frame pointer finds the caller wherever it is set up::

    __vdso_clock_gettime:               return address
        call   thunk                    at (%esp)       e8 . . . .       only where it needs
        add    $offset,%eax                             05 . . . .       to know where it is
        push   %ebp                                     55
        mov    %esp,%ebp                at 4(%esp)      89 e5
        ...                             at 4(%ebp)
        pop    %ebp                                     5d
        xor    %edx,%edx                at (%esp)       31 d2            CONFIG_ZERO_CALL_USED_REGS
        ret                                             c3               leaf.py knows these

That is proven from the bytes, or there is no rule and the thread can not be unwound there; it
leaves such a function within microseconds.
"""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Optional

from ..elf.cfi import AT_OFFSET, REGISTER, UNDEFINED, Row, Rule
from .steps import RowTable

_PROLOGUE = re.compile(rb"(?:\xf3\x0f\x1e\xfb)?(?:\xe8.{4}(?:\x05|\x81[\xc0-\xc7]).{4})?(?=\x55\x89\xe5)", re.DOTALL)
_PUSHED, _SET_UP = 1, 3  # bytes behind what _PROLOGUE matches
_ESP, _EBX, _EBP, _ESI, _EDI, _EIP = 4, 3, 5, 6, 7, 8  # DWARF numbers
_POP_EBP, _LEAVE = 0x5D, 0xC9
_XOR, _REGISTERS_ONLY = 0x31, 0xC0  # opcode; ModRM from here on: register, register


class VdsoFunction(NamedTuple):
    """A function of the vdso's dynamic symbol table."""

    start: int
    code: bytes


class VdsoTable:
    """The vdso's own rows, and rows from the frame pointer where those are missing."""

    def __init__(self, table: RowTable, functions: List[VdsoFunction]) -> None:
        self._table = table
        self._functions = functions

    def row(self, pc: int) -> Optional[Row]:
        """As :meth:`elf.frames.FrameTable.row`."""
        row = self._table.row(pc)
        if row is not None:
            return row
        for function in self._functions:
            if function.start <= pc < function.start + len(function.code):
                return _frame_pointer_row(function, pc)
        return None


def _frame_pointer_row(function: VdsoFunction, pc: int) -> Optional[Row]:
    """The row at an address inside of a function, ``None`` where nothing is proven."""
    found = _PROLOGUE.match(function.code)
    if found is None:
        return None
    offset = pc - function.start - found.end()
    if offset < _PUSHED:
        return _row(pc, Rule(REGISTER, 4, _ESP), {})
    if offset < _SET_UP:
        return _row(pc, Rule(REGISTER, 8, _ESP), {_EBP: Rule(AT_OFFSET, -8)})
    if _may_be_taken_down(function.code[found.end() + _SET_UP : pc - function.start]):
        return None
    saved = {
        _EBP: Rule(AT_OFFSET, -8),
        # Saved somewhere below the frame pointer, or not at all.
        _EBX: Rule(UNDEFINED),
        _ESI: Rule(UNDEFINED),
        _EDI: Rule(UNDEFINED),
    }
    return _row(pc, Rule(REGISTER, 8, _EBP), saved)


def _may_be_taken_down(before: bytes) -> bool:
    """Whether the last instructions before an address may be an epilogue.

    We do not know where instructions begin: a byte that is only a part of one counts as well.
    """
    while before:
        if before[-1] in (_POP_EBP, _LEAVE):
            return True
        if len(before) < 2 or before[-2] != _XOR or before[-1] < _REGISTERS_ONLY:
            return False
        before = before[:-2]
    return False


def _row(pc: int, cfa: Rule, saved: Dict[int, Rule]) -> Row:
    return Row(pc, pc + 1, cfa, {_EIP: Rule(AT_OFFSET, -4), **saved}, _EIP, signal_frame=False)
