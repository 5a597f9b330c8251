# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which patch has taken the place of which; the other relations are planned with in test_plan_neighbours.py."""

from __future__ import annotations

import pytest

from livepatch.apply import relations
from livepatch.cpu import X86_64
from tests.planning import Target, ours

ANY = [{"name": "daemon-fix", "version": None}]


def superseded(version, supersedes, by, their_version, theirs):
    target = Target(X86_64)
    target.document.update(version=version, supersedes=supersedes)
    found = ours(target, name=by, version=their_version, supersedes=theirs)
    return relations.superseded_by(target.artifact().manifest, [found]) is not None


@pytest.mark.parametrize(
    ("theirs", "is_so"),
    [
        (ANY, True),
        ([{"name": "daemon-fix", "version": "1.0"}], True),
        ([{"name": "daemon-fix", "version": "2.0"}], False),
        ([{"name": "other", "version": None}], False),
        ([], False),
    ],
)
def test_what_another_patch_supersedes_is_not_needed(theirs, is_so):
    assert superseded("1.0", [], "successor", "1", theirs) is is_so


@pytest.mark.parametrize(
    ("mine", "there", "is_so"),
    [("1.1", "1.0", False), ("1.10", "1.9", False), ("1.9", "1.10", True), ("1.0", "1.1", True), ("2", "10", True),
     ("1.0-2", "1.0-1", False), ("1.0", "1.0", True)],
)  # fmt: skip
def test_of_versions_that_supersede_each_other_the_higher_one_stays(mine, there, is_so):
    assert superseded(mine, ANY, "daemon-fix", there, ANY) is is_so
