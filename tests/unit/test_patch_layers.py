# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patches on top of one another: what stands where, and what a change writes, over made-up ledgers."""

from __future__ import annotations

import itertools

import pytest

from livepatch.apply import layers, ledger
from livepatch.apply.layers import Jump
from livepatch.apply.ledger import Ledger, Record, Site
from livepatch.errors import Refused

ADDRESSES = {"f": 0x1000, "g": 0x1100, "h": 0x1200}
CODE = {name: bytes([0x90 + index]) * 5 for index, name in enumerate(ADDRESSES)}


def jump_of(order: int, name: str) -> bytes:
    return b"\xe9" + bytes([order, ADDRESSES[name] >> 8 & 0xFF, 0, 0])


def patch(order: int, functions: str, displaced: tuple[Ledger, ...] = ()) -> Ledger:
    """A patch of these functions; its text is a page at ORDER * 64 KiB, 0x100 bytes a function."""
    text = order << 16
    sites = [
        Site(
            name=name,
            file="",
            address=ADDRESSES[name],
            old=CODE[name].hex(),
            new=jump_of(order, name).hex(),
            entry=text + 0x100 * index,
            ranges=[{"address": ADDRESSES[name], "size": 0x80, "sha256": "00" * 32}],
            text_relocations=[],
            code=[{"address": text + 0x100 * index, "size": 0x40}],
        )
        for index, name in enumerate(functions)
    ]
    record = Record(
        "ee" * 32, f"fix-{order}", "1", {}, 0, sites, (0, 0), False, "", "", "",
        order=order, displaced=[each.data[0] for each in displaced],
    )  # fmt: skip
    return Ledger(ledger.APPLIED, (text, 0x1000), (text + 0x8000, 0x1000), record)


def played(memory: dict[int, bytes], jumps: list[Jump]) -> dict[int, bytes]:
    """Memory after these jumps; each finds what it expects."""
    result = dict(memory)
    for jump in jumps:
        assert result[jump.address] == jump.old, jump
        result[jump.address] = jump.new
    return result


def memory_of(present: list[Ledger]) -> dict[int, bytes]:
    """What stands where while these are in force, computed another way: written one over the other."""
    memory = {ADDRESSES[name]: code for name, code in CODE.items()}
    for found in sorted(present, key=lambda each: each.record.order):
        for site in found.record.sites:
            memory[site.address] = site.new_bytes
    return memory


STACK = [patch(1, "fgh"), patch(2, "fg"), patch(3, "f")]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_patches_leave_in_any_order_and_come_back_in_any_order(order):
    present, memory = list(STACK), memory_of(STACK)
    for index in order:
        jumps = layers.transition(present, [STACK[index]], [])
        present = layers.without(present, [STACK[index]])
        memory = played(memory, jumps)
        assert memory == memory_of(present)
    assert memory == memory_of([])
    for index in order:
        memory = played(memory, layers.transition(present, [], [STACK[index]]))
        present.append(STACK[index])
        assert memory == memory_of(present)


def test_a_patch_that_is_covered_leaves_without_a_write():
    assert layers.transition([patch(1, "f"), patch(2, "f")], [patch(1, "f")], []) == []


REPLACES = [
    ("fg", "fg"),
    ("fg", "f"),
    ("fg", "g"),
    ("f", "fgh"),
    ("fgh", "h"),
    ("f", "g"),
]


@pytest.mark.parametrize(("before", "after"), REPLACES)
def test_what_is_replaced_goes_down_to_the_targets_code_before_what_comes_goes_up(before, after):
    old = patch(1, before)
    new = patch(2, after, (old,))
    jumps = layers.transition([old], [old], [new])
    down, up = jumps[: len(before)], jumps[len(before) :]
    assert [each.name for each in down] == list(reversed(before))
    assert [each.new for each in down] == [CODE[name] for name in reversed(before)]
    assert [(each.name, each.new) for each in up] == [(name, jump_of(2, name)) for name in after]
    assert played(memory_of([old]), jumps) == memory_of([new])


@pytest.mark.parametrize(("before", "after"), REPLACES)
def test_how_far_a_transition_came_is_told_by_what_stands(before, after):
    old = patch(1, before)
    jumps = layers.transition([old], [old], [patch(2, after)])
    for done in range(len(jumps) + 1):
        memory = played(memory_of([old]), jumps[:done])
        assert layers.progress(jumps, lambda jump, memory=memory: memory[jump.address]) == done


def test_what_no_step_leaves_is_not_explained_away():
    jumps = layers.transition([], [], [patch(1, "fgh")])
    memory = memory_of([])
    memory[ADDRESSES["g"]] = jump_of(1, "g")  # the second without the first
    with pytest.raises(Refused) as caught:
        layers.progress(jumps, lambda jump: memory[jump.address])
    assert caught.value.reason == "code_differs"
    memory[ADDRESSES["h"]] = b"\xcc" * 5
    with pytest.raises(Refused, match=f"at h stands {'cc' * 5}"):
        layers.progress(jumps, lambda jump: memory[jump.address])


def test_nobody_may_be_in_any_version_of_a_function_that_is_replaced():
    below, above, dead = patch(1, "fgh"), patch(3, "fh"), patch(2, "f")
    found = layers.watched([below], [], [above], [dead])
    spans = {(each.start, each.end) for each in found}
    assert {(0x1000, 0x1080), (0x1200, 0x1280)} <= spans, "the target's own"
    assert dead.text == (0x20000, 0x1000) and (0x20000, 0x21000) in spans, "what is out of use"
    beneath = [span for span in spans if 0x10000 <= span[0] < 0x11000]
    # g stays in force beneath: threads may be in there (0x10100, 0x40 bytes)
    assert sorted(beneath) == [(0x10000, 0x10100), (0x10140, 0x11000)]


def test_code_of_the_target_is_known_beneath_the_jumps():
    present = [patch(1, "f"), patch(2, "f")]
    code = b"\xf3" * 4 + jump_of(2, "f") + b"\x55" * 7
    assert layers.unpatched(present, 0xFFC, code) == b"\xf3" * 4 + CODE["f"] + b"\x55" * 7
    with pytest.raises(Refused, match="at f stands"):
        layers.unpatched([patch(1, "f")], 0xFFC, code)
