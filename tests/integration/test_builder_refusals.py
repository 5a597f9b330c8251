# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the builder refuses, each beside its nearest neighbour that it accepts."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from livepatch.artifact.file import Artifact
from livepatch.build import pipeline
from livepatch.cpu import I386, X86_64, Cpu
from livepatch.errors import Refused
from tests.harness.workshop import MAIN, Workshop


@pytest.fixture
def workshop(tmp_path: Path, cpu: Cpu) -> Workshop:
    """Builds shared libraries of -fPIC objects."""
    return Workshop(tmp_path / "libraries", cpu)


@pytest.fixture
def programs(tmp_path: Path, cpu: Cpu) -> Workshop:
    """Builds relocatable objects into programs whose functions see each other."""
    return Workshop(tmp_path / "programs", cpu, ("-fno-pie",), ("-no-pie",))


OLD = "int work(int x) { return x * 300 + 1; }"
NEW = "int work(int x) { return x * 300 + 2; }"


def names(artifact: Artifact) -> list[str]:
    return [each.name for each in artifact.manifest.functions]


def refused(reason: str, build: object, *words: str) -> None:
    """The call raises Refused with this reason and a message that has these words."""
    with pytest.raises(Refused) as caught:
        build()  # type: ignore[operator]
    assert caught.value.reason == reason, caught.value
    for word in words:
        assert word in caught.value.what


def test_nothing_changed_is_refused(workshop: Workshop) -> None:
    source = "int work(int x) { return x + 1; }"
    refused("nothing_changed", lambda: workshop.patch(source, "\n\n" + source))


def test_a_line_number_is_no_change_where_the_noline_pair_says_so(workshop: Workshop) -> None:
    old = "int work(int x) { return x + 1; }\nint line(void) { return __LINE__; }"
    new = "int work(int x)\n{ return x + 2; }\nint line(void) { return __LINE__; }"
    assert names(workshop.patch(old, new)) == ["line", "work"]
    noline = [str(workshop.object(each, "-D__LINE__=0", "-Wno-builtin-macro-redefined")) for each in (old, new)]
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


def test_a_function_that_the_target_does_not_have_is_refused(workshop: Workshop) -> None:
    request = workshop.request(OLD, NEW)
    other = workshop.link(workshop.object("int rest(int x) { return x; }"))
    refused("symbol_not_found", lambda: pipeline.build(dataclasses.replace(request, target=str(other))), "work")


def test_a_symbol_that_nobody_defines_is_refused(workshop: Workshop) -> None:
    old = OLD
    new = "int nowhere(int); int work(int x) { return nowhere(x); }"
    refused("symbol_not_found", lambda: workshop.patch(old, new), "nowhere")


def test_a_symbol_of_a_needed_library_is_imported_from_there(programs: Workshop) -> None:
    patch = programs.patch(OLD, "#include <stdlib.h>\nint work(int x) { return rand() + x; }", MAIN)
    (reference,) = patch.manifest.references
    assert (reference.symbol, reference.kind, reference.library) == ("rand", "import", "libc.so.6")
    assert str(reference.version).startswith("GLIBC_2.")


STATIC = "static int __attribute__((noinline)) helper(int x) { return x * %s; }\n"


def test_a_caller_that_stays_may_rely_on_a_private_convention(programs: Workshop) -> None:
    caller = "int work(int x) { return helper(x) + helper(x + 1); }"
    refused("private_abi", lambda: programs.patch(STATIC % 3 + caller, STATIC % 5 + caller, MAIN), "work", "helper")


def test_a_caller_that_changes_too_is_proven(programs: Workshop) -> None:
    caller = "int work(int x) { return helper(x) + helper(x + %d); }"
    patch = programs.patch(STATIC % 3 + caller % 1, STATIC % 5 + caller % 2, MAIN)
    assert names(patch) == ["helper", "work"]
    assert patch.manifest.write_order == (1, 0)  # the caller first


GLOBAL = "int __attribute__((noinline)) helper(int x) { return x * %s; }\n"


def test_a_caller_through_an_interposable_symbol_is_proven(workshop: Workshop, programs: Workshop) -> None:
    caller = "int work(int x) { return helper(x) + helper(x + 1); }"
    assert names(workshop.patch(GLOBAL % 3 + caller, GLOBAL % 5 + caller)) == ["helper"]
    for flag in ("-fvisibility=hidden", "-fno-semantic-interposition"):
        refused("private_abi", lambda: workshop.patch(GLOBAL % 3 + caller, GLOBAL % 5 + caller, flags=(flag,)))
    refused("private_abi", lambda: programs.patch(GLOBAL % 3 + caller, GLOBAL % 5 + caller, MAIN))


def test_a_caller_in_another_unit_is_proven(programs: Workshop) -> None:
    assert names(programs.patch(GLOBAL % 3, GLOBAL % 5, "int helper(int); int work(int x) { return helper(x); }", MAIN)) == [
        "helper"
    ]


def test_new_code_may_call_a_local_function_that_stays_the_same(programs: Workshop) -> None:
    caller = "int work(int x) { return helper(x) + helper(x + %d); }\nint rest(int x) { return helper(x); }"
    patch = programs.patch(STATIC % 3 + caller % 1, STATIC % 3 + caller % 2, MAIN)
    assert names(patch) == ["work"]
    assert [(each.symbol, each.kind) for each in patch.manifest.references] == [("helper", "target")]


def test_a_static_signature_that_changes_with_its_callers_is_written_last(programs: Workshop) -> None:
    old = "static int __attribute__((noinline)) pair(int x) { return x * 7; }\nint work(int x) { return pair(x); }"
    new = "static int __attribute__((noinline)) pair(int x, int y) { return x * y; }\nint work(int x) { return pair(x, x + 2); }"
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
    refused("prototype_differs", lambda: workshop.patch(taken % old[4:], taken % new[4:]), "its address is taken")


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
    patch = programs.patch("#define FACTOR 3\n" + unit, "#define FACTOR 5\n" + unit, "int work(int x) { return x; }", MAIN)
    assert names(patch) == ["twice"]


def test_inlined_callers_follow_by_themselves(workshop: Workshop) -> None:
    caller = "int work(int x) { return twice(x) + 1; }"
    assert names(workshop.patch(INLINE % 3 + caller, INLINE % 5 + caller)) == ["work"]


def test_data_that_differs_is_refused(workshop: Workshop) -> None:
    old = "static int state = 3; int work(int x) { return state += x; }"
    refused("data_changed", lambda: workshop.patch(old, old.replace("= 3", "= 4").replace("+= x", "-= x")), "state", "value")
    refused("data_changed", lambda: workshop.patch(old, old.replace("int state", "long long state")), "state", "size")
    unsigned = old.replace("int state", "unsigned state").replace("+= x", "-= x")
    refused("data_changed", lambda: workshop.patch(old, unsigned), "state", "type")
    table = "const char *const words[] = {\"one\", \"two\"}; const char *work(int x) { return words[x %s 1]; }"
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


STRUCT = "struct point { int x; %s int y; }; enum colour { red, %s green }; int work(struct point *p, enum colour c) { return p->y + c + %d; }"


def test_a_layout_that_changed_is_refused_by_name(workshop: Workshop) -> None:
    old = STRUCT % ("", "", 1)
    refused("layout_changed", lambda: workshop.patch(old, STRUCT % ("int z;", "", 2)), "struct point")
    refused("layout_changed", lambda: workshop.patch(old, STRUCT % ("", "yellow,", 2)), "enum colour")
    assert names(workshop.patch(old, STRUCT % ("", "", 2))) == ["work"]


def test_a_typedef_of_another_size_is_refused(workshop: Workshop) -> None:
    old = "typedef int number; number work(number *x) { return x[3] + 1; }"
    refused("layout_changed", lambda: workshop.patch(old, old.replace("typedef int", "typedef short")), "typedef number")


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
    refused("private_abi", lambda: programs.patch(old, CLONED % ("static", 1, 2, 1, 1), REST, MAIN), "scaled.constprop.0")
    assert names(programs.patch(old, CLONED % ("static", 1, 2, 2, 2), REST, MAIN)) == ["one", "scaled.constprop.0", "two"]


def test_a_clone_left_behind_is_refused(programs: Workshop) -> None:
    flags = ("-O3", "--param=ipa-cp-eval-threshold=1")  # eager to clone what others may call, too
    versions = (CLONED % ("", each, 1, 1, 1) for each in (1, 2))
    refused("copies_remain", lambda: programs.patch(*versions, REST, MAIN, flags=flags), "scaled.constprop.0")


def test_thread_local_variables_are_refused(workshop: Workshop) -> None:
    old = "static __thread int mine; int work(int x) { return mine += x; }"
    refused("unsupported_relocation", lambda: workshop.patch(old, old.replace("+= x", "-= x")))


def test_indirect_functions_are_refused(workshop: Workshop) -> None:
    chosen = "static int one(int x) { return x; } static void *choose(void) { return one; }\n"
    unit = chosen + "__attribute__((visibility(\"hidden\"))) int indirect(int) __attribute__((ifunc(\"choose\")));\n"
    old = OLD
    new = "__attribute__((visibility(\"hidden\"))) int indirect(int); int work(int x) { return indirect(x); }"
    refused("unsupported_relocation", lambda: workshop.patch(old, new, unit), "indirect")


def test_a_function_without_room_for_a_jump_is_refused(programs: Workshop) -> None:
    tight = "-falign-functions=1", "-fcf-protection=none"
    refused(
        "function_too_short", lambda: programs.patch("void work(void) { }", "int y; void work(void) { y++; }", MAIN, flags=tight)
    )  # fmt: skip


def test_padding_behind_a_short_function_counts(programs: Workshop) -> None:
    old = "void work(void) { }\nint rest(int x) { return x; }"
    new = "int y; void work(void) { y++; }\nint rest(int x) { return x; }"
    patch = programs.patch(old, new, MAIN, flags=("-falign-functions=16",))
    assert patch.manifest.functions[0].ranges[0].size >= 5


def test_local_functions_of_one_name_are_told_apart_by_their_file(programs: Workshop) -> None:
    unit = "static int __attribute__((noinline)) same(int x) { return x * %d; } int %s(int x) { return same(x) + %d; }"
    patch = programs.patch(unit % (3, "work", 1), unit % (5, "work", 2), unit % (3, "rest", 1), MAIN)
    assert names(patch) == ["same", "work"]


def test_objects_of_link_time_optimisation_are_refused(workshop: Workshop) -> None:
    old, new = OLD, NEW
    request = workshop.request(old, new)
    slim = dataclasses.replace(request, new_objects=[str(workshop.object(new, "-flto"))])
    refused("lto_objects", lambda: pipeline.build(slim))


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
    request = workshop.request("static int n; int work(int x) { return n += x; }", "static int n; int work(int x) { return n -= x; }")
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
    request = dataclasses.replace(workshop.request(old, new), new_objects=[str(workshop.object(new, name="else.c"))])
    refused("objects_do_not_pair", lambda: pipeline.build(request), "unit.c", "else.c")
    request = dataclasses.replace(request, new_objects=[])
    with pytest.raises(Exception, match="go together"):
        pipeline.build(request)


THROWS = """
struct Guard { ~Guard(); }; void may(int); 
extern "C" int work(int x) { Guard guard; may(x); return x + %d; }
"""


def test_code_that_takes_part_in_exceptions_is_refused(workshop: Workshop) -> None:
    plain = 'extern "C" int work(int x) { return x + %d; }'
    calls = 'void may(int); extern "C" int work(int x) { may(x); return x + %d; }'
    for source, accepted in ((THROWS, False), (calls, False), (plain, True)):
        objects = [workshop.object(source % each, name="unit.cc") for each in (1, 2)]
        rest = workshop.object("struct Guard { ~Guard(); }; Guard::~Guard() {} void may(int) {}", name="rest.cc")
        target = workshop.link(objects[0], rest)
        request = workshop.request("int a(int x) { return x; }", "int a(int x) { return x; }")
        request = dataclasses.replace(
            request, target=str(target), old_objects=[str(objects[0])], new_objects=[str(objects[1])]
        )
        if accepted:
            assert pipeline.build(request)
        else:
            refused("throws_through", lambda request=request: pipeline.build(request))
