# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads in signal handlers on alternate stacks: what was interrupted is found, and nothing is written there."""

from __future__ import annotations

import os

import pytest

from tests.harness import traces
from tests.killing.stopped import go_on, stop

HURRY = ("--patience", "0.3", "--attempts", "3")
WHERE = ("bss", "mapped", "local")


@pytest.mark.parametrize("how", ["blocks", "runs"])
@pytest.mark.parametrize("where", WHERE)
def test_a_function_beneath_the_handler_is_found(cpu, patient, where, how):
    it = patient("alternates.c", "waiting.c", where)
    for act, status, result in ((it.apply, "applied", 1), (it.revert, "reverted", 2)):
        inside = int(it.program.ask(f"enter inside {how}").split()[1])
        answer = act("--coroutines", "ignore", *HURRY)  # these would be found in memory, too
        assert (answer.status, answer.reason) == ("busy", "function_on_stack"), answer
        assert str(inside) in answer.process["message"]
        assert it.program.ask("out") == "0"
        assert it.program.ask("leave") == f"left {result}"
        answer = act()
        assert answer.status == status, answer
    traces.assert_released(it.pid)


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
@pytest.mark.parametrize("how", ["blocks", "runs"])
@pytest.mark.parametrize("where", WHERE)
def test_it_is_patched_and_put_back_while_a_handler_is_at_work(cpu, patient, where, how, stopped):
    it = patient("alternates.c", "waiting.c", where)
    for act, status, result in ((it.apply, "applied", 2), (it.revert, "reverted", 1)):
        it.program.ask(f"enter outside {how}")
        if stopped:
            stop(it.pid)
        answer = act()
        assert answer.status == status, answer
        if stopped:
            traces.wait_until_stopped(it.pid)
            go_on(it.pid)
        assert it.program.ask("out") == "0"
        assert it.program.ask("leave") == f"left {result}"
    traces.assert_released(it.pid)


@pytest.mark.parametrize("where", ["bss", "local"])
def test_no_call_is_made_on_an_alternate_stack(cpu, patient, where):
    it = patient("alternates.c", "waiting.c", where, "alone")
    while len(os.listdir(f"/proc/{it.pid}/task")) > 1:  # the one that sent the signal
        os.sched_yield()
    with traces.untouched(it.pid):
        answer = it.apply()
    assert (answer.status, answer.reason) == ("refused", "no_stack_room"), answer
    it.program.may_exit = True
    assert it.program.ask("go on") == "changed 0"
