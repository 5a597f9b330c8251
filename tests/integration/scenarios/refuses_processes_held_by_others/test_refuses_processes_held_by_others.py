# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that a debugger holds is refused by name and left exactly so."""

from __future__ import annotations

import subprocess

import pytest

from tests.harness import traces


@pytest.fixture
def gdb():
    """``gdb(pid)``: a debugger that holds the process, ended with the test."""
    started = []

    def attach(pid: int) -> subprocess.Popen:
        # gdb prints the line when it has attached; it then waits for commands that never come.
        debugger = subprocess.Popen(
            ["gdb", "-q", "-nx", "-p", str(pid), "-ex", "echo holding\\n"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(debugger)
        for line in debugger.stdout:
            if "holding" in line:
                return debugger
        raise AssertionError("gdb did not attach")

    yield attach
    for debugger in started:
        debugger.stdin.close()  # the end of its input: it detaches and leaves
        debugger.stdout.read()
        debugger.wait(30)
        debugger.stdout.close()


def test_a_debugged_process_is_refused_with_the_debuggers_name(cpu, patient, gdb):
    it = patient("worker.c", "work.c", 2)
    debugger = gdb(it.pid)
    with traces.untouched(it.pid):
        answer = it.apply()
    assert (answer.code, answer.status, answer.reason) == (3, "refused", "being_traced"), answer
    assert str(debugger.pid) in answer.process["message"]
    assert "gdb" in answer.process["message"]
