# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files written by hand with the macros of ``livepatch.h``, in running processes: names mean what they say."""

from __future__ import annotations

import pytest

from livepatch.build import pipeline
from livepatch.build.request import BuildRequest
from tests.harness import toolchain
from tests.harness.program import Program

# Two files with the same static names; the step of the first is called directly and through a pointer.
UNIT = """
#define ALONE __attribute__((noinline))
static unsigned calls;
static ALONE int step(int x) { static int seen = 5; seen++; calls++; return x * 3 + seen; }
static int (*volatile through)(int) = step;
int other(int x);
int work(int x) { return step(x) + other(x); }
int rest(int x) { return through(x); }
unsigned times(void) { return calls; }
"""
OTHER = """
static unsigned calls = 1000;
static __attribute__((noinline)) int step(int x) { calls++; return x; }
static int (*volatile through)(int) = step;
int other(int x) { return through(x) * 0 + (int)(calls > 1000); }
"""
PATCH = """
#include <livepatch.h>
extern unsigned count, theirs;
extern int seen;
LIVEPATCH_BIND(count, "calls", "unit.c");
LIVEPATCH_BIND(theirs, "calls", "other.c");
LIVEPATCH_BIND(seen, "seen", "unit.c");
LIVEPATCH_REPLACES(better_step, "step", "unit.c");

int better_step(int x)
{
    count += 10;
    theirs = 0;
    return x * 5 + seen;
}
"""


@pytest.mark.parametrize("cc, level", [("gcc", "-O0"), ("gcc", "-O2"), ("clang", "-O0"), ("clang", "-O2")])
def test_a_static_function_is_replaced_and_statics_are_reached(cpu, cc, level, start, livepatch, tmp_path):
    for name, text in (("unit.c", UNIT), ("other.c", OTHER), ("patch.c", PATCH)):
        (tmp_path / name).write_text(text)
    flags = (level, "-falign-functions=16")
    position = (toolchain.BITS[cpu.name], "-c", *flags)
    other = toolchain.gcc(tmp_path / "other.c", flags=position, cc=cc)
    pair = toolchain.pair("worker.c", tmp_path / "unit.c", cpu.name, flags=flags, support=(other,), cc=cc)
    artifact = tmp_path / "patch.lp.o"
    request = BuildRequest(str(pair.target), "by-hand", "1", patch_source=str(tmp_path / "patch.c"), cc=cc)
    artifact.write_bytes(pipeline.build(request))
    program: Program = start(pair.program)
    assert program.ask("work 10") == str(30 + 6 + 1)
    assert program.ask("rest 10") == str(30 + 7) and program.ask("times") == "2"

    assert livepatch("apply", artifact, "--pid", program.pid).status == "applied"
    assert program.ask("rest 10") == str(50 + 7)  # through the pointer that was taken before
    assert program.ask("work 10") == str(50 + 7)  # a direct call; other() sees that its calls were set back
    assert program.ask("times") == "22"

    assert livepatch("revert", artifact, "--pid", program.pid).status == "reverted"
    assert program.ask("rest 10") == str(30 + 8) and program.ask("times") == "23"
