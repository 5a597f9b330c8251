# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Old code that would go on running: every copy is listed, replaced or accepted by name."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
from pathlib import Path

import pytest

from livepatch import build_main
from livepatch.build import pipeline
from livepatch.build.pipeline import Built
from livepatch.build.request import BuildRequest
from livepatch.errors import UsageError
from tests.harness.workshop import MAIN, Workshop, command_line
from tests.harness.workshop import refused as workshop_refused

# twice is called through a pointer, and inlined into two functions; rest would have to stay as it is.
INLINED = """
static inline int twice(int x) { return x * 2 + 40; }
int (*volatile kept)(int) = twice;
int rest(int x)
{ return twice(x) - x / 3; }
int work(int x) { return twice(x) + kept(x); }
"""
TWICE = "int twice(int x) { return x * 3; }\n"

# gcc splits slow: what comes first is inlined, the rest is slow.part.0, which is entered from work alone.
SPLIT = """
int printf(const char *, ...);
int slow(int x)
{
    if (x < 1000)
        return x;
    for (int i = 0; i < x; i++)
        printf("%d", i * x), printf("%d", i - x), printf("%d", i / (x | 1)), printf("%d", i + 3 * x);
    printf("%d", x / 7), printf("%d", x / 8), printf("%d", x / 9), printf("%d", x / 17);
    return x / 2;
}
int work(int x) { return slow(x) + slow(x * 3) + 1; }
"""
CONSTANT = """
int g(int x) { return x; }
static int __attribute__((noinline)) scaled(int a, int b)
{ int r = 0; for (int i = 0; i < a; i++) r += g(i) * b; return r; }
int (*volatile kept)(int, int) = scaled;
int work(int x) { return scaled(x, 7) + scaled(x + 1, 7); }
"""


def make(request: BuildRequest, *accepted: str) -> Built:
    return pipeline.make(dataclasses.replace(request, accept_copies=accepted))


def refused(reason: str, request: BuildRequest, *words: str) -> None:
    workshop_refused(reason, functools.partial(pipeline.build, request), *words)


def functions(request: BuildRequest) -> dict[str, tuple[int, int]]:
    """Address and size of the target's functions: nm(1) is the oracle."""
    done = subprocess.run(["nm", "-S", request.target], check=True, stdout=subprocess.PIPE, text=True)
    rows = (line.split() for line in done.stdout.splitlines())
    return {row[3]: (int(row[0], 16), int(row[1], 16)) for row in rows if len(row) == 4 and row[2] in "tT"}


def test_every_inlined_copy_is_listed_with_its_holder_its_call_and_its_address(programs: Workshop) -> None:
    request = programs.manual(INLINED, TWICE)
    refused(
        "copies_remain",
        request,
        "rest (unit.c)",
        "called at unit.c:5",
        "work (unit.c)",
        "unit.c:6",
        " at 0x",
    )


def test_a_copy_that_is_accepted_by_name_is_in_the_manifest_and_warned_about(
    programs: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = programs.manual(INLINED, TWICE + "int work(int x) { return twice(x); }")
    refused("copies_remain", request, "rest")
    built = make(request, "rest")
    (copy,) = next(each.copies for each in built.artifact.manifest.functions if each.name == "twice")
    start, size = functions(request)["rest"]
    assert (copy.name, copy.kind, copy.accepted) == ("rest", "inlined", True)
    assert start <= copy.address < start + size
    assert any("rest goes on running the old code of twice" in each for each in built.warnings)
    dest = tmp_path / "fix.lp.o"
    words = [*command_line(request), "--accept-copy", "rest", "--dest", dest]
    assert build_main.main(["build", *map(str, words)]) == 0
    assert "rest goes on" in capsys.readouterr().err
    assert build_main.main(["inspect", str(dest)]) == 0
    assert "accepted: rest goes on" in capsys.readouterr().out


def test_what_is_accepted_and_is_no_copy_is_wrong_usage(programs: Workshop) -> None:
    request = programs.manual(INLINED, TWICE + "int work(int x) { return twice(x); }")
    with pytest.raises(UsageError, match=r"--accept-copy work: no such copy.*rest"):
        make(request, "rest", "work")


def test_a_copy_of_a_header_is_found_in_every_unit_that_includes_it(programs: Workshop) -> None:
    header = "static inline int shared(int x) { return x * 2 + 40; }\n"
    units = {
        "unit.c": '#include "../h/shared.h"\nint (*volatile kept)(int) = shared; int work(int x) { return kept(x); }',
        "other.c": '#include "../h/shared.h"\nint other(int x) { return shared(x) / 3; }',
        "main.c": MAIN,
    }
    (programs.folder / "h").mkdir()
    (programs.folder / "h" / "shared.h").write_text(header)
    request = programs.by_hand(units, "int shared(int x) { return x; }")
    refused("copies_remain", request, "other (other.c)", "other.c:2")
    assert make(request, "other").warnings


def test_a_function_that_the_target_has_only_copies_of_is_no_new_one(programs: Workshop) -> None:
    only = INLINED.replace("int (*volatile kept)(int) = twice;", "int (*volatile kept)(int);")
    patch = TWICE + "int work(int x) { return twice(x); }"
    refused("copies_remain", programs.manual(only, patch), "twice", "rest (unit.c, inlined at unit.c:5)")
    assert make(programs.manual(only, "static " + patch))
    assert make(programs.manual(only, patch + "int rest(int x) { return twice(x); }"))


def test_a_clone_that_only_replaced_functions_call_is_out_of_use_and_watched(programs: Workshop) -> None:
    patch = "int %s(int a, int b) { return a * b; } int work(int x) { return %s(x, 8); }"
    request = programs.manual(CONSTANT, patch % ("scaled", "scaled"), "-fipa-cp-clone")
    clone = next(name for name in functions(request) if name.startswith("scaled.constprop"))
    found = {each.name: each for each in make(request).artifact.manifest.functions}
    assert functions(request)[clone] in {(each.address, each.size) for each in found["scaled"].ranges}
    assert not found["scaled"].copies


def test_a_clone_that_somebody_else_calls_is_refused_or_accepted(programs: Workshop) -> None:
    request = programs.manual(CONSTANT, "int scaled(int a, int b) { return a * b; }", "-fipa-cp-clone")
    clone = next(name for name in functions(request) if name.startswith("scaled.constprop"))
    refused("copies_remain", request, clone, "unit.c")
    (function,) = make(request, clone).artifact.manifest.functions
    (copy,) = function.copies
    assert (copy.name, copy.kind, copy.address) == (clone, "clone", functions(request)[clone][0])


def test_the_unlikely_half_and_a_part_of_a_function_are_ranges_of_it(programs: Workshop) -> None:
    request = programs.manual(SPLIT, "int slow(int x) { return x; } int work(int x) { return slow(x); }")
    there = functions(request)
    part = [name for name in there if name.startswith("slow.part.0")]
    assert part, there
    slow = next(each for each in make(request).artifact.manifest.functions if each.name == "slow")
    assert {there[name] for name in part} <= {(each.address, each.size) for each in slow.ranges}
    alone = programs.manual(SPLIT, "int slow(int x) { return x; }")
    refused("copies_remain", alone, "slow.part.0", "work")


def test_a_piece_without_a_symbol_is_known_from_dwarf(programs: Workshop) -> None:
    cold = """
    void stop(int) __attribute__((noreturn, cold)); int counter;
    int work(int x) { if (x < 0) { counter += x * 5; stop(x); } return x * 2; }
    """
    end = "void __attribute__((noreturn, cold)) stop(int x) { __builtin_exit(x); }"
    request = programs.by_hand(
        {"unit.c": cold, "stop.c": end, "main.c": MAIN}, "int work(int x) { return x; }"
    )
    whole = functions(request)["work.cold"]
    for strip in ([], ["--strip-symbol=work.cold"]):
        stripped = programs.folder / f"target{len(strip)}"
        subprocess.run(["objcopy", *strip, request.target, str(stripped)], check=True)
        (function,) = make(dataclasses.replace(request, target=str(stripped))).artifact.manifest.functions
        assert whole in {(each.address, each.size) for each in function.ranges[1:]}


def test_an_object_pair_may_leave_an_accepted_copy_behind(programs: Workshop) -> None:
    header = "int work(int x); static inline int shared(int x) { return x * 2 + %s; }\n"
    body = "int (*volatile kept)(int) = shared; int work(int x) { return kept(x); }"
    (programs.folder / "h").mkdir()
    place = programs.folder / "h" / "shared.h"
    place.write_text(header % 40)
    include = f'#include "{place}"\n'
    other = programs.object(include + "int other(int x) { return shared(x); }", name="other.c")
    old = programs.object(include + body)
    target = programs.link(old, other, programs.object(MAIN, name="main.c"))
    place.write_text(header % 50)
    new = programs.object(include + body)
    request = BuildRequest(str(target), "fix", "1", old_objects=[str(old)], new_objects=[str(new)])
    refused("copies_remain", request, "other (other.c)")
    (function,) = make(request, "other").artifact.manifest.functions
    assert [each.name for each in function.copies] == ["other"]
