# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""512 coroutines on stacks of 2.5 KB, a canary below each: nobody writes there but they."""

from __future__ import annotations

from tests.harness import traces

RIGHT, FIXED = "512 coroutines, 0 canaries lost", "0 coroutines, 0 canaries lost"  # what does as before is counted


def test_a_process_with_small_stacks_is_patched_and_put_back(cpu, patient):
    it = patient("swapcontext.c", "work.c")
    assert it.program.ask("load") == RIGHT
    assert "function_on_coroutine" in it.check().process["unproven"]
    answer = it.apply()
    assert answer.status == "applied", answer
    assert it.program.ask("load") == FIXED
    answer = it.revert()
    assert answer.status == "reverted", answer
    assert it.program.ask("load") == RIGHT
    traces.assert_collected(it.pid)


def test_the_only_thread_makes_no_call_from_a_coroutines_stack(cpu, patient):
    """It switches with its own assembly, and is on one of them when it waits."""
    it = patient("by_hand.c", "work.c")
    assert it.program.ask("load") == RIGHT
    with traces.untouched(it.pid):
        answer = it.apply()
    assert (answer.code, answer.status, answer.reason) == (3, "refused", "no_stack_room"), answer
    assert it.program.ask("load") == RIGHT
