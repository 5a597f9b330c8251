# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small pure parts of the builder: instructions, layouts in words, requests."""

from __future__ import annotations

import dataclasses

import pytest

from livepatch.artifact.manifest import Relation
from livepatch.build import instructions, limits
from livepatch.build.assemble import VERSION
from livepatch.build.debug_info import Unit
from livepatch.build.request import BuildRequest, relation_of
from livepatch.cpu import I386, X86_64, Cpu
from livepatch.errors import Refused, UsageError
from tests.harness import toolchain


def test_a_field_knows_where_its_instruction_ends() -> None:
    code = bytes.fromhex("c7050000000005000000e800000000c3")  # movl $5, x(%rip); call f; ret
    found = instructions.holders(X86_64, code, [2, 11, 15])
    assert (found[2].end - 2, found[2].branch) == (8, False)
    assert (found[11].end - 11, found[11].branch) == (4, True)
    assert found[15].mnemonic == "ret"


def test_a_call_through_a_slot_is_a_call(cpu: Cpu) -> None:
    code = bytes.fromhex("ff1500000000")
    (call,) = instructions.holders(cpu, code, [2]).values()
    assert call.branch and instructions.direct_destination(call) is None
    (jump,) = instructions.decode(cpu, bytes.fromhex("e9fb000000"), 0x1000)
    assert instructions.direct_destination(jump) == 0x1100


@pytest.mark.parametrize(
    "code, padding",
    [
        ("90", True),
        ("cccccc", True),
        ("660f1f440000", True),
        ("6690", True),
        ("9090c3", False),
        ("0f1f", False),
    ],
)
def test_padding_is_whole_no_ops_alone(cpu: Cpu, code: str, padding: bool) -> None:
    assert instructions.is_padding(cpu, bytes.fromhex(code)) is padding


@pytest.mark.parametrize("code", ["8d7600", "8db42600000000", "8dbc2700000000", "89f6"])
def test_moves_of_a_register_to_itself_are_padding_in_32_bit_code_only(cpu: Cpu, code: str) -> None:
    assert instructions.is_padding(cpu, bytes.fromhex(code)) is (cpu.word == 4)
    assert not instructions.is_padding(cpu, bytes.fromhex("8d7601"))  # lea 1(%esi), %esi


def units(before: dict[str, set[str]], after: dict[str, set[str]]) -> tuple[Unit, Unit]:
    return Unit("a.c", "", False, types=before), Unit("a.c", "", False, types=after)


def test_the_first_layout_that_differs_is_named_with_what_differs() -> None:
    old = {"struct b": {"8 bytes {x @0 int:5:4; y @4 int:5:4}"}, "struct a": {"4 bytes {x @0 int:5:4}"}}
    new = {"struct b": {"8 bytes {x @0 int:5:4; z @4 int:5:4}"}, "struct a": {"4 bytes {x @0 int:5:4}"}}
    with pytest.raises(Refused) as caught:
        limits.check_layouts(*units(old, new))
    assert caught.value.reason == "layout_changed"
    assert "struct b: y @4 int became z @4 int" in caught.value.what


def test_types_that_come_or_go_change_nothing_that_exists() -> None:
    limits.check_layouts(*units({"struct old": {"4 bytes {}"}}, {"struct new": {"8 bytes {}"}}))


def test_local_types_of_one_name_are_compared_as_a_set() -> None:
    limits.check_layouts(*units({"struct a": {"4 bytes {}"}}, {"struct a": {"4 bytes {}", "8 bytes {}"}}))
    with pytest.raises(Refused):
        limits.check_layouts(*units({"struct a": {"4 bytes {}", "8 bytes {}"}}, {"struct a": {"4 bytes {}"}}))


def test_a_constness_that_changed_is_a_change_of_data() -> None:
    old, new = (Unit("a.c", "", False, variables={"n": {text}}) for text in ("int:5:4", "const int:5:4"))
    with pytest.raises(Refused) as caught:
        limits.check_variables(old, new)
    assert caught.value.reason == "data_changed" and "int became const int" in caught.value.what


def test_relations_are_a_name_and_perhaps_a_version() -> None:
    assert relation_of("base") == Relation("base", None)
    assert relation_of("base=1.2") == Relation("base", "1.2")
    for text in ("", "=1", "a=b=c", "a b"):
        with pytest.raises(UsageError):
            relation_of(text)


REQUEST = BuildRequest("target", "fix", "1", old_objects=["a.o"], new_objects=["b.o"])


@pytest.mark.parametrize(
    "changes",
    [
        {"new_objects": []},
        {"old_objects": [], "new_objects": []},
        {"patch_source": "fix.c"},
        {"old_objects_noline": ["a.o"]},
        {"cflags": ["-O1"]},
        {"requires": ["a=b=c"]},
    ],
)
def test_a_request_that_makes_no_sense_is_wrong_usage(changes: dict[str, object]) -> None:
    REQUEST.check()
    with pytest.raises(UsageError):
        dataclasses.replace(REQUEST, **changes).check()


def test_both_architectures_have_landing_pads_of_one_length() -> None:
    assert len(X86_64.endbr) == len(I386.endbr) == 4


def test_artifacts_say_the_version_of_this_collection() -> None:
    galaxy = (toolchain.REPOSITORY / "galaxy.yml").read_text()
    assert f"\nversion: {VERSION}\n" in galaxy
