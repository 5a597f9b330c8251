# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Look at every process that a job concerns, and predict what would become of it.

Nothing here stops a process or writes to it, with one exception that is asked
for: a writing command first recovers what an earlier one has left.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Callable, Collection, Dict, List, Sequence, Tuple

from ..artifact.file import Artifact
from ..errors import Gone, Interrupted, LivepatchError, Refused, RolledBack
from ..process import coroutines, fitness, targets
from ..process.snapshot import Snapshot, take
from ..process.targets import Found, Identity, Verdict
from ..report import ProcessReport
from . import act, gather, installed, plan, revert_one
from .case import Case
from .ledger import Ledger
from .plan import Stamp

if TYPE_CHECKING:
    from .job import Job

# Reasons for which a process that was merely selected, and not needed, is no failure.
_NOT_NEEDED = frozenset({"target_not_mapped", "build_id_mismatch", "kernel_thread", "exiting"})


def look(job: Job, artifacts: Sequence[Artifact], known: Collection[Tuple[int, int]] = ()) -> List[Case]:
    """All cases, in order of PID.

    :param known: (PID, start time) of processes that are left alone
    :raises UsageError: the selection of processes makes no sense
    """
    if job.command in ("list", "recover") and not artifacts:
        cases = [case for found in _everybody(job, known) for case in _patched(job, found)]
    else:
        cases = []
        for artifact in artifacts:
            for found in _wanted(job, artifact, known):
                cases.append(_look_at(job, artifact, found, [each for each in cases if each.report.pid == found.pid]))
        cases += [
            case for name in _names(job) for found in _everybody(job, known) for case in _named(job, name, found)
        ]
    return sorted(_needed(cases), key=lambda case: case.report.pid)


def _needed(cases: Sequence[Case]) -> List[Case]:
    """Without those of processes that run the target of another artifact of the job, and not this one's."""
    matched = {case.report.pid for case in cases if case.matches}
    return [case for case in cases if case.matches or case.artifact is None or case.report.pid not in matched]


def out_of_sight(case: Case) -> bool:
    """Whether a process is only there because nobody may look at it: it was not selected by its number.

    To an unprivileged user most processes of a host are.  They are counted, not listed.
    """
    return case.snapshot is None and case.report.status == "skipped" and case.report.reason == "not_permitted"


def newcomers(job: Job, artifacts: Sequence[Artifact], cases: Sequence[Case]) -> List[Case]:
    """Processes that have come since: forked before the switch, they run the code that was there before it.

    One that was gone and is there again has executed a program anew.
    """
    known = {(case.report.pid, case.report.start_time) for case in cases if case.report.status != "gone"}
    return [case for case in look(job, artifacts, known) if case.report.status not in ("gone", "absent")]


def _everybody(job: Job, known: Collection[Tuple[int, int]]) -> List[Found]:
    return _others(targets.find(job.parameters["processes"]), known)


def _wanted(job: Job, artifact: Artifact, known: Collection[Tuple[int, int]]) -> List[Found]:
    target = artifact.manifest.target
    wanted = Identity(target.build_id, target.text_sha256, target.name)
    return _others(targets.find(job.parameters["processes"], wanted), known)


def _others(every: Sequence[Found], known: Collection[Tuple[int, int]]) -> List[Found]:
    return [found for found in every if (found.pid, found.start_time) not in known]


def _names(job: Job) -> List[str]:
    """For a revert: patches that were given by name or id instead of by file."""
    if job.direction != "revert" or job.command == "list":
        return []
    return [given for given in job.artifacts if not is_file(given)]


def is_file(given: str) -> bool:
    """Whether an argument of a revert means an artifact's file, and not a patch's name or id."""
    return os.path.isfile(given) or os.sep in given


def _look_at(job: Job, artifact: Artifact, found: Found, earlier: List[Case]) -> Case:
    """The case of one process that was found for an artifact.

    :param earlier: cases of the same process, for other artifacts
    """
    case = Case(ProcessReport(found.pid, found.start_time, "?", "planned"), artifact, earlier=earlier)
    case.matches = found.verdict is Verdict.MATCH
    case.report.artifact = f"{artifact.manifest.name} {artifact.manifest.version}"
    case.report.functions = [function.name for function in artifact.manifest.functions]
    try:
        if found.verdict is Verdict.GONE:
            raise Gone(found.pid)
        if found.verdict is Verdict.UNSEEN and found.error is not None:
            raise found.error
        _snapshot(job, case)
        if found.error is not None:
            assert case.snapshot is not None
            gather.check_architecture(artifact, case.snapshot)
            raise found.error
        predict = _predict_revert if job.direction == "revert" and job.command != "list" else _predict_apply
        _predict(job, case, lambda: predict(job, case))
    except (Gone, ProcessLookupError):
        act.gone(case)
    except PermissionError as error:
        case.failed_with(Refused("not_permitted", f"process {found.pid} may not be looked at: {error}"))
    except OSError as error:  # of one process, which is no reason to say nothing of the others
        case.failed_with(RolledBack("failed_midway", f"process {found.pid}: {error}"))
    except LivepatchError as error:
        by_number = "pid" in job.parameters["processes"]
        unwanted = _NOT_NEEDED if case.snapshot is not None else _NOT_NEEDED | {"not_permitted"}
        case.failed_with(error, skip=error.reason in unwanted and not by_number)
    return case


def _patched(job: Job, found: Found) -> List[Case]:
    """The case of a process for ``list`` and ``recover``, if it has anything of ours."""
    case = Case(ProcessReport(found.pid, found.start_time, "?", "already"))
    try:
        if found.error is not None or found.verdict is Verdict.GONE:
            return []
        outdated = job.parameters["outdated"]
        if not outdated and not installed.has_any(found.pid):
            return []
        _snapshot(job, case)
        assert case.snapshot is not None and case.installed is not None
        if outdated:
            case.report.outdated = _replaced_files(case.snapshot)
        if not (case.report.outdated or case.installed.anything):
            return []
        _predict(job, case, lambda: None)
    except (Gone, ProcessLookupError):
        return []
    except PermissionError as error:
        case.failed_with(Refused("not_permitted", f"process {found.pid} may not be looked at: {error}"))
    except OSError as error:
        case.failed_with(RolledBack("failed_midway", f"process {found.pid}: {error}"))
    except LivepatchError as error:
        case.failed_with(error)
    if case.report.reason == "not_permitted" and "pid" not in job.parameters["processes"]:
        return []
    return [case]


def _replaced_files(snapshot: Snapshot) -> List[str]:
    """Mapped ELF files whose name is gone or stands for another file; memory files never had one."""
    return sorted({image.path for image in snapshot.images if image.deleted and not image.path.startswith("/memfd:")})


def _named(job: Job, name: str, found: Found) -> List[Case]:
    """The cases of a process for a revert of a patch that was given by name or id."""
    cases = _patched(job, found)
    for case in cases:
        there = case.installed
        if there is not None and case.failed:
            ledgers = [each for each in there.ledgers if each not in there.retired]  # recover could not help
        else:
            ledgers = there.in_force if there is not None else []
        matching = [
            each for each in ledgers
            if each.record.name == name or (len(name) >= 8 and each.record.artifact.startswith(name))
        ]  # fmt: skip
        if case.failed and (there is None or there.damaged):
            return cases
        if not matching:
            return []
        case.report.artifact = matching[-1].title
        case.report.functions = [site.name for site in matching[-1].record.sites]
        if case.failed:
            return cases
        try:
            _plan_revert(job, case, matching[-1])
        except LivepatchError as error:
            case.failed_with(error)
    return cases


def _snapshot(job: Job, case: Case) -> None:
    snapshot = take(case.report.pid)
    if snapshot.start_time != case.report.start_time:
        raise Gone(case.report.pid)
    case.snapshot = snapshot
    report = case.report
    report.exe, report.unit, report.container = snapshot.exe, snapshot.unit, snapshot.container
    report.arch = snapshot.cpu.name if snapshot.cpu else None
    report.threads = len(snapshot.threads)
    case.installed = installed.read(snapshot, snapshot.memory.read)
    if job.command == "list":
        report.patches = installed.described(case.installed, snapshot.memory.read)


def _predict(job: Job, case: Case, decide: Callable[[], None]) -> None:
    """What holds for every command, around what this one decides.

    :raises LivepatchError: the prediction is a refusal
    """
    assert case.snapshot is not None and case.installed is not None
    if case.installed.damaged:
        raise Refused("ledger_unreadable", case.installed.damaged[0])
    if case.installed.cut_off:
        fitness.check_untraced(case.snapshot)
        if not job.writes:
            raise Interrupted("interrupted", f"process {case.snapshot.pid}: {case.installed.unfinished}")
        _check_fit(job, case.snapshot)
        if job.command == "recover":
            case.report.status = "planned"
            return
        recovered = act.recover_first(job, case.snapshot, case.installed)
        _snapshot(job, case)
        decide()
        if case.report.status in ("already", "absent"):
            case.report.status = "recovered"  # the process is not as it was before
            case.report.message = "; ".join(recovered)
        return
    if job.command == "recover":
        case.report.status = "planned" if case.installed.retired else "already"
        return
    if job.writes and case.installed.retired:
        _collect_retired(job, case)
    decide()


def _check_fit(job: Job, snapshot: Snapshot) -> None:
    fitness.check(snapshot, job.parameters["coroutines"], job.parameters["stop_ms"])


def _collect_retired(job: Job, case: Case) -> None:
    """Memory that an earlier revert had to keep may be free by now; if not, nothing is lost."""
    assert case.snapshot is not None and case.installed is not None
    try:
        _check_fit(job, case.snapshot)
        act.recover_first(job, case.snapshot, case.installed)
    except (LivepatchError, OSError):
        return
    _snapshot(job, case)


def _predict_apply(job: Job, case: Case) -> None:
    """:raises Refused: why it can not be patched"""
    artifact, snapshot, there = case.artifact, case.snapshot, case.installed
    assert artifact is not None and snapshot is not None and there is not None
    for found in there.in_force:
        if found.record.artifact == artifact.id:
            if not installed.stands(found, snapshot.memory.read):
                raise Refused("code_differs", f"{found.title} is in the process, but its jumps were overwritten")
            case.report.status = "already"
            return
    _check_fit(job, snapshot)
    image = gather.the_image(artifact, snapshot)
    coroutines.check_target(image)
    stamp = Stamp(job.by, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), job.parameters["comment"])
    facts = gather.facts(artifact, snapshot, image, there, case.planned_before, job.parameters["coroutines"])
    case.plan = plan.make(artifact, facts, stamp)
    case.report.unproven = list(case.plan.unproven)
    case.report.functions = case.plan.functions
    case.report.status = "planned"


def _predict_revert(job: Job, case: Case) -> None:
    """:raises Refused: why it can not be taken out"""
    artifact, there = case.artifact, case.installed
    assert artifact is not None and there is not None
    for found in there.in_force:
        if found.record.artifact == artifact.id:
            _plan_revert(job, case, found)
            return
    case.report.status = "absent"


def _plan_revert(job: Job, case: Case, found: Ledger) -> None:
    """:raises Refused: why it can not be taken out"""
    snapshot, there = case.snapshot, case.installed
    assert snapshot is not None and there is not None
    _check_fit(job, snapshot)
    revert_one.check_possible(found, [other for other in there.in_force if other is not found])
    revert_one.check_standing(snapshot.memory.read, found, revert_one.file_reader(snapshot))
    case.found = found
    case.report.unproven = list(fitness.unproven(snapshot, job.parameters["coroutines"]))
    case.report.status = "planned"


def diff(job: Job, cases: Sequence[Case]) -> List[Dict[str, str]]:
    """Per process, which function goes from which code to which: by name, no addresses."""
    result = []
    for case in cases:
        if case.report.status != "planned" or job.direction == "revert" and case.found is None:
            continue
        original = "the code of its file"
        title = case.report.artifact or ""
        before, after = (title, original) if job.direction == "revert" else (original, title)
        header = f"process {case.report.pid} ({case.report.exe})"
        result.append(
            {
                "before_header": header,
                "after_header": header,
                "before": "".join(f"{name}: {before}\n" for name in case.report.functions),
                "after": "".join(f"{name}: {after}\n" for name in case.report.functions),
            }
        )
    return result
