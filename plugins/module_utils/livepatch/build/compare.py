# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What changed between two builds of a unit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Iterator, Mapping

from ..elf import SHF_ALLOC, SHT_NOTE
from ..elf.symbols import Symbol
from ..errors import Refused
from . import names, statics
from .meaning import Reader
from .objects import ObjectFile, Section

_DATA = (".data", ".bss", ".rodata", ".tdata", ".tbss")
_TABLES = (".eh_frame", ".gcc_except_table", ".note")


@dataclass(frozen=True)
class Difference:
    """Two builds of one unit.

    :ivar functions: the functions that are in both: new name -> old name
    :ivar changed: new names of those whose code differs
    :ivar added: names of functions that only the new build has
    :ivar removed: names of functions that only the old build has
    :ivar variables: which new variable is which old one
    :ivar data: what of the data that exists differs, a phrase each
    """

    old: ObjectFile
    new: ObjectFile
    functions: Mapping[str, str]
    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    variables: statics.Pairing
    data: tuple[str, ...]

    @property
    def unit(self) -> str:
        """The source file, as the compiler named it."""
        return self.new.unit


def compare(old: ObjectFile, new: ObjectFile) -> Difference:
    """Compare two builds of a unit, section by section, relocations by what they point at.

    :raises Refused: ``needs_function_sections``, ``ambiguous_symbol``
    """
    functions = _pair_functions(old, new)
    readers = _readers(old, new, functions)
    same: dict[str, str] = {}
    changed: dict[str, str] = {}
    for after, before in functions.items():
        equal = readers[0].code(old.functions[before]) == readers[1].code(new.functions[after])
        (same if equal else changed)[after] = before
    added = [name for name in new.functions if name not in functions]
    paired = set(functions.values())
    removed = [name for name in old.functions if name not in paired]
    for after in [*changed, *added]:
        _refuse_shared_sections(new, after)
    for before in [*changed.values(), *removed]:
        _refuse_shared_sections(old, before)
    variables = statics.pair(old, new, same, changed)
    data = [
        *_variables_that_differ(readers, new, variables, set(changed)),
        *_sections_that_differ(readers, old, new),
    ]
    return Difference(
        old, new, functions, tuple(sorted(changed)), tuple(sorted(added)), tuple(sorted(removed)), variables,
        tuple(data),
    )  # fmt: skip


def _readers(old: ObjectFile, new: ObjectFile, functions: Mapping[str, str]) -> tuple[Reader, Reader]:
    return Reader(old), Reader(new, lambda name: names.without_numbers(functions.get(name, name)))


def same_code(difference: Difference, old_name: str) -> bool:
    """Whether a function has the same code in both builds, whatever another pair of builds decided."""
    readers = _readers(difference.old, difference.new, difference.functions)
    after = [new for new, old in difference.functions.items() if old == old_name]
    before = difference.old.functions[old_name]
    return any(readers[0].code(before) == readers[1].code(difference.new.functions[each]) for each in after)


def _pair_functions(old: ObjectFile, new: ObjectFile) -> dict[str, str]:
    """new name -> old name: the same name, or the only one that differs in the compiler's numbers alone."""
    pairs = {name: name for name in new.functions if name in old.functions}
    left_old = [name for name in old.functions if name not in pairs]
    left_new = [name for name in new.functions if name not in pairs]
    counts = Counter(names.without_numbers(name) for name in left_new)
    for name in left_new:
        plain = names.without_numbers(name)
        found = [each for each in left_old if names.without_numbers(each) == plain]
        if counts[plain] == len(found) == 1:
            pairs[name] = found[0]
    return pairs


def _refuse_shared_sections(read: ObjectFile, name: str) -> None:
    """Calls inside of a section have no relocations, so a function must not share one with another."""
    for piece in read.functions[name].pieces:
        others = [each.name for each in read.functions_in(piece.section) if each.name != name]
        if others:
            raise Refused(
                "needs_function_sections",
                f"{read.path}: {name} shares section {read.sections[piece.section].name} with {others[0]}",
            )


def _variables_that_differ(
    readers: tuple[Reader, Reader], new: ObjectFile, variables: statics.Pairing, changed: set[str]
) -> Iterator[str]:
    for symbol in new.objects:
        before = variables.old.get(symbol.index)
        if before is not None and readers[0].data(before) != readers[1].data(symbol):
            yield f"{new.unit}: {_how(readers[0].data(before), readers[1].data(symbol))} of {symbol.name}"
        elif before is not None and new.entered_by(symbol) & changed:
            yield f"{new.unit}: {symbol.name} holds addresses inside of {min(new.entered_by(symbol) & changed)}"
        elif before is None and _is_registered(new, symbol):
            section = new.sections[symbol.section_index].name
            yield f"{new.unit}: {symbol.name} is new in section {section}, which nobody will read again"


def _how(before: tuple[object, ...], after: tuple[object, ...]) -> str:
    if before[:2] != after[:2]:
        return "the kind of memory (constant, writable, thread-local)"
    return f"the size ({before[2]} to {after[2]} bytes)" if before[2] != after[2] else "the initial value"


def _is_registered(new: ObjectFile, symbol: Symbol) -> bool:
    """Whether a variable is in a section that the program walks through by itself."""
    if symbol.section_index >= len(new.sections):
        return False
    return not new.sections[symbol.section_index].name.startswith(_DATA)


def _sections_that_differ(readers: tuple[Reader, Reader], old: ObjectFile, new: ObjectFile) -> Iterator[str]:
    """Nameless data: tables of constructors and the like."""
    before, after = (
        Counter((each.name, reader.section(each.header.index)) for each in _nameless(read))
        for reader, read in zip(readers, (old, new))
    )
    for name, _ in sorted((before - after) + (after - before)):
        yield f"{new.unit}: section {name}"


def _nameless(read: ObjectFile) -> Iterator[Section]:
    named = {symbol.section_index for symbol in read.objects}
    for section in read.sections:
        header = section.header
        if not header.flags & SHF_ALLOC or not header.size or section.code or header.type == SHT_NOTE:
            continue
        constant = not section.writable and section.name.startswith((".rodata", ".data.rel.ro"))
        if header.index not in named and not constant and not section.name.startswith(_TABLES):
            yield section
