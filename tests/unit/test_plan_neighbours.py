# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning beside other patches that are in the process: what may stand together, and what must not."""

from __future__ import annotations

import dataclasses

import pytest

from livepatch.apply import ledger
from livepatch.cpu import Cpu
from tests.planning import ANSWER, BIAS, COLD, Target, ours


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
        (ANSWER, 32, True),
        (ANSWER + 31, 1, True),
        (ANSWER - 8, 9, True),
        (COLD, 16, True),
        (ANSWER + 32, 16, False),
        (COLD - 16, 16, False),
    ],
)
def test_two_patches_never_share_a_byte(target, address, size, shares):
    installed = [sharing(target, address, size)]
    if shares:
        assert target.refusal(installed=installed) == ("stacking", "neighbour 3 has replaced theirs already")
    else:
        target.plan(installed=installed)


@pytest.mark.parametrize("version", ["1.0.2", "1.0.1"])
def test_another_build_or_version_of_this_patch_must_go_first(target, version):
    reason, what = target.refusal(installed=[ours(target, name="daemon-fix", version=version)])
    assert (reason, f"daemon-fix {version}" in what) == ("stacking", True)


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
