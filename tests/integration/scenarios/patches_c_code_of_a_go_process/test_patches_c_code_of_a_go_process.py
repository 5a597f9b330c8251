# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""C code that goroutines call runs on stacks of threads, and no goroutine's own stack is written to."""

from __future__ import annotations

from livepatch.cpu import X86_64
from tests.harness import toolchain, traces
from tests.harness.product import livepatch


def test_a_c_library_under_two_thousand_goroutines(request, start, build_patch):
    """64-bit only: a C compiler and Go for i386 in one program are nobody's build host."""
    pair = toolchain.go_pair(request.path.parent / "asks.go", request.path.parent / "answer.c", X86_64.name)
    artifact = build_patch(pair)
    program = start(pair.program)
    assert program.ask("load", seconds=60) == "20000 answers, 0 too much"

    def act(command):
        for _ in range(10):  # a busy host may not stop it in time
            answer = livepatch(command, "--pid", program.pid, artifact)
            if answer.status != "busy":
                break
        return answer

    for _ in range(3):
        answer = act("apply")
        assert answer.status == "applied", answer
        for _ in range(3):
            assert program.ask("load", seconds=60) == "20000 answers, 20000 too much"
        answer = act("revert")
        assert answer.status == "reverted", answer
        for _ in range(3):
            assert program.ask("load", seconds=60) == "20000 answers, 0 too much"
    traces.assert_released(program.pid)
