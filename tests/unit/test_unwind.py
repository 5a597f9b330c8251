# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unwinder on stacks that are made up here; real ones are test_unwind_oracle.py's."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence

import pytest

from livepatch.cpu import I386, X86_64, Cpu
from livepatch.elf import Malformed
from livepatch.elf.cfi import (
    AT_EXPRESSION,
    AT_OFFSET,
    IS_EXPRESSION,
    IS_OFFSET,
    REGISTER,
    SAME_VALUE,
    UNDEFINED,
    Row,
    Rule,
)
from livepatch.tracee.steps import Code, Located
from livepatch.tracee.unwind import Unwinder, inside

STACK = 0x7000_0000
# Functions of 16 bytes from here on, one after the other.
FUNCTIONS = 0x40_0000
LEAF, BIG, FRAMED, START, TRAMPOLINE, LOST = (FUNCTIONS + 16 * index for index in range(6))
BP = {"x86_64": 6, "i386": 5}


class Table:
    """Rows by function; counts how often it is asked."""

    def __init__(self, cpu: Cpu) -> None:
        self.asked = 0
        sp, bp, pc, word = cpu.dwarf_sp, BP[cpu.name], cpu.dwarf_pc, cpu.word
        ra = {pc: Rule(AT_OFFSET, -word)}
        self.rows = {
            LEAF: (Rule(REGISTER, word, sp), ra, False),
            BIG: (Rule(REGISTER, 4 * word, sp), {**ra, bp: Rule(AT_OFFSET, -2 * word)}, False),
            FRAMED: (Rule(REGISTER, 2 * word, bp), {**ra, bp: Rule(AT_OFFSET, -2 * word)}, False),
            START: (Rule(REGISTER, word, sp), {pc: Rule(UNDEFINED)}, False),
            # As in the kernel's frame: the interrupted stack pointer, then the program counter.
            TRAMPOLINE: (
                Rule(IS_EXPRESSION, expression=bytes([0x70 + sp, 0x00, 0x06])),
                {pc: Rule(AT_EXPRESSION, expression=bytes([0x70 + sp, word])), bp: Rule(SAME_VALUE)},
                True,
            ),
            LOST: (Rule(REGISTER, word, sp), {**ra, bp: Rule(UNDEFINED)}, False),
        }
        self.pc = pc

    def row(self, pc: int) -> Row | None:
        self.asked += 1
        function = pc & -16
        if function not in self.rows:
            return None
        cfa, rules, signal = self.rows[function]
        return Row(function, function + 16, cfa, rules, self.pc, signal)


def no_memory(address: int, size: int) -> bytes:
    raise OSError(errno.EFAULT, "")


def memory_of(cpu: Cpu, words: Sequence[int], base: int = STACK) -> Callable[[int, int], bytes]:
    data = stack_of(cpu, words)

    def read(address: int, size: int) -> bytes:
        padded = bytes(0x1000) + data + bytes(0x2000)
        start = address - base + 0x1000
        if not 0 <= start <= len(padded) - size:
            raise OSError(errno.EFAULT, "")
        return padded[start : start + size]

    return read


def stack_of(cpu: Cpu, words: Sequence[int]) -> bytes:
    return b"".join((word & cpu.mask).to_bytes(cpu.word, "little") for word in words)


def registers_of(cpu: Cpu, pc: int, sp: int = STACK, bp: int = 0) -> tuple[int, ...]:
    values = [0] * len(cpu.register_names)
    values[cpu.pc], values[cpu.sp], values[cpu.dwarf_registers[BP[cpu.name]]] = pc, sp, bp
    return tuple(values)


def unwinder_of(cpu: Cpu, read: Callable[[int, int], bytes] = no_memory) -> tuple[Unwinder, Table]:
    table = Table(cpu)
    code = Code(FUNCTIONS, FUNCTIONS + 0x1000, "program", lambda: Located(table, 0))
    return Unwinder(cpu, [code], read), table


def test_frames_go_up_to_the_one_without_a_return_address(cpu: Cpu) -> None:
    unwinder, _ = unwinder_of(cpu)
    words = (BIG + 5, 0, 0, 0x77, FRAMED + 5, 1, 2, 0x99, START + 5)
    # BIG saved the frame pointer of FRAMED, whose own frame is two words below START's.
    words = (*words[:3], STACK + 7 * cpu.word, *words[4:])
    frames, complete, reason = unwinder.unwind(registers_of(cpu, LEAF + 3), stack_of(cpu, words), STACK)
    assert complete and reason == ""
    assert frames == [
        (LEAF + 3, STACK + cpu.word, False),
        (BIG + 5, STACK + 5 * cpu.word, False),
        (FRAMED + 5, STACK + 9 * cpu.word, False),
        (START + 5, 0, False),
    ]


def test_a_return_address_of_zero_is_no_end(cpu: Cpu) -> None:
    """A wrong rule finds one easily, and whoever is beyond would go unseen."""
    unwinder, _ = unwinder_of(cpu)
    frames, complete, reason = unwinder.unwind(registers_of(cpu, LEAF), stack_of(cpu, (0, START + 5)), STACK)
    assert not complete and "returns to 0" in reason
    assert len(frames) == 1


def test_a_return_address_belongs_to_the_call_before_it(cpu: Cpu) -> None:
    """LEAF + 16 is BIG's first byte, but the call stood at the end of LEAF."""
    unwinder, _ = unwinder_of(cpu)
    frames, complete, _ = unwinder.unwind(registers_of(cpu, LEAF), stack_of(cpu, (LEAF + 16, START + 5)), STACK)
    assert complete
    assert [cfa for _, cfa, _ in frames] == [STACK + cpu.word, STACK + 2 * cpu.word, 0]


def test_what_a_signal_interrupted_is_exactly_where_it_says(cpu: Cpu) -> None:
    """BIG's first instruction faulted: looked up one byte before, LEAF's rule would be taken.

    A trampoline itself is looked up one byte before, too; its rule begins there on purpose.
    """
    interrupted = STACK + 3 * cpu.word
    words = (TRAMPOLINE + 1, interrupted, BIG, 0, 0, 0, START + 5)
    unwinder, _ = unwinder_of(cpu, memory_of(cpu, words))
    frames, complete, _ = unwinder.unwind(registers_of(cpu, LEAF), stack_of(cpu, words), STACK)
    assert complete
    assert frames[:3] == [
        (LEAF, STACK + cpu.word, False),
        (TRAMPOLINE + 1, interrupted, True),
        (BIG, interrupted + 4 * cpu.word, False),
    ]
    assert inside(frames, [(BIG, BIG + 16)]) == [frames[2]]
    assert inside(frames, [(LEAF, LEAF + 16)]) == [frames[0]]


def test_a_handler_may_be_on_a_stack_above_the_one_it_interrupted(cpu: Cpu) -> None:
    main = STACK - 0x800
    words = (TRAMPOLINE + 1, main, LEAF + 4)
    both = [START + 5] + [0] * (0x800 // cpu.word - 1) + list(words)
    unwinder, _ = unwinder_of(cpu, memory_of(cpu, both, main))
    frames, complete, reason = unwinder.unwind(registers_of(cpu, LEAF), stack_of(cpu, words), STACK)
    assert complete, reason
    assert [pc for pc, _, _ in frames] == [LEAF, TRAMPOLINE + 1, LEAF + 4, START + 5]


def test_a_frame_below_the_one_that_it_called_is_no_frame(cpu: Cpu) -> None:
    """A loop of frame pointers ends, and not as complete."""
    unwinder, _ = unwinder_of(cpu)
    words = (STACK, FRAMED + 5)  # its frame pointer points to itself
    frames, complete, reason = unwinder.unwind(
        registers_of(cpu, FRAMED + 5, bp=STACK), stack_of(cpu, words), STACK
    )
    assert not complete and "below" in reason
    assert len(frames) == 2


def test_code_without_a_rule_ends_it_and_is_named(cpu: Cpu) -> None:
    unwinder, _ = unwinder_of(cpu)
    nowhere = FUNCTIONS + 0x800
    frames, complete, reason = unwinder.unwind(registers_of(cpu, LEAF), stack_of(cpu, (nowhere,)), STACK)
    assert not complete
    assert reason == f"no unwind rule at {nowhere - 1:#x} in program"
    assert [pc for pc, _, _ in frames] == [LEAF, nowhere]  # that it is there is known all the same
    frames, complete, reason = unwinder.unwind(registers_of(cpu, 0x1234))
    assert not complete and reason == "0x1234 is in no known code" and frames == [(0x1234, 0, False)]


@pytest.mark.parametrize(
    ("locate", "said"),
    (
        (lambda: None, "has no unwind tables"),
        (lambda: Located(BROKEN, 0), "is broken: odd"),
    ),
)
def test_code_without_a_table_says_so(cpu: Cpu, locate: Callable, said: str) -> None:
    unwinder = Unwinder(cpu, [Code(0x1000, 0x2000, "libodd.so", locate)], no_memory)
    _, complete, reason = unwinder.unwind(registers_of(cpu, 0x1800))
    assert not complete and "libodd.so" in reason and said in reason


class Broken:
    def row(self, pc: int) -> Row:
        raise Malformed("odd")


BROKEN = Broken()


@pytest.mark.parametrize("error", (Malformed("odd"), OSError(errno.EFAULT, "odd")))
def test_a_table_that_can_not_be_read_is_asked_for_once(cpu: Cpu, error: Exception) -> None:
    calls = []

    def locate() -> Located:
        calls.append(1)
        raise error

    unwinder = Unwinder(cpu, [Code(0x1000, 0x2000, "libodd.so", locate)], no_memory)
    for _ in range(3):
        _, complete, reason = unwinder.unwind(registers_of(cpu, 0x1800))
        assert not complete and "libodd.so can not be read" in reason and "odd" in reason
    assert len(calls) == 1


def test_a_lost_register_ends_it(cpu: Cpu) -> None:
    words = (FRAMED + 5, *[START + 5] * 20)
    unwinder, _ = unwinder_of(cpu, memory_of(cpu, words))
    frames, complete, reason = unwinder.unwind(registers_of(cpu, LOST, bp=STACK + 64), stack_of(cpu, words), STACK)
    assert not complete and "lost" in reason
    assert [pc for pc, _, _ in frames] == [LOST, FRAMED + 5]


def test_memory_that_is_not_there_ends_it(cpu: Cpu) -> None:
    unwinder, _ = unwinder_of(cpu)
    _, complete, reason = unwinder.unwind(registers_of(cpu, LEAF))
    assert not complete and "no memory at" in reason


@pytest.mark.parametrize("handed_in", range(0, 40, 4))
def test_what_is_not_handed_in_is_read(cpu: Cpu, handed_in: int) -> None:
    words = (BIG + 5, 0, 0, 1, BIG + 5, 0, 0, 2, START + 5)
    unwinder, _ = unwinder_of(cpu, memory_of(cpu, words))
    stack = stack_of(cpu, words)[:handed_in]
    frames, complete, reason = unwinder.unwind(registers_of(cpu, LEAF), stack, STACK)
    assert complete, reason
    assert [pc for pc, _, _ in frames] == [LEAF, BIG + 5, BIG + 5, START + 5]


@pytest.mark.parametrize("shift", range(1, 8))
def test_a_stack_handed_in_may_begin_and_end_anywhere(cpu: Cpu, shift: int) -> None:
    words = (0xDEAD, BIG + 5, 0, 0, 1, START + 5)
    unwinder, _ = unwinder_of(cpu, memory_of(cpu, words))
    stack = stack_of(cpu, words)[shift:]
    sp = STACK + cpu.word
    _, complete, reason = unwinder.unwind(registers_of(cpu, LEAF, sp), memoryview(bytearray(stack)), STACK + shift)
    assert complete, reason


def test_memory_is_read_anew_for_each_thread(cpu: Cpu) -> None:
    """The process runs between two stops."""
    content = [START + 5]
    unwinder, _ = unwinder_of(cpu, lambda address, size: memory_of(cpu, content)(address, size))
    assert unwinder.unwind(registers_of(cpu, LEAF)).complete
    content[0] = 0x1234
    assert not unwinder.unwind(registers_of(cpu, LEAF)).complete


def test_deep_recursion_is_unwound_and_endless_one_is_not(cpu: Cpu) -> None:
    unwinder, _ = unwinder_of(cpu)
    deep = [LEAF + 5] * 60000
    frames, complete, _ = unwinder.unwind(registers_of(cpu, LEAF), stack_of(cpu, [*deep, START + 5]), STACK)
    assert complete and len(frames) == 60002
    frames, complete, reason = unwinder.unwind(registers_of(cpu, LEAF), stack_of(cpu, deep * 2), STACK)
    assert not complete and "more than 65536 frames" in reason


def test_time_is_bounded(cpu: Cpu) -> None:
    unwinder, _ = unwinder_of(cpu)
    stack = stack_of(cpu, [LEAF + 5] * 60000)
    frames, complete, reason = unwinder.unwind(registers_of(cpu, LEAF), stack, STACK, deadline=time.monotonic())
    assert not complete and "no time" in reason and len(frames) < 200


def test_rules_that_were_fetched_are_not_asked_for_again(cpu: Cpu) -> None:
    unwinder, table = unwinder_of(cpu)
    stack = stack_of(cpu, (BIG + 5, 0x5555, 0xFFFF, 1, START + 5))
    unwinder.prefetch((LEAF + 3, 0x99999999))
    unwinder.prefetch_stack(stack)
    asked = table.asked
    assert asked
    assert unwinder.unwind(registers_of(cpu, LEAF + 3), stack, STACK).complete
    assert table.asked == asked


def test_code_that_came_later_has_rules(cpu: Cpu) -> None:
    unwinder, _ = unwinder_of(cpu)
    patch = 0x9000_0000
    table = Table(cpu)
    unwinder.add(Code(patch, patch + 0x1000, "patch", lambda: Located(table, patch - FUNCTIONS)))
    words = (LEAF - FUNCTIONS + patch + 5, START + 5)
    frames, complete, reason = unwinder.unwind(registers_of(cpu, LEAF), stack_of(cpu, words), STACK)
    assert complete, reason
    assert inside(frames, [(patch, patch + 16)]) == [frames[1]]
    _, _, reason = unwinder.unwind(registers_of(cpu, patch + 0x800), b"", 0)
    assert reason == f"no unwind rule at {FUNCTIONS + 0x800:#x} in patch"  # as a disassembly of it has it


def test_rules_of_all_kinds_are_followed(cpu: Cpu) -> None:
    word, sp, bp, pc = cpu.word, cpu.dwarf_sp, BP[cpu.name], cpu.dwarf_pc
    unwinder, table = unwinder_of(cpu)
    table.rows[LEAF] = (
        Rule(REGISTER, word, sp),
        {
            pc: Rule(REGISTER, register=2),  # a register holds the return address
            bp: Rule(IS_OFFSET, 2 * word),
            3: Rule(IS_EXPRESSION, expression=b"\x23\x10"),
            sp: Rule(IS_OFFSET, word),
        },
        False,
    )
    table.rows[BIG] = (Rule(REGISTER, 0, bp), {pc: Rule(AT_OFFSET, -word)}, False)
    values = list(registers_of(cpu, LEAF))
    values[cpu.dwarf_registers[2]] = BIG + 5
    frames, complete, reason = unwinder.unwind(values, stack_of(cpu, (1, 2, START + 5, 3)), STACK)
    assert complete, reason
    assert frames[1] == (BIG + 5, STACK + 3 * word, False)


@pytest.mark.parametrize(
    ("pc", "hit"),
    ((0x1000, True), (0x100F, True), (0x1010, False), (0xFFF, False)),
)
def test_the_innermost_program_counter_is_where_it_says(pc: int, hit: bool) -> None:
    assert bool(inside([(pc, 0, False)], [(0x1000, 0x1010)])) == hit


@pytest.mark.parametrize(
    ("pc", "hit"),
    ((0x1000, False), (0x1001, True), (0x1010, True), (0x1011, False)),
)
def test_a_return_address_is_behind_its_call(pc: int, hit: bool) -> None:
    """The end of a function is inside of it where its last instruction calls what never returns."""
    frame = (pc, 0, False)
    assert inside([(0x5000, 0, False), frame], [(0x1000, 0x1010)]) == [frame] * hit


def test_ranges_are_several() -> None:
    frames = [(0x1000, 0, False), (0x2001, 0, False), (0x3001, 0, False)]
    assert inside(frames, [(0x1000, 0x1001), (0x3000, 0x3001)]) == [frames[0], frames[2]]
    assert inside(frames, []) == []


def test_a_thread_about_to_return_needs_no_rule(cpu: Cpu) -> None:
    """A call just before such code proves nothing: only the thread itself is about to return."""
    thunk = FUNCTIONS + 0x800

    def read(address: int, size: int) -> bytes:
        data = bytearray(0x2000)
        data[0x800:0x804] = b"\x8b\x1c\x24\xc3"
        return bytes(data[address - FUNCTIONS : address - FUNCTIONS + size])

    unwinder, _ = unwinder_of(cpu, read)
    frames, complete, reason = unwinder.unwind(registers_of(cpu, thunk), stack_of(cpu, (START + 5,)), STACK)
    assert complete, reason
    assert frames[0] == (thunk, STACK + cpu.word, False)
    unwinder, _ = unwinder_of(cpu, read)
    assert not unwinder.unwind(registers_of(cpu, LEAF), stack_of(cpu, (thunk + 1, START + 5)), STACK).complete


def test_registers_of_dwarf_and_of_the_kernel_are_the_same() -> None:
    names = [X86_64.register_names[index] for index in X86_64.dwarf_registers]
    assert names == ["rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip"]
    names = [I386.register_names[index] for index in I386.dwarf_registers]
    assert names == ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip"]
