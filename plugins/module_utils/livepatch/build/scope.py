# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What the names of a patch file mean in the target.

In this order: what a macro binds; what the target's units see of each other; a local symbol of the file that
``LIVEPATCH_FILE`` names; without that, the only local symbol of the name.
"""

from __future__ import annotations

from typing import Iterable, Mapping

from ..errors import Refused
from .patch_names import PatchNames, Record
from .source_files import SourceFiles
from .target import TargetFile, TargetSymbol

_HINT = "LIVEPATCH_FILE, LIVEPATCH_BIND or LIVEPATCH_REPLACES of livepatch.h says which one is meant"


class Scope:
    """Names of one patch file, looked up.

    :raises Refused: every method: ``symbol_not_found``, ``ambiguous_symbol``
    """

    def __init__(self, target: TargetFile, files: SourceFiles, names: PatchNames) -> None:
        self._target = target
        self._files = files
        self._names = names
        for record in (names.file, *names.binds.values(), *names.replaces.values()):
            if record is not None and record.source and not files.exists(record.source):
                near = files.like(record.source)
                hint = f"; it has {', '.join(near)}" if near else ""
                what = f"{record.where}: no source file of {target.debug_path} is {record.source}"
                raise Refused("symbol_not_found", what + hint)

    @property
    def replaces(self) -> Mapping[str, Record]:
        """By a function of the patch, the macro that says what it replaces."""
        return self._names.replaces

    def find(self, name: str) -> TargetSymbol | None:
        """What an undefined symbol of the patch is in the target; None: nothing there."""
        record = self._names.binds.get(name)
        return self._bound(record) if record is not None else self._plain(name)

    def replaced_by(self, function: str) -> TargetSymbol | None:
        """What a function of the patch takes the place of; None: nothing, it is new."""
        record = self._names.replaces.get(function)
        if record is None:
            found = self._plain(function)
            return found if found is not None and found.function else None
        found = self._bound(record)
        if not found.function:
            what = f"{record.where}: {found.name} of {self._files.of(found)} is no function"
            raise Refused("symbol_not_found", what)
        return found

    def _bound(self, record: Record) -> TargetSymbol:
        named = self._target.named(record.target)
        found = self._inside(record, named)
        if not found:
            statics = self._target.function_statics(record.target)
            named, found = [*named, *statics], self._inside(record, statics)
        where = f"{record.where}: {record.target}"
        if not found:
            elsewhere = self._listed(named) or "nothing of that name"
            place = record.source or "any file"
            raise Refused(
                "symbol_not_found", f"{where} is not in {place}; {self._target.debug_path} has {elsewhere}"
            )
        exact = _one(found)
        if exact is None:
            raise Refused("ambiguous_symbol", f"{where} may be {self._listed(found)}; name file and symbol")
        return exact

    def _inside(self, record: Record, symbols: list[TargetSymbol]) -> list[TargetSymbol]:
        if not record.source:
            return symbols
        return [each for each in symbols if self._files.has(record.source, each)]

    def _plain(self, name: str) -> TargetSymbol | None:
        seen = self._target.global_symbol(name)
        local = [each for each in self._target.named(name) if each.local]
        if self._names.file is not None:
            local = self._of_file(name, self._names.file, seen, local)
        elif seen is not None:
            return seen
        elif local and self._target.imports(name):
            what = f"{self._target.debug_path} imports {name}, and has {self._listed(local)}"
            raise Refused("ambiguous_symbol", f"{what}; {_HINT}")
        found = [seen] if seen is not None else local
        if not found:
            return None
        only = _one(found)
        if only is None:
            listed = self._listed(found)
            raise Refused("ambiguous_symbol", f"{self._target.debug_path} has {listed}; {_HINT}")
        return only

    def _of_file(
        self, name: str, record: Record, seen: TargetSymbol | None, local: list[TargetSymbol]
    ) -> list[TargetSymbol]:
        """The local symbols of the file that the patch names."""
        inside = [each for each in local if self._files.has(record.source, each)]
        if seen is not None and any(each.address != seen.address for each in inside):
            listed = self._listed([seen, *inside])
            raise Refused("ambiguous_symbol", f"{self._target.debug_path} has {listed}; {_HINT}")
        if local and not inside and seen is None and self._target.imported(name) is None:
            what = f"{record.where}: {record.source} has no {name}; {self._target.debug_path} has "
            raise Refused("symbol_not_found", f"{what}{self._listed(local)}: name that with LIVEPATCH_BIND")
        return inside

    def described(self, symbol: TargetSymbol) -> str:
        """A symbol for people: its name and its file."""
        return f"{symbol.name} of {self._files.of(symbol)}"

    def _listed(self, symbols: Iterable[TargetSymbol]) -> str:
        """Candidates for people, each once."""
        places = {(each.address, each.name): each for each in symbols}.values()
        words = sorted(f"{self.described(each)} at {each.address:#x}" for each in places)
        return ", ".join(words[:8]) + (f" and {len(words) - 8} more" if len(words) > 8 else "")


def _one(found: list[TargetSymbol]) -> TargetSymbol | None:
    """The only one, where several names of one place are one."""
    return found[0] if len({each.address for each in found}) == 1 else None
