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
from typing import Dict, Iterable, List, Literal, NamedTuple, Optional, Sequence, Tuple, Union

from ..cpu import Cpu
from ..elf import Malformed, cfi, expression
from ..elf.cfi import Row, Rule
from .steps import Code, Read, Steps, Stuck

__all__ = ["Code", "Frame", "Unwinder", "Unwound", "inside"]

# A frame: its program counter (a return address but for the innermost and those that a signal
# interrupted), its CFA, and whether it is a signal frame: the kernel's trampoline, through which a
# handler returns.  The frame after such a one was interrupted at exactly its program counter.
Frame = Tuple[int, int, bool]
Registers = List[Optional[int]]  # by DWARF number

_MOST_FRAMES = 1 << 16
_PAGE = 4096


class Unwound(NamedTuple):
    """The frames of one thread, the innermost first."""

    frames: List[Frame]
    complete: bool  # the outermost is the last one there is
    reason: str  # why not, for people


class Unwinder:
    """Unwinds the threads of one process.

    :param cpu: the architecture of its threads
    :param code: its executable memory, see tables.py
    :param read: (address, size) -> bytes of its memory, for what is not in the stack that is handed in
    """

    def __init__(self, cpu: Cpu, code: Iterable[Code], read: Read) -> None:
        self.cpu = cpu
        self._read_memory = read
        self._steps = Steps(cpu, code, read)
        self._pages: Dict[int, bytes] = {}
        self._numbers = len(cpu.dwarf_registers)
        self._format: Literal["I", "Q"] = "Q" if cpu.word == 8 else "I"

    def add(self, code: Code) -> None:
        """Code that came later: a patch's."""
        self._steps.add(code)

    def handles_exceptions(self, pc: int) -> bool:
        """Whether the function at ``pc`` has something to do when an exception crosses it, or may have."""
        return self._steps.handles_exceptions(pc)

    def prefetch(self, addresses: Iterable[int]) -> None:
        """Make ready for frames at these program counters (some 20 us each, once)."""
        for address in addresses:
            for pc in (address, address - 1):
                try:
                    self._steps.of(pc)
                except Stuck:
                    pass

    def prefetch_stack(self, stack: Union[bytes, bytearray, memoryview]) -> None:
        """Make ready for all return addresses that a stack may hold.

        The stack may be that of a running thread: it is only a hint.
        """
        self.prefetch(word for word in set(self._words(stack, 0)[0]) if self._steps.covers(word - 1))

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
        except Stuck as stuck:
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

        :raises Stuck: there should be more
        """
        cpu, known = self.cpu, self._steps.known
        mask, word, sp = cpu.mask, cpu.word, cpu.dwarf_sp
        unaligned, shift = word - 1, word.bit_length() - 1
        words, base = self._words(stack, stack_base)
        top = base + len(words) * word
        pc = values[cpu.dwarf_pc] or 0
        look = pc
        below = (values[sp] or 0) - 1  # the CFA of the frame before: stacks grow down, so CFAs go up
        for count in range(_MOST_FRAMES):
            step = known.get(look)
            if step is None:
                try:
                    step = self._steps.of(look, exact=look == pc)
                except Stuck:
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
                    raise Stuck(f"{self._steps.place(look)} needs a register whose value is lost")
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
                except Stuck:
                    frames.append((pc, 0, signal))
                    raise
                frames.append((pc, cfa, signal))
                values[:] = self._caller(row, values, cfa)
                found = values[cpu.dwarf_pc]
                if found is None:
                    raise Stuck(f"{self._steps.place(look)} does not say where it returns to")
                pc = found
            # Only a signal may have come on another stack, the alternate one.  A frame whose return address
            # is not on the stack may be empty: the stub that a swapped one leads to (waiting_code.py) is.
            if cfa <= below and not signal and (plain or cfa < below):
                raise Stuck(f"the frame at {self._steps.place(look)} is below the one that it called")
            below = cfa
            if not pc:
                # gdb takes that for the end.  But a rule that is one push behind reads whatever was
                # pushed, and a zero is likely: i386 glibc's memcpy has such rules.  Real ends say so.
                raise Stuck(f"{self._steps.place(look)} returns to 0")
            look = pc if signal else pc - 1
            if not count & 0x7F and time.monotonic() > deadline:
                raise Stuck(f"no time to go beyond {count + 1} frames")
        raise Stuck(f"more than {_MOST_FRAMES} frames")

    def _cfa(self, row: Row, values: Registers) -> int:
        value = self._value(row.cfa, values, None)
        if value is None:
            raise Stuck(f"{self._steps.place(row.start)} needs a register whose value is lost")
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
                except Stuck:
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
                raise Stuck(f"a broken unwind rule: {error}") from error
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
            raise Stuck(f"no memory at {address:#x}") from error


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
