# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The recipe of a build.

::

    from livepatch.build import pipeline
    from livepatch.build.request import BuildRequest

    data = pipeline.build(BuildRequest(
        target="libwork.so", old_objects=["old/work.o"], new_objects=["new/work.o"],
        name="work-fix", version="1"))
"""

from __future__ import annotations

from dataclasses import dataclass

from ..artifact import file as artifact_file
from ..errors import Refused
from . import compare, placing
from .assemble import assemble
from .bind import Binder
from .request import BuildRequest
from .selection import Selection, select
from .target import TargetFile


@dataclass(frozen=True)
class Built:
    """What a build made.

    :ivar artifact: checked the way a managed host will check it
    :ivar warnings: what its author should know, a sentence each
    """

    artifact: artifact_file.Artifact
    warnings: tuple[str, ...]


def build(request: BuildRequest) -> bytes:
    """The bytes of the artifact; :func:`make` says more.

    :raises Refused: with one of the builder's reasons
    :raises UsageError: the request does not make sense
    """
    return make(request).artifact.data


def make(request: BuildRequest) -> Built:
    """Build an artifact.

    :raises Refused: with one of the builder's reasons
    :raises UsageError: the request does not make sense
    """
    request.check()
    target = TargetFile(request.target, request.debuginfo)
    units = _differences(request, target)
    binder = Binder(target, [each.old for each in units])
    replaced = placing.replaced(target, units, binder)
    selection = select(units, replaced, binder)
    order = list(range(len(replaced)))  # refined with conventions
    data = assemble(request, target, selection, order, "")
    return Built(artifact_file.parse(data), tuple(selection.warnings))


def _differences(request: BuildRequest, target: TargetFile) -> list[compare.Difference]:
    units = []
    for old, new in compare.pair_objects(request.old_objects, request.new_objects):
        if old.cpu is not target.cpu:
            raise Refused(
                "wrong_architecture", f"{old.path} is for {old.cpu.name}, and {target.path} for {target.cpu.name}"
            )
        units.append(compare.compare(old, new))
    if not any(each.changed or each.added for each in units):
        raise Refused("nothing_changed", "old and new objects have the same code")
    return units
