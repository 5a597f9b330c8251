# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""References are bound as ld.so binds them: the process itself says what it sees."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from livepatch.artifact.manifest import Reference
from livepatch.errors import Refused
from livepatch.loading.resolve import resolve
from livepatch.process import snapshot
from tests.harness import toolchain

LIBRARY = """
int shared = 1;
int interposed(void) { return 1; }
int taken(void) { return 2; }
int only_here(void) { return 3; }
int first(void) { return 4; }
int second(void) { return 5; }
__asm__(".symver first, versioned@ONE");
__asm__(".symver second, versioned@@TWO");
static int pick_me(void) { return 6; }
static void *pick(void) { return pick_me; }
int indirect(void) __attribute__((ifunc("pick")));
static void *pick_too(void) { return pick_me; }
int nobodys(void) __attribute__((ifunc("pick_too")));
static void *pick_here(void) { return pick_me; }
int used_here(void) __attribute__((ifunc("pick_here"), visibility("protected")));
int uses_it(void) { return used_here() + 1; }
__thread int of_the_thread = 7;
"""
PLUGIN = "extern int only_dependency(void); int plugin(void) { return only_dependency(); }"
DEPENDENCY = "int only_dependency(void) { return 1; }"
OTHER = "int only_other(void) { return 1; }"

PROGRAM = """
#define _GNU_SOURCE
#include "protocol.h"
#include <dlfcn.h>
extern int shared, taken(void), versioned(void), only_here(void), indirect(void);
int interposed(void) { return 10; }
int (*volatile kept)(void) = taken;
int main(int argc, char **argv)
{
    void *plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL), *other = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
    CHECK(plugin && other && versioned() == 5 && only_here() == 3);
    say("ready");
    for (;;) {
        const char *line = hear(), *name = after(line, "address");
        if (!name) {
            /* the C library for i386 calls none of its own indirect functions: a slot is the program's */
            char room[100];
            memcpy(room, line, strlen(line) + 1);
            memset(room + 50, 0, 50);
            strcpy(room + 50, strchr(room, 'c'));
            say("%d", memcmp(room, room + 50, 5) ? 0 : indirect());
            continue;
        }
        void *found = !strcmp(name, "shared") ? (void *)&shared
                    : !strcmp(name, "taken") ? (void *)kept
                    : !strcmp(name, "old") ? dlvsym(RTLD_DEFAULT, "versioned", "ONE")
                    : !strcmp(name, "only_dependency") ? dlsym(plugin, name)
                    : dlsym(RTLD_DEFAULT, name);
        say("%lx", (unsigned long)found);
    }
}
"""


@pytest.fixture(params=["non_pie", "pie"])
def process(request, cpu, start, tmp_path):
    """A program with a library and two plugins, non-PIC (copy relocation, PLT entry as address) or PIE."""
    bits = toolchain.BITS[cpu.name]

    def build(name, text, *flags, inputs=()):
        source = tmp_path / f"{name}.c"
        source.write_text(text)
        return toolchain.gcc(
            source, *inputs, flags=(bits, "-w", *flags), name=f"{name}{'.so' if '-shared' in flags else ''}"
        )

    versions = toolchain.PROGRAMS / "binder.map"
    shared = ("-shared", "-fPIC")
    library = build("libversions", LIBRARY, *shared, f"-Wl,--version-script={versions}")
    dependency = build("libdependency", DEPENDENCY, *shared)
    plugin = build("plugin", PLUGIN, *shared, inputs=[dependency])
    other = build("other", OTHER, *shared)
    program = build(
        "binder", PROGRAM, *toolchain.EXECUTABLES[request.param], "-rdynamic", "-ldl", "-Wl,-z,lazy", "-fno-builtin",
        inputs=[library],
    )
    return start(program, plugin, other)


def found(process, name, version=None, target="binder"):
    artifact = SimpleNamespace(
        elf=SimpleNamespace(symbols=list),
        manifest=SimpleNamespace(references=(Reference(name, "import", 0, version, None),)),
    )
    with snapshot.take(process.pid) as seen:
        image = next(each for each in seen.images if each.name == target)
        return f"{resolve(artifact, image, seen)[name]:x}"


ORDINARY = ["shared", "interposed", "taken", "only_here", "versioned", "printf"]
INDIRECT = ["memcpy", "memset", "memcmp", "strlen", "strcpy", "strchr", "used_here"]


@pytest.mark.parametrize("name", ORDINARY + INDIRECT)
@pytest.mark.parametrize("target", ["binder", "libversions.so"])
def test_a_name_is_bound_as_the_process_sees_it(process, name, target):
    assert process.ask("call") == "6"
    assert found(process, name, target=target) == process.ask(f"address {name}")


def test_a_version_is_honoured(process):
    assert found(process, "versioned", "ONE") == process.ask("address old")
    assert found(process, "versioned", "TWO") == process.ask("address versioned")
    with pytest.raises(Refused, match="versioned of version THREE"):
        found(process, "versioned", "THREE")


def test_a_plugin_sees_its_dependency_and_the_program_does_not(process):
    assert found(process, "only_dependency", target="plugin.so") == process.ask("address only_dependency")
    with pytest.raises(Refused, match="only_dependency is defined by none of binder"):
        found(process, "only_dependency")


def test_what_another_plugin_keeps_for_itself_is_not_found(process):
    for target in ("binder", "plugin.so"):
        with pytest.raises(Refused, match="only_other"):
            found(process, "only_other", target=target)


def test_an_indirect_function_is_what_a_slot_says_once_it_was_called(process):
    """The library never calls it, the program does; before its first call the slot leads back to the PLT."""
    with pytest.raises(Refused, match="the process shows nothing") as refusal:
        found(process, "indirect")
    assert refusal.value.reason == "unsupported_relocation"
    assert process.ask("call") == "6"
    for target in ("binder", "libversions.so"):
        assert found(process, "indirect", target=target) == process.ask("address indirect")


@pytest.mark.parametrize("name", ["nobodys", "of_the_thread"])
def test_what_no_slot_tells_and_what_is_thread_local_is_refused_by_name(process, name):
    with pytest.raises(Refused, match=name) as refusal:
        found(process, name)
    assert refusal.value.reason == "unsupported_relocation"
