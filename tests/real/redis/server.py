# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A redis-server on a Unix socket, a client that asks it, and redis-benchmark that keeps it busy."""

from __future__ import annotations

import csv
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.program import PATIENCE, Program
from tests.real.redis.rebuild import Rebuilt

CLIENTS = 50
REQUESTS = 40_000  # of one redis-benchmark, about a second of work
COUNTER = "counter"  # what they add to


@contextmanager
def running(redis: Rebuilt, path: Path) -> Iterator[Program]:
    """The server, ready, at a socket's path (at most 107 bytes)."""
    options = ("--port", 0, "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", path.parent)
    with Program(redis.server, *options, wait=False) as server:
        while "ready to accept connections" not in server.read_line():
            pass
        yield server


class Client:
    """One connection, which must last."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))
        self._replies = self._socket.makefile("rb")

    def ask(self, *words: object) -> str:
        """One command; its reply without the type, an error with its minus sign.

        :raises AssertionError: the connection ended
        """
        self._socket.sendall(b"*%d\r\n" % len(words))
        for word in (str(each).encode() for each in words):
            self._socket.sendall(b"$%d\r\n%s\r\n" % (len(word), word))
        line = self._replies.readline()
        assert line.endswith(b"\r\n"), "the server closed the connection"
        if line.startswith(b"$"):
            return self._replies.read(int(line[1:]) + 2)[:-2].decode()
        return line[:-2].decode() if line.startswith(b"-") else line[1:-2].decode()

    def add(self, key: str) -> int:
        """INCRBY KEY 1; by how much the server raised it: 1, or 2^32 more by the new code."""
        before = int(self.ask("GET", key) if self.ask("EXISTS", key) == "1" else 0)
        return int(self.ask("INCRBY", key, 1)) - before

    def info(self, section: str) -> dict[str, str]:
        """INFO SECTION."""
        lines = self.ask("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def close(self) -> None:
        """End the connection."""
        self._replies.close()
        self._socket.close()


class Benchmark:
    """redis-benchmark, one after the other: each has its own connections, and keeps them.

    :ivar runs: that have ended
    :ivar longest: the longest latency that each of them saw, ms
    """

    def __init__(self, redis: Rebuilt, path: Path) -> None:
        self._line = ["nice", "-n", "10", str(redis.benchmark), "-s", str(path), "--csv"]
        self._line += ["-c", str(CLIENTS), "-n", str(REQUESTS), "INCRBY", COUNTER, "1"]
        self._process: subprocess.Popen[str] | None = None
        self.runs = 0
        self.longest: list[float] = []

    def go_on(self) -> None:
        """See that one is running.

        :raises AssertionError: the one before had failed
        """
        if self._process is not None and self._process.poll() is not None:
            self.end()
        if self._process is None:
            self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when it has ended
            self._process = subprocess.Popen(self._line, stdout=self._said, stderr=subprocess.STDOUT, text=True)

    def end(self) -> None:
        """Wait for the last one.

        :raises AssertionError: it failed
        """
        if self._process is None:
            return
        process, self._process = self._process, None
        code = process.wait(PATIENCE)
        self._said.seek(0)
        said = self._said.read()
        self._said.close()
        assert code == 0, f"redis-benchmark: exit {code}\n{said}"
        # A line of names and one of figures, and nothing else: it prints what goes wrong.
        rows = list(csv.DictReader(said.splitlines()))
        assert len(rows) == 1 and rows[0]["max_latency_ms"], said
        self.longest.append(float(rows[0]["max_latency_ms"]))
        self.runs += 1

    def kill(self) -> None:
        """After a failure: leave nothing behind."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._said.close()


@contextmanager
def load(redis: Rebuilt, path: Path) -> Iterator[Benchmark]:
    """A benchmark that is running; the block calls its ``go_on`` now and then."""
    benchmark = Benchmark(redis, path)
    try:
        benchmark.go_on()
        yield benchmark
        benchmark.end()
    finally:
        benchmark.kill()
