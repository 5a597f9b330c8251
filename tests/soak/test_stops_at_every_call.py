# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGSTOP and SIGCONT to the target, and SIGKILL to the injector of a stopped one, at every call that there is."""

from __future__ import annotations

import itertools

import pytest

from tests.killing import gallery, stopped

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("before", ["running", "stopped"])
@pytest.mark.parametrize("act", ["apply", "revert"])
def test_signals_may_stop_and_continue_it_at_any_moment(target, act, before):
    assert stopped.disturb(target, act, itertools.count(1), before == "stopped") > 20


@pytest.mark.parametrize("act", ["apply", "revert"])
def test_a_killed_act_leaves_it_stopped_and_makes_no_call_later(target, act):
    assert stopped.shoot_through(target, act, gallery.shots(every=False)) > 40
    assert stopped.shoot_through(target, act, gallery.shots(every=True)) > 100
