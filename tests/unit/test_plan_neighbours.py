# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning beside other patches that are in the process: what may stand together, and what must not."""

from __future__ import annotations

import dataclasses

import pytest

from livepatch.apply import ledger
from livepatch.apply.plan import Terms
from livepatch.cpu import Cpu
from tests.planning import ANSWER, BIAS, CHECK, COLD, Target, ours


@pytest.fixture
def target(cpu: Cpu) -> Target:
    return Target(cpu)


def test_patches_of_other_functions_are_no_hindrance(target):
    assert target.plan(installed=[ours(target)]).functions == ["check", "answer"]


def sharing(target: Target, address: int, size: int) -> ledger.Ledger:
    """Another patch that has replaced a function here (link-time address)."""
    start = address + BIAS[target.cpu.name]
    (site,) = ours(target).record.sites
    return ours(
        target,
        sites=[
            dataclasses.replace(
                site,
                name="theirs",
                address=start,
                ranges=[{"address": start, "size": size, "sha256": "00" * 32}],
            )
        ],
    )


@pytest.mark.parametrize(
    ("address", "size", "shares"),
    [
        (ANSWER + 16, 16, True),
        (ANSWER + 31, 1, True),
        (ANSWER - 8, 9, True),
        (COLD, 16, True),
        (ANSWER + 32, 16, False),
        (COLD - 16, 16, False),
    ],
)
def test_two_patches_share_a_whole_function_or_no_byte(target, address, size, shares):
    installed = [sharing(target, address, size)]
    if shares:
        assert target.refusal(installed=installed, present=[]) == (
            "stacking",
            "neighbour 3 has replaced theirs, which shares code with it",
        )
    else:
        target.plan(installed=installed, present=[])


def stacked(target: Target, **changes: object) -> tuple[ledger.Ledger, dict[int, bytes]]:
    """A patch that has replaced answer(), and what memory then holds."""
    jump = b"\xe9\x01\x02\x03\x04"
    start = ANSWER + BIAS[target.cpu.name]
    (site,) = ours(target).record.sites
    site = dataclasses.replace(
        site, name="answer", address=start, old=target.file[ANSWER][:5].hex(), new=jump.hex(),
        ranges=[{"address": start, "size": 32, "sha256": "00" * 32}],
    )  # fmt: skip
    memory = {**target.memory, ANSWER: jump + target.file[ANSWER][5:]}
    return ours(target, sites=[site], order=4, **changes), memory


def test_a_patch_goes_on_top_of_another_one_of_the_same_function(target):
    below, memory = stacked(target)
    found = target.plan(installed=[below], code=memory)
    assert [(jump.name, jump.old) for jump in found.jumps] == [
        ("check", target.file[CHECK][:5]),
        ("answer", memory[ANSWER][:5]),
    ]
    answer = found.ledger.record.sites[1]
    assert answer.old_bytes == target.file[ANSWER][:5], "the target's own bytes, not the jump beneath"
    assert found.ledger.record.order == 5
    text = [each for each in found.watched if each.name == "the new code of neighbour 3"]
    assert [(each.start, each.end) for each in text] == [(below.text[0], sum(below.text))]


def test_a_jump_beneath_that_does_not_stand_is_refused(target):
    below, _ = stacked(target)
    reason, what = target.refusal(installed=[below])
    assert (reason, "answer" in what) == ("code_differs", True)


def test_with_replace_the_other_goes_out_in_the_same_stop(target):
    target.document["supersedes"] = [{"name": "neighbour", "version": None}]
    below, memory = stacked(target)
    found = target.plan(Terms(replace=True), installed=[below], code=memory)
    # first down to the target's code, then up again: each prefix is one of a revert or of an apply
    assert [(jump.name, jump.new[:1] == b"\xe9") for jump in found.jumps] == [
        ("answer", False), ("check", True), ("answer", True),
    ]  # fmt: skip
    assert found.displaced == [below]
    assert found.ledger.record.displaced == [below.data[0]]
    assert found.functions == ["check", "answer"]


def test_without_replace_what_is_superseded_stays_beneath(target):
    target.document["supersedes"] = [{"name": "neighbour", "version": None}]
    below, memory = stacked(target)
    found = target.plan(installed=[below], code=memory)
    assert (found.displaced, found.ledger.record.displaced) == ([], [])


def test_another_version_is_replaced_where_the_artifact_supersedes_it(target):
    below, memory = stacked(target, name="daemon-fix", version="1.0.1")
    assert target.refusal(Terms(), installed=[below], code=memory)[0] == "stacking"
    assert target.plan(Terms(replace=True), installed=[below], code=memory).displaced == [below]
    below, memory = stacked(target, name="daemon-fix", version="7")
    assert target.refusal(Terms(replace=True), installed=[below], code=memory)[0] == "stacking"


def test_what_another_patch_requires_is_not_replaced(target):
    target.document["supersedes"] = [{"name": "neighbour", "version": None}]
    below, memory = stacked(target)
    needs = ours(target, name="third", requires=[{"name": "neighbour", "version": None}])
    reason, what = target.refusal(Terms(replace=True), installed=[below, needs], code=memory)
    assert (reason, "third 3 requires neighbour" in what) == ("needed_by", True)


@pytest.mark.parametrize("safe", [True, False])
def test_entry_wants_the_builders_promise_and_watches_the_jumps_alone(target, safe):
    for function in target.document["functions"]:
        function["entry_safe"] = safe
    if not safe:
        assert target.refusal(Terms(entry=True), has_rule=lambda address: False)[0] == "not_entry_safe"
        return
    found = target.plan(Terms(entry=True), has_rule=lambda address: False)
    assert [(each.start, each.end) for each in found.watched] == [
        (jump.address + 1, jump.address + 5) for jump in found.jumps
    ]


@pytest.mark.parametrize(("version", "matters"), [("2", True), ("2.0", False), (None, True)])
def test_a_patch_that_we_conflict_with(target, version, matters):
    target.document["conflicts"] = [{"name": "neighbour", "version": version}]
    installed = [ours(target, version="2")]
    if matters:
        reason, what = target.refusal(installed=installed)
        assert (reason, "neighbour 2" in what) == ("conflicts", True)
    else:
        target.plan(installed=installed)


@pytest.mark.parametrize(("version", "matters"), [("1.0.2", True), ("1.0", False), (None, True)])
def test_a_patch_that_conflicts_with_us(target, version, matters):
    installed = [ours(target, conflicts=[{"name": "daemon-fix", "version": version}])]
    if matters:
        reason, what = target.refusal(installed=installed)
        assert (reason, "neighbour 3" in what) == ("conflicts", True)
    else:
        target.plan(installed=installed)


@pytest.mark.parametrize(
    ("wanted", "there", "enough"),
    [(None, "3", True), ("3", "3", True), ("4", "3", False), (None, None, False)],
)
def test_a_patch_that_we_require(target, wanted, there, enough):
    target.document["requires"] = [{"name": "neighbour", "version": wanted}]
    installed = [] if there is None else [ours(target, version=there)]
    if enough:
        assert target.plan(installed=installed).ledger.record.requires == target.document["requires"]
    else:
        reason, what = target.refusal(installed=installed)
        assert (reason, "neighbour" in what) == ("requires", True)


def test_what_a_neighbour_requires_is_its_own_affair(target):
    target.plan(installed=[ours(target, requires=[{"name": "somebody", "version": None}])])
