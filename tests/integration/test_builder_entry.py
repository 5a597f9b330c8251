# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``entry_safe``: calls under way may finish in old code, and nobody lands in the middle of the jump."""

from __future__ import annotations

from pathlib import Path

import pytest

from livepatch.artifact import file as artifact_file
from livepatch.build import pipeline
from livepatch.cpu import Cpu
from tests.harness.workshop import Workshop


def safe(programs: Workshop, target: str, patch: str, *flags: str, name: str = "f") -> bool:
    """``entry_safe`` of a function in the patch's manifest."""
    request = programs.manual(target, patch, *flags)
    functions = artifact_file.parse(pipeline.build(request)).manifest.functions
    return {each.name: each.entry_safe for each in functions}[name]


PLAIN = "int work(int x) { return x; } int g(int); int f(int x) { return x %s 300; }"


def test_straight_code_is_safe(programs: Workshop) -> None:
    assert safe(programs, PLAIN % "*", "int f(int x) { return x; }")


def test_code_behind_endbr_is_safe(programs: Workshop) -> None:
    assert safe(programs, PLAIN % "*", "int f(int x) { return x; }", "-fcf-protection=full")


LOOP = """
int work(int x) { return x; }
unsigned f(unsigned x) { do x = x * 3 ^ x >> 1; while (x & 0x70); return x; }
"""


def test_a_loop_into_the_jump_is_not_safe(programs: Workshop) -> None:
    """gcc -Os begins this function with the loop itself: its branch lands within the first five bytes."""
    new = "unsigned f(unsigned x) { return x; }"
    assert not safe(programs, LOOP, new, "-Os", "-fomit-frame-pointer")


RECURSIVE = """
int work(int x) { return x; }
int f(int x) { return x < 2 ? 1 : f(x - 1) * x - f(x - 2); }
"""


def test_calling_itself_is_safe(programs: Workshop) -> None:
    new = "int f(int x) { return x; }"
    assert safe(programs, RECURSIVE, new, "-O1", "-fno-optimize-sibling-calls")


COMPUTED = """
int work(int x) { return x; }
int f(int x, void *to)
{
    static void *volatile places[] = {&&one, &&two};
    goto *(x ? places[0] : to);
one: return 3;
two: return 4;
}"""


def test_a_jump_whose_goal_is_not_told_is_not_safe(programs: Workshop) -> None:
    assert not safe(programs, COMPUTED, "int f(int x, void *to) { return to ? x : 0; }")


SWITCH = """
int work(int x) { return x; }
int g(int x) { return x; }
int f(int x)
{
    switch (x) {
    case 0: return g(3) + 1;
    case 1: return g(x) * 5;
    case 2: return g(9) - x;
    case 3: return g(1) ^ 77;
    case 4: return g(x + 1) & 1;
    case 5: return g(x - 7) | 8;
    case 6: return 3 * g(2);
    }
    return 0;
}"""


@pytest.mark.parametrize("position", ["fixed", "independent"])
def test_a_switch_is_safe_where_its_table_can_be_read(tmp_path: Path, cpu: Cpu, position: str) -> None:
    flags = (("-fno-pie",), ("-no-pie",)) if position == "fixed" else (("-fPIE",), ("-pie",))
    shop = Workshop(tmp_path / "shop", cpu, *flags)
    told = position == "fixed" or cpu.word == 8  # i386 computes the table's address from its GOT's
    assert safe(shop, SWITCH, "int f(int x) { return x; }", "-fno-inline") == told


CHANGED = """
static int __attribute__((noinline)) pair(int x%s) { return x * %s; }
int work(int x) { return pair(x%s); }"""


def test_a_private_interface_that_changes_is_not_safe_for_both_sides(programs: Workshop) -> None:
    old, new = CHANGED % ("", "7", ""), CHANGED % (", int y", "y", ", x + 2")
    artifact = programs.patch(old, new, "int work(int); int main(int c, char **v) { (void)v; return work(c); }")
    assert [(each.name, each.entry_safe) for each in artifact.manifest.functions] == [("pair", False), ("work", False)]
