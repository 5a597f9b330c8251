# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Carry out what the survey found possible: one process after the other, all or nothing.

A failure in one process puts the others back.  For a revert that is why memory is
freed only when all processes run their old code again: until then, the way back
is one more switch.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Callable, Iterable, List, Optional, Sequence, Tuple

from ..errors import Busy, Gone, LivepatchError, RolledBack, Stranded
from ..process.snapshot import Snapshot
from ..tracee.stop import Outcome
from ..tracee.tracee import Patience, Tracee
from . import alone, apply_one, journal, layers, memory, predict, recover, revert_one
from .cancel import Cancel
from .case import Case
from .installed import Installed
from .ledger import Ledger

if TYPE_CHECKING:
    from .job import Job


# A process that was killed takes its memory down within this time, seconds.
_ENDING_S = 1.0


def carry_out(job: Job, cases: Sequence[Case], cancel: Cancel) -> None:
    """Change each case's report from what was predicted to what was done."""
    strict = job.parameters["all_or_nothing"] and job.command != "recover"
    for case in cases:
        if case.failed:
            journal.ended(job, case)
    todo = [case for case in cases if case.report.status == "planned"]
    if strict and any(case.failed for case in cases):
        for case in todo:
            case.hold_back()
        return
    done: List[Case] = []
    for index, case in enumerate(todo):
        if any(other.missed for other in case.earlier):
            case.hold_back()  # it was planned to stand beside that one
            continue
        journal.begins(job, case)
        _one(job, case, cancel)
        journal.ended(job, case)
        if case.changed:
            done.append(case)
        elif strict and case.failed:
            for other in todo[index + 1 :]:
                other.hold_back()
            _put_back(job, done)
            for other in done:
                journal.ended(job, other)
            return
    for case in done:
        out_of_use = case.plan.displaced if case.plan is not None else [case.found] if case.found else []
        for found in out_of_use:
            _collect(job, case, found, cancel)


def _one(job: Job, case: Case, cancel: Cancel) -> None:
    """Apply, revert or recover one process; every outcome lands in its report."""
    assert case.snapshot is not None
    try:
        cancel.check()
        with tracee_of(case.snapshot, case.installed) as tracee:
            for found in case.planned_before:
                _add(tracee, found)
            if job.command == "recover":
                _recover(job, case, tracee, cancel)
            elif job.command == "revert":
                assert case.found is not None
                case.switched("reverted", _take_out(job, tracee, case.found, case.present, (), cancel.check))
            else:
                assert case.plan is not None
                alone.claim(tracee, case)
                case.switched("applied", apply_one.put_in(tracee, case.plan, patience_of(job), cancel.check))
    except (Gone, ProcessLookupError):
        gone(case)
    except Busy as busy:
        case.failed_with(busy, skip=job.parameters["on_busy"] == "skip")
    except LivepatchError as error:
        case.failed_with(error)
    except OSError as error:
        # Whatever had begun was undone on the way here, or is in the ledger for recover.
        case.failed_with(RolledBack("failed_midway", str(error)))


def gone(case: Case) -> None:
    """A thread has ended: the first of all, or the only one.  Only if the memory went with it the process has."""
    until = time.monotonic() + _ENDING_S
    while case.snapshot is not None and case.snapshot.memory.alive():
        if time.monotonic() > until:
            what = f"threads of process {case.report.pid} ended while they were worked with"
            case.failed_with(Busy("threads_changing", what))
            return
        time.sleep(0.01)
    case.gone()


def _recover(job: Job, case: Case, tracee: Tracee, cancel: Cancel) -> None:
    assert case.snapshot is not None
    done = recover.recover(
        tracee, alone.look_again(tracee), revert_one.file_reader(case.snapshot), patience_of(job), cancel.check
    )
    case.report.status = "recovered" if done else "already"
    case.report.message = "; ".join(done)


def recover_first(job: Job, snapshot: Snapshot, installed: Installed) -> List[str]:
    """What a writing command does before it looks any further.

    :returns: what was done, in words
    :raises LivepatchError: as :func:`recover.recover`
    """
    journal.recovery(job, snapshot, "begins")
    try:
        with tracee_of(snapshot, installed) as tracee:
            installed = alone.look_again(tracee)
            done = recover.recover(tracee, installed, revert_one.file_reader(snapshot), patience_of(job), _never)
    except LivepatchError as error:
        journal.recovery(job, snapshot, error.status, error.reason, error.what)
        raise
    journal.recovery(job, snapshot, "recovered" if done else "already", message="; ".join(done))
    return done


def _put_back(job: Job, done: Iterable[Case]) -> None:
    """Undo what was done, the last first.  A request to stop does not end this."""
    for case in reversed(list(done)):
        assert case.snapshot is not None
        try:
            with _after(case) as tracee:
                if job.command == "revert":
                    assert case.found is not None
                    present = layers.without(case.present, [case.found])
                    # Calls may have begun beneath since; whether they can stay only an artifact tells.
                    safe = case.artifact is not None and all(
                        function.entry_safe for function in case.artifact.manifest.functions
                    )
                    entry = predict.terms_of(job).entry and safe
                    revert_one.put_back(tracee, case.found, present, entry, patience_of(job), _never)
                else:
                    assert case.plan is not None
                    mine, back = case.plan.ledger, case.plan.displaced
                    present = layers.in_order([*layers.without(case.plan.beneath, back), mine])
                    _take_out(job, tracee, mine, present, back, _never)
            case.failed_with(RolledBack("put_back", f"process {case.report.pid} is as it was before"))
            if case.plan is not None:
                with suppress(Gone, LivepatchError, OSError), _after(case) as tracee:
                    memory.collect(tracee, case.plan.ledger, _never, _seen(job))
        except (Gone, ProcessLookupError):
            case.gone()
        except (LivepatchError, OSError) as error:
            what = f"another process failed, and putting this one back failed, too: {error}"
            case.failed_with(Stranded("could_not_undo", what))


def _take_out(
    job: Job,
    tracee: Tracee,
    found: Ledger,
    present: Sequence[Ledger],
    back: Sequence[Ledger],
    between: Callable[[], None],
) -> Tuple[Outcome, int]:
    entry = predict.terms_of(job).entry
    return revert_one.take_out(tracee, found, present, back, entry, patience_of(job), between)


def _seen(job: Job) -> str:
    """How memory that a switch of this job has put out of use is searched for coroutines, see memory.collect."""
    mode = job.parameters["coroutines"]
    return "auto" if mode == "auto" and not predict.terms_of(job).entry else "search"


def _collect(job: Job, case: Case, found: Ledger, cancel: Cancel) -> None:
    """Free the memory of a patch that is out of use; the act has succeeded whatever comes of it."""
    assert case.snapshot is not None
    try:
        with _after(case) as tracee:
            kept = memory.collect(tracee, found, cancel.check, _seen(job))
    except (Gone, ProcessLookupError):
        return
    except (LivepatchError, OSError) as error:
        kept = f"its memory is kept: {error}"
    case.report.message = "; ".join(filter(None, [case.report.message, kept]))


def _after(case: Case) -> Tracee:
    """The process, with the unwind tables also of what this job has put into it, this case included."""
    assert case.snapshot is not None
    tracee = tracee_of(case.snapshot, case.installed)
    for found in case.planned_before:
        _add(tracee, found)
    if case.plan is not None:
        _add(tracee, case.plan.ledger)
    return tracee


def tracee_of(snapshot: Snapshot, installed: Optional[Installed]) -> Tracee:
    """The process, with the unwind tables of the patches that are in it."""
    tracee = Tracee(snapshot)
    for found in installed.ledgers if installed else ():
        _add(tracee, found)
    return tracee


def _add(tracee: Tracee, found: Ledger) -> None:
    tracee.add_patch(found.text[0], found.text[0] + found.text[1], found.title, *found.record.eh_frame)


def patience_of(job: Job) -> Patience:
    values = job.parameters
    return Patience(values["patience"], values["attempts"], values["stop_ms"] / 1000, values["coroutines"])


def _never() -> None:
    """Nothing ends an undo."""


