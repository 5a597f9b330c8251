# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first thread has called pthread_exit: /proc/PID shows a zombie with empty maps, and the process lives."""

from __future__ import annotations

from tests.harness import traces


def test_a_process_whose_leader_has_exited_is_patched(cpu, patient):
    it = patient("leaderless.c", "work.c")
    assert it.program.ask("work 10") == "31"
    assert traces.states(it.pid)[it.pid] == "Z"
    answer = it.apply()
    assert answer.status == "applied", answer
    assert it.program.ask("work 10") == "32"
    answer = it.revert()
    assert answer.status == "reverted", answer
    assert it.program.ask("work 10") == "31"
    assert traces.our_mappings(it.pid) == []
