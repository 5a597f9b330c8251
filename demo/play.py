# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's playbooks, run as anybody would run them, with their results at hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
# One host, this one. `livepatch_become` is off: who may trace a process need not become anybody.
INVENTORY = {"all": {"hosts": {"localhost": {"ansible_connection": "local"}}}}


class Playbooks:
    """Runs ``userspace.livepatch.NAME`` for some artifacts."""

    def __init__(
        self,
        artifacts: Sequence[Path],
        inventory: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="livepatch-")
        self._inventory = Path(self._folder.name) / "inventory.json"
        self._inventory.write_text(json.dumps(inventory or INVENTORY))
        self._environment = environment or {}
        self.variables: dict[str, Any] = {
            "ansible_python_interpreter": sys.executable,
            "livepatch_artifacts": [str(path) for path in artifacts],
            "livepatch_become": False,
        }

    def __enter__(self) -> Playbooks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def run(self, name: str, **variables: Any) -> tuple[str, dict[str, Any]]:
        """Run one playbook.

        :returns: what it printed, and the result of the collection's module in it ({} where none ran)
        """
        record = Path(self._folder.name) / f"{name}.jsonl"
        record.unlink(missing_ok=True)
        done = subprocess.run(
            [
                Path(sys.executable).with_name("ansible-playbook"),
                *("--inventory", self._inventory),
                *("--extra-vars", json.dumps({**self.variables, **variables})),
                f"userspace.livepatch.{name}",
            ],
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
                "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callback"),
                "ANSIBLE_CALLBACKS_ENABLED": "record",
                "LIVEPATCH_RECORD": str(record),
                **({"ANSIBLE_FORCE_COLOR": "1"} if sys.stdout.isatty() else {}),
                **self._environment,
            },
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
        )
        results = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
        ours = [
            {**each["result"], "failed": each["outcome"] != "ok"}
            for each in results
            if each["action"].startswith("userspace.livepatch.")
        ]
        return done.stdout + done.stderr, ours[-1] if ours else {}
