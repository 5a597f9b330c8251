# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread that does not stop in time is let go when it comes, and not only at our end."""

from __future__ import annotations

import time

import pytest

from livepatch.kernel import procfs, ptrace
from livepatch.process import snapshot
from livepatch.tracee import anchor, late, stop, tracee
from livepatch.tracee.thread import OPTIONS
from tests.borrowing import soon
from tests.harness import traces

VFORKS = "scenarios/refuses_while_a_vfork_child_runs/vforks.c"


@pytest.fixture
def program(cpu, compile, start):
    """One of its threads waits for a vfork child, where no stop reaches it."""
    ptrace.prepare_waiting()
    program = start(compile(VFORKS, "work.c"))
    program.ask("vfork")
    return program


def let_everybody_go(program):
    """The thread comes out of the kernel and stops: whoever begins with another process lets it go."""
    assert traces.tracers(program.pid)
    program.tell("end")
    deadline = soon()
    while traces.tracers(program.pid):
        late.let_go()
        assert time.monotonic() < deadline
    assert program.read_line() == "ended 0"
    assert program.ask("work 10") == "31"


def the_late_one(program):
    return next(tid for tid in procfs.tids(program.pid) if tid != program.pid)


def test_a_late_anchor_is_let_go(program, monkeypatch):
    monkeypatch.setattr(anchor, "_HOLD_S", 0.05)
    with snapshot.take(program.pid) as taken, tracee.Tracee(taken) as held:
        ptrace.seize(the_late_one(program), OPTIONS)
        held._anchor.tid = the_late_one(program)
    let_everybody_go(program)


def test_a_thread_that_comes_too_late_for_a_stop_is_let_go(program, monkeypatch):
    monkeypatch.setattr(stop, "_LATE_S", 0.05)
    with snapshot.take(program.pid) as taken, tracee.Tracee(taken) as held:
        stopping = stop.Stop(program.pid, held.claim(), False)
        stopping.gather()
        outcome = stopping.attempt([], 0.05, lambda threads: None, lambda threads: None, lambda: None)
        assert outcome.blocker is not None and outcome.blocker.reason == "stop_timeout"
        stopping.close()
    let_everybody_go(program)
