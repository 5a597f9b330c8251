# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the builder refuses as input, each beside its nearest neighbour that it accepts."""

from __future__ import annotations

import dataclasses
import functools
import subprocess
from pathlib import Path

import pytest

from livepatch.build import pipeline
from livepatch.cpu import I386, X86_64
from tests.harness.workshop import MAIN, NEW, OLD, Workshop, names, refused


def test_nothing_changed_is_refused(workshop: Workshop) -> None:
    source = "int work(int x) { return x + 1; }"
    refused("nothing_changed", lambda: workshop.patch(source, "\n\n" + source))


def test_a_line_number_is_no_change_where_the_noline_pair_says_so(workshop: Workshop) -> None:
    old = "int work(int x) { return x + 1; }\nint line(void) { return __LINE__; }"
    new = "int work(int x)\n{ return x + 2; }\nint line(void) { return __LINE__; }"
    assert names(workshop.patch(old, new)) == ["line", "work"]
    noline = [
        str(workshop.object(each, "-D__LINE__=0", "-Wno-builtin-macro-redefined")) for each in (old, new)
    ]
    patch = workshop.patch(old, new, old_objects_noline=noline[:1], new_objects_noline=noline[1:])
    assert names(patch) == ["work"]


def test_code_that_is_not_the_targets_is_refused_with_the_first_difference(workshop: Workshop) -> None:
    old, new = "int work(int x) { return x * 3 + 1; }", "int work(int x) { return x * 3 + 2; }"
    request = workshop.request(old, new)
    other = workshop.link(workshop.object("int work(int x) { return x * 5 + 1; }"))
    refused(
        "code_differs", lambda: pipeline.build(dataclasses.replace(request, target=str(other))),
        "work", "at offset 0x", "the object has ", "the target ",
    )  # fmt: skip


def test_a_string_or_callee_that_is_not_the_targets_is_a_difference(workshop: Workshop) -> None:
    unit = 'extern int one(const char *), two(const char *); int work(void) { return %s("%s") + %d; }'
    rest = 'int __attribute__((visibility("hidden"))) %s(const char *x) { return *x; }'
    both = [rest % "one", rest % "two"]
    request = workshop.request(unit % ("one", "abc", 1), unit % ("one", "abc", 2), *both)
    assert pipeline.build(request)
    units = [workshop.object(each, name="rest.c") for each in both]
    string = workshop.link(workshop.object(unit % ("one", "xyz", 1)), *units)
    refused(
        "code_differs", lambda: pipeline.build(dataclasses.replace(request, target=str(string))), "abc", "xyz"
    )
    callee = workshop.link(workshop.object(unit % ("two", "abc", 1)), *units)
    refused(
        "code_differs", lambda: pipeline.build(dataclasses.replace(request, target=str(callee))), "one", "two"
    )


def test_a_function_that_the_target_does_not_have_is_refused(workshop: Workshop) -> None:
    request = workshop.request(OLD, NEW)
    other = workshop.link(workshop.object("int rest(int x) { return x; }"))
    refused(
        "symbol_not_found", lambda: pipeline.build(dataclasses.replace(request, target=str(other))), "work"
    )


def test_a_symbol_that_nobody_defines_is_refused(workshop: Workshop) -> None:
    old = OLD
    new = "int nowhere(int); int work(int x) { return nowhere(x); }"
    refused("symbol_not_found", lambda: workshop.patch(old, new), "nowhere")


def test_a_symbol_of_a_needed_library_is_imported_from_there(programs: Workshop) -> None:
    patch = programs.patch(OLD, "#include <stdlib.h>\nint work(int x) { return rand() + x; }", MAIN)
    (reference,) = patch.manifest.references
    assert (reference.symbol, reference.kind, reference.library) == ("rand", "import", "libc.so.6")
    assert str(reference.version).startswith("GLIBC_2.")


def test_local_functions_of_one_name_are_told_apart_by_their_file(programs: Workshop) -> None:
    unit = "static int __attribute__((noinline)) same(int x) { return x * %d; } int %s(int x) { return same(x) + %d; }"
    patch = programs.patch(unit % (3, "work", 1), unit % (5, "work", 2), unit % (3, "rest", 1), MAIN)
    assert names(patch) == ["same", "work"]


def test_objects_of_link_time_optimisation_are_refused(workshop: Workshop) -> None:
    old, new = OLD, NEW
    request = workshop.request(old, new)
    slim = dataclasses.replace(request, new_objects=[str(workshop.object(new, "-flto"))])
    refused("lto_objects", lambda: pipeline.build(slim))


def test_a_target_of_link_time_optimisation_is_refused(programs: Workshop) -> None:
    old, new = (f"int __attribute__((noinline)) {each[4:]}" for each in (OLD, NEW))
    request = programs.request(old, new, MAIN)
    target = programs.link(
        programs.object(old, "-flto"), programs.object(MAIN, "-flto"), flags=("-flto", "-g")
    )
    patch = programs.folder / "patch.c"
    patch.write_text(NEW)
    manual = dataclasses.replace(request, patch_source=str(patch), old_objects=(), new_objects=())
    for each in (request, manual):
        refused(
            "lto_objects", functools.partial(pipeline.build, dataclasses.replace(each, target=str(target)))
        )


def test_data_of_a_library_that_the_target_never_used_is_out_of_reach(tmp_path: Path) -> None:
    """x86_64 code for executables wants it near by; with -fPIC it goes through a slot."""
    new = "#include <stdio.h>\nint work(int x) { return x * 300 + (stderr != 0); }"
    for name, flags, accepted in (("near", "-fno-pie", False), ("slot", "-fPIC", True)):
        workshop = Workshop(tmp_path / name, X86_64, (flags,), ("-no-pie",))
        if accepted:
            assert workshop.patch(OLD, new, MAIN)
        else:
            refused("relocation_overflow", functools.partial(workshop.patch, OLD, new, MAIN), "stderr")


def test_objects_of_another_architecture_are_refused(tmp_path: Path) -> None:
    old, new = OLD, NEW
    (tmp_path / "64").mkdir()
    (tmp_path / "32").mkdir()
    wide, narrow = Workshop(tmp_path / "64", X86_64), Workshop(tmp_path / "32", I386)
    request = dataclasses.replace(wide.request(old, new), target=narrow.request(old, new).target)
    refused("wrong_architecture", lambda: pipeline.build(request), "x86_64", "i386")


def test_an_x32_object_is_refused(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, X86_64)
    request = workshop.request(OLD, NEW)
    mixed = workshop.object("int work(int x) { return x; }", "-mx32")
    refused("x32", lambda: pipeline.build(dataclasses.replace(request, old_objects=[str(mixed)])))


def test_a_target_without_symbols_is_refused_and_debuginfo_helps(workshop: Workshop) -> None:
    request = workshop.request(
        "static int n; int work(int x) { return n += x; }", "static int n; int work(int x) { return n -= x; }"
    )
    whole = pipeline.build(request)
    debuginfo = request.target + ".debug"
    subprocess.run(["objcopy", "--only-keep-debug", request.target, debuginfo], check=True)
    subprocess.run(["strip", request.target], check=True)
    refused("no_debug_info", lambda: pipeline.build(request), ".symtab")
    assert pipeline.build(dataclasses.replace(request, debuginfo=debuginfo)) == whole


def test_without_dwarf_anywhere_is_refused(workshop: Workshop) -> None:
    old, new = OLD, NEW
    request = workshop.request(old, new, flags=("-g0",))
    refused("no_debug_info", lambda: pipeline.build(request))


def test_debuginfo_of_another_build_is_refused(workshop: Workshop) -> None:
    old, new = OLD, NEW
    request = workshop.request(old, new)
    other = workshop.request(old.replace("x;", "x * 9;"), new).target
    refused("build_id_mismatch", lambda: pipeline.build(dataclasses.replace(request, debuginfo=other)))


def test_functions_that_share_a_section_are_refused(workshop: Workshop) -> None:
    both = "int rest(int x) { return x; } int work(int x) { return x + %d; }"
    refused(
        "needs_function_sections", lambda: workshop.patch(both % 1, both % 2, flags=("-fno-function-sections",)), "rest"
    )  # fmt: skip


def test_objects_without_unwind_tables_are_refused(workshop: Workshop) -> None:
    old, new = OLD, NEW
    flags = ("-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fno-exceptions")
    refused("no_unwind_tables", lambda: workshop.patch(old, new, flags=flags))


def test_objects_of_different_sources_do_not_pair(workshop: Workshop) -> None:
    old, new = OLD, NEW
    request = dataclasses.replace(
        workshop.request(old, new), new_objects=[str(workshop.object(new, name="else.c"))]
    )
    refused("objects_do_not_pair", lambda: pipeline.build(request), "unit.c", "else.c")
    request = dataclasses.replace(request, new_objects=[])
    with pytest.raises(Exception, match="go together"):
        pipeline.build(request)
