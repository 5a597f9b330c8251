# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host program, run the way an operator runs it: a process of its own, JSON on its standard output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livepatch.__main__ import main
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


def forked(act: str, *arguments: object) -> Answer:
    """As :func:`livepatch`, in a fork of this process: for hundreds of runs, of which Python's start would be the most.

    :raises AssertionError: it printed no JSON
    """
    words = [act, "--json", *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as wrong:
        pid = os.fork()
        if pid == 0:
            _be_the_host_program(words, said.fileno(), wrong.fileno())
        _, status = os.waitpid(pid, 0)
        said.seek(0)
        wrong.seek(0)
        output, words_said = said.read(), wrong.read()
    code = os.waitstatus_to_exitcode(status)
    try:
        return Answer(code, json.loads(output), words_said)
    except ValueError:
        raise AssertionError(f"livepatch {' '.join(words)}: exit {code}\n{output}\n{words_said}") from None


def _be_the_host_program(words: list[str], said: int, wrong: int) -> None:
    """In the fork: run it and exit; does not return."""
    code = 1
    try:
        signal.alarm(int(DEADLINE))
        os.dup2(said, 1)
        os.dup2(wrong, 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        code = main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def build_pairs(artifact: Path, target: Path, name: str, pair: Sequence[Path], *options: object) -> Path:
    """Make a patch from a pair of objects by the builder's command line.

    :param pair: old, new, and the same two without line numbers
    :raises AssertionError: it was refused
    """
    line: list[object] = [sys.executable, "-m", "livepatch.build_main", "build", "--target", target]
    for option, path in zip(("old", "new", "old-noline", "new-noline"), pair):
        age, *noline = option.split("-")
        line += ["-".join([f"--{age}-objects", *noline]), path]
    line += ["--name", name, "--version", "1", "--dest", artifact, *options]
    done = subprocess.run([str(word) for word in line], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return artifact


def build(pair: Pair, artifact: Path, name: str, version: str, **more: Any) -> Path:
    """Make a patch from a pair of objects with the product's builder, and write it.

    :param more: other fields of the request
    """
    request = BuildRequest(
        target=str(pair.target),
        old_objects=[str(pair.old)],
        new_objects=[str(pair.new)],
        name=name,
        version=version,
        **more,
    )
    artifact.write_bytes(pipeline.build(request))
    return artifact


def build_by_hand(target: Path, source: Path, artifact: Path) -> Path:
    """Make a patch from one C file with the product's builder, named for the file of the artifact, and write it."""
    name = artifact.name.removesuffix(".lp.o")
    request = BuildRequest(target=str(target), patch_source=str(source), name=name, version="1")
    artifact.write_bytes(pipeline.build(request))
    return artifact
