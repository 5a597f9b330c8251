# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches of everything that compilers emit, in running processes: they answer as if built anew."""

from __future__ import annotations

import pytest

from tests.harness import toolchain
from tests.harness.program import Program

ALIGNED = "-falign-functions=16"  # no jump of this test crosses a page
QUESTIONS = (*range(0, 40), 95, 96, 193, 999, 65535)


def fixed_program(cpu, linkage, level):
    """The program that the new source makes: the oracle."""
    flags = (level, ALIGNED, "-DFIXED")
    return toolchain.pair("worker.c", "zoo.c", arch=cpu.name, linkage=linkage, flags=flags).program


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("linkage", toolchain.LINKAGES)
def test_a_patched_process_answers_as_the_new_program_does(
    cpu, linkage, level, start, build_patch, livepatch
):
    pair = toolchain.pair("worker.c", "zoo.c", arch=cpu.name, linkage=linkage, flags=(level, ALIGNED))
    artifact = build_patch(pair)
    program: Program = start(pair.program)
    oracle: Program = start(fixed_program(cpu, linkage, level))
    before = [program.ask(f"work {x}") for x in QUESTIONS]
    for each in (program, oracle):
        assert each.ask("rest 6") == str(6 * 7 + 6)  # sets a static variable, which must stay

    applied = livepatch("apply", artifact, "--pid", program.pid)
    assert applied.status == "applied", applied
    patched = [program.ask(f"work {x}") for x in QUESTIONS]
    assert patched == [oracle.ask(f"work {x}") for x in QUESTIONS]
    assert patched != before
    assert program.ask("times") == "6"

    assert livepatch("revert", artifact, "--pid", program.pid).status == "reverted"
    assert program.ask("rest 0") == "0"
    assert [program.ask(f"work {x}") for x in QUESTIONS] == before
