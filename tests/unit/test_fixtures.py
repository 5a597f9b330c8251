# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixtures themselves: a harness that lies would make every other test lie."""

from __future__ import annotations

import os
import signal

import pytest

from tests.harness import traces
from tests.harness.program import Program, Silent
from tests.harness.toolchain import LINKAGES, DoesNotCompile


def test_a_program_answers_what_it_is_asked(cpu, compile, start):
    program = start(compile("worker.c", "work.c"), 2)
    assert program.ask("work 41") == "124"
    old, new, wrong = map(int, program.ask("go").split()[1::2])
    assert old >= 2000 and new == 0 and wrong == 0
    assert len(traces.threads(program.pid)) == 3


def test_a_program_is_compiled_once_for_its_content(compile, tmp_path):
    source = tmp_path / "same.c"
    source.write_text("int main(void) { return 0; }\n")
    first = compile(source)
    assert compile(source) == first
    source.write_text("int main(void) { return 1; }\n")
    assert compile(source) != first


def test_a_compile_error_shows_the_compilers_words(compile, tmp_path):
    source = tmp_path / "broken.c"
    source.write_text("int main(void) { return }\n")
    with pytest.raises(DoesNotCompile, match="expected expression"):
        compile(source)


def test_a_program_that_died_fails_the_test_that_started_it(compile):
    with pytest.raises(AssertionError, match="SIGKILL"), Program(compile("worker.c", "work.c")) as program:
        traces.assert_clean(program.pid)
        os.kill(program.pid, signal.SIGKILL)
        with pytest.raises(Silent):
            program.read_line()


@pytest.mark.parametrize("linkage", LINKAGES)
def test_a_pair_runs_as_it_is_linked(cpu, object_pair, start, linkage):
    pair = object_pair(linkage=linkage)
    assert start(pair.program).ask("work 1") == "4"
    assert pair.old.read_bytes() != pair.new.read_bytes()
    assert pair.target.read_bytes()[4] == (2 if cpu.name == "x86_64" else 1)
