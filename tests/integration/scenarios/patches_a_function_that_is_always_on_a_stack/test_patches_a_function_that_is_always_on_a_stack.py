# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that are inside of the replaced functions for more than 99.9 % of the time: they are waited for."""

from __future__ import annotations

import pytest

from tests.harness import traces

# Its threads take all processors: beside another test that does, a stop may come too late each time.
pytestmark = pytest.mark.alone

PLAIN = ("--attempts", "3")  # so many are made before anybody is waited for


def which(it):
    """What calls return now: {"old"}, {"new"} or both."""
    words = it.program.ask("beat").split()
    said = dict(zip(words[::2], map(int, words[1:6:2])))
    assert not said["wrong"], words
    return {word for word in ("old", "new") if said[word]}


def collected(it):
    """Nothing of ours is left; memory that could not be searched in time is collected by a later command."""
    assert not [line for line in traces.our_mappings(it.pid) if "livepatch-wait" in line]
    for _ in range(3):
        if traces.our_mappings(it.pid):
            it.recover()
    traces.assert_clean(it.pid)


@pytest.mark.parametrize(
    ("threads", "how", "micros"), [(1, "spin", 20_000), (4, "spin", 4_000), (16, "sleep", 10_000), (3, "block", 1_000)]
)
def test_applied_and_reverted(patient, threads, how, micros):
    it = patient("callers.c", "slow.c", threads, how, micros)
    assert which(it) == {"old"}
    with traces.untouched(it.pid):
        assert it.apply(*PLAIN).reason == "function_on_stack"
    applied = it.apply()
    assert applied.status == "applied", applied
    traces.assert_released(it.pid)
    assert which(it) == {"new"}
    assert it.revert(*PLAIN).reason == "function_on_stack"
    reverted = it.revert()
    assert reverted.status == "reverted", reverted
    assert which(it) == {"old"}
    collected(it)


def test_calls_out_of_step_that_take_longer_than_a_thread_may_wait(patient):
    it = patient("callers.c", "slow.c", 3, "sleep", 90_000)
    applied = it.apply("--patience", "25")
    assert applied.status == "applied", applied.process
    assert which(it) == {"new"}


def test_a_frame_that_longjmp_abandons_is_no_obstacle(patient):
    it = patient("callers.c", "slow.c", 3, "jump", 3_000)
    applied = it.apply()
    assert applied.status == "applied", applied.process
    assert which(it) == {"new"}
    reverted = it.revert()
    assert reverted.status == "reverted", reverted.process
    assert which(it) == {"old"}
    collected(it)


def test_children_that_are_forked_inside_return_through_the_room_that_they_inherit(patient):
    it = patient("callers.c", "slow.c", 3, "fork", 5_000)
    for act, status, code in ((it.apply, "applied", "new"), (it.revert, "reverted", "old")):
        answer = act()
        assert answer.status == status, answer.process
        assert which(it) == {code}
    collected(it)


def test_threads_under_a_filter_that_allows_it_are_waited_for(cpu, patient):
    it = patient("callers.c", "slow.c", 3, "sleep", 5_000, cpu.syscall_number("reboot"))
    assert it.apply().status == "applied"
    assert which(it) == {"new"}
    assert it.revert().status == "reverted"
    assert which(it) == {"old"}
    collected(it)


@pytest.mark.parametrize("call", ["futex", "restart_syscall"])
def test_threads_under_a_filter_that_kills_for_it_are_not(cpu, patient, call):
    it = patient("callers.c", "slow.c", 3, "spin", 20_000, cpu.syscall_number(call))
    it.program.ask("stuck")  # so that plain attempts never succeed
    answer = it.apply("--patience", "2")
    assert (answer.status, answer.reason) == ("busy", "function_on_stack"), answer
    assert "seccomp filter" in answer.process["message"], answer
    assert which(it) == {"old"}
    traces.assert_clean(it.pid)
