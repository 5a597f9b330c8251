# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A storm of standard signals while it is patched and put back: each is handled once, and nothing else goes wrong."""

from __future__ import annotations

from tests.harness import traces
from tests.killing import injector

TIMES = 20


def test_it_is_patched_and_put_back_in_a_storm_of_signals(cpu, patient):
    it = patient("storm.c", "work.c")
    for turn in range(TIMES):
        for act, status in (("apply", "applied"), ("revert", "reverted")):
            files = [it.artifact, "--pid", it.pid]
            run = injector.run(
                [act, "--json", *files]
            )  # in a fork of this process: forty starts of Python less
            assert [each["status"] for each in run.report["processes"]] == [status], run.report
            if turn in (0, TIMES - 1):
                assert it.program.ask("go") == ("new" if act == "apply" else "old")
    assert it.program.ask("wrong") == "0 "
    traces.assert_released(it.pid)
