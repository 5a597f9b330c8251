# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daemon that is patched, and the clients that watch it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from pathlib import Path
from types import TracebackType


class Shop:
    """One daemon under load, from ``with`` to its end."""

    CLIENTS = 8

    class Failed(Exception):
        """A program of the demo ended or kept silent."""

    def __init__(self, daemon: Path, clients: Path, arch: str) -> None:
        self.arch = arch
        self._daemon = subprocess.Popen([daemon], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        _before_others(self._daemon)
        self.pid = self._daemon.pid
        self._clients: subprocess.Popen[str] | None = None
        try:
            port = int(_line(self._daemon, "ready")[1])
            self._clients = subprocess.Popen(
                [clients, str(port), str(self.CLIENTS)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            _before_others(self._clients)
            _line(self._clients, "ready")
            # The connection over which the demo itself asks stays open as well.
            self._connection = socket.create_connection(("127.0.0.1", port), timeout=10)
            self._answers = self._connection.makefile("r")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Shop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End both programs."""
        for program in (self._clients, self._daemon):
            if program is not None:
                program.kill()
                program.wait()

    def ask(self, question: str) -> str:
        """The answer, without its number.  :raises Failed: there is none"""
        try:
            self._connection.sendall(f"{question}\n".encode())
            answer = self._answers.readline()
        except OSError as error:
            raise self.Failed(f"The {self.arch} daemon does not answer: {error}.") from None
        if not answer:
            raise self.Failed(f"The {self.arch} daemon closed its connection.")
        return answer.split(" ", 1)[1].strip()

    def largest_gap(self) -> int:
        """The longest that a client has waited for an answer since this was last asked, in microseconds."""
        return self._figures()[1]

    def answered(self) -> int:
        """Orders of the clients that were answered, since the start."""
        return self._figures()[0]

    def lost(self) -> int:
        """Connections of the clients that broke, or that got a wrong answer."""
        return self._figures()[2]

    def is_alive(self) -> bool:
        return self._daemon.poll() is None

    def _figures(self) -> tuple[int, int, int]:
        assert self._clients is not None and self._clients.stdin is not None
        try:
            self._clients.stdin.write("\n")
            self._clients.stdin.flush()
        except OSError as error:
            raise self.Failed(f"The clients of the {self.arch} daemon have ended: {error}.") from None
        answers, largest, lost = _line(self._clients)
        return int(answers), int(largest), int(lost)


def _before_others(program: subprocess.Popen[str]) -> None:
    """Where we may, let it run before Ansible: the gap should show the patch, not who else wants a processor."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, program.pid, -10)


def _line(program: subprocess.Popen[str], first: str | None = None) -> list[str]:
    assert program.stdout is not None
    words = program.stdout.readline().split()
    if not words or (first is not None and words[0] != first):
        raise Shop.Failed(f"{program.args} said {words} and ended with {program.poll()}.")
    return words
