# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL to the injector from the waiting room on: swaps, waits, commit, the end (every call: tests/soak)."""

from __future__ import annotations

import pytest

from tests.killing import gallery
from tests.killing.judge import Range

SHOTS = 8


@pytest.mark.parametrize("act", ["apply", "revert"])
def test_a_killed_act_leaves_old_or_new_or_says_interrupted(object_pair, start, build_patch, act):
    pair = object_pair("callers.c", "slow.c")
    target = Range(start(pair.program, 3, "one", 5000), build_patch(pair, name="slow"))
    found = gallery.shoot_at_some(target, act, SHOTS, since="livepatch-wait")
    assert found["interrupted"] > SHOTS // 2, found
