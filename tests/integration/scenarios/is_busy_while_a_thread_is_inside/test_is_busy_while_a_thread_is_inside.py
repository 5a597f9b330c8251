# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`strict`: while a thread is inside a replaced function nothing changes, and the report names who is where."""

from __future__ import annotations

import pytest

from tests.harness import traces
from tests.harness.product import livepatch

HURRY = ("--patience", "0.3", "--attempts", "3")


@pytest.fixture
def it(cpu, patient):
    """A program whose replaced function can be made to block in read(2)."""
    return patient("waits.c", "waiting.c")


def block(it, cpu):
    """Send the thread into the function; return once it sleeps in its read."""
    inside = int(it.program.ask("enter").split()[1])
    traces.wait_for_call(it.pid, inside, cpu.syscall_number("read"))
    return inside


def test_apply_names_thread_function_and_system_call(cpu, it):
    inside = block(it, cpu)
    with traces.untouched(it.pid):
        answer = it.apply(*HURRY)
    assert (answer.code, answer.status, answer.reason) == (4, "busy", "function_on_stack"), answer
    assert str(inside) in answer.process["message"]
    assert "waiting" in answer.process["message"]
    assert "read" in answer.process["message"]
    assert it.program.ask("leave") == "left 1"
    assert it.apply().status == "applied"
    it.program.ask("enter")
    assert it.program.ask("leave") == "left 2"


def test_revert_waits_for_the_new_code_to_be_left(cpu, it):
    assert it.apply().status == "applied"
    block(it, cpu)
    answer = it.revert(*HURRY)
    assert (answer.code, answer.status, answer.reason) == (4, "busy", "function_on_stack"), answer
    traces.assert_released(it.pid)
    assert it.program.ask("leave") == "left 2"
    assert it.revert().status == "reverted"
    it.program.ask("enter")
    assert it.program.ask("leave") == "left 1"
    traces.assert_clean(it.pid)


def test_on_busy_skip_is_no_failure(cpu, it):
    block(it, cpu)
    with traces.untouched(it.pid):
        answer = it.apply(*HURRY, "--on-busy", "skip")
    assert (answer.code, answer.status, answer.reason) == (0, "skipped", "function_on_stack"), answer
    assert it.program.ask("leave") == "left 1"


def test_what_was_to_stand_on_one_that_is_skipped_is_held_back(cpu, it, variant):
    second = variant(it, "second", requires=["fix"])
    both = (it.artifact, second)
    skip = (*HURRY, "--on-busy", "skip")
    block(it, cpu)
    with traces.untouched(it.pid):
        answer = livepatch("apply", "--pid", it.pid, *both, *skip)
    assert [each["status"] for each in answer.processes] == ["skipped"] * 2, answer
    assert answer.processes[1]["reason"] == "held_back"
    assert it.program.ask("leave") == "left 1"
    assert livepatch("apply", "--pid", it.pid, *both).code == 0
    block(it, cpu)
    answer = livepatch("revert", "--pid", it.pid, *both, *skip)
    assert [each["status"] for each in answer.processes] == ["skipped"] * 2, answer
    assert it.program.ask("leave") == "left 2"
