# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program whose dynamic linker is still at work is looked at when that has ended, or it is busy: no refusal."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from tests.harness import product, traces
from tests.harness.program import PATIENCE, Program


@pytest.fixture
def beginning(object_pair, build_patch, start, tmp_path):
    """A program that ld.so has not brought up yet: a library that it shall load first is a pipe without a writer."""
    pair = object_pair()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = start(pair.program, environment={"LD_PRELOAD": str(pipe)}, wait=False)
    wait_until(lambda: any("ld-linux" in line for line in traces.maps(program.pid)), program)
    return program, build_patch(pair), pipe


def wait_until(holds, program: Program) -> None:
    """Ask without pause.

    :raises AssertionError: it never holds
    """
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert program.alive() and time.monotonic() < deadline, program
        os.sched_yield()


def test_it_is_patched_when_it_has_begun(beginning):
    program, artifact, pipe = beginning
    line = product.command("apply", "--pid", program.pid, artifact)
    with subprocess.Popen(line, env=product.environment(), stdout=subprocess.PIPE, text=True) as injector:
        wait_until(lambda: traces.looks_at(injector.pid, program.pid) or injector.poll() is not None, program)
        with open(pipe, "wb"):
            pass
        said = injector.stdout.read()
    assert injector.returncode == 0, said
    assert program.read_line() == "ready"
    assert program.ask("work 10") == "32"


def test_it_is_busy_where_that_takes_too_long(beginning, livepatch):
    program, artifact, pipe = beginning
    with traces.untouched(program.pid):
        answer = livepatch("apply", "--pid", program.pid, artifact)
    assert (answer.code, answer.status, answer.reason) == (4, "busy", "libraries_changing"), answer
    with open(pipe, "wb"):
        pass
    assert program.read_line() == "ready"
    assert program.ask("work 10") == "31"
