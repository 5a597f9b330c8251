# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acts are idempotent: a second apply is ``already``, a revert of what is not there is ``absent``."""

from __future__ import annotations

from tests.harness import traces


def test_a_second_apply_changes_nothing(cpu, patient):
    it = patient()
    assert it.apply().status == "applied"
    with traces.untouched(it.pid):
        again = it.apply()
    assert (again.code, again.status) == (0, "already"), again
    assert again.report["changed"] is False


def test_a_revert_of_what_is_not_there_changes_nothing(cpu, patient):
    it = patient()
    with traces.untouched(it.pid):
        answer = it.revert()
    assert (answer.code, answer.status) == (0, "absent"), answer
    assert answer.report["changed"] is False


def test_a_patch_comes_and_goes_many_times_without_a_trace(cpu, patient):
    it = patient("worker.c", "work.c", 2)
    before = traces.fingerprint(it.pid)
    for _ in range(5):
        assert it.apply().status == "applied"
        assert it.revert().status == "reverted"
    assert traces.fingerprint(it.pid) == before
    traces.assert_clean(it.pid)
