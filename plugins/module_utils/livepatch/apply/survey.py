# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Look at every process that a job concerns, and predict what would become of it.

Nothing here stops a process or writes to it, with one exception that is asked
for: a writing command first recovers what an earlier one has left.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, Collection, Iterator, List, Sequence, Tuple

from ..artifact.file import Artifact
from ..errors import Gone, Interrupted, LivepatchError, Refused, RolledBack
from ..process import fitness, targets
from ..process.snapshot import Snapshot, take
from ..process.targets import Found, Identity, Verdict
from ..report import ProcessReport
from . import act, gather, installed, predict
from .case import Case

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
    cases = sorted(_needed(cases), key=lambda case: case.report.pid)
    return _from_the_top(job, cases) if _reverts(job) else cases


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
    with _judged(job, case):
        if found.verdict is Verdict.GONE:
            raise Gone(found.pid)
        if found.verdict is Verdict.UNSEEN and found.error is not None:
            raise found.error
        _snapshot(job, case)
        if found.error is not None:
            assert case.snapshot is not None
            gather.check_architecture(artifact, case.snapshot)
            raise found.error
        if _reverts(job):
            _predict(job, case, lambda: predict.revert(case))
        else:
            _predict(job, case, lambda: predict.apply(job, case))
    return case


@contextmanager
def _judged(job: Job, case: Case) -> Iterator[None]:
    """What comes up while a process is looked at becomes its case's outcome."""
    pid = case.report.pid
    try:
        yield
    except (Gone, ProcessLookupError):
        act.gone(case)
    except PermissionError as error:
        case.failed_with(Refused("not_permitted", f"process {pid} may not be looked at: {error}"))
    except OSError as error:  # of one process, which is no reason to say nothing of the others
        case.failed_with(RolledBack("failed_midway", f"process {pid}: {error}"))
    except LivepatchError as error:
        by_number = "pid" in job.parameters["processes"]
        unwanted = _NOT_NEEDED if case.snapshot is not None else _NOT_NEEDED | {"not_permitted"}
        case.failed_with(error, skip=error.reason == "superseded" or (error.reason in unwanted and not by_number))


def _reverts(job: Job) -> bool:
    return job.direction == "revert" and job.command != "list"


def _from_the_top(job: Job, cases: Sequence[Case]) -> List[Case]:
    """Reverts in the order in which they are carried out, each planned for what those before it leave.

    Of one process's patches the highest goes first, so that one which requires another goes before that.
    """
    result: List[Case] = []
    for case in sorted(cases, key=lambda each: (each.report.pid, -each.found.record.order if each.found else 0)):
        if case.found is not None and case.report.status == "planned":
            before = [each for each in result if each.report.pid == case.report.pid and each.found is not None]
            if any(each.found is not None and each.found.data == case.found.data for each in before):
                continue  # named twice
            case.earlier = before
            with _judged(job, case):
                predict.plan_revert(job, case)
        result.append(case)
    return result


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
        case.found = matching[-1]
        case.report.status = "planned"
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
        predict.check_fit(job, case.snapshot)
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


def _collect_retired(job: Job, case: Case) -> None:
    """Memory that an earlier revert had to keep may be free by now; if not, nothing is lost."""
    assert case.snapshot is not None and case.installed is not None
    try:
        predict.check_fit(job, case.snapshot)
        act.recover_first(job, case.snapshot, case.installed)
    except (LivepatchError, OSError):
        return
    _snapshot(job, case)
