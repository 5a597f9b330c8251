# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data, types and constructs that replacing code alone can not change."""

from __future__ import annotations

from livepatch.build import pipeline
from tests.harness.workshop import MAIN, OLD, Workshop, names, refused


def test_data_that_differs_is_refused(workshop: Workshop) -> None:
    old = "static int state = 3; int work(int x) { return state += x; }"
    refused(
        "data_changed",
        lambda: workshop.patch(old, old.replace("= 3", "= 4").replace("+= x", "-= x")),
        "state",
        "value",
    )
    refused(
        "data_changed",
        lambda: workshop.patch(old, old.replace("int state", "long long state")),
        "state",
        "size",
    )
    unsigned = old.replace("int state", "unsigned state").replace("+= x", "-= x")
    refused("data_changed", lambda: workshop.patch(old, unsigned), "state", "type")
    table = 'const char *const words[] = {"one", "two"}; const char *work(int x) { return words[x %s 1]; }'
    refused("data_changed", lambda: workshop.patch(table % "&", (table % "|").replace("two", "2")), "words")
    constructor = "int work(int x) { return x; }\n"
    born = "int y; static void __attribute__((constructor)) born(void) { y++; }\nint work(int x) { return x + 1; }\n"
    refused("data_changed", lambda: workshop.patch(constructor, born), ".init_array")
    assert names(workshop.patch(old, old.replace("+= x", "-= x"))) == ["work"]


def test_new_data_is_taken_along_with_a_warning(workshop: Workshop) -> None:
    old = OLD
    built = pipeline.make(workshop.request(old, "static int seen = 7; int work(int x) { return seen += x; }"))
    assert names(built.artifact) == ["work"] and "seen" in built.warnings[0]
    assert built.artifact.elf.section(".data.seen") is not None


STRUCT = """
struct point { int x; %s int y; };
enum colour { red, %s green };
int work(struct point *p, enum colour c) { return p->y + c + %d; }
"""


def test_a_layout_that_changed_is_refused_by_name(workshop: Workshop) -> None:
    old = STRUCT % ("", "", 1)
    refused("layout_changed", lambda: workshop.patch(old, STRUCT % ("int z;", "", 2)), "struct point")
    refused("layout_changed", lambda: workshop.patch(old, STRUCT % ("", "yellow,", 2)), "enum colour")
    assert names(workshop.patch(old, STRUCT % ("", "", 2))) == ["work"]


def test_a_typedef_of_another_size_is_refused(workshop: Workshop) -> None:
    old = "typedef int number; number work(number *x) { return x[3] + 1; }"
    refused(
        "layout_changed",
        lambda: workshop.patch(old, old.replace("typedef int", "typedef short")),
        "typedef number",
    )


def test_thread_local_variables_are_refused(workshop: Workshop) -> None:
    old = "static __thread int mine; int work(int x) { return mine += x; }"
    refused("unsupported_relocation", lambda: workshop.patch(old, old.replace("+= x", "-= x")))


def test_an_indirect_function_of_the_target_is_named_by_its_resolver(workshop: Workshop) -> None:
    chosen = "static int one(int x) { return x; } static void *choose(void) { return one; }\n"
    unit = (
        chosen + '__attribute__((visibility("hidden"))) int indirect(int) __attribute__((ifunc("choose")));\n'
    )
    new = '__attribute__((visibility("hidden"))) int indirect(int); int work(int x) { return indirect(x); }'
    patch = workshop.patch(OLD, new, unit)
    assert [(each.symbol, each.kind) for each in patch.manifest.references] == [("indirect", "ifunc")]


def test_a_resolver_that_has_chosen_is_not_replaced(workshop: Workshop) -> None:
    unit = (
        "static int one(int x) { return x; } static int two(int x) { return x + x; }\n"
        "static int wish; void *choose(void) { return wish ? two : one; }\n"
        'int indirect(int) __attribute__((ifunc("choose"))); int work(int x) { return x; }\n'
    )
    other = unit.replace("? two : one", "? one : two")
    refused("unsupported_relocation", lambda: workshop.patch(unit, other), "indirect")


def test_a_function_without_room_for_a_jump_is_refused(programs: Workshop) -> None:
    tight = "-falign-functions=1", "-fcf-protection=none"
    request = programs.request("void work(void) { }", "int y; void work(void) { y++; }", MAIN, flags=tight)
    refused("function_too_short", lambda: pipeline.build(request), "1 bytes", "needs 5")


def test_padding_behind_a_short_function_counts(programs: Workshop) -> None:
    old = "void work(void) { }\nint rest(int x) { return x; }"
    new = "int y; void work(void) { y++; }\nint rest(int x) { return x; }"
    patch = programs.patch(old, new, MAIN, flags=("-falign-functions=16",))
    assert patch.manifest.functions[0].ranges[0].size >= 5
