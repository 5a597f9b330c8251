# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kill target sees what it is there to see: one bit changed in its loop, and the next beat tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from livepatch.cpu import X86_64
from livepatch.kernel import ptrace
from tests.harness import toolchain, traces

GENERAL = {"x86_64": ("rax", "rbx", "rbp", "rdi", "r11", "r15"), "i386": ("eax", "ebx", "ebp", "edi")}

# Offsets in the XSAVE area, Intel SDM volume 1, 13.4: the control word, the status word's top excepted, of x87;
# MXCSR's rounding; ST3; XMM5; the upper half of YMM6.
STATE = {
    "x87 control": 1,
    "mxcsr": 25,
    "st3": 32 + 3 * 16 + 7,
    "xmm5": 160 + 5 * 16 + 9,
    "ymm6": 576 + 6 * 16 + 3,
}


@pytest.fixture
def target(object_pair, start):
    """The kill target of this architecture."""
    return start(object_pair("killtarget.c", "pairwise.c", support=("registers.S",)).program)


@contextmanager
def stopped_in_the_loop(program, cpu) -> Iterator[int]:
    """Hold the thread ``registers`` where all registers carry the test's values; its tid."""
    (tid,) = [
        tid
        for tid in traces.threads(program.pid)
        if Path(f"/proc/{program.pid}/task/{tid}/comm").read_text() == "registers\n"
    ]
    base = next(int(line.split("-")[0], 16) for line in traces.maps(program.pid) if "killtarget" in line)
    with program.path.open("rb") as file:
        (symbol,) = ELFFile(file).get_section_by_name(".symtab").get_symbol_by_name("held")
    loop = range(base + symbol["st_value"], base + symbol["st_value"] + 6)  # dec, jnz
    ptrace.seize(tid, 0)
    try:
        while True:
            ptrace.interrupt(tid)
            os.waitpid(tid, ptrace.WALL)
            if cpu.registers.unpack(ptrace.get_registers(tid))[cpu.pc] in loop:
                break
            ptrace.resume(tid)
        yield tid
    finally:
        ptrace.detach(tid)


def errors(program) -> int:
    """What the target counted."""
    return int(program.ask("beat").split()[9])


def test_an_untouched_target_counts_no_error(cpu, target):
    with stopped_in_the_loop(target, cpu):
        pass
    assert errors(target) == 0


@pytest.mark.parametrize("number", range(4))
def test_a_changed_general_register_is_counted(cpu, target, number):
    with stopped_in_the_loop(target, cpu) as tid:
        values = list(cpu.registers.unpack(ptrace.get_registers(tid)))
        values[cpu.register_names.index(GENERAL[cpu.name][number])] ^= 4
        ptrace.set_registers(tid, cpu.registers.pack(*values))
    assert errors(target) == 1


@pytest.mark.parametrize("register", STATE)
def test_a_changed_vector_or_floating_point_register_is_counted(cpu, target, register):
    with stopped_in_the_loop(target, cpu) as tid:
        state = bytearray(ptrace.get_regset(tid, ptrace.NT_X86_XSTATE))
        state[STATE[register]] ^= 4
        ptrace.Regset(tid, ptrace.NT_X86_XSTATE, len(state)).write(bytes(state))
    assert errors(target) > 0


def test_a_changed_byte_of_the_red_zone_is_counted(start):
    program = start(
        toolchain.pair("killtarget.c", "pairwise.c", X86_64.name, support=("registers.S",)).program
    )
    with stopped_in_the_loop(program, X86_64) as tid, open(f"/proc/{tid}/mem", "r+b", 0) as memory:
        place = X86_64.registers.unpack(ptrace.get_registers(tid))[X86_64.sp] - 100
        byte = os.pread(memory.fileno(), 1, place)
        os.pwrite(memory.fileno(), bytes([byte[0] ^ 4]), place)
    assert errors(program) == 1


def test_a_changed_signal_mask_is_counted(cpu, target):
    with stopped_in_the_loop(target, cpu) as tid:
        ptrace.set_sigmask(tid, 0)
    assert errors(target) > 0
