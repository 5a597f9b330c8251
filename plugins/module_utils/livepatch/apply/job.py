# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The main path: what was asked, for every process that it concerns.

Looking comes first, for everybody; check mode ends there.  Only then is the
first process touched.  Processes are taken in order of their PID.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..artifact import file as artifact_file
from ..artifact.file import Artifact
from ..errors import LivepatchError, Refused, UsageError
from ..process.targets import SELECTION_KEYS
from ..report import Report
from . import act, identity, parameters, predict, survey, trust
from .cancel import Cancel
from .case import Case
from .journal import Journal, turned_down

__all__ = ["COMMANDS", "Job", "SELECTION_KEYS", "run_job"]

FORMAT = 1
COMMANDS = ("list", "check", "apply", "revert", "recover")
_KEYS = {"format", "command", "direction", "artifacts", "host", "by", "parameters", "signatures"}

# Processes that were started while we worked (a master's new workers) are looked for again this often.
_ROUNDS = 4


@dataclass(frozen=True)
class Job:
    """A checked job; ``docs/formats.md`` ("Job") has its JSON."""

    command: str
    direction: str  # "apply" or "revert": what ``check`` predicts
    artifacts: Tuple[str, ...]  # paths on this host; for a revert also names or ids of patches
    host: str
    by: str
    parameters: Mapping[str, Any]
    signatures: Mapping[str, str] = field(default_factory=dict)  # artifact id -> signature; else the file beside it
    journal: Journal = field(default_factory=Journal, compare=False)

    @property
    def writes(self) -> bool:
        return self.command in ("apply", "revert", "recover")


def parse(data: Mapping[str, Any]) -> Job:
    """:raises UsageError: a key is missing or unknown, or a value is not one that it can have"""
    if not isinstance(data, dict):
        raise UsageError("the job must be a JSON object")
    unknown = sorted(set(data) - _KEYS)
    if unknown:
        raise UsageError(f"unknown key {unknown[0]!r} in the job")
    if data.get("format") != FORMAT:
        raise UsageError(f"the job is of format {data.get('format')!r}, this livepatch knows format {FORMAT}")
    command = data.get("command")
    if command not in COMMANDS:
        raise UsageError(f"command must be one of {', '.join(COMMANDS)}, not {command!r}")
    direction = data.get("direction", "apply")
    if direction not in ("apply", "revert"):
        raise UsageError(f"direction must be apply or revert, not {direction!r}")
    artifacts = data.get("artifacts", [])
    if not isinstance(artifacts, list) or not all(isinstance(path, str) and path for path in artifacts):
        raise UsageError("artifacts must be a list of paths")
    if command in ("check", "apply", "revert") and not artifacts:
        raise UsageError(f"{command} needs an artifact")
    given = data.get("parameters", {})
    if not isinstance(given, dict):
        raise UsageError("parameters must be a JSON object")
    texts: Dict[str, str] = {}
    for key, default in (("host", os.uname().nodename), ("by", f"uid {os.getuid()}")):
        texts[key] = data.get(key, default)
        if not isinstance(texts[key], str):
            raise UsageError(f"{key} must be a text")
    signatures = data.get("signatures", {})
    if not isinstance(signatures, dict) or not all(isinstance(text, str) for text in signatures.values()):
        raise UsageError("signatures must be a JSON object of texts")
    if command in ("apply", "revert"):
        direction = command
    checked = parameters.checked(given)
    return Job(command, direction, tuple(artifacts), texts["host"], texts["by"], checked, signatures)


def run_job(data: Mapping[str, Any], journal: Optional[Journal] = None) -> Report:
    """Do what a job asks for.

    :param journal: in place of the host's own (tests)
    :raises UsageError: the job makes no sense
    :raises LivepatchError: nothing was done, for a reason that concerns all of it
    """
    job = parse(data)
    if journal is not None:
        job = replace(job, journal=journal)
    try:
        report = _run(job)
    except LivepatchError as error:
        turned_down(job, error)
        raise
    report.unjournaled = job.journal.lost
    return report


def _run(job: Job) -> Report:
    artifacts, untrusted = _read(job)
    with Cancel() as cancel:
        cases = survey.look(job, artifacts)
        for case in cases:
            if case.report.status == "planned" and case.artifact is not None and case.artifact.id in untrusted:
                case.failed_with(untrusted[case.artifact.id])
        report = _report(job, artifacts, cases)
        identity.check_expected(job.parameters["expected_plan"], report.plans)
        if job.writes:
            act.carry_out(job, cases, cancel)
            for _ in range(_ROUNDS if job.command in ("apply", "revert") else 0):
                if job.parameters["all_or_nothing"] and any(case.failed for case in cases):
                    break  # nothing, then
                newcomers = survey.newcomers(job, artifacts, cases)
                if not newcomers:
                    break
                act.carry_out(job, newcomers, cancel)
                cases += newcomers
    shown = [case.report for case in cases if not survey.out_of_sight(case)]
    report.processes = shown
    report.unseen = len({case.report.pid for case in cases if survey.out_of_sight(case)})
    if not shown:
        report.message = _nobody(job, artifacts)
    return report


def _read(job: Job) -> Tuple[List[Artifact], Dict[str, Refused]]:
    """The artifacts; for a revert an argument that is no file names a patch and is left to the survey.

    :returns: and for ``list``, which asks what could be, why those by id would not be accepted
    :raises Refused: one can not be read, or must not be put into a process; that takes it out always may
    """
    artifacts: Dict[str, Artifact] = {}
    untrusted: Dict[str, Refused] = {}
    for path in job.artifacts:
        if job.direction == "apply" or survey.is_file(path):
            artifact = artifact_file.read(path)
            artifacts[artifact.id] = artifact
            if job.direction == "apply":
                try:
                    trust.check(artifact, path, job.signatures, job.parameters["trusted_keys"])
                except Refused as refusal:
                    if job.command != "list":
                        raise
                    untrusted[artifact.id] = refusal
    return list(artifacts.values()), untrusted


def _report(job: Job, artifacts: Sequence[Artifact], cases: Sequence[Case]) -> Report:
    """What the survey predicts: the plans, and what would change in which process."""
    plans = [
        identity.plan_of(artifact.id, job.host, _predictions(artifact, cases))
        for artifact in artifacts
    ]
    return Report(
        command=job.command,
        artifacts=[artifact.summary() for artifact in artifacts],
        plans=plans,
        plan_sha256=identity.hash_of_all(plans) if plans else None,
        diff=predict.diff(cases),
    )


def _predictions(artifact: Artifact, cases: Sequence[Case]) -> List[identity.Prediction]:
    return [case.prediction for case in cases if case.artifact is artifact and not survey.out_of_sight(case)]


def _nobody(job: Job, artifacts: Sequence[Artifact]) -> str:
    if artifacts:
        return "no process maps " + " or ".join(sorted({artifact.manifest.target.name for artifact in artifacts}))
    if job.command == "recover":
        return "no process has anything to recover"
    return "no process has a live patch" if job.command == "list" else "no process has such a patch"

