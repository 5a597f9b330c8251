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
from tests.harness.product import PACKAGES
from tests.harness.program import Program
from tests.harness.toolchain import EXECUTABLES, copied

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
    # Something of gdb's own may stand in front of it, without a newline.
    found = [json.loads(line.partition("FRAMES ")[2]) for line in done.stdout.splitlines() if "FRAMES " in line]
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
            while ptrace.poll(tid) is None:
                os.sched_yield()
            registers = cpu.unpack(ptrace.get_registers(tid))
            sp = registers[cpu.sp]
            end = next(each.end for each in mappings if each.start <= sp < each.end)
            stack = memory.read(sp, min(end - sp, handed_in))
            result[tid] = unwinder.unwind(registers, stack, sp)
            ptrace.detach(tid)
    return result


def wait_until_blocked(program: Program) -> None:
    """Return when every thread sleeps in a system call."""
    deadline = time.monotonic() + 10
    while any(procfs.syscall(program.pid, tid) is None for tid in procfs.tids(program.pid)):
        assert time.monotonic() < deadline
        os.sched_yield()


def check(ours: dict[int, Unwound], theirs: dict[int, list[int]]) -> None:
    """The same threads with the same frames, to the last one."""
    assert ours.keys() == theirs.keys()
    for tid, unwound in ours.items():
        assert [pc for pc, _, _ in unwound.frames] == theirs[tid], unwound.reason
        assert unwound.complete, unwound.reason


def compare(program: Program, cpu: Cpu, **options: object) -> dict[int, Unwound]:
    """Our frames of a program that blocks, once they turned out to be gdb's."""
    wait_until_blocked(program)
    ours = by_us(program.pid, cpu, **options)
    check(ours, by_gdb(program.pid))
    return ours


@pytest.mark.parametrize("name", STACKS)
def test_frames_are_those_that_gdb_finds(name: str, cpu: Cpu, compile: Callable[..., Path], start: Callable) -> None:
    program = start(compile("unwindee.c"), name)
    frames = compare(program, cpu)[program.pid].frames
    signals = sum(signal for _, _, signal in frames)
    assert signals == {"handler": 1, "siginfo": 1, "alternate": 2, "fault": 1, "first": 1}.get(name, 0)
    assert len(frames) > (5000 if name == "recursion" else 3)


@pytest.mark.parametrize("linkage", EXECUTABLES)
def test_tables_are_found_however_a_program_is_linked(
    linkage: str, cpu: Cpu, compile: Callable[..., Path], start: Callable
) -> None:
    """A static executable has no .eh_frame_hdr."""
    compare(start(compile("unwindee.c", *EXECUTABLES[linkage]), "alternate"), cpu)


@pytest.mark.parametrize("linkage", ("non_pie", "pie", "static_pie"))
def test_tables_in_memory_serve_where_no_file_can_be_opened(
    linkage: str, cpu: Cpu, compile: Callable[..., Path], start: Callable
) -> None:
    compare(start(compile("unwindee.c", *EXECUTABLES[linkage]), "siginfo"), cpu, files=False)


@pytest.mark.parametrize("handed_in", (0, 8, 4096))
def test_the_rest_of_a_stack_is_read_when_it_is_needed(
    handed_in: int, cpu: Cpu, compile: Callable[..., Path], start: Callable
) -> None:
    compare(start(compile("unwindee.c"), "recursion"), cpu, handed_in=handed_in)


def test_a_file_that_was_deleted_still_has_its_tables(
    cpu: Cpu, compile: Callable[..., Path], start: Callable, tmp_path: Path
) -> None:
    """gdb has none then, so it is asked before."""
    program = copied(compile("unwindee.c"), tmp_path)
    running = start(program, "callback")
    wait_until_blocked(running)
    theirs = by_gdb(running.pid)
    program.unlink()
    check(by_us(running.pid, cpu), theirs)


def test_frames_are_those_of_gdb_at_every_instruction(cpu: Cpu, compile: Callable[..., Path]) -> None:
    program = compile("stepped.c", "-Wl,-z,lazy")
    environment = dict(os.environ, PYTHONPATH=f"{PACKAGES}:{GDB_FRAMES.parent}", LD_BIND_NOW="")
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-x", str(GDB_FRAMES), "-x", str(GDB_FRAMES.parent / "gdb_steps.py"),
         "-ex", "python step_and_compare()", str(program)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, timeout=600,
    )  # fmt: skip
    assert "STEPS " in done.stdout, done.stdout + done.stderr
    seen = json.loads(done.stdout.partition("STEPS ")[2].splitlines()[0])
    assert seen["different"] == []
    assert seen["steps"] > 500 and seen["signal"] > 3 and seen["vdso"] > 20
    assert all("[vdso]" in reason for reason in seen["stuck"])
    if cpu.name == "x86_64":
        assert not seen["stuck"] and not seen["misled"]
    else:
        # Most of the 32-bit vdso has no rule; what its bytes prove is right, the rest is said.
        assert seen["vdso_complete"] > 0.9 * seen["vdso"]
