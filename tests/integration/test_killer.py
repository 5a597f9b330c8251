# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The killer hits what it aims at: a small injector of the test's own is shot at each of its calls."""

from __future__ import annotations

import os

import pytest

from livepatch.kernel import ptrace
from tests.harness import traces
from tests.killing.injector import Shot, watch

CALLS = [
    "ptrace(SEIZE)",
    "ptrace(INTERRUPT)",
    "write(/proc/{pid}/mem)",
    "pwrite64(/proc/{pid}/mem)",
    "ptrace(CONT)",
]


@pytest.fixture
def scene(compile, start):
    """A target, a word in it, and an injector that writes 1 and then 2 there."""
    program = start(compile("worker.c", "work.c", "-no-pie", "-fno-pie"))
    pid = program.pid
    word = next(
        int(line.split("-")[0], 16) for line in traces.maps(pid) if "rw-p" in line and "worker" in line
    )

    def inject() -> int:
        with open(f"/proc/{pid}/mem", "r+b", 0) as memory:
            ptrace.seize(pid, 0)
            ptrace.interrupt(pid)
            os.waitpid(pid, ptrace.WALL)
            ptrace.get_registers(pid)  # looks only: no shot falls here
            memory.seek(word)
            memory.write(b"\1\0\0\0")
            os.pwrite(memory.fileno(), b"\2\0\0\0", word)
            ptrace.resume(pid)
        print("done")
        return 7

    return program, word, inject


def test_a_run_without_a_shot_counts_the_calls_that_change_the_target(scene):
    program, word, inject = scene
    run = watch(inject)
    assert [call.format(pid=program.pid) for call in CALLS] == run.calls
    assert (run.killed, run.code, run.output) == (False, 7, b"done\n")
    assert traces.read(program.pid, word, 1) == b"\2"


@pytest.mark.parametrize("number", range(1, len(CALLS) + 1))
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_shot_falls_before_or_after_the_call_it_is_for(scene, number, after):
    program, word, inject = scene
    original = traces.read(program.pid, word, 1)
    run = watch(inject, Shot(number, after))
    assert run.killed
    assert run.output == b""
    assert run.calls == [call.format(pid=program.pid) for call in CALLS[:number]]
    done = number if after else number - 1
    assert traces.read(program.pid, word, 1) == (b"\2" if done >= 4 else b"\1" if done == 3 else original)
    traces.assert_released(program.pid)
    assert program.ask("work 1") == "4"


def test_every_call_is_a_target_until_a_run_ends_before_the_shot(scene):
    program, _, inject = scene
    number = 0
    while (run := watch(inject, Shot(number + 1, every=True))).killed:
        number += 1
        assert len(run.calls) == number
        assert program.ask("work 1") == "4"
    assert run.calls[:2] == ["ptrace(SEIZE)", "ptrace"]
    assert {"wait4", "pwrite64", "close"} <= set(run.calls)
    assert run.code == 7
