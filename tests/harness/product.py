# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host program, run the way an operator runs it: a process of its own, JSON on its standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livepatch.build import pipeline
from livepatch.build.request import BuildRequest

from .toolchain import CACHE, REPOSITORY, Pair

PACKAGES = REPOSITORY / "plugins" / "module_utils"
DEADLINE = 60.0  # seconds; an injector that takes longer hangs


def environment() -> dict[str, str]:
    """The environment in which ``python -m livepatch`` finds the rooms, compiled once as on a managed host."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return dict(kept, PYTHONPATH=str(PACKAGES), PYTHONPYCACHEPREFIX=str(CACHE / "pycache"))


def command(*arguments: object) -> list[str]:
    """The command line of the host program."""
    return [sys.executable, "-m", "livepatch", *map(str, arguments)]


@dataclass(frozen=True)
class Answer:
    """What one run of the host program said: its exit code, its JSON report, its standard error."""

    code: int
    report: dict[str, Any]
    words: str

    @property
    def processes(self) -> list[dict[str, Any]]:
        """One entry for each process that was looked at."""
        return self.report["processes"]

    @property
    def process(self) -> dict[str, Any]:
        """The entry of the only process."""
        assert len(self.processes) == 1, self
        return self.processes[0]

    @property
    def status(self) -> str:
        """The only process's status."""
        return self.process["status"]

    @property
    def reason(self) -> str | None:
        """The only process's reason word."""
        return self.process["reason"]

    def __str__(self) -> str:
        return f"exit {self.code}: {json.dumps(self.report, indent=1)}\n{self.words}"


def livepatch(act: str, *arguments: object) -> Answer:
    """Run ``livepatch ACT --json ARGUMENTS`` and read what it says.

    :raises AssertionError: it printed no JSON (a crash: its traceback is the message)
    """
    line = command(act, "--json", *arguments)
    done = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=DEADLINE)
    try:
        return Answer(done.returncode, json.loads(done.stdout), done.stderr)
    except ValueError:
        shown = f"{' '.join(line)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        raise AssertionError(shown) from None


def build(pair: Pair, artifact: Path, name: str, version: str) -> Path:
    """Make a patch from a pair of objects with the product's builder, and write it."""
    request = BuildRequest(
        target=str(pair.target),
        old_objects=[str(pair.old)],
        new_objects=[str(pair.new)],
        name=name,
        version=version,
    )
    artifact.write_bytes(pipeline.build(request))
    return artifact
