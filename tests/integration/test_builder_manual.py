# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One C file as a patch: what it binds to, and what it is refused for."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest

from livepatch import build_main
from livepatch.artifact import file as artifact_file
from livepatch.artifact.manifest import Manifest
from livepatch.build import pipeline
from livepatch.build.request import BuildRequest
from livepatch.cpu import Cpu
from tests.harness.workshop import MAIN, Workshop, command_line
from tests.harness.workshop import refused as workshop_refused

TARGET = """
struct point { int x, y; };
int scale = 3;
static int calls;
static int __attribute__((noinline)) helper(int x) { return x * calls; }
int __attribute__((noinline)) shared(struct point *p) { return p->x * helper(p->y); }
int work(int x) { struct point p = { x, scale }; calls++; return shared(&p) + helper(x); }
"""


@pytest.fixture(params=["library", "program"])
def workshop(request: pytest.FixtureRequest, tmp_path: Path, cpu: Cpu) -> Workshop:
    """Makes libraries, and programs that are not position-independent."""
    if request.param == "library":
        return Workshop(tmp_path / "shop", cpu)
    return Workshop(tmp_path / "shop", cpu, ("-fno-pie",), ("-no-pie",))


def manifest(request: BuildRequest) -> Manifest:
    return artifact_file.parse(pipeline.build(request)).manifest


def refused(reason: str, request: BuildRequest, *words: str) -> None:
    workshop_refused(reason, functools.partial(pipeline.build, request), *words)


def test_extern_names_bind_to_the_target_local_ones_too(workshop: Workshop) -> None:
    patch = "extern int scale, calls; int work(int x) { return x * scale + calls; }"
    found = manifest(workshop.manual(TARGET, patch))
    assert [each.name for each in found.functions] == ["work"]
    kinds = {each.symbol: each.kind for each in found.references}
    library = "-shared" in workshop.linking
    assert kinds == {"scale": "import" if library else "target", "calls": "target"}
    assert len(found.functions[0].ranges) == 1


def test_new_functions_and_variables_of_the_file_come_along(workshop: Workshop) -> None:
    patch = (
        "static int seen = 4; int fresh(int x) { return seen += x; } int work(int x) { return fresh(x) * 2; }"
    )
    built = pipeline.make(workshop.manual(TARGET, patch))
    assert [each.name for each in built.artifact.manifest.functions] == ["work"]
    assert any("seen" in each for each in built.warnings)


def test_a_prototype_that_is_not_the_targets_is_refused(workshop: Workshop) -> None:
    refused("prototype_differs", workshop.manual(TARGET, "long long work(long long x) { return x; }"), "work")
    patch = "extern long long scale; int work(int x) { return x * (int)scale; }"
    refused("prototype_differs", workshop.manual(TARGET, patch), "scale")
    patch = "int shared(int, int); int work(int x) { return shared(x, x); }"
    refused("prototype_differs", workshop.manual(TARGET, patch), "shared")


def test_a_layout_that_is_not_the_targets_is_refused(workshop: Workshop) -> None:
    patch = """
    struct point { %s int x, y; };
    int shared(struct point *p);
    int work(int x) { struct point p = { x, x }; return shared(&p); }"""
    refused("layout_changed", workshop.manual(TARGET, patch % "long z;"), "struct point")
    assert manifest(workshop.manual(TARGET, patch % ""))


def test_a_variable_that_the_target_has_must_be_extern(workshop: Workshop) -> None:
    refused(
        "data_changed", workshop.manual(TARGET, "int scale; int work(int x) { return x * scale; }"), "extern"
    )


def test_a_local_function_may_be_called_where_its_convention_is_known(workshop: Workshop) -> None:
    request = workshop.manual(TARGET, "extern int helper(int); int work(int x) { return helper(x); }")
    found = artifact_file.parse(pipeline.build(request))
    thunked = workshop.cpu.word == 4  # gcc passes its argument in %eax
    assert {each.symbol for each in found.manifest.references} == {"helper.unit.c" if thunked else "helper"}
    assert (found.elf.section(".text.helper") is not None) == thunked
    plain = workshop.manual(TARGET, "extern int helper(int); int work(int x) { return helper(x); }", "-O0")
    assert {each.symbol for each in manifest(plain).references} == {"helper"}


def test_a_callee_whose_caller_stays_has_a_thunk_unless_it_writes_no_more_registers(workshop: Workshop) -> None:
    point = "struct point { int x, y; }; "
    (found,) = manifest(workshop.manual(TARGET, point + "int shared(struct point *p) { return p->x; }")).functions
    assert (found.convention, found.thunk) == ("standard", None)
    more = "int (*pointer)(void); int shared(struct point *p) { return pointer() + p->x; }"
    (found,) = manifest(workshop.manual(TARGET, point + more)).functions
    interposable = "-shared" in workshop.linking
    assert (found.thunk is None) == interposable


def test_a_caller_in_the_same_patch_is_switched_first(workshop: Workshop) -> None:
    patch = """
    struct point { int x, y; };
    int shared(struct point *p) { return p->x; }
    int work(int x) { struct point p = { x, 7 }; return shared(&p); }"""
    found = manifest(workshop.manual(TARGET, patch))
    assert [found.functions[each].name for each in found.write_order] == ["work", "shared"]


def test_a_compilers_clone_is_refused(workshop: Workshop) -> None:
    target = """
    int g(int x) { return x; }
    static int __attribute__((noinline)) scaled(int a, int b)
    { int r = 0; for (int i = 0; i < a; i++) r += g(i) * b; return r; }
    int work(int x) { return scaled(x, 7) + scaled(x + 1, 7); }
    """
    patch = 'int scaled(int) __asm__("scaled.constprop.0"); int work(int x) { return scaled(x); }'
    refused("private_abi", workshop.manual(target, patch), "scaled.constprop.0")


def test_an_inlined_copy_is_refused(workshop: Workshop) -> None:
    target = """
    static inline int twice(int x) { return x * 2; }
    int (*kept)(int) = twice;
    int work(int x) { return twice(x) + 1; }"""
    refused("copies_remain", workshop.manual(target, "int twice(int x) { return x * 3; }"), "work", "twice")
    both = "int twice(int x) { return x * 3; } int work(int x) { return twice(x) + 1; }"
    if workshop.cpu.word == 8:
        assert len(manifest(workshop.manual(target, both)).functions) == 2


def test_names_that_two_files_have_are_refused(workshop: Workshop) -> None:
    unit = "static int __attribute__((used)) calls; int %s(int x) { return calls += x; }"
    units = [workshop.object(unit % name, name=f"{name}.c") for name in ("one", "two")]
    target = workshop.link(
        *units,
        workshop.object("int work(int x) { return x * 300; }", name="work.c"),
        workshop.object(MAIN, name="main.c"),
    )
    request = workshop.manual(TARGET, "extern int calls; int work(int x) { return calls; }")
    refused("ambiguous_symbol", dataclasses.replace(request, target=str(target)), "one.c", "two.c")


def test_a_file_that_does_not_compile_is_refused_with_the_compilers_words(workshop: Workshop) -> None:
    refused("compile_failed", workshop.manual(TARGET, "int work(int x) { return y; }"), "undeclared")
    refused("nothing_changed", workshop.manual(TARGET, "int unheard_of(int x) { return x; }"))


def test_a_target_without_dwarf_is_refused(workshop: Workshop) -> None:
    refused("no_debug_info", workshop.manual(TARGET, "int work(int x) { return x; }", "-g0"))


def test_flags_reach_the_compiler_and_the_same_file_gives_the_same_bytes(workshop: Workshop) -> None:
    request = workshop.manual(TARGET, "int work(int x) { return x * FACTOR; }")
    request = dataclasses.replace(request, cflags=("-DFACTOR=9",))
    assert pipeline.build(request) == pipeline.build(request)


def test_the_command_line_hands_words_to_the_compiler(workshop: Workshop, tmp_path: Path) -> None:
    request = workshop.manual(TARGET, "int work(int x) { return x * FACTOR + TERM; }")
    dest = tmp_path / "fix.lp.o"
    words = [*command_line(request), "--cflags=-DFACTOR=9 -DTERM=3", "--cflags", "-Wall -Wextra", "--dest", str(dest)]
    assert build_main.main(["build", *map(str, words)]) == 0
    assert dest.read_bytes() == pipeline.build(
        dataclasses.replace(request, cflags=("-DFACTOR=9", "-DTERM=3"))
    )


def test_a_static_function_of_the_file_is_its_own(workshop: Workshop) -> None:
    patch = "static int helper(int x) { static int n; return n += x; } int work(int x) { return helper(x); }"
    assert [each.name for each in manifest(workshop.manual(TARGET, patch)).functions] == ["work"]
    unused = "static int __attribute__((used)) work(int x) { return x; }"
    refused("nothing_changed", workshop.manual(TARGET, unused), "static")


@pytest.mark.parametrize("flag", ["-gsplit-dwarf", "-fdebug-types-section"])
def test_dwarf_that_stands_elsewhere_is_refused(workshop: Workshop, flag: str) -> None:
    request = workshop.manual(TARGET, "int work(int x) { return x * 2; }", flag)
    refused("no_debug_info", request)
