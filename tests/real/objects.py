# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between two objects, by their bytes alone and read with pyelftools: no judge is the builder's."""

from __future__ import annotations

from pathlib import Path

from elftools.elf.elffile import ELFFile


def functions_that_differ(old: Path, new: Path) -> set[str]:
    """Names of functions, of objects that have a section for each."""
    before, after = _code_of(old), _code_of(new)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def _code_of(path: Path) -> dict[str, bytes]:
    with open(path, "rb") as file:
        sections = ELFFile(file).iter_sections()
        return {each.name[6:]: each.data() for each in sections if each.name.startswith(".text.")}
