# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The step from a frame to its caller, made ready before the stop.

A row of an unwind table says how to find the caller's registers in general; nearly all rows say
the same: the CFA is a register and an offset, the rest was saved at offsets from it.  Such a row
becomes a :class:`Step` of plain numbers.  Steps are kept per program counter.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Callable, Dict, Iterable, NamedTuple, Optional, Protocol, Tuple, Union

from ..cpu import Cpu
from ..elf import Malformed, cfi
from ..elf.cfi import Row, Rule
from ..elf.frames import FrameTable
from . import leaf

Read = Callable[[int, int], bytes]


class RowTable(Protocol):
    """Where rows come from: an elf.frames.FrameTable, or what stands in for one."""

    def row(self, pc: int) -> Optional[Row]:
        """The row at an address, ``None`` where there is none."""


class Located(NamedTuple):
    """A table, and where what it describes is in memory."""

    table: RowTable
    bias: int  # address in memory = address in the table + bias


class Code(NamedTuple):
    """A piece of executable memory whose frames one table knows."""

    start: int  # address in memory
    end: int
    name: str  # for messages: "libc.so.6"
    locate: Callable[[], Optional[Located]]  # called once, when the first row is needed; Malformed, OSError: none


class Step(NamedTuple):
    """A row in the form that the stop wants.  Offsets are in words, relative to the CFA."""

    plain: bool  # CFA from a register, everything else from the stack: the fields below say all
    register: int  # DWARF number that the CFA counts from
    offset: int  # bytes
    saves: Tuple[Tuple[int, int], ...]  # (DWARF number, offset)
    lowest: int  # bytes: of the lowest word that is read
    highest: int  # bytes: end of the highest
    pc: int  # offset of the return address
    signal: bool
    last: bool  # the return address is undefined: there is no caller
    row: Optional[Row]  # for steps that are not plain


class Stuck(Exception):
    """No way to go on; the message is the reason."""


class Steps:
    """What is known about a process's code.

    :param code: its executable memory, see tables.py
    :param read: (address, size) -> bytes of its memory
    :ivar known: the steps so far, by program counter
    """

    def __init__(self, cpu: Cpu, code: Iterable[Code], read: Read) -> None:
        self.known: Dict[int, Step] = {}
        self._cpu = cpu
        self._read = read
        self._code = sorted(code, key=lambda each: each.start)
        self._starts = [each.start for each in self._code]
        self._tables: Dict[int, Union[Located, str]] = {}  # by start; a string says why there is none

    def add(self, code: Code) -> None:
        """Code that came later: a patch's."""
        index = bisect_right(self._starts, code.start)
        self._code.insert(index, code)
        self._starts.insert(index, code.start)

    def covers(self, pc: int) -> bool:
        """Whether an address is in executable memory."""
        index = bisect_right(self._starts, pc) - 1
        return index >= 0 and pc < self._code[index].end

    def of(self, pc: int, exact: bool = False) -> Step:
        """The step from a frame at ``pc``.

        :param exact: the thread is there, and not in a call just before
        :raises Stuck: nothing is known about it
        """
        step = self.known.get(pc)
        if step is None:
            code = self._find(pc)
            located = self._located(code)
            try:
                row = located.table.row(pc - located.bias & self._cpu.mask)
            except Malformed as error:
                raise Stuck(f"the unwind rule at {self.place(pc)} is broken: {error}") from error
            if row is None and exact:
                row = self._row_of_leaf(pc)
            if row is None:
                raise Stuck(f"no unwind rule at {self.place(pc)}")
            if row.return_address != self._cpu.dwarf_pc:
                raise Stuck(f"the unwind rule at {self.place(pc)} returns by register {row.return_address}")
            step = self.known[pc] = self._compile(row)
        return step

    def handles_exceptions(self, pc: int) -> bool:
        """Whether the function at ``pc`` has something to do when an exception crosses it, or may have.

        A table of ours (vdso.py) is for code of the kernel's, which has not.
        """
        try:
            located = self._located(self._find(pc))
            if not isinstance(located.table, FrameTable):
                return False
            fde = located.table.find(pc - located.bias & self._cpu.mask)
        except (Stuck, Malformed):
            return True
        return fde is None or fde.takes_part_in_exceptions

    def _row_of_leaf(self, pc: int) -> Optional[Row]:
        """The return address is all that is on the stack, if the code at ``pc`` only returns."""
        cpu = self._cpu
        try:
            if not leaf.about_to_return(self._read(pc, leaf.LONGEST)):
                return None
        except OSError:
            return None
        rules = {cpu.dwarf_pc: Rule(cfi.AT_OFFSET, -cpu.word)}
        return Row(pc, pc + 1, Rule(cfi.REGISTER, cpu.word, cpu.dwarf_sp), rules, cpu.dwarf_pc, False)

    def _find(self, pc: int) -> Code:
        index = bisect_right(self._starts, pc) - 1
        if index < 0 or pc >= self._code[index].end:
            raise Stuck(f"{pc:#x} is in no known code")
        return self._code[index]

    def _located(self, code: Code) -> Located:
        found = self._tables.get(code.start)
        if found is None:
            try:
                found = code.locate() or f"{code.name} has no unwind tables"
            except (Malformed, OSError) as error:
                found = f"the unwind tables of {code.name} can not be read: {error}"
            self._tables[code.start] = found
        if isinstance(found, str):
            raise Stuck(found)
        return found

    def _compile(self, row: Row) -> Step:
        """A row's plain form, where it has one."""
        word, numbers = self._cpu.word, len(self._cpu.dwarf_registers)
        found = row.rules.get(row.return_address)
        last = found is not None and found.kind == cfi.UNDEFINED
        rules = {number: rule for number, rule in row.rules.items() if number < numbers and rule.kind != cfi.SAME_VALUE}
        plain = (
            row.cfa.kind == cfi.REGISTER
            and row.cfa.register < numbers
            and self._cpu.dwarf_sp not in rules
            and row.return_address in rules
            and all(rule.kind == cfi.AT_OFFSET and rule.offset % word == 0 for rule in rules.values())
        )
        if last or not plain:
            return Step(False, 0, 0, (), 0, 0, 0, row.signal_frame, last, row)
        offsets = [rule.offset for rule in rules.values()]
        return Step(
            plain=True,
            register=row.cfa.register,
            offset=row.cfa.offset,
            saves=tuple((n, rule.offset // word) for n, rule in rules.items() if n != row.return_address),
            lowest=min(offsets),
            highest=max(offsets) + word,
            pc=rules[row.return_address].offset // word,
            signal=row.signal_frame,
            last=False,
            row=None,
        )

    def place(self, pc: int) -> str:
        """An address for people: relative to the image where there is one, as in a disassembly of it."""
        try:
            code = self._find(pc)
        except Stuck:
            return f"{pc:#x}"
        located = self._tables.get(code.start)
        bias = located.bias if isinstance(located, Located) else 0
        return f"{pc - bias & self._cpu.mask:#x} in {code.name}"
