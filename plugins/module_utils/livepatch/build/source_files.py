# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Which source file of the target a symbol is of.

A symbol table names the file of a local symbol, mostly without its folder (STT_FILE); two files of one name in
two folders are told apart by DWARF, which has the unit's whole path and the addresses of what it defines.
"""

from __future__ import annotations

import difflib
import os
from functools import lru_cache

from .debug_info import DebugInfo, Unit
from .target import TargetFile, TargetSymbol


def matches(wanted: str, known: str) -> bool:
    """Whether a path ends with the components of another one: ``src/a.c`` and ``a.c`` are ``/build/src/a.c``."""
    parts = [each for each in wanted.split("/") if each not in ("", ".")]
    return bool(parts) and known.split("/")[-len(parts) :] == parts


class SourceFiles:
    """The source files of a target.

    :raises Refused: every method: ``file_malformed``, ``no_debug_info``
    """

    def __init__(self, target: TargetFile, dwarf: DebugInfo) -> None:
        self._target = target
        self._dwarf = dwarf

    @lru_cache(maxsize=None)  # noqa: B019 - lives as long as the build, which is one process
    def _named_alike(self, source: str) -> tuple[Unit, ...]:
        return tuple(self._dwarf.units(os.path.basename(source)))

    def exists(self, source: str) -> bool:
        """Whether the target was made from a file of this name."""
        alike = self._named_alike(source)
        return any(matches(source, each.path) for each in alike) or (
            not alike and any(matches(source, each) for each in self._target.files)
        )

    def has(self, source: str, symbol: TargetSymbol) -> bool:
        """Whether a symbol of the target is of this file; what nothing tells of is not."""
        if symbol.file and os.path.basename(symbol.file) != os.path.basename(source):
            return False
        alike = self._named_alike(source)
        for unit in alike:
            if symbol.address in _addresses(unit):
                return matches(source, unit.path)
        if not symbol.file:
            return False
        # DWARF has the unit and not this symbol, or has neither: the name tells if there is one such file alone.
        return all(matches(source, each.path) for each in alike) if alike else matches(source, symbol.file)

    def of(self, symbol: TargetSymbol) -> str:
        """The file of a symbol, with its folder where DWARF has it; for people."""
        if symbol.file:
            for unit in self._named_alike(symbol.file):
                if symbol.address in _addresses(unit):
                    return unit.name
            return symbol.file
        found = self._dwarf.unit_at(symbol.address) if symbol.function else None
        if found is None and not symbol.function:
            found = next((unit for unit, _ in self._dwarf.variables_at(symbol.address)), None)
        return found.name if found is not None else "a file that nothing names"

    def like(self, source: str) -> list[str]:
        """Names that a mistyped one may stand for, at most five."""
        base = os.path.basename(source)
        known = {name: os.path.basename(name) for name in [*self._dwarf.unit_names(), *self._target.files]}
        near = difflib.get_close_matches(base, sorted(set(known.values())), 3, 0.5)
        return sorted(name for name in known if known[name] in near)[:5]


def _addresses(unit: Unit) -> set[int]:
    code = {start for each in unit.subprograms for start, _ in each.ranges}
    return code.union(*unit.places.values())
