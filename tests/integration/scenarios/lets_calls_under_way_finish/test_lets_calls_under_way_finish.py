# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`consistency: entry`: who is inside finishes in the code in which it began; who calls then takes the new one."""

from __future__ import annotations

import pytest

from tests.harness import traces
from tests.harness.product import livepatch

ENTRY = ("--consistency", "entry")


@pytest.fixture
def it(cpu, patient):
    """A program whose replaced function can be made to block in read(2)."""
    return patient("waits.c", "waiting.c")


def block(it, cpu):
    """Send the thread into the function; return once it sleeps in its read."""
    inside = int(it.program.ask("enter").split()[1])
    traces.wait_for_call(it.pid, inside, cpu.syscall_number("read"))


def test_a_call_under_way_finishes_in_the_old_code(cpu, it):
    block(it, cpu)
    assert it.check(*ENTRY).status == "planned"
    answer = it.apply(*ENTRY)
    assert (answer.status, answer.process["attempts"]) == ("applied", 1), answer
    assert it.program.ask("leave") == "left 1"
    it.program.ask("enter")
    assert it.program.ask("leave") == "left 2"


def test_a_call_under_way_finishes_in_the_new_code_and_keeps_it_in_memory(cpu, it):
    assert it.apply(*ENTRY).status == "applied"
    block(it, cpu)
    answer = it.revert(*ENTRY)
    assert answer.status == "reverted", answer
    assert "kept" in answer.process["message"]
    (listed,) = livepatch("list", "--pid", it.pid).process["patches"]
    assert listed["state"] == "retired"
    assert it.program.ask("leave") == "left 2"
    it.program.ask("enter")
    assert it.program.ask("leave") == "left 1"
    assert livepatch("recover", "--pid", it.pid).status == "recovered"
    traces.assert_collected(it.pid)


def test_nobody_may_be_in_any_version_when_a_strict_patch_follows(cpu, it, variant):
    block(it, cpu)
    assert it.apply(*ENTRY).status == "applied"
    second = variant(it, "second")
    with traces.untouched(it.pid):
        answer = livepatch("apply", "--pid", it.pid, second, "--patience", "0.1", "--attempts", "2")
    assert (answer.status, answer.reason) == ("busy", "function_on_stack"), answer
    assert livepatch("apply", "--pid", it.pid, second, *ENTRY).status == "applied"
    assert it.program.ask("leave") == "left 1"
    assert livepatch("revert", "--pid", it.pid, second, it.artifact).code == 0
    traces.assert_collected(it.pid)


def test_one_that_is_covered_leaves_without_a_write(cpu, it, variant):
    block(it, cpu)
    second = variant(it, "second", plus=3)
    assert livepatch("apply", "--pid", it.pid, it.artifact, second, *ENTRY).code == 0
    answer = it.revert(*ENTRY)
    assert answer.status == "reverted", answer
    assert it.program.ask("leave") == "left 1"
    assert [each["name"] for each in livepatch("list", "--pid", it.pid).process["patches"]] == ["second"]
