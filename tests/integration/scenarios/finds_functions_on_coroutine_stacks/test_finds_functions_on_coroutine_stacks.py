# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A coroutine that is suspended inside a function stands on no thread's stack, and is found all the same."""

from __future__ import annotations

import pytest

from tests.harness import traces

HURRY = ("--patience", "0.3", "--attempts", "3")
SEARCH = ("--coroutines", "search")
IGNORE = ("--coroutines", "ignore")
BY_HAND = ("-DBY_HAND",)
BUSY = (4, "busy", "function_on_coroutine")


def said(answer):
    return answer.code, answer.status, answer.reason


def held_up(act, *options):
    """What is in the way; on a busy host the last attempt may have met something else."""
    for _ in range(10):
        answer = act(*options, *HURRY)
        if answer.reason not in ("shares_memory", "stop_timeout", "threads_changing"):
            break
    assert said(answer) == BUSY, answer
    return answer


@pytest.mark.parametrize("where", ["static", "heap", "mapped"])
def test_ucontext_is_noticed_and_its_stacks_are_searched(cpu, patient, where):
    it = patient("coroutines.c", "pausing.c", where)
    assert it.program.ask("enter 7") == "inside"
    with traces.untouched(it.pid):
        answer = held_up(it.apply)
    assert "pausing" in answer.process["message"]
    assert it.program.ask("leave 7") == "left 22"
    answer = it.apply()
    assert answer.status == "applied", answer
    assert it.program.ask("enter 33") == "inside"
    held_up(it.revert)
    traces.assert_released(it.pid)
    assert it.program.ask("leave 33") == "left 101"
    answer = it.revert()
    assert answer.status == "reverted", answer
    traces.assert_collected(it.pid)
    for index in (7, 33):
        assert it.program.ask(f"enter {index}") == "inside"
        assert it.program.ask(f"leave {index}") == f"left {3 * index + 1}"


@pytest.mark.parametrize("linkage", ["non_pie", "static", "library"])
def test_in_every_linkage(cpu, patient, linkage):
    it = patient("coroutines.c", "pausing.c", linkage=linkage)
    it.program.ask("enter 99")
    held_up(it.apply)
    it.program.ask("leave 99")
    answer = it.apply()
    assert answer.status == "applied", answer


def test_a_switch_of_its_own_is_searched_for_where_that_is_asked_for(cpu, patient):
    """Nothing tells from outside that it has coroutines while its threads are on their own stacks."""
    it = patient("coroutines.c", "pausing.c", flags=BY_HAND)
    it.program.ask("enter 7")
    assert "function_on_coroutine" not in it.check().process["unproven"]
    assert "function_on_coroutine" in it.check(*SEARCH).process["unproven"]
    held_up(it.apply, *SEARCH)
    assert it.program.ask("leave 7") == "left 22"
    answer = it.apply(*SEARCH)
    assert answer.status == "applied", answer
    it.program.ask("enter 11")
    held_up(it.revert, *SEARCH)
    assert it.program.ask("leave 11") == "left 35"
    answer = it.revert(*SEARCH)
    assert answer.status == "reverted", answer


def test_who_knows_better_has_them_ignored(cpu, patient):
    it = patient("coroutines.c", "pausing.c")
    it.program.ask("enter 7")
    assert "function_on_coroutine" not in it.check(*IGNORE).process["unproven"]
    answer = it.apply(*IGNORE)
    assert answer.status == "applied", answer
    assert it.program.ask("leave 7") == "left 22"  # the call that was under way goes on in the old code
    it.program.ask("enter 7")
    assert it.program.ask("leave 7") == "left 23"


def test_too_much_memory_for_the_stop_is_refused_by_name(cpu, patient):
    it = patient("coroutines.c", "pausing.c", "heap", 80)
    for act in (it.check, it.apply):
        with traces.untouched(it.pid):
            answer = act()
        assert said(answer) == (3, "refused", "coroutines_unsupported"), answer
        assert "MiB" in answer.process["message"] and "stop_ms" in answer.process["message"]
    answer = it.apply("--stop-ms", "500")
    assert answer.status == "applied", answer
    answer = it.revert()
    assert said(answer) == (3, "refused", "coroutines_unsupported"), answer
    answer = it.revert(*IGNORE)
    assert answer.status == "reverted", answer


def test_what_an_ended_thread_has_left_on_its_stack_is_nobodys(cpu, patient):
    it = patient("ended.c", "pausing.c")
    assert it.program.ask("run") == "ran 22"
    answer = it.apply(*SEARCH)
    assert answer.status == "applied", answer
    assert it.program.ask("run") == "ran 23"
    answer = it.revert(*SEARCH)
    assert answer.status == "reverted", answer
    assert it.program.ask("run") == "ran 22"


def test_new_code_that_a_coroutine_finishes_in_is_not_freed_under_it(cpu, patient):
    """Nothing but the request to search tells that it has coroutines, and a later command does not make it."""
    it = patient("coroutines.c", "pausing.c", flags=BY_HAND)
    assert it.apply(*SEARCH).status == "applied"
    assert it.program.ask("enter 7") == "inside"
    answer = it.revert(*SEARCH, "--consistency", "entry")
    assert answer.status == "reverted", answer
    assert "kept" in answer.process["message"]
    assert it.recover().code == 0
    assert it.program.ask("leave 7") == "left 23"
    assert it.program.ask("enter 7") == "inside"
    assert it.program.ask("leave 7") == "left 22"
