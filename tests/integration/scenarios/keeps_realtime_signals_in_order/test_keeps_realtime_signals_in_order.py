# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queued signals, to the process and to threads, handled, blocked and waited for: each value comes once, in order."""

from __future__ import annotations

import os
import signal

import pytest

from tests.harness import traces

TIMES = 4


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
def test_every_value_comes_once_and_in_order(cpu, patient, stopped):
    it = patient("queue.c", "work.c")
    for act, status, result in ((it.apply, "applied", "new"), (it.revert, "reverted", "old")) * TIMES:
        while True:
            if stopped:
                os.kill(it.pid, signal.SIGSTOP)
                os.waitid(os.P_PID, it.pid, os.WSTOPPED)
            answer = act(*("--patience", "0") if stopped else ())
            if stopped:
                traces.wait_until_stopped(it.pid)
                os.kill(it.pid, signal.SIGCONT)
                os.waitid(os.P_PID, it.pid, os.WCONTINUED)
            if not stopped or answer.reason != "function_on_stack":
                break
        assert answer.status == status, answer
        assert it.program.ask("go") == result
    assert it.program.ask("end") == "missing 0 wrong 0 "
    traces.assert_released(it.pid)
