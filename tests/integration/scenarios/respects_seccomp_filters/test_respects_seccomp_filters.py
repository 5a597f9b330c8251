# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filter that kills at mmap would kill at the first remote call: it is read, and the patch refused."""

from __future__ import annotations

import pytest

from tests.harness import traces


@pytest.mark.parametrize("call", ["mmap", "memfd_create", "rt_sigreturn"])
def test_a_filter_that_kills_at_a_call_we_need_is_a_refusal(cpu, patient, call):
    if call == "mmap" and cpu.name == "i386":
        call = "mmap2"
    it = patient("filtered.c", "work.c", cpu.syscall_number(call))
    with traces.untouched(it.pid):
        answer = it.apply()
    assert (answer.code, answer.status, answer.reason) == (3, "refused", "seccomp"), answer
    assert call in answer.process["message"]
    assert it.program.ask("work 10") == "31"


def test_a_filter_that_allows_what_we_need_is_no_obstacle(cpu, patient):
    it = patient("filtered.c", "work.c", cpu.syscall_number("reboot"))
    assert it.apply().status == "applied"
    assert it.program.ask("work 10") == "32"
    assert it.revert().status == "reverted"
    traces.assert_clean(it.pid)


def test_a_dry_run_says_that_filters_are_evaluated_at_apply(cpu, patient):
    it = patient("filtered.c", "work.c", cpu.syscall_number("reboot"))
    answer = it.check()
    assert answer.status == "planned", answer
    assert "seccomp" in answer.process["unproven"]
