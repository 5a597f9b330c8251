# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting ends with ``patience``: the report names thread and function, and nothing is left in the process."""

from __future__ import annotations

import time

from tests.harness import traces
from tests.killing.stopped import go_on, stop

PATIENCE = 2.0
STARTS = 15.0  # far more than the injector needs beside its patience, on a machine with other work


def test_busy_names_who_is_where_and_no_trace_is_left(cpu, patient):
    it = patient("callers.c", "slow.c", 3, "sleep", 5_000)
    inside = int(it.program.ask("stuck").split()[1])
    traces.wait_for_call(it.pid, inside, cpu.syscall_number("read"))
    begin = time.monotonic()
    with traces.untouched(it.pid):
        answer = it.apply("--patience", PATIENCE, "--attempts", "1000")
    assert PATIENCE / 2 < time.monotonic() - begin < PATIENCE + STARTS
    assert (answer.code, answer.status, answer.reason) == (4, "busy", "function_on_stack"), answer
    message = answer.process["message"]
    assert "slow_" in message and "waiting for it to be left" in message, answer
    traces.assert_clean(it.pid)
    assert "new 0 wrong 0 " in it.program.ask("beat")
    assert it.program.ask("free") == "freed 1"
    assert it.apply().status == "applied"
    assert "old 0 " in it.program.ask("beat")


def test_a_process_that_is_stopped_inside_stays_stopped(patient):
    it = patient("callers.c", "slow.c", 3, "spin", 20_000)
    stop(it.pid)
    answer = it.apply("--patience", PATIENCE)
    assert (answer.code, answer.status, answer.reason) == (4, "busy", "function_on_stack"), answer
    traces.wait_until_stopped(it.pid)
    assert traces.our_mappings(it.pid) == []
    go_on(it.pid)
    assert "new 0 wrong 0 " in it.program.ask("beat")
    assert it.apply().status == "applied"
    traces.assert_released(it.pid)
    assert "old 0 " in it.program.ask("beat")
