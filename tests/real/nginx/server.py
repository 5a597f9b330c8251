# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx as a group of processes on a Unix socket: a master, two workers, the cache's manager and loader."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.harness.program import PATIENCE, Program
from tests.real.nginx import load
from tests.real.nginx.rebuild import Rebuilt

HERE = Path(__file__).parent
WORKERS = 2
# Longer than any path here: what is missing to a short Destination is more than the alias has, and the old
# code asks for a size below zero, which it does not get (500). It would write beyond a buffer otherwise.
LOCATION = f"/{'dav' * 100}/"

CONFIGURATION = """
daemon off;
user root root;
worker_processes {workers};
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    proxy_cache_path {folder}/cache keys_zone=kept:1m;
    server {{
        listen unix:{folder}/socket;
        add_header X-Worker $pid always;
        root {folder}/files;
        location {location} {{ alias {folder}/files/; dav_methods COPY; }}
    }}
}}
"""


class Server:
    """A running group.

    :ivar exe: the program's path, of which this is the only group
    """

    def __init__(self, program: Program, folder: Path) -> None:
        self.exe = folder / "nginx"
        self.folder = folder
        self.socket = str(folder / "socket")
        self.pid = program.pid

    def processes(self) -> dict[int, str]:
        """PID -> title: the master and its children, those that are about to end not among them."""
        found = {self.pid: title(self.pid)}
        for name in os.listdir("/proc"):
            if name.isdecimal():
                with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
                    if int(fields[1]) == self.pid and fields[0] not in "ZX":
                        found[int(name)] = title(int(name))
        return {pid: words for pid, words in found.items() if words and "shutting down" not in words}

    def workers(self) -> set[int]:
        """PIDs of the workers that take requests."""
        return {pid for pid, words in self.processes().items() if "worker process" in words}

    def reload(self) -> subprocess.Popen[str]:
        """``nginx -s reload``, under way."""
        command = [str(self.exe), "-p", str(self.folder), "-c", "conf", "-s", "reload"]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)

    def settled(self, before: Collection[int] = ()) -> set[int]:
        """The workers, when none of those before is left and all new ones are there.

        :raises AssertionError: that takes too long
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            workers = self.workers()
            alive = [pid for pid in before if title(pid)]
            if len(workers) == WORKERS and not workers & set(before) and not alive:
                return workers
            assert time.monotonic() < deadline, (workers, before, self.log())
            os.sched_yield()

    def copies(self) -> dict[int, set[int]]:
        """What each worker of now answers to a COPY with a short Destination: PID -> statuses.

        :raises AssertionError: one of them never takes a request
        """
        workers = self.workers()
        found: dict[int, set[int]] = defaultdict(set)
        deadline = time.monotonic() + PATIENCE
        while not workers <= set(found):
            assert time.monotonic() < deadline, (workers, found, self.log())
            # Many at once, so that one worker alone does not take them all.
            for connection in [load.opened(self.socket) for _ in range(8)]:
                reply = load.copy(connection, LOCATION)
                found[reply.worker].add(reply.status)
        return {pid: found[pid] for pid in workers}

    def log(self) -> str:
        """The end of its error log."""
        return (self.folder / "error.log").read_text()[-4000:]


def title(pid: int) -> str:
    """What a process calls itself; empty: it has ended."""
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().replace("\0", " ").strip()
    except OSError:
        return ""


@contextlib.contextmanager
def running(nginx: Rebuilt, folder: Path) -> Iterator[Server]:
    """A group with a program file and a folder of its own, taking requests."""
    (folder / "files").mkdir()
    (folder / "files" / "file").write_text("content\n")
    words = CONFIGURATION.format(workers=WORKERS, folder=folder, location=LOCATION)
    (folder / "conf").write_text(words)
    shutil.copy2(nginx.program, folder / "nginx")
    with Program(folder / "nginx", "-p", folder, "-c", "conf", "-e", folder / "error.log", wait=False) as program:
        server = Server(program, folder)
        server.settled()
        yield server


@contextlib.contextmanager
def requests(server: Server) -> Iterator[Program]:
    """A program that makes requests all the time; ``ask("report")`` tells what came of them."""
    with Program("nice", "-n", "10", sys.executable, HERE / "load.py", server.socket, LOCATION) as program:
        yield program
