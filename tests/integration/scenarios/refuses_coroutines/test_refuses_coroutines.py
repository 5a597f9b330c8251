# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Suspended coroutines and goroutines stand on no thread's stack: refused, and alive under load afterwards."""

from __future__ import annotations

import pytest

from livepatch.cpu import X86_64
from tests.harness import toolchain, traces
from tests.harness.product import livepatch
from tests.integration.scenarios.refuses_coroutines import for_go


@pytest.mark.parametrize("kind", ["swapcontext", "by_hand"])
def test_small_stacks_with_canaries(cpu, patient, kind):
    """512 coroutines with stacks of 2.5 KB; `by_hand` switches with its own assembly, and one of them is on."""
    it = patient(f"{kind}.c", "work.c")
    assert it.program.ask("load") == "512 coroutines, 0 canaries lost"
    with traces.untouched(it.pid):
        answer = it.apply()
    assert (answer.code, answer.status, answer.reason) == (3, "refused", "coroutines_unsupported"), answer
    assert it.program.ask("load") == "512 coroutines, 0 canaries lost"


def test_a_static_go_server_with_two_thousand_goroutines(request, start, tmp_path):
    """64-bit only: Go's i386 port needs no trial of its own, it is refused by the same look at the file."""
    server = toolchain.go(request.path.parent / "server.go", "server")
    artifact = for_go.artifact(server, "main.answer", tmp_path, X86_64)
    program = start(server)
    assert program.ask("load", seconds=60) == "2000 goroutines, 0 wrong"
    with traces.untouched(program.pid):
        answer = livepatch("apply", "--pid", program.pid, artifact)
    assert (answer.code, answer.status, answer.reason) == (3, "refused", "coroutines_unsupported"), answer
    for _ in range(5):
        assert program.ask("load", seconds=60) == "2000 goroutines, 0 wrong"
