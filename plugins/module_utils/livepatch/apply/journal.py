# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""One line in the host's journal for each act on a process, and one before it.

::

    livepatch[812]: event=begins act="apply" pid=4711 start=91287 exe="/usr/sbin/nginx" ... by="ansible:deploy" uid=0
    livepatch[812]: event=applied act="apply" pid=4711 ...

Whoever is killed in the middle has left ``begins``, with who it was.  Only
commands that write are heard of.  The host's syslog may be slow or not there at
all: no act waits for it, and none fails for want of it.  syslog(3), RFC 3164;
``docs/formats.md`` ("Journal") has the keys.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any, List, Optional, Tuple

from ..errors import LivepatchError
from ..process.snapshot import Snapshot

if TYPE_CHECKING:
    from .case import Case
    from .job import Job

DEVICE = "/dev/log"
_AUTHPRIV = 10 << 3  # what changes running programs is as private, and as telling, as who became root
_INFO, _NOTICE, _WARNING, _CRITICAL = 6, 5, 4, 2
_SEVERITY = {
    "applied": _NOTICE, "reverted": _NOTICE, "recovered": _NOTICE, "refused": _WARNING, "busy": _WARNING,
    "skipped": _WARNING, "rolled_back": _WARNING, "interrupted": _WARNING, "stranded": _CRITICAL,
}  # fmt: skip
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONGEST = 240  # characters of one value, escaped
_NOBODY = "4294967295"  # /proc/self/loginuid of who never logged in

Fields = List[Tuple[str, Any]]


class Journal:
    """The host's syslog, reached without ever waiting for it.

    :param path: its datagram socket (for tests; nobody else may choose)
    :ivar lost: lines that it did not take, although it is there
    """

    def __init__(self, path: str = DEVICE) -> None:
        self.lost = 0
        self._path = path
        self._socket: Optional[socket.socket] = None

    def write(self, event: str, fields: Fields) -> None:
        """One line; :attr:`lost` counts it where it did not go through."""
        said = [f"{key}={shown(value)}" for key, value in fields if value not in (None, "")]
        text = " ".join([f"event={event}", *said])
        now = time.localtime()
        at = f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2d} {now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d}"
        line = f"<{_AUTHPRIV | _SEVERITY.get(event, _INFO)}>{at} livepatch[{os.getpid()}]: {text}"
        try:
            self._send(line.encode("utf-8"))
        except (FileNotFoundError, NotADirectoryError):  # as in most containers
            pass
        except OSError:
            self.lost += 1

    def _send(self, line: bytes) -> None:
        if self._socket is not None:
            try:
                self._socket.send(line)
                return
            except BlockingIOError:
                raise
            except OSError:  # it was started anew, and has another socket
                self._socket.close()
                self._socket = None
        fresh = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            fresh.connect(self._path)
            fresh.send(line)
        except OSError:
            fresh.close()
            raise
        self._socket = fresh


def begins(job: Job, case: Case) -> None:
    """A process is about to be touched."""
    job.journal.write("begins", [("act", job.command), *_of(case), *_who(job)])


def ended(job: Job, case: Case) -> None:
    """What became of it, or why it was not touched."""
    report = case.report
    outcome: Fields = [("reason", report.reason), ("stop_us", report.stop_us)]
    said: Fields = [("message", report.message)]
    job.journal.write(report.status, [("act", job.command), *_of(case), *outcome, *_who(job), *said])


def recovery(job: Job, snapshot: Snapshot, event: str, reason: Optional[str] = None, message: str = "") -> None:
    """The same for what an earlier act had left, and this one puts right first."""
    process = _process(snapshot.pid, snapshot.start_time, snapshot.exe, snapshot.unit)
    said: Fields = [("message", message)]
    job.journal.write(event, [("act", "recover"), *process, ("reason", reason), *_who(job), *said])


def turned_down(job: Job, error: LivepatchError) -> None:
    """A writing command that touched nobody, for a reason that concerns all of it."""
    if job.writes:
        files: Fields = [("patch", " ".join(job.artifacts)), ("reason", error.reason)]
        job.journal.write(error.status, [("act", job.command), *files, *_who(job), ("message", error.what)])


def shown(value: Any) -> str:
    """A value that can end neither its quotes nor its line, nor show as something else than it is."""
    if isinstance(value, int):
        return str(value)
    result = ""
    for each in str(value):
        if each in '"\\':
            each = "\\" + each
        elif not each.isprintable():
            number = ord(each)
            short = f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
            each = short if number < 0x10000 else f"\\U{number:08x}"
        if len(result) + len(each) > _LONGEST:
            result += "..."
            break
        result += each
    return f'"{result}"'


def _of(case: Case) -> Fields:
    report = case.report
    found: Fields = _process(report.pid, report.start_time, report.exe, report.unit)
    identity = case.artifact.id if case.artifact is not None else case.found.record.artifact if case.found else None
    return [*found, ("patch", report.artifact), ("artifact", identity)]


def _process(pid: int, start_time: int, exe: str, unit: Optional[str]) -> Fields:
    return [("pid", pid), ("start", start_time), ("exe", exe), ("unit", unit)]


def _who(job: Job) -> Fields:
    who: Fields = [("by", job.by), ("uid", os.getuid()), ("auid", _login())]
    return [*who, ("comment", job.parameters["comment"])]


def _login() -> Optional[int]:
    """Who logged in, whoever they have become since; None: nobody, or the kernel does not keep it."""
    try:
        with open("/proc/self/loginuid", encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and text != _NOBODY else None
