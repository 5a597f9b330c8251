# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs counts, not what stands on disk: files that were deleted or replaced after the start."""

from __future__ import annotations

import pytest

from tests.harness import toolchain, traces
from tests.harness.product import livepatch
from tests.harness.program import Program


@pytest.fixture(params=["pie", "library"])
def installed(request, cpu, object_pair, build_patch, tmp_path):
    """A program and its library (if any) in a folder of the test's own, and the patch."""
    pair = object_pair(linkage=request.param)
    return toolchain.copied(pair.program, tmp_path), tmp_path / pair.target.name, build_patch(pair)


def round_trip(program: Program, artifact) -> None:
    """Apply, look, revert, look."""
    answer = livepatch("apply", "--pid", program.pid, artifact)
    assert answer.status == "applied", answer
    assert program.ask("work 10") == "32"
    answer = livepatch("revert", "--pid", program.pid, artifact)
    assert answer.status == "reverted", answer
    assert program.ask("work 10") == "31"
    traces.assert_clean(program.pid)


def test_a_deleted_file(installed, start):
    path, target, artifact = installed
    program = start(path)
    target.unlink()
    round_trip(program, artifact)


def test_a_file_with_other_contents_in_its_place(installed, start):
    path, target, artifact = installed
    program = start(path)
    target.unlink()
    target.write_bytes(b"another version was installed")
    round_trip(program, artifact)
