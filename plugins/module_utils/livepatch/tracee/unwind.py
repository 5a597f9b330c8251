# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Which functions a stopped thread is in, from its registers and its stack.

::

    stack                     frame              found with
    +------------------+
    |  locals          | sp   innermost          the row at pc
    |  saved registers |                         (look: pc)
    |  return address  |
    +------------------+ CFA of the innermost = stack pointer of its caller
    |  locals          |      caller             the row at return address - 1
    |  return address  |                         (the call may be its function's last instruction)
    +------------------+ CFA
           ...                last                a row that says: no return address

Everything that can be known beforehand is: an :class:`Unwinder` is built before the stop, rows are
kept per address, and a step over an ordinary frame is a few list accesses.

"Can not unwind" is an answer of its own (``complete`` is false), never "nobody is there".
"""

from __future__ import annotations

import time
from bisect import bisect_right
from typing import (
    Callable,
    Dict,
    Iterable,
    List,
    Literal,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    Union,
)

from ..cpu import Cpu
from ..elf import Malformed, cfi, expression
from ..elf.cfi import Row, Rule
from . import leaf

# A frame: its program counter (a return address but for the innermost and those that a signal
# interrupted), its CFA, and whether it is a signal frame: the kernel's trampoline, through which a
# handler returns.  The frame after such a one was interrupted at exactly its program counter.
Frame = Tuple[int, int, bool]
Read = Callable[[int, int], bytes]
Registers = List[Optional[int]]  # by DWARF number

_MOST_FRAMES = 1 << 16
_PAGE = 4096


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


class Unwound(NamedTuple):
    """The frames of one thread, the innermost first."""

    frames: List[Frame]
    complete: bool  # the outermost is the last one there is
    reason: str  # why not, for people


class _Step(NamedTuple):
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


class _Stuck(Exception):
    """No way to go on; the message is the reason."""


class Unwinder:
    """Unwinds the threads of one process.

    :param cpu: the architecture of its threads
    :param code: its executable memory, see tables.py
    :param read: (address, size) -> bytes of its memory, for what is not in the stack that is handed in
    """

    def __init__(self, cpu: Cpu, code: Iterable[Code], read: Read) -> None:
        self.cpu = cpu
        self._read_memory = read
        self._code = sorted(code)
        self._starts = [each.start for each in self._code]
        self._tables: Dict[int, Union[Located, str]] = {}  # by start; a string says why there is none
        self._steps: Dict[int, _Step] = {}
        self._pages: Dict[int, bytes] = {}
        self._numbers = len(cpu.dwarf_registers)
        self._format: Literal["I", "Q"] = "Q" if cpu.word == 8 else "I"

    def add(self, code: Code) -> None:
        """Code that came later: a patch's."""
        index = bisect_right(self._starts, code.start)
        self._code.insert(index, code)
        self._starts.insert(index, code.start)

    def prefetch(self, addresses: Iterable[int]) -> None:
        """Make ready for frames at these program counters (some 20 us each, once)."""
        for address in addresses:
            for pc in (address, address - 1):
                try:
                    self._step(pc)
                except _Stuck:
                    pass

    def prefetch_stack(self, stack: Union[bytes, bytearray, memoryview]) -> None:
        """Make ready for all return addresses that a stack may hold.

        The stack may be that of a running thread: it is only a hint.
        """
        starts, code = self._starts, self._code
        for word in set(self._words(stack, 0)[0]):
            index = bisect_right(starts, word - 1) - 1
            if index >= 0 and word <= code[index].end:
                self.prefetch((word,))

    def unwind(
        self,
        registers: Sequence[int],
        stack: Union[bytes, bytearray, memoryview] = b"",
        stack_base: int = 0,
        deadline: float = float("inf"),
    ) -> Unwound:
        """All frames of a stopped thread.

        :param registers: in the order of NT_PRSTATUS
        :param stack: the thread's stack from ``stack_base`` on, as much of it as was read
        :param deadline: ``time.monotonic()`` seconds; what is not known by then is not complete
        """
        self._pages.clear()  # the process has run since
        values: Registers = [registers[index] for index in self.cpu.dwarf_registers]
        frames: List[Frame] = []
        try:
            self._walk(values, stack, stack_base, deadline, frames)
        except _Stuck as stuck:
            return Unwound(frames, False, str(stuck))
        return Unwound(frames, True, "")

    def _walk(
        self,
        values: Registers,
        stack: Union[bytes, bytearray, memoryview],
        stack_base: int,
        deadline: float,
        frames: List[Frame],
    ) -> None:
        """Append frames until the last one.

        :raises _Stuck: there should be more
        """
        cpu, steps = self.cpu, self._steps
        mask, word, sp = cpu.mask, cpu.word, cpu.dwarf_sp
        unaligned, shift = word - 1, word.bit_length() - 1
        words, base = self._words(stack, stack_base)
        top = base + len(words) * word
        pc = values[cpu.dwarf_pc] or 0
        look = pc
        below = (values[sp] or 0) - 1  # the CFA of the frame before: stacks grow down, so CFAs go up
        for count in range(_MOST_FRAMES):
            step = steps.get(look)
            if step is None:
                try:
                    step = self._step(look, exact=look == pc)
                except _Stuck:
                    frames.append((pc, 0, False))
                    raise
            plain, register, offset, saves, lowest, highest, pc_offset, signal, last, row = step
            if last:
                frames.append((pc, 0, signal))
                return
            if plain:
                start = values[register]
                if start is None:
                    frames.append((pc, 0, signal))
                    raise _Stuck(f"{self._place(look)} needs a register whose value is lost")
                cfa = start + offset & mask
                frames.append((pc, cfa, signal))
                if cfa + lowest >= base and cfa + highest <= top and not cfa & unaligned:
                    index = cfa - base >> shift
                    for number, saved in saves:
                        values[number] = words[index + saved]
                    pc = words[index + pc_offset]
                else:
                    for number, saved in saves:
                        values[number] = self._word(cfa + saved * word)
                    pc = self._word(cfa + pc_offset * word)
                values[sp] = cfa
            else:
                assert row is not None
                values[cpu.dwarf_pc] = pc
                try:
                    cfa = self._cfa(row, values)
                except _Stuck:
                    frames.append((pc, 0, signal))
                    raise
                frames.append((pc, cfa, signal))
                values[:] = self._caller(row, values, cfa)
                found = values[cpu.dwarf_pc]
                if found is None:
                    raise _Stuck(f"{self._place(look)} does not say where it returns to")
                pc = found
            # Only a signal may have come on another stack, the alternate one.
            if cfa <= below and not signal:
                raise _Stuck(f"the frame at {self._place(look)} is below the one that it called")
            below = cfa
            if not pc:
                return
            look = pc if signal else pc - 1
            if not count & 0x7F and time.monotonic() > deadline:
                raise _Stuck(f"no time to go beyond {count + 1} frames")
        raise _Stuck(f"more than {_MOST_FRAMES} frames")

    def _cfa(self, row: Row, values: Registers) -> int:
        value = self._value(row.cfa, values, None)
        if value is None:
            raise _Stuck(f"{self._place(row.start)} needs a register whose value is lost")
        return value

    def _caller(self, row: Row, values: Registers, cfa: int) -> Registers:
        """The registers as the caller had them; its program counter in the return address column."""
        caller = list(values)
        caller[self.cpu.dwarf_sp] = cfa
        for number, rule in row.rules.items():
            if number < self._numbers:
                old = values[number]
                try:
                    caller[number] = self._value(rule, values, cfa) if rule.kind != cfi.SAME_VALUE else old
                except _Stuck:
                    # gcc's rule for %rbp between `leave` and `ret` of a realigned frame counts from the
                    # %rbp that is gone.  It is lost; that matters if it should be needed.
                    caller[number] = None
        if row.return_address not in row.rules:
            caller[self.cpu.dwarf_pc] = None
        return caller

    def _value(self, rule: Rule, values: Registers, cfa: Optional[int]) -> Optional[int]:
        """What a rule says; elf/cfi.py has the formulas."""
        mask, word = self.cpu.mask, self.cpu.word
        if rule.kind == cfi.UNDEFINED:
            return None
        if rule.kind == cfi.REGISTER:
            value = values[rule.register] if rule.register < self._numbers else None
            return None if value is None else value + rule.offset & mask
        if rule.kind in (cfi.AT_OFFSET, cfi.IS_OFFSET):
            assert cfa is not None
            value = cfa + rule.offset & mask
        else:
            initial = () if cfa is None else (cfa,)
            try:
                value = expression.evaluate(rule.expression, values, self._bytes, word, initial)
            except expression.Unavailable:
                return None
            except Malformed as error:
                raise _Stuck(f"a broken unwind rule: {error}") from error
        return self._word(value) if rule.kind in (cfi.AT_OFFSET, cfi.AT_EXPRESSION) else value

    def _words(self, stack: Union[bytes, bytearray, memoryview], base: int) -> Tuple[memoryview, int]:
        """The stack as aligned words, and the address of the first."""
        view = memoryview(stack)
        word = self.cpu.word
        begin = -base % word
        size = max(0, (len(view) - begin) // word * word)
        return view[begin : begin + size].cast("B").cast(self._format), base + begin

    def _word(self, address: int) -> int:
        return int.from_bytes(self._bytes(address & self.cpu.mask, self.cpu.word), "little")

    def _bytes(self, address: int, size: int) -> bytes:
        """Memory that is not in the stack that was handed in, a page at a time."""
        number, offset = divmod(address, _PAGE)
        page = self._pages.get(number)
        try:
            if page is None:
                page = self._pages[number] = self._read_memory(number * _PAGE, _PAGE)
            if offset + size <= _PAGE:
                return page[offset : offset + size]
            return self._read_memory(address, size)
        except OSError as error:
            raise _Stuck(f"no memory at {address:#x}") from error

    def _step(self, pc: int, exact: bool = False) -> _Step:
        """The step from a frame at ``pc``.

        :param exact: the thread is there, and not in a call just before
        :raises _Stuck: nothing is known about it
        """
        step = self._steps.get(pc)
        if step is None:
            code = self._find(pc)
            located = self._located(code)
            try:
                row = located.table.row(pc - located.bias & self.cpu.mask)
            except Malformed as error:
                raise _Stuck(f"the unwind rule at {self._place(pc)} is broken: {error}") from error
            if row is None and exact:
                row = self._row_of_leaf(pc)
            if row is None:
                raise _Stuck(f"no unwind rule at {self._place(pc)}")
            if row.return_address != self.cpu.dwarf_pc:
                raise _Stuck(f"the unwind rule at {self._place(pc)} returns by register {row.return_address}")
            step = self._steps[pc] = self._compile(row)
        return step

    def _row_of_leaf(self, pc: int) -> Optional[Row]:
        """The return address is all that is on the stack, if the code at ``pc`` only returns."""
        cpu = self.cpu
        try:
            if not leaf.about_to_return(self._bytes(pc, leaf.LONGEST)):
                return None
        except _Stuck:
            return None
        rules = {cpu.dwarf_pc: Rule(cfi.AT_OFFSET, -cpu.word)}
        return Row(pc, pc + 1, Rule(cfi.REGISTER, cpu.word, cpu.dwarf_sp), rules, cpu.dwarf_pc, False)

    def _find(self, pc: int) -> Code:
        index = bisect_right(self._starts, pc) - 1
        if index < 0 or pc >= self._code[index].end:
            raise _Stuck(f"{pc:#x} is in no known code")
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
            raise _Stuck(found)
        return found

    def _compile(self, row: Row) -> _Step:
        """A row's plain form, where it has one."""
        word, numbers = self.cpu.word, self._numbers
        found = row.rules.get(row.return_address)
        last = found is not None and found.kind == cfi.UNDEFINED
        rules = {number: rule for number, rule in row.rules.items() if number < numbers and rule.kind != cfi.SAME_VALUE}
        plain = (
            row.cfa.kind == cfi.REGISTER
            and row.cfa.register < numbers
            and self.cpu.dwarf_sp not in rules
            and row.return_address in rules
            and all(rule.kind == cfi.AT_OFFSET and rule.offset % word == 0 for rule in rules.values())
        )
        if last or not plain:
            return _Step(False, 0, 0, (), 0, 0, 0, row.signal_frame, last, row)
        offsets = [rule.offset for rule in rules.values()]
        return _Step(
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

    def _place(self, pc: int) -> str:
        """An address for people: relative to the image where there is one, as in a disassembly of it."""
        try:
            code = self._find(pc)
        except _Stuck:
            return f"{pc:#x}"
        located = self._tables.get(code.start)
        bias = located.bias if isinstance(located, Located) else 0
        return f"{pc - bias & self.cpu.mask:#x} in {code.name}"


def inside(frames: Sequence[Frame], ranges: Sequence[Tuple[int, int]]) -> List[Frame]:
    """The frames whose function lies in one of ``ranges`` ([start, end) each).

    A return address stands behind its call: one that equals ``end`` belongs to a function that ends
    with a call that does not return, one that equals ``start`` to the function before.
    """
    hits = []
    exact = True  # of the innermost frame, and of one that a signal interrupted
    for frame in frames:
        place = frame[0] if exact else frame[0] - 1
        if any(start <= place < end for start, end in ranges):
            hits.append(frame)
        exact = frame[2]
    return hits
