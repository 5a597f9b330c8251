# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that start and end all the time, signals that arrive all the time: none lost, none hurt."""

from __future__ import annotations

import pytest

from tests.harness import traces


@pytest.mark.parametrize("churn", ["threads", "signals"])
def test_it_is_patched_and_put_back_meanwhile(cpu, patient, churn):
    it = patient("churn.c", "work.c", churn)
    for _ in range(3):
        answer = it.apply()
        assert answer.status == "applied", answer
        assert it.program.ask("go") == "new"
        answer = it.revert()
        assert answer.status == "reverted", answer
        assert it.program.ask("go") == "old"
    traces.assert_clean(it.pid)
    assert it.program.ask("lost") == "0"
