# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""One process, and what is to become of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional, Tuple

from ..artifact.file import Artifact
from ..errors import LivepatchError, Refused
from ..process.snapshot import Snapshot
from ..report import STATUSES, ProcessReport
from ..tracee.stop import Outcome
from . import identity, layers
from .installed import Installed
from .ledger import Ledger
from .plan import Plan


@dataclass(eq=False)
class Case:
    """One process, and one artifact that concerns it (none for ``list`` and ``recover``).

    :ivar earlier: cases of the same process that this job carries out before this one
    """

    report: ProcessReport
    artifact: Optional[Artifact] = None
    snapshot: Optional[Snapshot] = None
    installed: Optional[Installed] = None
    plan: Optional[Plan] = None  # to be put in
    found: Optional[Ledger] = None  # to be taken out
    matches: bool = False  # the process maps the artifact's target
    earlier: List[Case] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return STATUSES[self.report.status] != 0

    @property
    def changed(self) -> bool:
        return self.report.status in ("applied", "reverted")

    @property
    def missed(self) -> bool:
        """Whether the process is not as those that come after this one were planned for: ``on_busy: skip``."""
        was_to_change = self.plan is not None or self.found is not None
        return self.failed or (was_to_change and self.report.status == "skipped")

    @property
    def planned_before(self) -> List[Ledger]:
        """Patches that earlier cases put into the process."""
        return [case.plan.ledger for case in self.earlier if case.plan is not None]

    @property
    def present(self) -> List[Ledger]:
        """The patches that will be in force when its turn comes, if all goes well."""
        assert self.installed is not None
        found = list(self.installed.in_force)
        for case in self.earlier:
            if case.plan is not None:
                found = [*layers.without(found, case.plan.displaced), case.plan.ledger]
            elif case.found is not None:
                found = layers.without(found, [case.found])
        return layers.in_order(found)

    @property
    def prediction(self) -> identity.Prediction:
        report, artifact = self.report, self.artifact
        assert artifact is not None
        target = artifact.manifest.target
        return identity.Prediction(
            of=report.unit or report.exe,
            target=target.build_id or target.text_sha256,
            arch=report.arch or "",
            functions=tuple(sorted(function.name for function in artifact.manifest.functions)),
            status=report.status,
            reason=report.reason,
        )

    def failed_with(self, error: LivepatchError, skip: bool = False) -> None:
        """:param skip: ``on_busy: skip``: it is not counted as a failure"""
        self.report.status = "skipped" if skip else error.status
        self.report.reason = error.reason
        self.report.message = error.message

    def hold_back(self) -> None:
        self.failed_with(Refused("held_back", f"process {self.report.pid} was not touched"), skip=True)

    def gone(self) -> None:
        self.report.status = "gone"
        self.report.reason = None
        self.report.message = "the process has ended"

    def switched(self, status: str, result: Tuple[Outcome, int]) -> None:
        outcome, self.report.attempts = result
        self.report.status = status
        self.report.stop_us = outcome.timing.held
        self.report.threads = outcome.threads
        self.report.unproven = []
