# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL to the injector at its N-th system call from its first PTRACE_SEIZE on, for every N there is."""

from __future__ import annotations

import dataclasses

import pytest

from tests.harness import product
from tests.killing import gallery, stacking
from tests.killing.judge import OLD, Range

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("act", ["apply", "revert"])
def test_a_killed_act_leaves_old_or_new_or_says_interrupted(target, act):
    assert gallery.shoot_through(target, act, every=True)


def test_a_killed_recovery_is_recovered(target):
    for act, wound in gallery.interruptions(target):
        assert gallery.shoot_through_recovery(target, act, wound, every=True)
    assert target.state() == OLD


@pytest.mark.parametrize("act", ["apply", "revert"])
def test_a_killed_act_that_has_threads_wait(object_pair, start, build_patch, act):
    pair = object_pair("callers.c", "slow.c")
    target = Range(start(pair.program, 3, "one", 5000), build_patch(pair, name="slow"))
    assert gallery.shoot_through(target, act, every=True)


@pytest.mark.parametrize("act", stacking.ACTS)
def test_a_killed_act_on_a_stack_of_patches_leaves_one_side_or_the_other(object_pair, start, tmp_path, act):
    pair = object_pair("killtarget.c", "pairwise.c", support=("registers.S",))
    again = dataclasses.replace(pair, new=pair.variant("-DFIXED_AGAIN"))
    first = product.build(pair, tmp_path / "first.lp.o", "first", "1")
    second = product.build(again, tmp_path / "second.lp.o", "second", "1", supersedes=["first"])
    shelf = stacking.Shelf(Range(start(pair.program, yielding=True), first), second)
    assert shelf.shoot_through(act)["interrupted"]
