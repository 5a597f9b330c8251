# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What can not be patched by replacing code, found in the DWARF of both builds."""

from __future__ import annotations

import itertools
import re
from typing import Collection, Iterator, Sequence

from ..errors import Refused
from . import instructions, names
from .compare import Difference
from .debug_info import Unit
from .objects import ObjectFile
from .selection import Selection
from .unit_dwarf import UnitDwarf

_NAMED = re.compile(r"(?:struct|union|class|enum) \w+")


def check(difference: Difference, dwarf: UnitDwarf) -> set[str]:
    """A changed unit's types, variables and prototypes; the new names of local functions with another prototype.

    :raises Refused: ``layout_changed``, ``data_changed``, ``prototype_differs``
    """
    if not difference.changed:
        return set()
    check_layouts(dwarf.old, dwarf.new)
    check_variables(dwarf.old, dwarf.new)
    return changed_prototypes(difference, dwarf.old, dwarf.new)


def check_exceptions(selection: Selection, debug: Sequence[Unit]) -> None:
    """No exception can cross the new code: it is C or was compiled without them, or it calls nothing.

    The C++ runtime does not know the new code's unwind tables, so an exception that reaches it ends the program.

    :raises Refused: ``throws_through``
    """
    for unit, section in sorted(selection.sections):
        new = selection.units[unit].new
        throws = debug[unit].cplusplus and "-fno-exceptions" not in debug[unit].producer.split()
        if throws and new.sections[section].code:
            for instruction in instructions.decode(new.cpu, new.sections[section].data):
                if instruction.mnemonic == "call":
                    where = f"{new.path}: {new.sections[section].name}"
                    raise Refused("throws_through", f"{where} is C++ and calls what may throw")


def check_layouts(old: Unit, new: Unit, only: Collection[str] | None = None) -> None:
    """No type that both builds know has another size, other members or other enumerators.

    :param only: the types that matter, as ``Unit.types`` calls them; None: all
    :raises Refused: ``layout_changed``, with the first one
    """
    for name in sorted(set(old.types) & set(new.types if only is None else only)):
        gone = sorted(old.types[name] - new.types[name])
        if gone:
            before, after = gone[0], sorted(new.types[name])[0]
            where = _both_lines(old.lines.get((name, before)), new.lines.get((name, after)))
            raise Refused("layout_changed", f"{name}{where}: {_first_difference(before, after)}")


def reachable(unit: Unit, text: str) -> set[str]:
    """The named types of a unit that a type's text leads to, through pointers and members, too."""
    found: set[str] = set()
    waiting = [text]
    while waiting:
        for name in _NAMED.findall(waiting.pop()):
            if name in unit.types and name not in found:
                found.add(name)
                waiting += unit.types[name]
    return found


def _both_lines(before: str | None, after: str | None) -> str:
    """ " (shop.h:12 in the target, shop.h:13 here)", or as much of it as is known."""
    known = [f"{line} {where}" for line, where in ((before, "in the target"), (after, "here")) if line]
    return f" ({', '.join(known)})" if known else ""


def check_variables(old: Unit, new: Unit) -> None:
    """No variable that both builds know has another type, constness included.

    :raises Refused: ``data_changed``
    """
    for name in sorted(set(old.variables) & set(new.variables)):
        gone = sorted(old.variables[name] - new.variables[name])
        if gone:
            after = sorted(new.variables[name])[0]
            where = _both_lines(old.lines.get((name, gone[0])), new.lines.get((name, after)))
            what = f"{new.file}: {name}{where}: its type {readable(gone[0])} became {readable(after)}"
            raise Refused("data_changed", what)


def changed_prototypes(difference: Difference, old: Unit, new: Unit) -> set[str]:
    """The changed functions (new names) whose prototype changed, and that only this unit can know of.

    :raises Refused: ``prototype_differs``: other code may know the old prototype
    """
    found = set()
    for name in difference.changed:
        source = names.source_name(name)
        before, after = old.prototypes.get(source), new.prototypes.get(source)
        if before == after or before is None or after is None:
            continue
        function = difference.old.functions[difference.functions[name]]
        who = "other units may call it"
        if function.local:
            who = next(_address_taken(difference.old, function.name), "")
        if who:
            raise Refused(
                "prototype_differs",
                f"{difference.unit}: {source} was {readable(before)}{old.line(source + '()', before)}"
                f" and is {readable(after)}{new.line(source + '()', after)}; {who}",
            )
        found.add(name)
    return found


def _address_taken(read: ObjectFile, name: str) -> Iterator[str]:
    for section in read.sections:
        if not section.takes_memory:
            continue
        for field in read.fields(section.header.index):
            spot = read.spot(field)
            if not field.branch and (spot.kind, spot.name, spot.offset) == ("function", name, 0):
                yield f"its address is taken in {section.name}"


def readable(text: str) -> str:
    """A type's text as a person writes it: base types without encoding and size."""
    return re.sub(r":(\d+|None):(\d+|None)", "", text)


def _first_difference(before: str, after: str) -> str:
    """The first member that differs; the size, where all members are the same."""
    (size, *first), (new_size, *second) = (re.split(r"[{;}]", each) for each in (before, after))
    for mine, other in itertools.zip_longest(first, second, fillvalue=""):
        mine, other = readable(mine.strip()), readable(other.strip())
        if mine == other:
            continue
        (name, place, kind), (new_name, new_place, new_kind) = (_member(each) for each in (mine, other))
        if name != new_name or not kind:
            return f"{mine or 'nothing'} became {other or 'nothing'}"
        if kind != new_kind:
            return f"{name}: {kind} became {new_kind}"
        return f"{name}: its place {place} became {new_place}"
    return f"{readable(size.strip())} became {readable(new_size.strip())}"


def _member(text: str) -> tuple[str, str, str]:
    """Name, place and type of a member, as ``type_text.layout`` writes it; of anything else, the text."""
    found = re.fullmatch(r"(\S*) (@\S*) (.*)", text)
    return (found.group(1), found.group(2), found.group(3)) if found else (text, "", "")
