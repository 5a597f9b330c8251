# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning is pure: facts in, a complete plan or a refusal with a name out. No process is needed."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from livepatch.apply import ledger, plan
from livepatch.cpu import Cpu
from livepatch.errors import Refused
from livepatch.tracee.check import Watched
from tests.planning import ANSWER, BIAS, CHECK, COLD, GAP, STAMP, Target, bytes_of_code, ours


@pytest.fixture
def target(cpu: Cpu) -> Target:
    return Target(cpu)


# What a plan says


def test_a_plan_says_where_each_jump_goes_and_what_stands_there(target):
    found = target.plan()
    bias = BIAS[target.cpu.name]
    assert [(jump.name, jump.address - bias) for jump in found.jumps] == [
        ("check", CHECK),
        ("answer", ANSWER),
    ]
    assert [jump.old for jump in found.jumps] == [target.file[CHECK][:5], target.file[ANSWER][:5]]
    for jump, symbol in zip(found.jumps, ("new_check", "new_answer_thunk")):
        entry = found.linked.functions[symbol]
        assert target.cpu.decode_jump(jump.new, jump.address) == entry
        # The jump's field by hand: E9 and the distance from its end (SDM volume 2, "JMP").
        assert jump.new == b"\xe9" + (entry - jump.address - 5 & 0xFFFFFFFF).to_bytes(4, "little")


def test_nobody_may_be_in_any_range_of_a_replaced_function(target):
    bias = BIAS[target.cpu.name]
    found = [(each.name, each.start - bias, each.end - each.start) for each in target.plan().watched]
    assert sorted(found) == sorted([("check", CHECK, 96), ("check", COLD, 16), ("answer", ANSWER, 32)])


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_jumps_are_written_in_the_order_that_the_builder_proved(target, order):
    target.document["write_order"] = order
    found = target.plan()
    names = [target.document["functions"][index]["name"] for index in order]
    assert found.functions == names
    assert [site.name for site in found.ledger.record.sites] == names


def test_the_data_begins_with_the_ledger_of_this_plan_and_keeps_its_own_values(target):
    found = target.plan()
    text, data = GAP[target.cpu.name]
    read = ledger.decode(found.data, (data, data + found.layout.data_span))
    assert read == found.ledger
    assert read.state == ledger.LOADED
    assert read.text == (text, found.layout.text_span)
    assert read.data == (data, found.layout.data_span)
    encoded = len(read.raw)
    assert encoded <= found.layout.ledger_size
    assert found.data[found.layout.ledger_size :] == found.linked.data[found.layout.ledger_size :]


def test_the_ledger_says_all_that_a_later_revert_needs(target):
    record = target.plan(
        installed=[ours(target, name="base-fix")],
    ).ledger.record
    bias = BIAS[target.cpu.name]
    assert (record.by, record.at, record.comment) == (STAMP.by, STAMP.at, STAMP.comment)
    assert record.artifact == target.artifact().id
    assert record.target == {
        key: target.document["target"][key] for key in ("build_id", "text_sha256", "name")
    }
    assert record.conflicts == target.document["conflicts"]
    assert record.supersedes == target.document["supersedes"]
    check = record.sites[0]
    assert check.ranges == [
        {**part, "address": part["address"] + bias} for part in target.document["functions"][0]["ranges"]
    ]
    assert check.text_relocations == target.document["functions"][0]["text_relocations"]
    assert check.file == "src/check.c"


def test_the_same_facts_give_the_same_plan(target):
    assert target.plan() == target.plan()


def test_the_gap_is_looked_for_once_with_the_final_sizes(target):
    asked = []

    def find_gap(layout):
        asked.append(layout)
        return GAP[target.cpu.name]

    found = target.plan(find_gap=find_gap)
    assert asked == [found.layout]


def test_what_only_a_stop_can_show_is_passed_on(target):
    assert list(target.plan().unproven) == ["function_on_stack"]


def test_a_refusal_of_the_place_is_passed_on(target):
    def find_gap(layout):
        raise Refused("no_memory_in_reach", "all full")

    assert target.refusal(find_gap=find_gap)[0] == "no_memory_in_reach"


# The code that stands there


@pytest.mark.parametrize(
    ("address", "at", "name"), [(CHECK, 13, "check"), (COLD, 5, "check"), (ANSWER, 13, "answer")]
)
def test_code_that_differs_in_memory_is_named_with_its_first_difference(target, address, at, name):
    target.write(address, at, b"\xcc")
    before, after = target.file[address][at : at + 8], target.memory[address][at : at + 8]
    reason, what = target.refusal()
    assert reason == "code_differs"
    assert f"{name}+{at:#x} " in what
    assert what.index(after.hex()) < what.index(before.hex())


@pytest.mark.parametrize("at", [0, 31])
def test_the_first_and_the_last_byte_count(target, at):
    target.write(ANSWER, at, b"\xcc")
    reason, what = target.refusal()
    assert (reason, f"answer+{at:#x} " in what) == ("code_differs", True)


def test_a_file_with_other_code_than_the_patch_was_built_against_is_named_as_the_cause(target):
    target.document["functions"][1]["ranges"][0]["sha256"] = "00" * 32
    reason, what = target.refusal()
    assert reason == "code_differs"
    assert "in the target file" in what


def test_code_that_differs_is_refused_where_the_file_is_gone_too(target):
    target.document["functions"][0]["text_relocations"] = []
    target.write(ANSWER, 0, b"\xcc")
    assert target.refusal(from_file=lambda address, size: None)[0] == "code_differs"


def test_places_that_the_dynamic_linker_wrote_may_differ(target):
    target.write(CHECK, 4, b"\xff" * 4)
    target.write(COLD, 8, b"\xff" * 8)
    assert target.plan().functions == ["check", "answer"]


def test_the_jump_keeps_what_the_dynamic_linker_wrote(target):
    # The relocation at check+4 reaches into the five bytes that the jump covers.
    target.write(CHECK, 4, b"\xfe\xff\xff\xff")
    assert target.plan().jumps[0].old == target.file[CHECK][:4] + b"\xfe"


@pytest.mark.parametrize(("address", "at"), [(CHECK, 3), (CHECK, 8), (COLD, 7)])
def test_only_those_places_may_differ(target, address, at):
    target.write(address, at, b"\xff")
    assert target.refusal()[0] == "code_differs"


def test_text_relocations_can_not_be_judged_without_the_file(target):
    reason, what = target.refusal(from_file=lambda address, size: None)
    assert reason == "code_differs"
    assert "check has text relocations" in what


def test_a_process_without_its_file_is_patched_where_nothing_was_relocated(target):
    target.document["functions"][0]["text_relocations"] = []
    assert target.plan(from_file=lambda address, size: None).functions == ["check", "answer"]


# The entry


def at_entry(target: Target, content: bytes, address: int = ANSWER) -> None:
    """The target's file and process have this at the beginning of a function."""
    target.file[address] = content + target.file[address][len(content) :]
    target.settle()


def test_endbr_stays_where_indirect_branches_land(target):
    at_entry(target, target.cpu.endbr)
    jump = target.plan().jumps[1]
    assert jump.address == BIAS[target.cpu.name] + ANSWER + 4
    assert jump.old == target.file[ANSWER][4:9]


def test_the_endbr_of_the_other_mode_is_no_endbr(target):
    other = {"x86_64": b"\xf3\x0f\x1e\xfb", "i386": b"\xf3\x0f\x1e\xfa"}[target.cpu.name]
    at_entry(target, other)
    assert target.plan().jumps[1].address == BIAS[target.cpu.name] + ANSWER


@pytest.mark.parametrize(
    ("endbr", "size", "fits"), [(0, 4, False), (0, 5, True), (4, 8, False), (4, 9, True)]
)
def test_a_function_needs_room_for_the_jump(target, endbr, size, fits):
    target.file[ANSWER] = (target.cpu.endbr[:endbr] + bytes_of_code(32))[:size]
    target.settle()
    if fits:
        assert target.plan().jumps[1].address == BIAS[target.cpu.name] + ANSWER + endbr
    else:
        reason, what = target.refusal()
        assert reason == "function_too_short"
        assert f"answer has {size} bytes, a jump needs {endbr + 5}" in what


def moved(target: Target, address: int) -> None:
    """answer() stands somewhere else in the target."""
    target.document["functions"][1]["ranges"][0]["address"] = address
    target.file[address] = target.file.pop(ANSWER)
    target.settle()


@pytest.mark.parametrize(("offset", "fits"), [(0xFFA, True), (0xFFB, True), (0xFFC, False), (0xFFF, False)])
def test_a_jump_across_two_pages_could_not_be_written_at_one_instant(target, offset, fits):
    moved(target, 0x3000 + offset)
    if fits:
        assert target.plan().jumps[1].address % 4096 == offset
    else:
        assert target.refusal()[0] == "crosses_page"


def test_it_is_the_jump_that_must_not_cross_not_the_endbr_before_it(target):
    at_entry(target, target.cpu.endbr)
    moved(target, 0x3FFC)
    assert target.plan().jumps[1].address % 4096 == 0


def test_the_jump_after_an_endbr_may_cross_where_the_entry_does_not(target):
    at_entry(target, target.cpu.endbr)
    moved(target, 0x3FF8)
    assert target.refusal()[0] == "crosses_page"


# Unwinding


@pytest.mark.parametrize("address", [CHECK, COLD, ANSWER])
def test_every_range_needs_an_unwind_rule(target, address):
    asked: list[int] = []

    def has_rule(here: int) -> bool:
        asked.append(here)
        return here != address

    reason, what = target.refusal(has_rule=has_rule)
    assert reason == "no_unwind_tables"
    assert {CHECK: "check", COLD: "check", ANSWER: "answer"}[address] in what
    assert asked[-1] == address  # asked by link-time address


# Addresses


def test_references_go_where_the_process_has_them(target):
    low, high = (
        target.plan(),
        target.plan(symbols={**target.facts().symbols, "helper": BIAS[target.cpu.name]}),
    )
    assert low.linked.text != high.linked.text
    assert low.jumps == high.jumps


def test_a_reference_that_nobody_defines_is_refused(target):
    symbols = {name: value for name, value in target.facts().symbols.items() if name != "helper"}
    reason, what = target.refusal(symbols=symbols)
    assert (reason, "helper" in what) == ("symbol_not_found", True)


def test_addresses_stay_in_the_word_of_the_architecture(target):
    # A prelinked library that stands below its link-time addresses has a negative bias.
    found = target.plan(bias=target.cpu.mask + 1 - 0x1000)
    assert [jump.address for jump in found.jumps] == [CHECK - 0x1000, ANSWER - 0x1000]
    assert Watched(COLD - 0x1000, COLD - 0x1000 + 16, "check") in found.watched
    assert found.ledger.record.sites[1].ranges[0]["address"] == ANSWER - 0x1000


def test_a_patch_whose_record_would_be_too_long_is_refused(target):
    # Tens of thousands of text relocations: non-PIC code in a shared library.
    size = 1 << 16
    for function in target.document["functions"]:
        address = 0x10_0000 + len(target.file) * size
        target.file[address] = bytes(size)
        function["ranges"].append({"address": address, "size": size, "sha256": ""})
        last = len(function["ranges"]) - 1
        function["text_relocations"] = [{"range": last, "offset": at, "size": 4} for at in range(0, size, 4)]
    target.settle()
    assert target.refusal()[0] == "not_supported_yet"


def test_every_refusal_of_the_planner_is_held_by_a_test():
    words = {
        node.args[0].value
        for node in ast.walk(ast.parse(inspect.getsource(plan)))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refused"
    }
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_plan*.py"))
    assert [word for word in words if f'"{word}"' not in text] == []
