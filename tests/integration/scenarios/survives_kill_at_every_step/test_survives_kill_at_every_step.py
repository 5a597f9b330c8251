# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL to the injector before and after each call that changes the process (every call: tests/soak)."""

from __future__ import annotations

import dataclasses

import pytest

from tests.harness import product
from tests.killing import gallery, stacking
from tests.killing.judge import OLD, Range


@pytest.mark.parametrize("act", ["apply", "revert"])
def test_a_killed_act_leaves_old_or_new_or_says_interrupted(target, act):
    found = gallery.shoot_through(target, act)
    assert set(found) == {"old", "new", "interrupted"}, found


def test_a_killed_recovery_is_recovered(target):
    for act, wound in gallery.interruptions(target):
        assert gallery.shoot_through_recovery(target, act, wound)
    assert target.state() == OLD


@pytest.fixture
def shelf(object_pair, start, tmp_path) -> stacking.Shelf:
    """The same target, its patch, and another one of the same functions that supersedes it."""
    pair = object_pair("killtarget.c", "pairwise.c", support=("registers.S",))
    again = dataclasses.replace(pair, new=pair.variant("-DFIXED_AGAIN"))
    first = product.build(pair, tmp_path / "first.lp.o", "first", "1")
    second = product.build(again, tmp_path / "second.lp.o", "second", "1", supersedes=["first"])
    return stacking.Shelf(Range(start(pair.program, yielding=True), first), second)


@pytest.mark.parametrize("act", stacking.ACTS)
def test_a_killed_act_on_a_stack_of_patches_leaves_one_side_or_the_other(shelf, act):
    found = shelf.shoot_through(act, step=17)  # all of them: tests/soak
    assert found["interrupted"] and found["before"], found
