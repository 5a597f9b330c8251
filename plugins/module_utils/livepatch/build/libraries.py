# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The libraries that a target needs, as the build host has them.

ld.so(8): DT_RPATH or DT_RUNPATH with $ORIGIN, then the folders of ld.so.conf, then the system's own.  The
folder of the target itself comes first here: build trees keep libraries there.
"""

from __future__ import annotations

import glob
import os
from collections import deque
from typing import Iterator

from ..elf import DT_RPATH, DT_RUNPATH, Malformed
from ..elf.file import ElfFile
from ..elf.symbols import Symbol

_SYSTEM = {
    64: ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"),
    32: ("/lib/i386-linux-gnu", "/usr/lib/i386-linux-gnu", "/lib32", "/usr/lib32"),
}
_BOTH = ("/lib", "/usr/lib")
_CONFIGURATION = "/etc/ld.so.conf"


class Library:
    """A library and what it exports."""

    def __init__(self, elf: ElfFile, soname: str) -> None:
        self.soname = soname
        self._elf = elf

    def lookup(self, name: str, version: str | None) -> Symbol | None:
        """What a dynamic linker would take for this name; the default version where none is asked for."""
        try:
            return self._elf.dynamic_tables.lookup(name, version)
        except Malformed:
            return None


def needed(elf: ElfFile, path: str) -> Iterator[Library]:
    """The libraries that a target is loaded with, in the order of symbol lookup (breadth first).

    One that is not on this host is left out: its symbols are then not found, and said so.
    """
    folders = [os.path.dirname(os.path.abspath(path))]
    for entry in elf.dynamic:
        if entry.tag in (DT_RPATH, DT_RUNPATH):
            text = elf.dynamic_tables.strings.at(entry.value)
            text = text.replace("$ORIGIN", folders[0]).replace("${ORIGIN}", folders[0])
            folders += text.split(":")
    folders += [*_configured(_CONFIGURATION), *_SYSTEM[elf.elf_class], *_BOTH]
    waiting = deque(elf.needed)
    seen = set()
    while waiting:
        soname = waiting.popleft()
        if soname in seen:
            continue
        seen.add(soname)
        found = _open(soname, folders, elf)
        if found is not None:
            waiting.extend(found.needed)
            yield Library(found, soname)


def _open(soname: str, folders: list[str], like: ElfFile) -> ElfFile | None:
    for folder in folders:
        path = os.path.join(folder, soname)
        try:
            with open(path, "rb") as file:
                elf = ElfFile(file.read(), path)
        except (OSError, Malformed):
            continue
        if (elf.machine, elf.elf_class) == (like.machine, like.elf_class):
            return elf
    return None


def _configured(path: str) -> Iterator[str]:
    """The folders that ld.so.conf lists, its includes followed."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.split("#")[0].strip() for line in file]
    except OSError:
        return
    for line in lines:
        if line.startswith("include "):
            for included in sorted(glob.glob(os.path.join(os.path.dirname(path), line[8:].strip()))):
                yield from _configured(included)
        elif line:
            yield line
