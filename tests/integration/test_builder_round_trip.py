# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches of everything that compilers emit, in running processes: they answer as if built anew."""

from __future__ import annotations

import pytest

from livepatch.build import pipeline
from livepatch.build.request import BuildRequest
from tests.harness import toolchain
from tests.harness.program import Program

ALIGNED = "-falign-functions=16"  # no jump of this test crosses a page
QUESTIONS = (*range(40), 95, 96, 193, 999, 65535)


def fixed_program(cpu, linkage, flags, cc):
    """The program that the new source makes: the oracle."""
    flags = (*flags, "-DFIXED")
    return toolchain.pair("worker.c", "zoo.c", arch=cpu.name, linkage=linkage, flags=flags, cc=cc).program


@pytest.mark.parametrize(
    "linkage, cc, level",
    [(linkage, "gcc", level) for linkage in toolchain.LINKAGES for level in ("-O0", "-O2")]
    + [(linkage, "gcc", "-Os") for linkage in ("pie", "library")]
    + [(linkage, "clang", level) for linkage in ("non_pie", "library") for level in ("-O0", "-O2", "-Os")],
)
def test_a_patched_process_answers_as_the_new_program_does(
    cpu, linkage, cc, level, start, build_patch, livepatch
):
    flags = (level, ALIGNED)
    pair = toolchain.pair("worker.c", "zoo.c", arch=cpu.name, linkage=linkage, flags=flags, cc=cc)
    artifact = build_patch(pair)
    program: Program = start(pair.program)
    oracle: Program = start(fixed_program(cpu, linkage, flags, cc))
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


BY_HAND = """
#include <stdio.h>
extern int scale;
extern unsigned calls;
static int offset = 5;
static const char *const words[] = {"even", "odd"};

int work(int x)
{
    char text[32];
    calls += 10;
    offset += x & 1;
    return snprintf(text, sizeof text, "%s %d", words[x & 1], x * scale) + offset;
}
"""


@pytest.mark.parametrize("linkage", toolchain.LINKAGES)
def test_one_file_written_by_hand_does_what_it_says(cpu, linkage, start, livepatch, tmp_path):
    pair = toolchain.pair("worker.c", "work.c", arch=cpu.name, linkage=linkage)
    source, artifact = tmp_path / "patch.c", tmp_path / "patch.lp.o"
    source.write_text(BY_HAND)
    request = BuildRequest(str(pair.target), "by-hand", "1", patch_source=str(source))
    artifact.write_bytes(pipeline.build(request))
    program: Program = start(pair.program)
    assert program.ask("work 10") == "31"
    assert livepatch("apply", artifact, "--pid", program.pid).status == "applied"
    assert program.ask("work 10") == str(len("even 30") + 5)
    assert program.ask("work 11") == str(len("odd 33") + 6)
    assert program.ask("times") == "21"  # the target's own static variable
    assert livepatch("revert", artifact, "--pid", program.pid).status == "reverted"
    assert program.ask("work 10") == "31" and program.ask("times") == "22"
