# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host program with another /etc/livepatch, or another program in place of one: in a mount namespace of its own.

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

# $1: folder to be seen as /etc/livepatch, or empty; then pairs of files to be seen at paths, "--", the command.
# /etc itself becomes a read-only view of the real one through a memory file system, so that the folder can be there.
_SCRIPT = r"""
set -eu
mount --make-rprivate /
if [ -n "$1" ]; then
    view=$(mktemp -d)
    mount -t tmpfs -o mode=755 tmpfs "$view"
    for entry in /etc/* /etc/.[!.]*; do
        [ -e "$entry" ] || [ -L "$entry" ] || continue
        name=${entry#/etc/}
        [ "$name" = livepatch ] && continue
        if [ -L "$entry" ]; then cp -P "$entry" "$view/$name"
        elif [ -d "$entry" ]; then mkdir "$view/$name"; mount --rbind "$entry" "$view/$name"
        else : > "$view/$name"; mount --bind "$entry" "$view/$name"; fi
    done
    cp -a "$1" "$view/livepatch"
    mount --move "$view" /etc
    rmdir "$view"
fi
shift
while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done
shift
exec "$@"
"""


def enclosed(command: list[str], etc: Path | None = None, instead: Mapping[str, Path] | None = None) -> list[str]:
    """The command line that runs ``command`` in a mount namespace.

    :param etc: what stands there as ``/etc/livepatch``, with owners and modes
    :param instead: path -> file that stands there for it
    """
    pairs = [str(word) for path, file in (instead or {}).items() for word in (file, path)]
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    line = ["unshare", *user, "--mount", "sh", "-c", _SCRIPT, "sh", str(etc or ""), *pairs, "--"]
    return [*line, *command]


def livepatch(
    act: str, *arguments: object, etc: Path | None = None, instead: Mapping[str, Path] | None = None
) -> product.Answer:
    """As :func:`tests.harness.product.livepatch`, in there."""
    line = enclosed(product.command(act, "--json", *arguments), etc, instead)
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
