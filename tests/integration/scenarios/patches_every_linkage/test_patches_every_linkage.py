# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Non-PIE, PIE, static, static-PIE executables and shared libraries are patched, and put back."""

from __future__ import annotations

import pytest

from tests.harness import traces
from tests.harness.toolchain import LINKAGES


@pytest.mark.parametrize("linkage", LINKAGES)
def test_a_function_is_replaced_and_put_back(cpu, patient, linkage):
    program = (it := patient("worker.c", "work.c", 2, linkage=linkage)).program
    assert program.ask("work 10") == "31"

    applied = it.apply()
    assert (applied.code, applied.status) == (0, "applied"), applied
    assert applied.report["changed"] is True
    assert applied.process["functions"] == ["work"]
    assert program.ask("work 10") == "32"
    old, new, wrong = map(int, program.ask("go").split()[1::2])
    assert (old, wrong) == (0, 0)
    assert new >= 2000
    assert traces.writable_and_executable(it.pid) == []
    traces.assert_released(it.pid)

    reverted = it.revert()
    assert (reverted.code, reverted.status) == (0, "reverted"), reverted
    assert program.ask("work 10") == "31"
    traces.assert_clean(it.pid)


def test_static_variables_keep_their_values(cpu, patient):
    it = patient()
    for _ in range(5):
        it.program.ask("work 1")
    assert it.apply().status == "applied"
    it.program.ask("work 1")
    assert it.program.ask("times") == "6"
    assert it.revert().status == "reverted"
    it.program.ask("work 1")
    assert it.program.ask("times") == "7"


def test_a_dry_run_changes_nothing_and_says_what_it_would_do(cpu, patient):
    it = patient("worker.c", "work.c", 2)
    with traces.untouched(it.pid):
        dry = it.check()
    assert (dry.code, dry.status) == (0, "planned"), dry
    assert dry.report["changed"] is True
    assert "busy" in dry.process["unproven"]
