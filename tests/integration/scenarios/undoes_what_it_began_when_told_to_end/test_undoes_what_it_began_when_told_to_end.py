# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGTERM, SIGINT or SIGHUP to the injector in the middle: it finishes the step, undoes what it began, and leaves."""

from __future__ import annotations

import os
import signal

import pytest

from tests.harness import traces
from tests.killing import injector
from tests.killing.judge import NEW, OLD
from tests.killing.stopped import go_on, stop

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STEP = 8


@pytest.mark.parametrize("act", ["apply", "revert"])
def test_the_process_is_as_before_or_as_asked_for(target, act):
    done, result, before, back = (
        ("applied", NEW, OLD, "revert") if act == "apply" else ("reverted", OLD, NEW, "apply")
    )
    seen = set()
    assert target.bring(back) == before
    for turn, number in enumerate(range(1, 500, STEP)):
        stopped = turn % 3 == 2
        if stopped:
            stop(target.pid)
        to_us = SIGNALS[turn % len(SIGNALS)]
        run = injector.run(
            target.arguments(act), injector.Shot(number, deed=lambda pid, to_us=to_us: os.kill(pid, to_us))
        )
        if stopped:
            traces.wait_until_stopped(target.pid)
            go_on(target.pid)
        if not run.hit:
            break
        (process,) = run.report["processes"]
        status, reason = process["status"], process["reason"]
        what = f"{to_us.name} before call {number} of {act}: {status}, {reason}, {process['message']}"
        assert (status, reason) in ((done, None), ("rolled_back", "cancelled")), what
        assert (run.code == 0) is (status == done), what
        assert target.state() == (result if status == done else before), what
        seen.add(status)
        target.bring(back)
    assert seen == {done, "rolled_back"}
    target.bring("revert")
    traces.assert_clean(target.pid)
