# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What patches say of one another: requires, conflicts, supersedes.  Decided over names and versions."""

from __future__ import annotations

import re
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..artifact.manifest import Manifest, Relation
from ..errors import Refused
from .ledger import Ledger


class _Patch(NamedTuple):
    name: str
    version: str


def displaced(manifest: Manifest, installed: Sequence[Ledger], replace: bool) -> List[Ledger]:
    """The patches in force that a new one takes the place of; checked against all others.

    :param replace: whether it may take the place of what it supersedes; else it stands beside or above
    :raises Refused: ``conflicts``, ``requires``, ``needed_by``, ``stacking``
    """
    new = _Patch(manifest.name, manifest.version)
    leaving = [found for found in installed if replace and _named(manifest.supersedes, found)]
    staying = [found for found in installed if found not in leaving]
    for found in staying:
        if _named(manifest.conflicts, found):
            raise Refused("conflicts", f"{new.name} {new.version} conflicts with {found.title}")
        if any(_matches(known, new) for known in found.record.conflicts):
            raise Refused("conflicts", f"{found.title}, which is in the process, conflicts with this patch")
        if found.record.name == new.name:
            raise Refused("stacking", f"another build or version of this patch, {found.title}, is in the process")
        for known in found.record.requires:
            alive = [new, *(_patch(each) for each in staying)]
            if any(_matches(known, _patch(gone)) for gone in leaving) and not any(
                _matches(known, each) for each in alive
            ):
                what = f"{found.title} requires {known['name']}, whose place {new.name} {new.version} would take"
                raise Refused("needed_by", what)
    for relation in manifest.requires:
        if not any(_matches(_plain(relation), _patch(found)) for found in staying):
            raise Refused("requires", f"it requires {relation.name} {relation.version or ''}".rstrip())
    return leaving


def superseded_by(manifest: Manifest, installed: Sequence[Ledger]) -> Optional[Ledger]:
    """A patch in force that has taken the place of this one, if there is any.

    Versions that each supersede every version of their name do so in their order: the higher one stays.
    """
    mine = _Patch(manifest.name, manifest.version)
    for found in installed:
        if any(_matches(known, mine) for known in found.record.supersedes):
            mutual = _named(manifest.supersedes, found)
            if not mutual or _in_order(mine.version) <= _in_order(found.record.version):
                return found
    return None


def _in_order(version: str) -> List[Tuple[int, str]]:
    """Something that sorts as people count: 1.9 before 1.10."""
    return [(int(number or 0), word) for number, word in re.findall(r"(\d*)(\D*)", version)]


def check_not_needed(found: Ledger, others: Sequence[Ledger]) -> None:
    """:raises Refused: ``needed_by``: a patch that stays requires this one"""
    for other in others:
        if any(_matches(known, _patch(found)) for known in other.record.requires):
            raise Refused("needed_by", f"{other.title} requires {found.title}")


def _named(relations: Sequence[Relation], found: Ledger) -> bool:
    return any(_matches(_plain(relation), _patch(found)) for relation in relations)


def _patch(found: Ledger) -> _Patch:
    return _Patch(found.record.name, found.record.version)


def _plain(relation: Relation) -> Mapping[str, Any]:
    return {"name": relation.name, "version": relation.version}


def _matches(relation: Mapping[str, Any], patch: _Patch) -> bool:
    return relation["name"] == patch.name and relation["version"] in (None, patch.version)
