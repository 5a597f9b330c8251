# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our frames of live processes against gdb's."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from livepatch.cpu import Cpu
from livepatch.kernel import procfs, ptrace
from livepatch.kernel.memory import Memory
from livepatch.process import images
from livepatch.tracee import tables
from livepatch.tracee.unwind import Unwinder, Unwound
from tests.harness.program import Program

GDB_FRAMES = Path(__file__).parents[1] / "harness" / "gdb_frames.py"
STACKS = (
    "plain", "recursion", "alloca", "realigned", "callback", "handler", "siginfo", "alternate", "fault", "first",
    "noreturn", "threads",
)  # fmt: skip


def by_gdb(pid: int) -> dict[int, list[int]]:
    """The program counters of all threads."""
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-p", str(pid), "-x", str(GDB_FRAMES), "-ex", "python print_threads()"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    found = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("FRAMES ")]
    assert found, done.stdout + done.stderr
    return {each["tid"]: each["pcs"] for each in found}


def unwinder_of(pid: int, cpu: Cpu, memory: Memory, files: bool = True) -> Unwinder:
    mappings = procfs.maps(pid)
    found = images.find(pid, mappings, memory.read, procfs.exe(pid))
    if not files:
        found = tuple(WithoutFile(**vars(image)) for image in found)
    return Unwinder(cpu, tables.of_process(cpu, found, mappings), memory.read)


class WithoutFile(images.Image):
    """An image whose file can not be opened any more."""

    def open_file(self) -> None:
        return None


def by_us(pid: int, cpu: Cpu, files: bool = True, handed_in: int = 1 << 20) -> dict[int, Unwound]:
    """Our frames of all threads.

    :param handed_in: bytes of each stack that are read beforehand; the rest is left to the unwinder
    """
    result = {}
    with Memory(pid) as memory:
        unwinder = unwinder_of(pid, cpu, memory, files)
        mappings = procfs.maps(pid)
        for tid in procfs.tids(pid):
            ptrace.seize(tid, 0)
            ptrace.interrupt(tid)
            status = ptrace.wait(tid, time.monotonic() + 10)
            assert status is not None and status.interrupted
            registers = cpu.unpack(ptrace.get_registers(tid))
            sp = registers[cpu.sp]
            end = next(each.end for each in mappings if each.start <= sp < each.end)
            stack = memory.read(sp, min(end - sp, handed_in))
            result[tid] = unwinder.unwind(registers, stack, sp)
            ptrace.detach(tid)
    return result


def compare(program: Program, cpu: Cpu, **options: object) -> dict[int, Unwound]:
    """Compare with gdb, once every thread sleeps in a system call."""
    deadline = time.monotonic() + 10
    while any(procfs.syscall(program.pid, tid) is None for tid in procfs.tids(program.pid)):
        assert time.monotonic() < deadline
        os.sched_yield()
    ours = by_us(program.pid, cpu, **options)
    theirs = by_gdb(program.pid)
    assert ours.keys() == theirs.keys()
    for tid, unwound in ours.items():
        assert [pc for pc, _, _ in unwound.frames] == theirs[tid], unwound.reason
        assert unwound.complete, unwound.reason
    return ours


@pytest.mark.parametrize("name", STACKS)
def test_frames_are_those_that_gdb_finds(name: str, cpu: Cpu, compile: Callable[..., Path], start: Callable) -> None:
    program = start(compile("unwindee.c"), name)
    frames = compare(program, cpu)[program.pid].frames
    signals = sum(signal for _, _, signal in frames)
    assert signals == {"handler": 1, "siginfo": 1, "alternate": 2, "fault": 1, "first": 1}.get(name, 0)
    assert len(frames) > (5000 if name == "recursion" else 3)
