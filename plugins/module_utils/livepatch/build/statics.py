# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Which variable of the new object is which of the old one.

A name that stands once on each side is enough.  Function-local statics of one name (``count.0``,
``count.1``: the numbers are the compiler's) are paired by who refers to them: the n-th reference of a
function is to the same variable in both builds where the code is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Mapping

from ..elf.symbols import Symbol
from ..errors import Refused
from .meaning import shared_object_name
from .objects import Function, ObjectFile


@dataclass(frozen=True)
class Pairing:
    """The variables of a new object.

    :ivar old: index of the new symbol -> the old symbol
    :ivar undecided: indices of new symbols that may be an old variable or a new one
    """

    old: Mapping[int, Symbol]
    undecided: frozenset[int]


def pair(old: ObjectFile, new: ObjectFile, same: Mapping[str, str], changed: Mapping[str, str]) -> Pairing:
    """Pair the variables of two builds of a unit.

    :param same: functions with the same code: new name -> old name
    :param changed: functions with other code, the same way
    :raises Refused: ``ambiguous_symbol``: two functions do not agree which variable is which
    """
    groups_old, groups_new = _groups(old), _groups(new)
    pairs: dict[int, Symbol] = {}
    several = set()
    for name, found in groups_new.items():
        others = groups_old.get(name, [])
        if len(found) == len(others) == 1:
            pairs[found[0].index] = others[0]
        elif others:
            several.add(name)
    for new_name, old_name in same.items():
        before, after = (
            list(_variables(*each))
            for each in ((old, old.functions[old_name]), (new, new.functions[new_name]))
        )
        for first, second in zip(before, after):
            if shared_object_name(second) in several:
                _agree(pairs, second, first, f"{new.unit}: {new_name}")
    for new_name, old_name in changed.items():
        _pair_leftovers(pairs, old, new, old.functions[old_name], new.functions[new_name], several)
    taken = {symbol.index for symbol in pairs.values()}
    undecided = {
        symbol.index
        for name in several
        for symbol in groups_new[name]
        if symbol.index not in pairs and any(each.index not in taken for each in groups_old[name])
    }
    return Pairing(pairs, frozenset(undecided))


def _groups(read: ObjectFile) -> dict[str, list[Symbol]]:
    groups: dict[str, list[Symbol]] = {}
    for symbol in read.objects:
        groups.setdefault(shared_object_name(symbol), []).append(symbol)
    return groups


def _variables(read: ObjectFile, function: Function) -> Iterator[Symbol]:
    for field in read.fields_of(function):
        spot = read.spot(field)
        if spot.kind == "object" and spot.symbol is not None:
            yield spot.symbol


def _agree(pairs: dict[int, Symbol], new: Symbol, old: Symbol, who: str) -> None:
    known = pairs.get(new.index)
    taken = next((index for index, symbol in pairs.items() if symbol.index == old.index), new.index)
    if (known is not None and known.index != old.index) or taken != new.index:
        raise Refused("ambiguous_symbol", f"{who} uses {old.name} as {new.name}, and other functions do not")
    pairs[new.index] = old


def _pair_leftovers(
    pairs: dict[int, Symbol],
    old: ObjectFile,
    new: ObjectFile,
    before: Function,
    after: Function,
    several: set[str],
) -> None:
    """One variable of a name left on both sides of a changed function: the same."""
    taken = {symbol.index for symbol in pairs.values()}
    left_old = {each.index: each for each in _variables(old, before) if each.index not in taken}
    left_new = {each.index: each for each in _variables(new, after) if each.index not in pairs}
    for name in several:
        first = [each for each in left_old.values() if shared_object_name(each) == name]
        second = [each for each in left_new.values() if shared_object_name(each) == name]
        if len(first) == len(second) == 1:
            pairs[second[0].index] = first[0]
