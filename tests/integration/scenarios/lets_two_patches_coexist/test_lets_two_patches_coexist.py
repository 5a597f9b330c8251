# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches on different functions live side by side and leave in any order; on the same function: refused."""

from __future__ import annotations

import dataclasses

import pytest

from tests.harness import toolchain, traces
from tests.harness.product import livepatch


@pytest.fixture
def two(cpu, patient, build_patch):
    """A program, the patch of `work`, and a patch of `rest` from the same unit."""
    it = patient()
    flags = (toolchain.BITS[cpu.name], "-fPIE", "-c", "-ffunction-sections", "-fdata-sections")
    other = toolchain.gcc("work.c", flags=(*flags, "-DFIXED_REST"))
    return it, build_patch(dataclasses.replace(it.pair, new=other), name="other")


@pytest.mark.parametrize("first_out", ["the first", "the second"])
def test_each_is_reverted_alone(two, first_out):
    it, other = two
    assert it.apply().status == "applied"
    assert livepatch("apply", "--pid", it.pid, other).status == "applied"
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("32", "6")
    listed = livepatch("list", "--pid", it.pid)
    assert [patch["name"] for patch in listed.process["patches"]] == ["fix", "other"]

    gone, left = (it.artifact, other) if first_out == "the first" else (other, it.artifact)
    assert livepatch("revert", "--pid", it.pid, gone).status == "reverted"
    wanted = ("31", "6") if gone == it.artifact else ("32", "7")
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == wanted
    assert livepatch("revert", "--pid", it.pid, left).status == "reverted"
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("31", "7")
    traces.assert_clean(it.pid)


def test_a_second_patch_of_the_same_function_is_refused(cpu, patient, build_patch):
    it = patient()
    assert it.apply().status == "applied"
    with traces.untouched(it.pid):
        answer = livepatch("apply", "--pid", it.pid, build_patch(it.pair, name="fix", version="2"))
    assert (answer.code, answer.status, answer.reason) == (3, "refused", "stacking"), answer
    assert it.program.ask("work 10") == "32"


def test_both_go_in_and_out_with_one_job(two):
    it, other = two
    answer = livepatch("apply", "--pid", it.pid, it.artifact, other, it.artifact)
    assert [each["status"] for each in answer.processes] == ["applied", "applied"], answer
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("32", "6")
    answer = livepatch("revert", "--pid", it.pid, it.artifact, other)
    assert [each["status"] for each in answer.processes] == ["reverted", "reverted"], answer
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("31", "7")
    traces.assert_clean(it.pid)


def test_two_patches_of_one_function_in_one_job_leave_it_alone(cpu, patient, build_patch):
    it = patient()
    again = build_patch(it.pair, name="another", version="2")
    with traces.untouched(it.pid):
        answer = livepatch("apply", "--pid", it.pid, it.artifact, again)
    assert (answer.code, {each["reason"] for each in answer.processes}) == (3, {"stacking", "held_back"}), answer
    assert it.program.ask("work 10") == "31"
