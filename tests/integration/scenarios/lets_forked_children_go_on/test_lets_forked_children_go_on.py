# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A child that was forked after a patch has the patch, as its own: it works on, and is reverted by itself."""

from __future__ import annotations

import pytest

from tests.harness import traces
from tests.harness.product import livepatch


@pytest.fixture
def family(cpu, patient):
    """A patched parent, and the pid of its child, which answers from now on."""
    it = patient()
    assert it.apply().status == "applied"
    return it, int(it.program.ask("child").split()[1])


def test_the_child_is_reverted_and_the_parent_stays_patched(family):
    it, child = family
    assert it.program.ask("work 10") == "32"
    answer = livepatch("revert", "--pid", child, it.artifact)
    assert answer.status == "reverted", answer
    assert it.program.ask("work 10") == "31"
    traces.assert_clean(child)
    assert livepatch("list", "--pid", it.pid).process["patches"][0]["state"] == "applied"
    assert len(traces.our_mappings(it.pid)) > 0


def test_the_parent_is_reverted_and_the_child_stays_patched(family):
    it, child = family
    answer = it.revert()
    assert answer.status == "reverted", answer
    traces.assert_clean(it.pid)
    assert it.program.ask("work 10") == "32"
    assert livepatch("list", "--pid", child).process["patches"][0]["state"] == "applied"
