# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reference is bound to, over link maps made of plain data."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from livepatch.artifact.manifest import Reference
from livepatch.elf import (
    ET_DYN,
    ET_EXEC,
    SHN_ABS,
    STB_GLOBAL,
    STB_WEAK,
    STT_FUNC,
    STT_TLS,
    Malformed,
)
from livepatch.elf.symbols import Symbol
from livepatch.errors import Refused
from livepatch.loading.resolve import resolve, search_scope


def symbol(name, value=0x10, kind=STT_FUNC, section=1, version=None, binding=STB_GLOBAL):
    return Symbol(name, value, 0, kind, binding, 0, section, version, 1)


class Library:
    """An image as resolving sees it: a name, what it needs, what it defines."""

    def __init__(self, name, *symbols, needs=(), base=0, kind=ET_DYN, soname=None):
        self.name = name
        self.type = kind
        self.start, self.end = base, base + 0x10000
        self.loaded = self
        self.soname = soname
        self.needed = tuple(needs)
        self._symbols = symbols

    def memory_address(self, address):
        return self.start + address & 0xFFFFFFFFFFFFFFFF

    def symbols(self):
        return list(self._symbols)

    def lookup(self, name, version=None):
        for each in self._symbols:
            if (
                each.name == name
                and each.defined
                and version in (None, each.version, *[version] * (each.version is None))
            ):
                return each
        return None


def reference(name, kind="import", address=0, version=None):
    return Reference(name, kind, address, version, None)


def resolved(references, link_map, target, weak=()):
    undefined = [
        symbol(each.symbol, section=0, binding=STB_WEAK if each.symbol in weak else STB_GLOBAL)
        for each in references
    ]
    artifact = SimpleNamespace(
        elf=SimpleNamespace(symbols=lambda: undefined), manifest=SimpleNamespace(references=references)
    )
    return resolve(artifact, target, SimpleNamespace(link_map=link_map, linking=False))


def reason(*arguments):
    with pytest.raises(Refused) as refusal:
        resolved(*arguments)
    return refusal.value


def names(images):
    return [image.name for image in images]


def test_the_global_scope_is_the_program_with_what_was_preloaded_and_what_it_needs():
    libc = Library("libc.so.6", needs=["ld.so"])
    link_map = [
        Library("program", needs=["libc.so.6"]), Library("preload.so"), libc, Library("ld.so"), Library("plugin.so"),
    ]  # fmt: skip
    assert names(search_scope(link_map, libc)) == ["program", "preload.so", "libc.so.6", "ld.so"]


def test_a_dlopened_target_sees_what_it_needs_and_no_other_plugin():
    plugin = Library("plugin.so", needs=["libp.so.1", "libc.so.6"])
    link_map = [
        Library("program", needs=["libc.so.6"]), Library("libc-2.36.so", soname="libc.so.6"),
        Library("other.so"), plugin, Library("libp.so.1.2", soname="libp.so.1", needs=["libq.so"]), Library("libq.so"),
    ]  # fmt: skip
    assert names(search_scope(link_map, plugin)) == [
        "program",
        "libc-2.36.so",
        "plugin.so",
        "libp.so.1.2",
        "libq.so",
    ]


def test_libraries_that_need_each_other_are_listed_once():
    one, two = Library("one", needs=["two"]), Library("two", needs=["one"])
    assert names(search_scope([Library("program", needs=["one"]), one, two], one)) == [
        "program",
        "one",
        "two",
    ]


def test_a_needed_path_is_known_by_its_last_part():
    link_map = [Library("program", needs=["/opt/x/libx.so"]), Library("libx.so")]
    assert names(search_scope(link_map, link_map[0])) == ["program", "libx.so"]


def test_a_target_reference_is_moved_by_the_bias():
    target = Library("program", base=0x555555554000)
    assert resolved([reference("f", "target", 0x123)], [target], target) == {"f": 0x555555554123}


def test_a_target_reference_outside_of_the_target_is_refused():
    target = Library("program", base=0x555555554000)
    assert reason([reference("f", "target", 0x10001)], [target], target).reason == "artifact_malformed"


def test_the_first_definition_in_link_map_order_wins():
    program = Library("program", symbol("f", 1), needs=["liba"], base=0x1000000)
    liba = Library("liba", symbol("f", 2), symbol("g", 3), base=0x2000000)
    assert resolved([reference("f"), reference("g")], [program, liba], liba) == {
        "f": 0x1000001,
        "g": 0x2000003,
    }


def test_an_absolute_symbol_is_not_moved():
    liba = Library("liba", symbol("f", 7, section=SHN_ABS), base=0x2000000)
    assert resolved([reference("f")], [Library("program", needs=["liba"]), liba], liba) == {"f": 7}


def test_a_name_with_its_version_inside_is_looked_up_without_it():
    liba = Library("liba", symbol("f", 2, version="V1"), base=0x2000000)
    link_map = [Library("program", needs=["liba"]), liba]
    assert resolved([reference("f@V1", version="V1")], link_map, liba) == {"f@V1": 0x2000002}


def test_a_plt_entry_that_stands_for_a_function_is_its_address():
    program = Library("program", symbol("f", 0x401030, section=0, version="V1"), needs=["liba"], kind=ET_EXEC)
    liba = Library("liba", symbol("f", 2, version="V1"), base=0x2000000)
    link_map = [program, liba]
    assert resolved([reference("f", version="V1")], link_map, program) == {"f": 0x401030}
    assert resolved([reference("f")], link_map, program) == {"f": 0x401030}


def test_an_undefined_symbol_of_a_position_independent_program_is_no_address():
    program = Library("program", symbol("f", 0x1030, section=0), needs=["liba"], kind=ET_DYN)
    liba = Library("liba", symbol("f", 2), base=0x2000000)
    assert resolved([reference("f")], [program, liba], program) == {"f": 0x2000002}


def test_what_nobody_defines_is_refused_unless_it_is_weak():
    program = Library("program")
    refusal = reason([reference("f", version="V2")], [program], program)
    assert refusal.reason == "symbol_not_found"
    assert "f of version V2" in refusal.what and "program" in refusal.what
    assert resolved([reference("f")], [program], program, ("f",)) == {}


def test_thread_local_definitions_and_references_are_refused():
    program = Library("program", symbol("f", kind=STT_TLS))
    assert reason([reference("f")], [program], program).reason == "unsupported_relocation"
    assert reason([reference("f", "tls")], [program], program).reason == "unsupported_relocation"


def test_without_a_link_map_only_the_target_can_be_referred_to():
    program = Library("program")
    assert resolved([reference("f", "target", 5)], None, program) == {"f": 5}
    assert reason([reference("f")], None, program).reason == "symbol_not_found"


def test_unreadable_symbols_are_refused():
    class Broken(Library):
        def lookup(self, name, version=None):
            raise Malformed("torn")

    program = Broken("program")
    assert reason([reference("f")], [program], program).reason == "symbol_not_found"
