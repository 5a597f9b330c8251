# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the names of a patch file mean: ``livepatch.h``, and what is refused where a name says too little."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
from pathlib import Path

import pytest

from livepatch import build_main
from livepatch.artifact import file as artifact_file
from livepatch.artifact.manifest import Manifest
from livepatch.build import pipeline
from livepatch.build.patch_names import INCLUDE
from livepatch.build.request import BuildRequest
from livepatch.cpu import X86_64, Cpu
from tests.harness.workshop import MAIN, Workshop
from tests.harness.workshop import refused as workshop_refused

# Two files of one name, whose static names are the same, and a third one with its own.
CLASH = """
static int calls = %(number)d;
static int __attribute__((noinline)) times(void) { static int counter; return counter += calls; }
static int __attribute__((noinline)) again(void) { static int counter = 5; return counter += calls; }
static int (*volatile call)(void) = times;
int %(name)s(int x) { calls++; return x * call() + again(); }
"""
UNITS = {
    "src/a.c": CLASH % {"name": "one", "number": 1},
    "lib/a.c": CLASH % {"name": "two", "number": 2},
    "b.c": """
int scale = 3;
int __attribute__((visibility("hidden"))) hidden = 4;
int __attribute__((visibility("protected"))) shielded(int x) { return x * 2; }
int __attribute__((visibility("internal"))) internal(int x) { return x * hidden; }
static int alone = 7;
int one(int), two(int);
int work(int x) { return one(x) + two(x) + shielded(x) + internal(x) + scale + alone++; }
""",
    "main.c": MAIN,
}
BY_NAME = "#include <livepatch.h>\n"


@pytest.fixture(params=["gcc", "clang"])
def workshop(request: pytest.FixtureRequest, tmp_path: Path, cpu: Cpu) -> Workshop:
    """Makes programs that are not position-independent, at -O0: no private convention is in the way."""
    return Workshop(tmp_path / "shop", cpu, ("-fno-pie", "-O0"), ("-no-pie",), request.param)


def manifest(request: BuildRequest) -> Manifest:
    return artifact_file.parse(pipeline.build(request)).manifest


def refused(reason: str, request: BuildRequest, *words: str) -> None:
    workshop_refused(reason, functools.partial(pipeline.build, request), *words)


def place(request: BuildRequest, unit: str, name: str) -> int:
    """Where the linker put a symbol: the oracle is nm(1); files of one name are told apart by their order."""
    done = subprocess.run(["readelf", "-sW", request.target], check=True, stdout=subprocess.PIPE, text=True)
    wanted, seen = [key for key in UNITS if Path(key).name == Path(unit).name].index(unit), -1
    for line in done.stdout.split(".symtab")[-1].splitlines():
        words = line.split()
        if "FILE" in words and words[-1] == Path(unit).name:
            seen += 1
        if words and words[-1] == name and seen == wanted:
            return int(words[1], 16)
    raise AssertionError(f"{unit} has no {name}")


def bound(found: Manifest) -> set[int]:
    return {each.address for each in found.references}


def counter(workshop: Workshop, function: str, number: int) -> str:
    """The symbol of a static variable inside of a function."""
    return f"{function}.counter" if workshop.cc == "clang" else f"counter.{number}"


def test_an_alias_names_a_variable_of_one_of_two_files(workshop: Workshop) -> None:
    patch = BY_NAME + (
        "extern int mine, theirs; int work(int x) { return x + mine + theirs; }\n"
        'LIVEPATCH_BIND(mine, "calls", "src/a.c"); LIVEPATCH_BIND(theirs, "calls", "lib/a.c");'
    )
    request = workshop.by_hand(UNITS, patch)
    assert bound(manifest(request)) == {
        place(request, "src/a.c", "calls"),
        place(request, "lib/a.c", "calls"),
    }
    refused(
        "ambiguous_symbol",
        workshop.by_hand(UNITS, patch.replace("lib/a.c", "a.c")),
        "src/a.c",
        "lib/a.c",
        ".c:3",
    )


def test_an_alias_names_a_function(workshop: Workshop) -> None:
    patch = BY_NAME + (
        "extern int count_src(void); int work(int x) { return x + count_src(); }\n"
        'LIVEPATCH_BIND(count_src, "times", "src/a.c");'
    )
    request = workshop.by_hand(UNITS, patch)
    assert bound(manifest(request)) == {place(request, "src/a.c", "times")}


def test_a_static_variable_of_a_function_is_named_by_its_symbol_or_where_unique_by_its_source(
    workshop: Workshop,
) -> None:
    name = "extern int c; int work(int x) { return x + c; }\n" + 'LIVEPATCH_BIND(c, "%s", "src/a.c");'
    symbol = "times.counter" if workshop.cc == "clang" else "counter.1"
    request = workshop.by_hand(UNITS, BY_NAME + name % symbol)
    assert bound(manifest(request)) == {place(request, "src/a.c", symbol)}
    refused(
        "ambiguous_symbol",
        workshop.by_hand(UNITS, BY_NAME + name % "counter"),
        symbol,
        "again" if workshop.cc == "clang" else "counter.0",
    )
    plain = UNITS["src/a.c"].replace("counter = 5; return counter", "other = 5; return other")
    units = {**UNITS, "src/a.c": plain}
    request = workshop.by_hand(units, BY_NAME + name % "counter")
    assert len(bound(manifest(request))) == 1


def test_a_file_gives_all_names_their_meaning(workshop: Workshop) -> None:
    patch = BY_NAME + (
        'LIVEPATCH_FILE("lib/a.c");\n'
        "extern int calls, scale; extern int again(void); int two(int x) { return calls + scale + again(); }"
    )
    request = workshop.by_hand(UNITS, patch)
    found = manifest(request)
    assert bound(found) == {
        place(request, "lib/a.c", "calls"), place(request, "lib/a.c", "again"), place(request, "b.c", "scale")
    }  # fmt: skip
    assert [each.name for each in found.functions] == ["two"]


def test_a_static_function_is_replaced_where_the_file_is_named(workshop: Workshop) -> None:
    body = "extern int calls; int %s(void) { return calls * 2; }\n"
    by_file = workshop.by_hand(UNITS, BY_NAME + 'LIVEPATCH_FILE("src/a.c");' + body % "times")
    by_name = workshop.by_hand(
        UNITS,
        BY_NAME
        + body % "fixed"
        + 'LIVEPATCH_REPLACES(fixed, "times", "src/a.c"); LIVEPATCH_FILE("src/a.c");',
    )
    for request in (by_file, by_name):
        (function,) = manifest(request).functions
        assert (function.name, function.ranges[0].address) == ("times", place(request, "src/a.c", "times"))
        assert bound(manifest(request)) == {place(request, "src/a.c", "calls")}


def test_a_name_that_several_files_have_is_refused_with_the_files_and_the_way_out(workshop: Workshop) -> None:
    words = "src/a.c", "lib/a.c", "LIVEPATCH_BIND", "LIVEPATCH_REPLACES"
    refused(
        "ambiguous_symbol",
        workshop.by_hand(UNITS, "extern int calls; int work(int x) { return calls; }"),
        *words,
    )
    refused("ambiguous_symbol", workshop.by_hand(UNITS, "int times(void) { return 1; }"), *words)
    assert manifest(
        workshop.by_hand(UNITS, "static int times(void) { return 1; } int work(int x) { return times(); }")
    )


def test_a_name_that_the_target_imports_and_one_of_its_files_has_is_refused(workshop: Workshop) -> None:
    units = {
        **UNITS,
        "d.c": "static int getpid(void) { return 4; } int (*volatile kept)(void) = getpid;",
        "e.c": "int getpid(void); int (*volatile also)(void) = getpid;",
    }
    patch = BY_NAME + "int getpid(void); int work(int x) { return x + getpid(); }\n"
    refused("ambiguous_symbol", workshop.by_hand(units, patch), "imports getpid", "d.c", "LIVEPATCH_FILE")
    for macro, kind in (('LIVEPATCH_FILE("b.c");', "import"), ('LIVEPATCH_BIND(getpid, "getpid", "d.c");', "target")):
        (reference,) = manifest(workshop.by_hand(units, patch + macro)).references
        assert (reference.symbol, reference.kind) == ("getpid", kind)


def test_every_visibility_is_reached(workshop: Workshop) -> None:
    patch = "extern int hidden, alone; int internal(int x), shielded(int x);\n"
    patch += "int work(int x) { return hidden + alone + internal(x) + shielded(x); }"
    request = workshop.by_hand(UNITS, patch)
    assert bound(manifest(request)) == {
        place(request, "b.c", name) for name in ("hidden", "alone", "internal", "shielded")
    }
    library = Workshop(workshop.folder / "library", workshop.cpu, ("-fPIC", "-O0"), cc=workshop.cc)
    found = manifest(library.by_hand(UNITS, patch))
    assert {each.kind for each in found.references if each.symbol != "shielded"} == {"target"}


def test_a_hidden_and_an_internal_function_are_replaced(workshop: Workshop) -> None:
    patch = (
        "extern int hidden; int internal(int x) { return hidden - x; } int shielded(int x) { return x; }\n"
    )
    patch += "int work(int x) { return internal(x) + shielded(x); }"
    assert {each.name for each in manifest(workshop.by_hand(UNITS, patch)).functions} == {
        "internal",
        "shielded",
        "work",
    }


RAW = '__asm__(".pushsection .livepatch.names,\\"%s\\",@progbits; .asci%s \\"bind\\"; .popsection");'
WRONG = {
    'extern int a; LIVEPATCH_BIND(a, "calls", "src/a.c");': ("macro_misused", "nothing here uses a", ":3"),
    'LIVEPATCH_FILE("nosuch.c");': ("symbol_not_found", "nosuch.c"),
    'LIVEPATCH_FILE("main.cc");': ("symbol_not_found", "it has"),
    'LIVEPATCH_FILE("b.c"); LIVEPATCH_FILE("main.c");': ("macro_misused", "already"),
    'LIVEPATCH_REPLACES(gone, "times", "src/a.c");': ("macro_misused", "no function gone"),
    'LIVEPATCH_BIND(work, "times", "src/a.c");': ("macro_misused", "work is defined here"),
    'LIVEPATCH_REPLACES(work, "scale", "b.c");': ("symbol_not_found", "no function"),
    'LIVEPATCH_REPLACES(work, "times", "b.c");': ("symbol_not_found", "not in b.c", "src/a.c", "lib/a.c"),
    'int two(int x) { return x; } LIVEPATCH_REPLACES(two, "work", "");': ("ambiguous_symbol", "both"),
    'LIVEPATCH_FILE("");': ("macro_misused", "no file"),
    RAW % ("", "z"): ("file_malformed", "1 strings"),
    RAW % ("", "i"): ("file_malformed", "whole strings"),
    RAW % ("a", "z"): ("file_malformed", "memory"),
}  # fmt: skip


@pytest.mark.parametrize("macro", WRONG)
def test_a_macro_that_does_not_fit_is_refused(tmp_path: Path, macro: str) -> None:
    shop = Workshop(tmp_path / "shop", X86_64, ("-fno-pie", "-O0"), ("-no-pie",))
    request = shop.by_hand(UNITS, BY_NAME + f"int work(int x) {{ return x; }}\n{macro}")
    refused(*WRONG[macro][:1], request, *WRONG[macro][1:])


@pytest.mark.parametrize("level", ["-O0", "-O1", "-O2", "-O3", "-Os"])
def test_the_macros_survive_every_level_of_optimisation(workshop: Workshop, level: str) -> None:
    patch = BY_NAME + (
        "extern int mine; extern int count(void); static int own(int x) { static int n = 3; return n += x; }\n"
        'int fixed(int x) { return mine + count() + own(x); } LIVEPATCH_REPLACES(fixed, "one", "");\n'
        'LIVEPATCH_BIND(mine, "calls", "src/a.c"); LIVEPATCH_BIND(count, "times", "src/a.c");'
    )
    request = workshop.by_hand(UNITS, patch, cflags=(level,))
    assert bound(manifest(request)) == {
        place(request, "src/a.c", "calls"),
        place(request, "src/a.c", "times"),
    }


def test_a_patch_file_may_be_cplusplus(workshop: Workshop) -> None:
    patch = BY_NAME + (
        'extern "C" { extern int mine; int fixed(int x) { return mine += x; } }\n'
        'LIVEPATCH_BIND(mine, "calls", "src/a.c"); LIVEPATCH_REPLACES(fixed, "work", "b.c");'
    )
    request = workshop.by_hand(UNITS, patch, cc={"gcc": "g++", "clang": "clang++"}[workshop.cc])
    assert [each.name for each in manifest(request).functions] == ["work"]
    mangled = dataclasses.replace(request, patch_source=str(workshop.folder / "mangled.cc"))
    Path(str(mangled.patch_source)).write_text(
        patch.replace('extern "C" {', "namespace {").replace("extern int mine;", "int mine;")
    )
    refused("macro_misused", mangled, 'extern "C"')


def test_declared_types_are_compared_under_their_other_name(workshop: Workshop) -> None:
    alias = 'LIVEPATCH_BIND(mine, "calls", "src/a.c");'
    patch = BY_NAME + "extern %s mine; int work(int x) { return x + (int)mine; }\n" + alias
    assert manifest(workshop.by_hand(UNITS, patch % "int"))
    words = ("mine (calls", "a.c:2", ".c:2") if workshop.cc == "gcc" else ("mine (calls", "a.c:2")
    refused("prototype_differs", workshop.by_hand(UNITS, patch % "long long"), *words)
    alias = 'LIVEPATCH_BIND(count, "times", "src/a.c");'
    patch = BY_NAME + "extern int count(%s); int work(int x) { return count(%s); }\n" + alias
    assert manifest(workshop.by_hand(UNITS, patch % ("void", "")))
    refused(
        "prototype_differs", workshop.by_hand(UNITS, patch % ("int", "x")), "count (times", "a.c:3", ".c:2"
    )


def test_the_header_is_found_by_editors(workshop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_main.main(["build", "--print-header-path"])
    assert not ended.value.code
    assert capsys.readouterr().out.strip() == INCLUDE
    assert (Path(INCLUDE) / "livepatch.h").exists()
