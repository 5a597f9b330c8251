# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Call frame information: from instructions to rows (DWARF 5, 6.4; LSB core 5.0, 10.6).

A function's unwind information is a table with a row for each stretch of its code.  A row says how
to find the CFA (the stack pointer's value in the caller, before the call pushed anything), and
from it the registers as the caller had them.  The table is not stored; a small program is, which
makes it::

    CIE: shared by many functions          FDE: one function, start to end
      initial instructions   ---------->     instructions: advance, set rules, advance, ...
                                                   |
               rows:   start ... | ... | ... end   v
"""

from __future__ import annotations

from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import Malformed
from .cursor import Cursor

# Kinds of rules.  `register` is a DWARF number, read as it is in this frame; the expressions start
# with the CFA on their stack, but for the CFA's own, which starts with nothing.
UNDEFINED = 0  # the caller's value is lost; for the return address: there is no caller
SAME_VALUE = 1  # value
AT_OFFSET = 2  # *(CFA + offset)
IS_OFFSET = 3  # CFA + offset
REGISTER = 4  # register + offset
AT_EXPRESSION = 5  # *(expression)
IS_EXPRESSION = 6  # expression

# Vector and mask registers have numbers, too, and no frame is ever found with their help.  Rules
# for higher numbers are read and forgotten: x86_64 needs 0 to 16, i386 0 to 8.
REGISTERS = 32

_DEEPEST_REMEMBER = 64  # compilers nest one or two
_MOST_INSTRUCTION_BYTES = 1 << 16  # a distribution's largest have some 2,000


class Rule(NamedTuple):
    """How one value is recovered; see the kinds above."""

    kind: int
    offset: int = 0  # bytes
    register: int = 0
    expression: bytes = b""


class Row(NamedTuple):
    """The rules for program counters in [start, end)."""

    start: int
    end: int
    cfa: Rule  # REGISTER or IS_EXPRESSION
    rules: Dict[int, Rule]  # by DWARF number; a register without a rule keeps its value
    return_address: int  # the number whose rule finds the return address
    signal_frame: bool  # the caller was interrupted at its program counter, it made no call


class Program(NamedTuple):
    """What one FDE and its CIE say, ready to run."""

    start: int  # first address of the function
    end: int  # first address after it
    code_alignment: int
    data_alignment: int
    return_address: int
    signal_frame: bool
    initial: Cursor
    instructions: Cursor
    location: Callable[[Cursor], int]  # reads DW_CFA_set_loc's operand


def rows(program: Program) -> List[Row]:
    """All rows of a function, in ascending order, without gaps from its start to its end.

    :raises Malformed: an unknown instruction, a rule about nothing, a row outside of the function
    """
    size = program.initial.left + program.instructions.left
    if size > _MOST_INSTRUCTION_BYTES:
        raise Malformed(f"{size} bytes of call frame instructions for one function")
    machine = _Machine(program)
    for _ in machine.run(program.initial):
        raise Malformed("a CIE whose initial instructions advance")
    machine.initial = machine.rules
    found: List[Row] = []
    start = program.start
    for location, row in machine.run(program.instructions):
        if not start <= location <= program.end:
            raise Malformed(f"a row that ends at {location:#x}, in a function {start:#x} to {program.end:#x}")
        if location > start:
            found.append(row._replace(start=start, end=location))
        start = location
    if start < program.end:
        found.append(machine.row()._replace(start=start, end=program.end))
    return found


class _Machine:
    """The state that call frame instructions work on.

    ``rules`` is replaced, never changed: rows and remembered states share it.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.location = program.start
        self.cfa: Optional[Rule] = None
        self.rules: Dict[int, Rule] = {}
        self.initial: Dict[int, Rule] = {}
        self.remembered: List[Tuple[Optional[Rule], Dict[int, Rule]]] = []

    def row(self) -> Row:
        """The rules as they are now; start and end are the caller's to fill in."""
        if self.cfa is None:
            raise Malformed("a row without a rule for the CFA")
        program = self.program
        return Row(0, 0, self.cfa, self.rules, program.return_address, program.signal_frame)

    def run(self, instructions: Cursor) -> Iterator[Tuple[int, Row]]:
        """Each time the location moves: (the new location, the row that ends there)."""
        # A copy, so that a program can be run again.
        cursor = Cursor(instructions.data, instructions.position, instructions.end)
        while cursor.left:
            byte = cursor.unsigned(1)
            high, low = byte & 0xC0, byte & 0x3F
            if high == 0x40:  # DW_CFA_advance_loc
                yield self._advance(low)
            elif high == 0x80:  # DW_CFA_offset
                self._set(low, self._at(cursor.uleb128()))
            elif high == 0xC0:  # DW_CFA_restore
                self._restore(low)
            elif 0x02 <= low <= 0x04:  # DW_CFA_advance_loc1, 2, 4
                yield self._advance(cursor.unsigned(1 << low - 2))
            elif low == 0x01:  # DW_CFA_set_loc
                row = self.row()
                self.location = self.program.location(cursor)
                yield self.location, row
            elif 0x0C <= low <= 0x0F or low in (0x12, 0x13):
                self._define_cfa(low, cursor)
            else:
                self._other(low, cursor)

    def _advance(self, delta: int) -> Tuple[int, Row]:
        row = self.row()
        self.location += delta * self.program.code_alignment
        return self.location, row

    def _define_cfa(self, instruction: int, cursor: Cursor) -> None:
        if instruction == 0x0C:  # DW_CFA_def_cfa
            register = cursor.uleb128()
            self.cfa = Rule(REGISTER, cursor.uleb128(), register)
        elif instruction == 0x12:  # DW_CFA_def_cfa_sf
            register = cursor.uleb128()
            self.cfa = Rule(REGISTER, cursor.sleb128() * self.program.data_alignment, register)
        elif instruction == 0x0F:  # DW_CFA_def_cfa_expression
            self.cfa = Rule(IS_EXPRESSION, expression=cursor.block(cursor.uleb128()))
        elif self.cfa is None or self.cfa.kind != REGISTER:
            raise Malformed(f"DW_CFA {instruction:#x} where the CFA is not a register and an offset")
        elif instruction == 0x0D:  # DW_CFA_def_cfa_register
            self.cfa = self.cfa._replace(register=cursor.uleb128())
        elif instruction == 0x0E:  # DW_CFA_def_cfa_offset
            self.cfa = self.cfa._replace(offset=cursor.uleb128())
        else:  # DW_CFA_def_cfa_offset_sf
            self.cfa = self.cfa._replace(offset=cursor.sleb128() * self.program.data_alignment)

    def _other(self, instruction: int, cursor: Cursor) -> None:
        if instruction == 0x00:  # DW_CFA_nop
            pass
        elif instruction == 0x0A:  # DW_CFA_remember_state
            if len(self.remembered) == _DEEPEST_REMEMBER:
                raise Malformed("DW_CFA_remember_state without an end")
            self.remembered.append((self.cfa, self.rules))
        elif instruction == 0x0B:  # DW_CFA_restore_state; the CFA, too, as gcc and readelf have it
            if not self.remembered:
                raise Malformed("DW_CFA_restore_state without DW_CFA_remember_state")
            self.cfa, self.rules = self.remembered.pop()
        elif instruction == 0x2E:  # DW_CFA_GNU_args_size: for landing pads, which are not our business
            cursor.uleb128()
        elif instruction in _REGISTER_RULES:
            register = cursor.uleb128()
            _REGISTER_RULES[instruction](self, register, cursor)
        else:
            raise Malformed(f"unknown call frame instruction {instruction:#x}")

    def _at(self, factored: int) -> Rule:
        return Rule(AT_OFFSET, factored * self.program.data_alignment)

    def _is(self, factored: int) -> Rule:
        return Rule(IS_OFFSET, factored * self.program.data_alignment)

    def _set(self, register: int, rule: Rule) -> None:
        if register < REGISTERS:
            self.rules = {**self.rules, register: rule}

    def _restore(self, register: int) -> None:
        """Back to what the CIE said; nothing there means that the register keeps its value."""
        if register in self.initial:
            self._set(register, self.initial[register])
        else:
            self.rules = {number: rule for number, rule in self.rules.items() if number != register}


# Instructions whose first operand is the register that the rule is for.
_REGISTER_RULES: Dict[int, Callable[[_Machine, int, Cursor], None]] = {
    0x05: lambda m, r, c: m._set(r, m._at(c.uleb128())),  # DW_CFA_offset_extended
    0x06: lambda m, r, c: m._restore(r),  # DW_CFA_restore_extended
    0x07: lambda m, r, c: m._set(r, Rule(UNDEFINED)),  # DW_CFA_undefined
    0x08: lambda m, r, c: m._set(r, Rule(SAME_VALUE)),  # DW_CFA_same_value
    0x09: lambda m, r, c: m._set(r, Rule(REGISTER, register=c.uleb128())),  # DW_CFA_register
    0x10: lambda m, r, c: m._set(r, Rule(AT_EXPRESSION, expression=c.block(c.uleb128()))),  # DW_CFA_expression
    0x11: lambda m, r, c: m._set(r, m._at(c.sleb128())),  # DW_CFA_offset_extended_sf
    0x14: lambda m, r, c: m._set(r, m._is(c.uleb128())),  # DW_CFA_val_offset
    0x15: lambda m, r, c: m._set(r, m._is(c.sleb128())),  # DW_CFA_val_offset_sf
    0x16: lambda m, r, c: m._set(r, Rule(IS_EXPRESSION, expression=c.block(c.uleb128()))),  # DW_CFA_val_expression
    0x2F: lambda m, r, c: m._set(r, m._at(-c.uleb128())),  # DW_CFA_GNU_negative_offset_extended
}
