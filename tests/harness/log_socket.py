# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A syslog of the test's own, and its lines read back as a strict reader would."""

from __future__ import annotations

import re
import socket
from pathlib import Path

_LINE = re.compile(r"<(\d+)>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) livepatch\[(\d+)\]: ([^\n]*)")
_FIELD = re.compile(r'([a-z_]+)=(\d+|[a-z_]+|"((?:[^"\\]|\\.)*)")(?: |$)')


class Syslog:
    """A datagram socket at a path, as /dev/log is one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))

    def raw(self) -> list[bytes]:
        """What came since the last time."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(65536))
            except BlockingIOError:
                return found

    def lines(self) -> list[dict[str, str]]:
        """The same as fields, and ``severity``.

        :raises AssertionError: a line is not what docs/formats.md ("Journal") says
        """
        return [parsed(line) for line in self.raw()]

    def close(self) -> None:
        """Nobody listens any more; the path stays."""
        self._socket.close()


def parsed(line: bytes) -> dict[str, str]:
    """One line's fields.  :raises AssertionError: it is none"""
    whole = _LINE.fullmatch(line.decode())
    assert whole, line
    priority = int(whole[1])
    assert priority >> 3 == 10, line  # authpriv
    fields: dict[str, str] = {"severity": str(priority & 7), "sender": whole[3]}
    at = 0
    while at < len(whole[4]):
        field = _FIELD.match(whole[4], at)
        assert field and field[1] not in fields, (line, at)
        fields[field[1]] = field[2] if field[3] is None else field[3]
        at = field.end()
    return fields
