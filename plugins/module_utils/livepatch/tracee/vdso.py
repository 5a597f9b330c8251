# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The 32-bit vdso, most of whose functions have no unwind rule.

arch/x86/entry/vdso builds it without asynchronous unwind tables; only the hand-written
``__kernel_vsyscall`` and the two sigreturns have rows.  But its C is built with
``-fno-omit-frame-pointer``, so that the frame pointer finds the caller wherever it is set up::

    __vdso_clock_gettime:
        [call  thunk; add ...]      where it is, if it needs to know
        push   %ebp                 55
        mov    %esp,%ebp            89 e5
        ...                         <- here: return address at 4(%ebp), caller's %ebp at (%ebp)
        pop    %ebp                 5d
        [xor   %edx,%edx ...]       call-clobbered registers zeroed (CONFIG_ZERO_CALL_USED_REGS)
        ret                         c3

That is proven from the bytes, or there is no rule and the thread can not be unwound there; it
leaves such a function within microseconds.
"""

from __future__ import annotations

from typing import List, NamedTuple, Optional

from ..elf.cfi import AT_OFFSET, REGISTER, UNDEFINED, Row, Rule
from .unwind import RowTable

_PROLOGUE = b"\x55\x89\xe5"
_PROLOGUE_WITHIN = 32  # bytes from a function's start
_EBX, _EBP, _ESI, _EDI, _EIP = 3, 5, 6, 7, 8  # DWARF numbers
# pop %ebp and leave.  Seen in so many bytes before an address, as an instruction or as a part of
# one, they may have taken the frame down; an epilogue is shorter.
_ENDINGS = (0x5D, 0xC9)
_EPILOGUE_WITHIN = 16


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
    """The row at an address between prologue and epilogue, ``None`` where it may be outside of them."""
    prologue = function.code.find(_PROLOGUE, 0, _PROLOGUE_WITHIN)
    offset = pc - function.start
    body = prologue + len(_PROLOGUE)
    if prologue < 0 or offset < body:
        return None
    before = function.code[max(body, offset - _EPILOGUE_WITHIN) : offset]
    if any(ending in before for ending in _ENDINGS):
        return None
    rules = {
        _EIP: Rule(AT_OFFSET, -4),
        _EBP: Rule(AT_OFFSET, -8),
        # Saved somewhere below the frame pointer, or not at all.
        _EBX: Rule(UNDEFINED),
        _ESI: Rule(UNDEFINED),
        _EDI: Rule(UNDEFINED),
    }
    return Row(pc, pc + 1, Rule(REGISTER, 8, _EBP), rules, _EIP, signal_frame=False)
