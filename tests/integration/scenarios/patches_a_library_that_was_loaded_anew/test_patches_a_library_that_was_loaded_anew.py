# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""dlclose(3) takes the jumps away with the code: the patch is out of use, and in no other's way."""

from __future__ import annotations

import pytest

from tests.harness import traces
from tests.harness.product import livepatch


@pytest.fixture
def it(object_pair, build_patch, compile, start):
    pair = object_pair(linkage="library")
    program = start(compile("loads.c"), pair.target)
    artifact = build_patch(pair)
    assert livepatch("apply", "--pid", program.pid, artifact).status == "applied"
    assert program.ask("work 10") == "32"
    assert program.ask("close") == "closed"
    return program, artifact


def states(program):
    return [each["state"] for each in livepatch("list", "--pid", program.pid).process["patches"]]


def test_it_can_be_patched_again(cpu, it):
    program, artifact = it
    assert states(program) == ["overwritten"]
    assert program.ask("open") == "opened"
    assert program.ask("work 10") == "31"
    assert states(program) == ["overwritten"]
    assert livepatch("check", "--pid", program.pid, artifact).status == "planned"
    answer = livepatch("apply", "--pid", program.pid, artifact)
    assert answer.status == "applied", answer
    assert program.ask("work 10") == "32"
    assert states(program) == ["applied"]
    assert livepatch("revert", "--pid", program.pid, artifact).status == "reverted"
    assert program.ask("work 10") == "31"
    traces.assert_clean(program.pid)


def test_what_is_left_is_removed(cpu, it):
    program, _ = it
    answer = livepatch("recover", "--pid", program.pid)
    assert answer.status == "recovered", answer
    traces.assert_clean(program.pid)
