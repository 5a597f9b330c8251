# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A function of Go is not replaced: its runtime ends the process at code that it does not know."""

from __future__ import annotations

from livepatch.cpu import X86_64
from tests.harness import toolchain, traces
from tests.harness.product import livepatch
from tests.integration.scenarios.refuses_code_of_go import for_go


def test_a_static_go_server_with_two_thousand_goroutines(request, start, tmp_path):
    """64-bit only: Go's i386 port needs no trial of its own, it is refused by the same look at the file."""
    server = toolchain.go(request.path.parent / "server.go", "server")
    artifact = for_go.artifact(server, "main.answer", tmp_path, X86_64)
    program = start(server)
    assert program.ask("load", seconds=60) == "2000 goroutines, 0 wrong"
    for options in ((), ("--coroutines", "ignore")):
        with traces.untouched(program.pid):
            answer = livepatch("apply", "--pid", program.pid, artifact, *options)
        assert (answer.code, answer.status, answer.reason) == (3, "refused", "coroutines_unsupported"), answer
        assert "Go" in answer.process["message"]
    for _ in range(5):
        assert program.ask("load", seconds=60) == "2000 goroutines, 0 wrong"
