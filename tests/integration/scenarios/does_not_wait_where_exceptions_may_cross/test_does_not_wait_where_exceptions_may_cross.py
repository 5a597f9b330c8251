# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A frame that must be cleaned up when an exception or pthread_exit(3) passes: nobody's return address is touched."""

from __future__ import annotations

from tests.harness import traces


def test_busy_says_why_and_every_frame_is_cleaned_up(patient):
    it = patient("callers.c", "slow.c", 3, "leave", 200_000, flags=("-fexceptions",))
    it.program.ask("stuck")  # so that plain attempts never succeed
    answer = it.apply("--patience", "3")
    assert (answer.code, answer.status, answer.reason) == (4, "busy", "function_on_stack"), answer
    assert "handles exceptions" in answer.process["message"], answer
    assert "wrong 0 " in it.program.ask("beat")
    traces.assert_clean(it.pid)
