# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's daemon, clients and patches, compiled below ``build/demo``."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parent
BUILT = REPOSITORY / "build" / "demo"

_WORD = {"x86_64": "-m64", "i386": "-m32"}
_FLAGS = ("-O2", "-g", "-Wall", "-Wextra", "-pthread", "-I", str(HERE))


class Failed(Exception):
    """A tool failed; the message is what it said."""


@dataclass(frozen=True)
class Built:
    """Everything for one architecture."""

    arch: str
    daemon: Path
    clients: Path
    artifact: Path


def everything(arch: str) -> Built:
    """Daemon, clients and patch for ``arch``.

    :raises Failed: a compiler or the builder refused
    """
    folder = BUILT / arch
    (folder / "old").mkdir(parents=True, exist_ok=True)
    (folder / "new").mkdir(exist_ok=True)
    compiled = {}
    for name, source in (("old", HERE / "order.c"), ("new", HERE / "fixed" / "order.c")):
        compiled[name] = folder / name / "order.o"
        _run("gcc", _WORD[arch], *_FLAGS, "-c", source, "-o", compiled[name])
    daemon, clients = folder / "shop", BUILT / "clients"
    _run("gcc", _WORD[arch], *_FLAGS, HERE / "shop.c", compiled["old"], "-o", daemon)
    _run("gcc", *_FLAGS, HERE / "clients.c", "-o", clients)
    artifact = folder / f"shop-negative-orders.{arch}.lp.o"
    _run(
        REPOSITORY / "bin" / "livepatch", "build",
        "--target", daemon,
        "--old-objects", compiled["old"],
        "--new-objects", compiled["new"],
        "--name", "shop-negative-orders",
        "--version", "1.0",
        "--dest", artifact,
    )  # fmt: skip
    return Built(arch, daemon, clients, artifact)


def _run(*command: str | Path) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
