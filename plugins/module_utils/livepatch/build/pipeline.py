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
from . import convention, copies, entry, limits, manual, placing
from .assemble import assemble
from .bind import Binder
from .debug_info import DebugInfo
from .order import write_order
from .proposal import Proposal
from .request import BuildRequest
from .selection import select
from .target import TargetFile
from .unit_dwarf import gather
from .units import differences


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
    dwarf = DebugInfo(target.debug_path)
    dwarf.refuse_link_time_optimisation()
    proposal = (
        manual.propose(request, target, dwarf) if request.patch_source else _compared(request, target, dwarf)
    )
    replaced = entry.proven(target, proposal.replaced, proposal.constraints)
    selection = select(proposal.units, replaced, proposal.binder)
    limits.check_exceptions(selection, proposal.debug)
    order = write_order([each.old_name for each in proposal.replaced], proposal.constraints)
    data = assemble(request, target, selection, order, proposal.debug[0].producer)
    warnings = (*copies.warnings(proposal.replaced), *proposal.warnings, *selection.warnings)
    return Built(artifact_file.parse(data), warnings)


def _compared(request: BuildRequest, target: TargetFile, dwarf: DebugInfo) -> Proposal:
    """What two builds of the same units propose to replace, proven as far as objects and DWARF go."""
    units = differences(request, target)
    debug = gather(target, dwarf, units)
    prototypes = [limits.check(unit, each) for unit, each in zip(units, debug)]
    binder = Binder(target, [each.old for each in units])
    replaced = placing.replaced(target, units, debug, binder)
    replaced = copies.settled(target, dwarf, units, debug, replaced, request.accept_copies)
    old_debug = [each.old for each in debug]
    convention.check(target, units, old_debug, replaced, binder)
    constraints = tuple(convention.constraints(units, old_debug, replaced, prototypes))
    return Proposal(tuple(units), tuple(each.new for each in debug), tuple(replaced), binder, constraints)
