# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""load.py SOCKET LOCATION: request without pause, and say on demand what came of it.

It prints ``ready``; then for each line on standard input one JSON object: ``requests``, ``copies`` (status ->
how many), ``failures`` (in words: every request that was not answered as nginx answers).

As a module: one request.
"""

from __future__ import annotations

import json
import select
import socket
import sys
from collections import Counter
from typing import NamedTuple

DEADLINE = 20.0  # seconds for one answer


class Reply(NamedTuple):
    """What nginx said, and which process of it."""

    status: int
    worker: int
    body: bytes


def opened(path: str) -> socket.socket:
    """A connection."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(path)
    return connection


def ask(connection: socket.socket, method: str, uri: str, *headers: str) -> Reply:
    """One request, the only one of its connection.

    :raises OSError: the connection broke
    :raises ValueError: what came is no answer
    """
    with connection:
        lines = [f"{method} {uri} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        said = b""
        while block := connection.recv(65536):
            said += block
    head, _, body = said.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in rest)
    if len(body) != int(fields["Content-Length"]):
        raise ValueError(f"{len(body)} bytes of {fields['Content-Length']}")
    return Reply(int(first.split()[1]), int(fields["X-Worker"]), body)


def copy(connection: socket.socket, location: str) -> Reply:
    """COPY with a Destination that is shorter than the location's name."""
    return ask(connection, "COPY", f"{location}file", "Destination: /d")


def main(path: str, location: str) -> None:
    """Until standard input ends."""
    requests, copies, failures = 0, Counter[int](), []
    print("ready", flush=True)
    while True:
        if select.select([0], [], [], 0)[0]:
            if not sys.stdin.readline():
                return
            print(json.dumps({"requests": requests, "copies": copies, "failures": failures}), flush=True)
        try:
            got = ask(opened(path), "GET", "/file")
            if (got.status, got.body) != (200, b"content\n"):
                failures.append(f"GET: {got}")
            copies[copy(opened(path), location).status] += 1
        except (OSError, ValueError, KeyError, IndexError) as error:
            failures.append(repr(error))
        requests += 2


if __name__ == "__main__":
    main(*sys.argv[1:])
