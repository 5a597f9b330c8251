# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's own playbooks, run on this host the way an operator runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .toolchain import REPOSITORY

DEADLINE = 120.0  # seconds


@dataclass(frozen=True)
class Run:
    """What one run of ``ansible-playbook`` did: its exit code, each task's result, what it printed."""

    code: int
    tasks: list[dict[str, Any]]
    words: str

    def result(self, module: str) -> dict[str, Any]:
        """The result of the only task that used this module of the collection."""
        found = [task["result"] for task in self.tasks if task["action"] == f"userspace.livepatch.{module}"]
        assert len(found) == 1, self
        return found[0]

    @property
    def process(self) -> dict[str, Any]:
        """What ``patch`` says of the only process."""
        processes = self.result("patch")["processes"]
        assert len(processes) == 1, self
        return processes[0]

    def __str__(self) -> str:
        return f"exit {self.code}\n{self.words}"


def playbook(name: str, within: Callable[[list[str]], list[str]] | None = None, **variables: Any) -> Run:
    """Run ``playbooks/NAME.yml`` against this host, through Ansible's local connection.

    :param name: or an absolute path without its ``.yml``
    :param within: makes the command line that runs another one in surroundings of its own
    :param variables: without their prefix ``livepatch_``; Ansible's own as they are
    """
    wanted: dict[str, Any] = {
        key if key.startswith("ansible_") else f"livepatch_{key}": value for key, value in variables.items()
    }
    wanted.update(ansible_connection="local", ansible_python_interpreter=sys.executable)
    wanted.setdefault("livepatch_become", os.geteuid() != 0)
    with tempfile.NamedTemporaryFile("r", suffix=".json") as record:
        environment = dict(
            os.environ,
            ANSIBLE_CONFIG=str(REPOSITORY / "ansible.cfg"),
            ANSIBLE_CALLBACK_PLUGINS=str(REPOSITORY / "demo" / "callback"),
            ANSIBLE_CALLBACKS_ENABLED="record",
            LIVEPATCH_RECORD=record.name,
        )
        command = [sys.executable, "-m", "ansible", "playbook", str(REPOSITORY / "playbooks" / f"{name}.yml")]
        command += ["--inventory", "localhost,", "--extra-vars", json.dumps(wanted)]
        done = subprocess.run(
            within(command) if within else command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
            cwd=Path(REPOSITORY),
        )
        return Run(done.returncode, [json.loads(line) for line in record], done.stdout)
