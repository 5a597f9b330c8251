# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads that are inside of the replaced functions for more than 99.9 % of the time: they are waited for."""

from __future__ import annotations

import re

import pytest

from tests.harness import traces

PLAIN = ("--attempts", "3")  # so many are made before anybody is waited for

_BEAT = re.compile(r"old (\d+) new (\d+) wrong (\d+)")


def which(it):
    """What calls return now: {"old"}, {"new"} or both."""
    old, new, wrong = map(int, _BEAT.match(it.program.ask("beat")).groups())
    assert not wrong
    return {word for word, count in (("old", old), ("new", new)) if count}


@pytest.mark.parametrize(
    ("threads", "how", "micros"),
    [(1, "spin", 20_000), (4, "spin", 4_000), (16, "spin", 1_500), (16, "sleep", 20_000), (3, "block", 1_000)],
)
def test_applied_and_reverted(patient, threads, how, micros):
    it = patient("callers.c", "slow.c", threads, how, micros)
    assert which(it) == {"old"}
    with traces.untouched(it.pid):
        assert it.apply(*PLAIN).reason == "function_on_stack"
    applied = it.apply()
    assert applied.status == "applied", applied
    traces.assert_released(it.pid)
    assert which(it) == {"new"}
    assert it.revert(*PLAIN).reason == "function_on_stack"
    reverted = it.revert()
    assert reverted.status == "reverted", reverted
    assert which(it) == {"old"}
    traces.assert_clean(it.pid)
