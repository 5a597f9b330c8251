# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several patches, on one function or on different ones, live together and leave in any order."""

from __future__ import annotations

import itertools

import pytest

from tests.harness import traces
from tests.harness.product import livepatch

HIGHEST = 10  # patches on one function


@pytest.fixture
def stack(patient, variant):
    """``stack(n) -> (patient, artifacts)``: a program, and n patches of `work`; the n-th makes it 3x + n + 1."""

    def ready(number, linkage="pie"):
        it = patient("worker.c", "work.c", 2, linkage=linkage)
        return it, [variant(it, f"fix-{n}", plus=n + 1) for n in range(1, number + 1)]

    return ready


def names(pid):
    return [patch["name"] for patch in livepatch("list", "--pid", pid).process["patches"]]


ORDERS = [("pie", order) for order in itertools.permutations(range(3))]


@pytest.mark.parametrize(("linkage", "order"), [*ORDERS, ("library", (1, 0, 2)), ("static", (1, 2, 0))])
def test_the_highest_runs_whichever_leaves_first(cpu, stack, linkage, order):
    it, patches = stack(3, linkage)
    answer = livepatch("apply", "--pid", it.pid, *patches)
    assert [each["status"] for each in answer.processes] == ["applied"] * 3, answer
    assert it.program.ask("work 10") == "34"
    assert names(it.pid) == ["fix-1", "fix-2", "fix-3"]
    left = {0, 1, 2}
    for number in order:
        answer = livepatch("revert", "--pid", it.pid, patches[number])
        assert answer.status == "reverted", answer
        left.remove(number)
        assert it.program.ask("work 10") == str(30 + max(left, default=-1) + 2)
    traces.assert_collected(it.pid)


def test_ten_patches_of_one_function(cpu, stack):
    it, patches = stack(HIGHEST)
    answer = livepatch("apply", "--pid", it.pid, *patches)
    assert [each["status"] for each in answer.processes] == ["applied"] * HIGHEST, answer
    assert it.program.ask("work 10") == str(30 + HIGHEST + 1)
    answer = livepatch("apply", "--pid", it.pid, *patches)
    assert {each["status"] for each in answer.processes} == {"already"}, answer
    answer = livepatch("revert", "--pid", it.pid, *patches[1:])
    assert {each["status"] for each in answer.processes} == {"reverted"}, answer
    assert it.program.ask("work 10") == "32"
    assert livepatch("revert", "--pid", it.pid, patches[0]).status == "reverted"
    assert it.program.ask("work 10") == "31"
    traces.assert_collected(it.pid)


@pytest.fixture
def two(cpu, patient, variant):
    """A program, the patch of `work`, and a patch of `rest` from the same unit."""
    it = patient()
    return it, variant(it, "other", fixed="FIXED_REST")


@pytest.mark.parametrize("first_out", ["the first", "the second"])
def test_patches_of_different_functions_are_reverted_alone(two, first_out):
    it, other = two
    assert it.apply().status == "applied"
    assert livepatch("apply", "--pid", it.pid, other).status == "applied"
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("32", "6")
    assert names(it.pid) == ["fix", "other"]

    gone, left = (it.artifact, other) if first_out == "the first" else (other, it.artifact)
    assert livepatch("revert", "--pid", it.pid, gone).status == "reverted"
    wanted = ("31", "6") if gone == it.artifact else ("32", "7")
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == wanted
    assert livepatch("revert", "--pid", it.pid, left).status == "reverted"
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("31", "7")
    traces.assert_collected(it.pid)


def test_both_go_in_and_out_with_one_job(two):
    it, other = two
    answer = livepatch("apply", "--pid", it.pid, it.artifact, other, it.artifact)
    assert [each["status"] for each in answer.processes] == ["applied", "applied"], answer
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("32", "6")
    answer = livepatch("revert", "--pid", it.pid, it.artifact, other, "other")
    assert [each["status"] for each in answer.processes] == ["reverted", "reverted"], answer
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("31", "7")
    traces.assert_collected(it.pid)


def test_one_that_another_requires_stays_and_both_leave_together(cpu, patient, variant):
    it = patient()
    above = variant(it, "above", plus=7, requires=["fix"])
    refused = livepatch("apply", "--pid", it.pid, above)
    assert (refused.code, refused.reason) == (3, "requires"), refused
    assert it.apply().status == "applied"
    assert livepatch("apply", "--pid", it.pid, above).status == "applied"
    with traces.untouched(it.pid):
        answer = it.revert()
    assert (answer.code, answer.reason) == (3, "needed_by"), answer
    assert it.program.ask("work 10") == "37"
    answer = livepatch("revert", "--pid", it.pid, it.artifact, above)
    assert [each["status"] for each in answer.processes] == ["reverted", "reverted"], answer
    assert it.program.ask("work 10") == "31"
    traces.assert_collected(it.pid)


def test_what_conflicts_is_refused_whoever_came_first(cpu, patient, variant):
    it = patient()
    enemy = variant(it, "enemy", plus=7, conflicts=["fix"])
    for first, second in ((it.artifact, enemy), (enemy, it.artifact)):
        assert livepatch("apply", "--pid", it.pid, first).status == "applied"
        with traces.untouched(it.pid):
            answer = livepatch("apply", "--pid", it.pid, second)
        assert (answer.code, answer.reason) == (3, "conflicts"), answer
        assert livepatch("revert", "--pid", it.pid, first).status == "reverted"
    traces.assert_collected(it.pid)
