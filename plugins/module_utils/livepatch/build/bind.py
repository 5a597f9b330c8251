# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What belongs to the target: where each symbol that new code refers to is.

A variable or function that the old object has, too, is where the linker put it: proven by what it stored in
the code of matched functions, or by the target's symbol table.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence, Union

from ..elf import STB_LOCAL, STT_GNU_IFUNC, STT_OBJECT, STT_TLS
from ..elf.symbols import Symbol
from ..errors import Refused
from . import match
from .objects import Function, ObjectFile
from .scope import Scope
from .target import TargetFile, TargetSymbol


class InTarget(NamedTuple):
    """A place in the target: the name of its symbol, its link-time address, its source file or ""."""

    name: str
    address: int
    file: str
    indirect: bool = False  # what the resolver at this address chooses


class Imported(NamedTuple):
    """A symbol that the process looks up by name."""

    name: str
    version: str | None
    library: str | None


Bound = Union[InTarget, Imported]


class Binder:
    """Binds the symbols of old objects to a target.

    :param scope: what names mean, where that is more than what the target's units see of each other
    :raises Refused: every method: ``symbol_not_found``, ``ambiguous_symbol``, ``symbol_mismatch``,
        ``unsupported_relocation``, ``code_differs``
    """

    def __init__(
        self, target: TargetFile, objects: Sequence[ObjectFile] = (), scope: Scope | None = None
    ) -> None:
        self._target = target
        self._scope = scope
        #: Names that new code was given for places of the target.
        self.given: dict[str, InTarget] = {}
        self._matches: dict[tuple[int, str], match.Match] = {}
        self._evidence: dict[int, dict[int, set[int]]] = {}
        for read in objects:
            self._gather(read)

    def _gather(self, read: ObjectFile) -> None:
        """Match what matches; what does not is no evidence, and refused only where it counts."""
        found = self._evidence.setdefault(id(read), {})
        for function in read.functions.values():
            try:
                placed = match.locate(self._target, read, function)
                said = list(match.evidence(self._target, read, placed))
            except Refused:
                continue
            self._matches[id(read), function.name] = placed
            for symbol, address in said:
                found.setdefault(symbol.index, set()).add(address)

    def function(self, read: ObjectFile, function: Function) -> match.Match:
        """Where a function of an old object is, its code proven to be the target's."""
        return self._matches.get((id(read), function.name)) or match.locate(self._target, read, function)

    def variable(self, read: ObjectFile, symbol: Symbol) -> Bound:
        """Where a variable of an old object is."""
        if symbol.type == STT_TLS:
            raise Refused("unsupported_relocation", f"{symbol.name} of {read.unit} is thread-local")
        if symbol.binding != STB_LOCAL:
            return self.named(symbol.name, read.unit)
        said = self._evidence[id(read)].get(symbol.index, set())
        listed = {each.address for each in self._target.local_symbols(symbol.name, read.unit)}
        where = f"{symbol.name} of {read.unit}"
        if len(said) > 1:
            raise Refused("ambiguous_symbol", f"the target's code has {where} at {_hex(said)}")
        if said and listed and not said <= listed:
            raise Refused(
                "symbol_mismatch",
                f"the target's code has {where} at {_hex(said)}, its symbols at {_hex(listed)}",
            )
        found = said or listed
        if not found:
            raise Refused("symbol_not_found", f"{self._target.debug_path} has no {where}")
        if len(found) > 1:
            raise Refused("ambiguous_symbol", f"{self._target.debug_path} has {where} at {_hex(found)}")
        return InTarget(symbol.name, found.pop(), read.unit)

    def named(self, name: str, unit: str) -> Bound:
        """What a global name means to code of the target."""
        if name in self.given:
            return self.given[name]
        found = self._target.global_symbol(name) if self._scope is None else self._scope.find(name)
        if found is not None:
            return self._in_target(found)
        outside = self._target.imported(name)
        if outside is None:
            raise Refused(
                "symbol_not_found",
                f"{unit} refers to {name}, which neither {self._target.path} nor a library that it needs has",
            )
        if outside.type == STT_TLS:
            raise Refused("unsupported_relocation", f"{unit} refers to {name} of {outside.library}, thread-local")
        return Imported(name, outside.version, outside.library)

    def stands_near(self, imported: Imported) -> bool:
        """Whether a PLT entry of the target is an imported function's address for the whole process."""
        return self._target.has_plt_address(imported.name)

    def _in_target(self, found: TargetSymbol) -> Bound:
        if found.symbol.type == STT_TLS:
            raise Refused("unsupported_relocation", f"{found.name} of the target is thread-local")
        if found.symbol.type == STT_OBJECT and self._target.interposable(found.name):
            # The program may have the variable instead, by a copy relocation.
            return Imported(found.name, self._target.own_version(found.name), self._target.elf.soname)
        return InTarget(found.name, found.address, found.file, found.symbol.type == STT_GNU_IFUNC)


def _hex(addresses: set[int]) -> str:
    return " and ".join(f"{address:#x}" for address in sorted(addresses))
