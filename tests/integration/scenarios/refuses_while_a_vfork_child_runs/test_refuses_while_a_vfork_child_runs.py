# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vfork child runs in its parent's memory, and its parent sleeps too deep for a stop: look, and let be."""

from __future__ import annotations

import time

import pytest

from tests.harness import traces

LONGEST = 3.0  # seconds: the refusal comes from looking, not from a stop that runs into its deadline


@pytest.mark.alone
def test_the_parent_is_refused_at_once_and_patched_when_the_child_is_gone(cpu, patient):
    it = patient("vforks.c", "work.c")
    it.program.ask("vfork")
    with traces.untouched(it.pid):
        before = time.monotonic()
        answer = it.apply("--patience", "0.3")
        taken = time.monotonic() - before
    assert (answer.code, answer.status) == (3, "refused"), answer
    assert answer.reason in ("vfork", "shares_memory"), answer
    assert taken < LONGEST
    assert it.program.ask("end") == "ended 0"
    assert it.program.ask("work 10") == "31"
    assert it.apply().status == "applied"
    assert it.program.ask("work 10") == "32"
