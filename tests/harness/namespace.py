# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host program with another /etc/livepatch, /dev/log or ssh-keygen: in a mount namespace of its own.

What stands in the real /etc would count for every other test that runs meanwhile.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from . import product

# $1: what stands in /etc as livepatch, a folder; $2: what stands in /dev as log, a socket; either may be empty. Then
# pairs of files and the paths at which they are seen, "--", the command. /etc and /dev become views of the real ones in
# a memory file system, so that something more can stand there.
_SCRIPT = r"""
set -eu
mount --make-rprivate /
add() { # SOURCE, FOLDER, NAME
    [ -n "$1" ] || return 0
    view=$(mktemp -d)
    mount -t tmpfs -o mode=755 tmpfs "$view"
    for entry in "$2"/* "$2"/.[!.]*; do
        [ -e "$entry" ] || [ -L "$entry" ] || continue
        name=${entry#"$2"/}
        [ "$name" = "$3" ] && continue
        if [ -L "$entry" ]; then cp -P "$entry" "$view/$name"
        elif [ -d "$entry" ]; then mkdir "$view/$name"; mount --rbind "$entry" "$view/$name"
        else : > "$view/$name"; mount --bind "$entry" "$view/$name"; fi
    done
    if [ -d "$1" ]; then cp -a "$1" "$view/$3"; else : > "$view/$3"; mount --bind "$1" "$view/$3"; fi
    mount --move "$view" "$2"
    rmdir "$view"
}
add "$1" /etc livepatch
add "$2" /dev log
shift 2
while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
shift
exec "$@"
"""


def enclosed(
    command: list[str], etc: Path | None = None, instead: Mapping[str, Path] | None = None, log: Path | None = None
) -> list[str]:
    """The command line that runs ``command`` in a mount namespace.

    :param etc: what stands there as ``/etc/livepatch``, with owners and modes
    :param instead: path -> file that stands there for it
    :param log: the socket that stands there as ``/dev/log``
    """
    pairs = [str(word) for path, file in (instead or {}).items() for word in (file, path)]
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    line = ["unshare", *user, "--mount", "sh", "-c", _SCRIPT, "sh", str(etc or ""), str(log or ""), *pairs, "--"]
    return [*line, *command]


def livepatch(
    act: str,
    *arguments: object,
    etc: Path | None = None,
    instead: Mapping[str, Path] | None = None,
    log: Path | None = None,
) -> product.Answer:
    """As :func:`tests.harness.product.livepatch`, in there."""
    line = enclosed(product.command(act, "--json", *arguments), etc, instead, log)
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            line, env=product.environment(), stdout=subprocess.PIPE, stderr=errors, text=True, timeout=product.DEADLINE
        )
        errors.seek(0)
        words = errors.read()
    try:
        return product.Answer(done.returncode, json.loads(done.stdout), words)
    except ValueError:
        raise AssertionError(f"{' '.join(line)}: exit {done.returncode}\n{done.stdout}\n{words}") from None
