# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""DWARF expressions, as far as unwind rules may use them (DWARF 5, 2.5 and 6.4.2).

They stand where a rule of the kind "CFA plus offset" can not say it: PLT entries, signal frames,
realigned stacks.
"""

from __future__ import annotations

import operator
from typing import Callable, Dict, List, Optional, Sequence

from . import Malformed
from .cursor import Cursor

# An expression of the compilers has under 30 operations; branches could make one loop.
_MOST_STEPS = 1000
_DEEPEST_STACK = 64

Read = Callable[[int, int], bytes]


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


_CONSTANT_SIZES = {0x08: 1, 0x0A: 2, 0x0C: 4, 0x0E: 8}  # DW_OP_const{1,2,4,8}u; the odd one after each is signed
# Of two operands, both without a sign.  The result is cut to a word.
_BINARY: Dict[int, Callable[[int, int], int]] = {
    0x1A: operator.and_,
    0x1C: operator.sub,  # DW_OP_minus
    0x1E: operator.mul,
    0x21: operator.or_,
    0x22: operator.add,  # DW_OP_plus
    0x27: operator.xor,
}
# Comparisons are signed (DWARF 5, 2.5.1.5).
_COMPARISON: Dict[int, Callable[[int, int], bool]] = {
    0x29: operator.eq,
    0x2A: operator.ge,
    0x2B: operator.gt,
    0x2C: operator.le,
    0x2D: operator.lt,
    0x2E: operator.ne,
}


class Unavailable(LookupError):
    """An expression needs a register whose value in this frame nobody knows."""


def evaluate(
    expression: bytes, registers: Sequence[Optional[int]], read: Read, word: int, initial: Sequence[int] = ()
) -> int:
    """The value on top of the stack when the expression ends.

    :param registers: by DWARF number, ``None`` where the value is not known
    :param read: (address, size) -> bytes of the process; what it raises comes through
    :param word: bytes in an address, 4 or 8; all arithmetic wraps there
    :param initial: what the stack holds at the start: the CFA for a register's rule
    :raises Malformed: an unknown operation, an empty or overfull stack, a loop
    :raises Unavailable: a register's value is not known
    """
    bits = 8 * word
    mask = (1 << bits) - 1
    cursor = Cursor(expression, 0, len(expression))
    stack: List[int] = list(initial)
    try:
        for _ in range(_MOST_STEPS):
            if not cursor.left:
                return stack[-1] & mask
            _step(cursor, stack, registers, read, word, mask)
            if len(stack) > _DEEPEST_STACK:
                raise Malformed("an expression that fills its stack")
    except (IndexError, ZeroDivisionError) as error:
        raise Malformed(f"an expression without its operands: {expression.hex()}") from error
    raise Malformed(f"an expression of more than {_MOST_STEPS} steps")


def _step(
    cursor: Cursor,
    stack: List[int],
    registers: Sequence[Optional[int]],
    read: Read,
    word: int,
    mask: int,
) -> None:
    """Carry out one operation."""
    bits = 8 * word
    operation = cursor.unsigned(1)

    if 0x30 <= operation <= 0x4F:  # DW_OP_lit0 to lit31
        stack.append(operation - 0x30)
    elif 0x70 <= operation <= 0x8F:  # DW_OP_breg0 to breg31
        stack.append(_register(registers, operation - 0x70) + cursor.sleb128() & mask)
    elif operation == 0x92:  # DW_OP_bregx
        number = cursor.uleb128()
        stack.append(_register(registers, number) + cursor.sleb128() & mask)

    elif operation == 0x03:  # DW_OP_addr
        stack.append(cursor.unsigned(word))
    elif operation in _CONSTANT_SIZES:
        stack.append(cursor.unsigned(_CONSTANT_SIZES[operation]) & mask)
    elif operation - 1 in _CONSTANT_SIZES:
        stack.append(cursor.signed(_CONSTANT_SIZES[operation - 1]) & mask)
    elif operation == 0x10:  # DW_OP_constu
        stack.append(cursor.uleb128() & mask)
    elif operation == 0x11:  # DW_OP_consts
        stack.append(cursor.sleb128() & mask)

    elif operation == 0x06:  # DW_OP_deref
        stack.append(int.from_bytes(read(stack.pop(), word), "little"))
    elif operation == 0x94:  # DW_OP_deref_size
        size = cursor.unsigned(1)
        if not 1 <= size <= word:
            raise Malformed(f"DW_OP_deref_size {size}")
        stack.append(int.from_bytes(read(stack.pop(), size), "little"))

    elif operation == 0x12:  # DW_OP_dup
        stack.append(stack[-1])
    elif operation == 0x13:  # DW_OP_drop
        stack.pop()
    elif operation == 0x14:  # DW_OP_over
        stack.append(stack[-2])
    elif operation == 0x15:  # DW_OP_pick
        stack.append(stack[-1 - cursor.unsigned(1)])
    elif operation == 0x16:  # DW_OP_swap
        stack[-1], stack[-2] = stack[-2], stack[-1]
    elif operation == 0x17:  # DW_OP_rot: the top goes below the next two
        stack[-1], stack[-2], stack[-3] = stack[-2], stack[-3], stack[-1]

    elif operation in _BINARY:
        top = stack.pop()
        stack[-1] = _BINARY[operation](stack[-1], top) & mask
    elif operation in _COMPARISON:
        top = stack.pop()
        stack[-1] = int(_COMPARISON[operation](_signed(stack[-1], bits), _signed(top, bits)))
    elif operation == 0x23:  # DW_OP_plus_uconst
        stack[-1] = stack[-1] + cursor.uleb128() & mask
    elif operation == 0x19:  # DW_OP_abs
        stack[-1] = abs(_signed(stack[-1], bits)) & mask
    elif operation == 0x1F:  # DW_OP_neg
        stack[-1] = -stack[-1] & mask
    elif operation == 0x20:  # DW_OP_not
        stack[-1] ^= mask
    elif operation == 0x1B:  # DW_OP_div: signed, towards zero
        divisor, dividend = _signed(stack.pop(), bits), _signed(stack.pop(), bits)
        quotient = abs(dividend) // abs(divisor)
        stack.append((quotient if (dividend < 0) == (divisor < 0) else -quotient) & mask)
    elif operation == 0x1D:  # DW_OP_mod: unsigned, as gcc, gdb and drgn have it
        top = stack.pop()
        stack[-1] %= top
    elif operation in (0x24, 0x25, 0x26):
        _shift(stack, operation, bits, mask)

    elif operation == 0x2F:  # DW_OP_skip
        cursor.position = _branch(cursor, cursor.signed(2))
    elif operation == 0x28:  # DW_OP_bra
        distance = cursor.signed(2)
        if stack.pop():
            cursor.position = _branch(cursor, distance)
    elif operation == 0x96:  # DW_OP_nop
        pass
    else:
        # DW_OP_call_frame_cfa, DW_OP_reg*, DW_OP_piece and the like are not allowed here (6.4.2).
        raise Malformed(f"DWARF operation {operation:#x} in an unwind rule")


def _register(registers: Sequence[Optional[int]], number: int) -> int:
    value = registers[number] if number < len(registers) else None
    if value is None:
        raise Unavailable(f"register {number}")
    return value


def _shift(stack: List[int], operation: int, bits: int, mask: int) -> None:
    """DW_OP_shl, DW_OP_shr, DW_OP_shra; a distance of a whole word or more leaves no bit."""
    distance = min(stack.pop(), bits)
    if operation == 0x24:
        stack[-1] = stack[-1] << distance & mask
    elif operation == 0x25:
        stack[-1] >>= distance
    else:
        stack[-1] = _signed(stack[-1], bits) >> distance & mask


def _branch(cursor: Cursor, distance: int) -> int:
    target = cursor.position + distance
    if not 0 <= target <= cursor.end:
        raise Malformed(f"an expression that branches to {target}")
    return target
