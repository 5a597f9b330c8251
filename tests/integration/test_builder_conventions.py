# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callers, clones, copies, pieces: what must change together, and in which order."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
from pathlib import Path

from livepatch.artifact import file as artifact_file
from livepatch.build import pipeline
from livepatch.build.request import BuildRequest
from tests.harness.workshop import MAIN, Workshop, names, refused

STATIC = "static int __attribute__((noinline)) helper(int x) { return x * %s; }\n"


def test_a_caller_that_is_the_same_in_both_builds_saw_the_new_code(programs: Workshop) -> None:
    caller = "int work(int x) { return helper(x) + helper(x + 1); }"
    assert names(programs.patch(STATIC % 3 + caller, STATIC % 5 + caller, MAIN)) == ["helper"]


def by_lines(shop: Workshop, old: str, new: str) -> BuildRequest:
    """A patch that builds with -D__LINE__=0 decide about."""
    silent = [str(shop.object(source, "-Wno-builtin-macro-redefined", "-D__LINE__=0")) for source in (old, new)]
    return shop.request(old, new, MAIN, old_objects_noline=silent[:1], new_objects_noline=silent[1:])


LINES = """
int (*pointer)(void);
static int __attribute__((noinline)) helper(int x) { return %s; }
%s
int work(int x) { return helper(x ^ __LINE__); }"""


def test_a_caller_with_another_line_number_stays_if_the_callee_writes_no_more_registers(programs: Workshop) -> None:
    calls = "pointer() * x + %d"
    request = by_lines(programs, LINES % (calls % 1, ""), LINES % (calls % 2, "\n"))
    assert names(artifact_file.parse(pipeline.build(request))) == ["helper"]


def test_a_caller_with_another_line_number_may_rely_on_what_the_old_callee_did(programs: Workshop) -> None:
    request = by_lines(programs, LINES % ("x * 300", ""), LINES % ("pointer() * x", "\n"))
    refused("private_abi", functools.partial(pipeline.build, request), "work", "helper")


def test_a_caller_that_changes_too_is_proven(programs: Workshop) -> None:
    caller = "int work(int x) { return helper(x) + helper(x + %d); }"
    patch = programs.patch(STATIC % 3 + caller % 1, STATIC % 5 + caller % 2, MAIN)
    assert names(patch) == ["helper", "work"]
    assert patch.manifest.write_order == (1, 0)  # the caller first


GLOBAL = "int __attribute__((noinline)) helper(int x) { return x * %s; }\n"


def test_a_caller_through_an_interposable_symbol_is_proven(workshop: Workshop, programs: Workshop) -> None:
    caller = "int work(int x) { return helper(x) + helper(x + 1); }"
    assert names(workshop.patch(GLOBAL % 3 + caller, GLOBAL % 5 + caller)) == ["helper"]
    versions = [LINES.replace("static", "") % ("x * 300", ""), LINES.replace("static", "") % ("pointer() * x", "\n")]
    assert pipeline.build(by_lines(workshop, *versions))
    refused("private_abi", lambda: pipeline.build(by_lines(programs, *versions)))


def test_a_caller_in_another_unit_is_proven(programs: Workshop) -> None:
    assert names(
        programs.patch(GLOBAL % 3, GLOBAL % 5, "int helper(int); int work(int x) { return helper(x); }", MAIN)
    ) == ["helper"]


def test_new_code_may_call_a_local_function_that_stays_the_same(programs: Workshop) -> None:
    caller = "int work(int x) { return helper(x) + helper(x + %d); }\nint rest(int x) { return helper(x); }"
    patch = programs.patch(STATIC % 3 + caller % 1, STATIC % 3 + caller % 2, MAIN)
    assert names(patch) == ["work"]
    assert [(each.symbol, each.kind) for each in patch.manifest.references] == [("helper", "target")]


def test_a_static_signature_that_changes_with_its_callers_is_written_last(programs: Workshop) -> None:
    old = """
    static int __attribute__((noinline)) pair(int x) { return x * 7; }
    int work(int x) { return pair(x); }"""
    new = """
    static int __attribute__((noinline)) pair(int x, int y) { return x * y; }
    int work(int x) { return pair(x, x + 2); }"""
    patch = programs.patch(old, new, MAIN)
    assert names(patch) == ["pair", "work"] and patch.manifest.write_order == (1, 0)


def test_functions_that_call_each_other_and_both_change_are_a_circle(programs: Workshop) -> None:
    pair = """
    int odd(int);
    static int __attribute__((noinline)) even(int x) { return x < 1 ? %d : odd(x - 1) * x; }
    int __attribute__((noinline)) odd(int x) { return x < 1 ? %d : even(x - 1) + x; }
    int work(int x) { return odd(x) + %d; }"""
    refused("call_cycle", lambda: programs.patch(pair % (1, 0, 1), pair % (2, 3, 2), MAIN), "even", "odd")
    unoptimised = programs.patch(pair % (1, 0, 1), pair % (2, 3, 2), MAIN, flags=("-O0",))
    assert sorted(names(unoptimised)) == ["even", "odd", "work"]


def test_a_prototype_that_others_know_must_stay(workshop: Workshop) -> None:
    old, new = "int work(int x) { return x; }", "int work(int x, int y) { return x + y; }"
    refused("prototype_differs", lambda: workshop.patch(old, new), "int(int)", "int(int, int)")
    taken = "static int %s\nint (*table)() = work; int rest(void) { return table(1, 2); }"
    refused(
        "prototype_differs", lambda: workshop.patch(taken % old[4:], taken % new[4:]), "its address is taken"
    )


INLINE = "static inline int __attribute__((always_inline)) twice(int x) { return x * %s; }\n"


def test_an_inlined_copy_left_in_another_unit_is_refused(programs: Workshop, tmp_path: Path) -> None:
    header = tmp_path / "shared.h"
    header.write_text("static inline int twice(int x) { return x * FACTOR + 40; }\n")
    unit = f'#include "{header}"\nint (*pointer)(int) = twice; int rest(int x) {{ return pointer(x); }}'
    other = f'#define FACTOR 3\n#include "{header}"\nint work(int x) {{ return twice(x) + 1; }}'
    refused(
        "copies_remain",
        lambda: programs.patch("#define FACTOR 3\n" + unit, "#define FACTOR 5\n" + unit, other, MAIN), "twice", "work",
    )  # fmt: skip
    patch = programs.patch(
        "#define FACTOR 3\n" + unit, "#define FACTOR 5\n" + unit, "int work(int x) { return x; }", MAIN
    )
    assert names(patch) == ["twice"]


def test_inlined_callers_follow_by_themselves(workshop: Workshop) -> None:
    caller = "int work(int x) { return twice(x) + 1; }"
    assert names(workshop.patch(INLINE % 3 + caller, INLINE % 5 + caller)) == ["work"]


COLD = """
void __attribute__((cold)) fail(int x) { (void)x; }
int g(int x) { return x; }
int work(int x) { if (x < 0) { fail(x); return g(x + 4) / 3; } return g(x) * x + %d; }
"""


def test_a_function_with_an_unlikely_half_is_replaced_whole(workshop: Workshop) -> None:
    patch = workshop.patch(COLD % 1, COLD % 2)
    assert names(patch) == ["work"]
    assert len(patch.manifest.functions[0].ranges) == 2
    assert patch.elf.section(".text.unlikely.work") is not None


def test_an_unlikely_half_without_a_symbol_is_refused(workshop: Workshop) -> None:
    request = workshop.request(COLD % 1, COLD % 2)
    subprocess.run(["strip", "-N", "work.cold", request.target], check=True)
    refused("several_ranges", lambda: pipeline.build(request), "work.cold")


SPLIT = """
extern int g(int); int x;
%s int part(int *p)
{
    if (p == 0)
        return %d;
    for (int i = 0; i < *p; i++) { x += g(i) * g(i + 1) + g(x); x -= g(x + i); if (g(x)) x *= 3; }
    return g(*p) * %d;
}
int one(int *x) { return part(x) + 1; } int two(int *x) { return part(x) - 7; }
int three(int *x) { return part(x) * 5; } int four(int *x, int y) { if (y) return part(x) * 5; return 4; }
"""
REST = "int g(int x) { return x; } int one(int *); int work(int x) { return one(&x); }"


def test_a_split_function_is_replaced_whole(programs: Workshop) -> None:
    patch = programs.patch(SPLIT % ("", 3, 4), SPLIT % ("", 5, 4), REST, MAIN)
    assert names(patch) == ["four", "one", "part", "part.part.0", "three", "two"]
    assert patch.manifest.write_order[-1] == names(patch).index("part.part.0")


def test_half_a_split_function_is_refused(programs: Workshop) -> None:
    halves = (SPLIT % ("static", 3, each) for each in (4, 7))
    refused("copies_remain", lambda: programs.patch(*halves, REST, MAIN), "inlined copy of part")


CLONED = """
extern int g(int);
%s int __attribute__((noinline)) scaled(int a, int b)
{
    int r = 0;
    if (b == 9)
        return %d;
    for (int i = 0; i < a; i++)
        r += g(i) * b + g(b);
    return r * b + %d;
}
int one(int *x) { return scaled(*x, 7) + %d; } int two(int x) { return scaled(x + 1, 7) - %d; }
"""


def test_a_clone_is_replaced_with_its_callers(programs: Workshop) -> None:
    old = CLONED % ("static", 1, 1, 1, 1)
    alone = programs.patch(old, CLONED % ("static", 1, 2, 1, 1), REST, MAIN)
    assert names(alone) == ["scaled.constprop.0"]  # its callers are as they would be with it
    assert names(programs.patch(old, CLONED % ("static", 1, 2, 2, 2), REST, MAIN)) == [
        "one",
        "scaled.constprop.0",
        "two",
    ]


def test_a_clone_left_behind_is_refused(programs: Workshop) -> None:
    flags = ("-O3", "--param=ipa-cp-eval-threshold=1")  # eager to clone what others may call, too
    versions = (CLONED % ("", each, 1, 1, 1) for each in (1, 2))
    refused("copies_remain", lambda: programs.patch(*versions, REST, MAIN, flags=flags), "scaled.constprop.0")


THROWS = """
struct Guard { ~Guard(); }; void may(int);
extern "C" int work(int x) { Guard guard; may(x); return x + %d; }
"""


def test_code_that_takes_part_in_exceptions_is_refused(workshop: Workshop) -> None:
    plain = 'extern "C" int work(int x) { return x + %d; }'
    calls = 'void may(int); extern "C" int work(int x) { may(x); return x + %d; }'
    for source, accepted in ((THROWS, False), (calls, False), (plain, True)):
        objects = [workshop.object(source % each, name="unit.cc") for each in (1, 2)]
        rest = workshop.object(
            "struct Guard { ~Guard(); }; Guard::~Guard() {} void may(int) {}", name="rest.cc"
        )
        target = workshop.link(objects[0], rest)
        request = workshop.request("int a(int x) { return x; }", "int a(int x) { return x; }")
        request = dataclasses.replace(
            request, target=str(target), old_objects=[str(objects[0])], new_objects=[str(objects[1])]
        )
        if accepted:
            assert pipeline.build(request)
        else:
            refused("throws_through", functools.partial(pipeline.build, request))


LABELS = """
int work(int x)
{
    static %s void *%s steps[] = {&&one, &&two};
    goto *steps[x & 1];
one:
    return x * 300 + %d;
two:
    return x * 500 + %d;
}"""


def test_a_constant_table_of_labels_is_code_and_comes_along(workshop: Workshop) -> None:
    patch = workshop.patch(LABELS % ("const", "const", 1, 1), LABELS % ("const", "const", 2, 2))
    assert names(patch) == ["work"] and not [
        each for each in patch.manifest.references if each.kind == "target"
    ]


def test_a_writable_table_of_labels_would_lead_into_old_code(workshop: Workshop) -> None:
    versions = (LABELS % ("", "volatile", each, each) for each in (1, 2))
    refused("data_changed", lambda: workshop.patch(*versions), "steps", "work")
