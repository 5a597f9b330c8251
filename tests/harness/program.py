# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real process under test, which says when it is ready and answers lines."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE = 30.0  # seconds: far longer than any answer takes, so that only a hung program meets it


class Silent(AssertionError):
    """The program did not answer: it hangs, or it is dead (the message says which)."""


class Program:
    """A process with a handshake: it prints ``ready``, then one line for each line it is given.

    As a context manager it is killed in the end, with everything it started; a program that had died before,
    by a signal or on its own, fails the test, whatever else the test found.
    """

    def __init__(
        self,
        path: Path | str,
        *arguments: object,
        environment: Mapping[str, str] | None = None,
        wait: bool = True,
        yielding: bool = False,
    ) -> None:
        """:param yielding: its busy threads leave the processors to the tests and to what these start"""
        command: Sequence[str] = [str(path), *map(str, arguments)]
        self.path = Path(path)
        self._unread = b""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=None if environment is None else {**os.environ, **environment},
            start_new_session=True,
            preexec_fn=(lambda: os.nice(10)) if yielding else None,
        )
        self.pid = self._process.pid
        self.may_exit = False  #: set by a test that makes the program end by itself
        if wait:
            try:
                self.ready = self.read_line()
                assert self.ready.split()[:1] == ["ready"], f"{path} said {self.ready!r} instead of ready"
            except BaseException:
                self.kill()
                raise

    def tell(self, line: str) -> None:
        """Send one line, without waiting for the answer."""
        try:
            self._process.stdin.write(line.encode() + b"\n")
        except BrokenPipeError:
            raise Silent(f"{self} takes no more lines") from None

    def read_line(self, seconds: float = PATIENCE) -> str:
        """The next line that the program prints, without its newline.

        :raises Silent: none came within ``seconds``, or the program is gone
        """
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._process.stdout], [], [], left)[0]:
                raise Silent(f"{self} said nothing for {seconds} s")
            block = os.read(self._process.stdout.fileno(), 65536)
            if not block:
                self._process.wait(PATIENCE)
                raise Silent(f"{self} is dead")
            self._unread += block
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode()

    def ask(self, line: str, seconds: float = PATIENCE) -> str:
        """Send one line and read the answer.

        :raises Silent: see :meth:`read_line`
        """
        self.tell(line)
        return self.read_line(seconds)

    def alive(self) -> bool:
        """Whether the process has not exited (an exited leader with threads left is alive)."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What it exited with, minus the signal that killed it, or None while it lives."""
        return self._process.poll()

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait until it ends by itself; its exit code."""
        self.may_exit = True
        return self._process.wait(seconds)

    def kill(self) -> None:
        """End it and all it started, and reap it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._process.stdin.close()
        self._process.stdout.close()

    def __str__(self) -> str:
        code = self._process.poll()
        state = "alive" if code is None else f"exit {code}"
        if code is not None and code < 0:
            state = f"killed by {signal.Signals(-code).name}"
        return f"{self.path.name} (pid {self.pid}, {state})"

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        died = not self.alive()
        found = str(self)
        self.kill()
        if died and not self.may_exit and kind is None:
            raise AssertionError(f"{found} ended by itself")
