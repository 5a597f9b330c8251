# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What would become of one process: planned, already so, or why not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Dict, List, Sequence

from ..errors import Refused
from ..process import coroutines, fitness
from ..process.snapshot import Snapshot
from . import gather, installed, layers, plan, relations, revert_one
from .case import Case
from .ledger import Ledger
from .plan import Stamp, Terms

if TYPE_CHECKING:
    from .job import Job


def terms_of(job: Job) -> Terms:
    """What the job asks for, as far as it decides what is written."""
    return Terms(job.parameters["replace"], job.parameters["consistency"] == "entry")


def check_fit(job: Job, snapshot: Snapshot) -> None:
    """:raises Refused: why the process can not be changed, whatever the patch"""
    fitness.check(snapshot, job.parameters["coroutines"], job.parameters["stop_ms"])


def apply(job: Job, case: Case) -> None:
    """Whether and how the case's artifact goes in.

    :raises Refused: why it can not be patched; ``superseded``: why it need not
    """
    artifact, snapshot, there = case.artifact, case.snapshot, case.installed
    assert artifact is not None and snapshot is not None and there is not None
    for found in there.in_force:
        if found.record.artifact == artifact.id:
            if not installed.stands(there, found, snapshot.memory.read):
                raise Refused("code_differs", f"{found.title} is in the process, but its jumps were overwritten")
            case.report.status = "already"
            return
    present = case.present
    successor = relations.superseded_by(artifact.manifest, present)
    if successor is not None:
        raise Refused("superseded", f"{successor.title} in process {snapshot.pid} has taken the place of this patch")
    check_fit(job, snapshot)
    image = gather.the_image(artifact, snapshot)
    coroutines.check_target(image)
    stamp = Stamp(job.by, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), job.parameters["comment"])
    mode = job.parameters["coroutines"]
    facts = gather.facts(artifact, snapshot, image, there, present, case.planned_before, mode)
    case.plan = plan.make(artifact, facts, stamp, terms_of(job))
    case.report.unproven = list(case.plan.unproven)
    case.report.functions = case.plan.functions
    case.report.message = in_place_of(case.plan.displaced)
    case.report.status = "planned"


def in_place_of(displaced: Sequence[Ledger]) -> str:
    """What the report of a patch says of those whose place it takes."""
    return f"in place of {', '.join(found.title for found in displaced)}" if displaced else ""


def revert(case: Case) -> None:
    """Whether the case's artifact is there to be taken out; :func:`plan_revert` says if that can be done."""
    artifact, there = case.artifact, case.installed
    assert artifact is not None and there is not None
    case.report.status = "absent"
    for found in there.in_force:
        if found.record.artifact == artifact.id:
            case.found = found
            case.report.status = "planned"


def plan_revert(job: Job, case: Case) -> None:
    """:raises Refused: why the patch that was found can not be taken out"""
    snapshot, found = case.snapshot, case.found
    assert snapshot is not None and found is not None and case.installed is not None
    check_fit(job, snapshot)
    relations.check_not_needed(found, layers.without(case.present, [found]))
    revert_one.check_standing(
        snapshot.memory.read, case.installed.in_force, found, revert_one.file_reader(snapshot)
    )
    case.report.unproven = list(fitness.unproven(snapshot, job.parameters["coroutines"]))
    case.report.status = "planned"


def diff(cases: Sequence[Case]) -> List[Dict[str, str]]:
    """Per process, which function goes from which code to which: by name, no addresses."""
    result = []
    for case in cases:
        if case.report.status != "planned" or (case.plan is None and case.found is None):
            continue
        before = case.present
        if case.plan is not None:
            after = [*layers.without(before, case.plan.displaced), case.plan.ledger]
        else:
            assert case.found is not None
            after = layers.without(before, [case.found])
        header = f"process {case.report.pid} ({case.report.exe})"
        texts = [_codes(case, each) for each in (before, after)]
        result.append(
            {"before_header": header, "after_header": header, "before": texts[0], "after": texts[1]}
        )
    return result


def _codes(case: Case, present: Sequence[Ledger]) -> str:
    """Which code each function runs that the case changes, a line each."""
    changed = [case.found] if case.found is not None else []
    if case.plan is not None:
        changed = [case.plan.ledger, *case.plan.displaced]
    sites = {site.address: site for found in changed for site in found.record.sites}
    lines = []
    for site in sites.values():
        top = [found for found in layers.in_order(present) if layers.site_at(found, site.address) is not None]
        lines.append(f"{site.name}: {top[-1].title if top else 'the code of its file'}\n")
    return "".join(lines)
