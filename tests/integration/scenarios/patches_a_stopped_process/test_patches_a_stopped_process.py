# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that a signal has stopped is patched stopped and stays stopped; at SIGCONT it goes on where it was."""

from __future__ import annotations

import pytest

from tests.harness import traces
from tests.killing import injector
from tests.killing.judge import Range
from tests.killing.stopped import disturb, go_on, news, shoot_through, stop

THREADS = 3


@pytest.fixture
def it(cpu, patient):
    """A program with threads that call the function all the time."""
    return patient("worker.c", "work.c", THREADS)


def test_it_is_patched_and_put_back_stopped(cpu, it):
    for act, status, results in (("apply", "applied", "new"), ("revert", "reverted", "old")):
        stop(it.pid)
        if act == "apply":
            with traces.untouched(it.pid):
                assert it.check().status == "planned"
        answer = getattr(it, act)()
        assert (answer.code, answer.status) == (0, status), answer
        traces.wait_until_stopped(it.pid)
        assert traces.tracers(it.pid) == set()
        assert bool(traces.our_mappings(it.pid)) is (act == "apply")
        assert news(it.pid) is None
        go_on(it.pid)
        counts = it.program.ask("go").split()
        assert [word for word, count in zip(counts[::2], counts[1::2]) if int(count) > 100] == [results], (
            counts
        )
    traces.assert_clean(it.pid)


# ---- signals in the middle ----


@pytest.fixture
def target(object_pair, start, build_patch) -> Range:
    """Threads in several calls, whose registers, results and calls are checked all the time."""
    pair = object_pair("killtarget.c", "pairwise.c", support=("registers.S",))
    return Range(start(pair.program), build_patch(pair, name="pairwise"))


@pytest.mark.parametrize("before", ["running", "stopped"])
@pytest.mark.parametrize("act", ["apply", "revert"])
def test_signals_may_stop_and_continue_it_at_any_moment(target, act, before):
    """Every moment: tests/soak."""
    assert disturb(target, act, range(5, 500, 17), before == "stopped") >= 2


@pytest.mark.parametrize("act", ["apply", "revert"])
def test_a_killed_act_leaves_it_stopped_and_makes_no_call_later(target, act):
    """Every moment: tests/soak."""
    shots = (injector.Shot(number, after=number % 3 == 0) for number in range(3, 500, 7))
    assert shoot_through(target, act, shots) >= 5
