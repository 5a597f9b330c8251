# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Code and data as what they mean: bytes without the relocated fields, and what each field points at.

Two builds of the same source differ in ``.LC`` numbers, in the numbers of statics and clones and in where
sections stand.  None of these is in a meaning; the *contents* of strings and constants are.
"""

from __future__ import annotations

import hashlib
from typing import Callable, Tuple

from ..elf import SHN_COMMON, STB_LOCAL, STT_TLS
from ..elf.symbols import Symbol
from . import names
from .objects import Field, Function, ObjectFile, Spot

Meaning = Tuple[object, ...]  # hashable, comparable, nothing else is promised


class Reader:
    """Meanings of one object.

    :param function_name: the name that both builds share for a function of this object
    """

    def __init__(self, read: ObjectFile, function_name: Callable[[str], str] = names.without_numbers) -> None:
        self._object = read
        self._function_name = function_name
        self._digests: dict[int, str] = {}

    def code(self, function: Function) -> Meaning:
        """A function's code."""
        return tuple(self._bytes(piece.section, piece.start, piece.size) for piece in function.pieces)

    def data(self, symbol: Symbol) -> Meaning:
        """A variable: whether it is thread-local and writable, its size, its initial value."""
        if symbol.section_index == SHN_COMMON:
            return (False, True, symbol.size, "zeros")
        section = self._object.sections[symbol.section_index]
        value: object = "zeros"
        if any(section.data[symbol.value : symbol.value + symbol.size]) or self._object.fields(
            symbol.section_index
        ):
            value = self._bytes(symbol.section_index, symbol.value, symbol.size)
        return (symbol.type == STT_TLS, section.writable, symbol.size, value)

    def section(self, index: int) -> str:
        """A digest of a whole section; of one that points at itself, where that is only a mark."""
        if index not in self._digests:
            self._digests[index] = "itself"
            section = self._object.sections[index]
            meaning = self._bytes(index, 0, section.header.size)
            self._digests[index] = hashlib.sha256(repr(meaning).encode()).hexdigest()
        return self._digests[index]

    def field(self, field: Field) -> Meaning:
        """What one field points at."""
        spot = self._object.spot(field)
        if spot.kind == "function":
            return ("function", self._shared_name(spot), spot.offset)
        if spot.kind == "object":
            assert spot.symbol is not None
            return ("object", shared_object_name(spot.symbol), spot.offset)
        if spot.kind == "content":
            section = self._object.sections[spot.section]
            if section.merged:
                return ("content", *section.entry_at(spot.offset))
            string = self._string(spot.section, spot.offset)
            if string is not None:
                return ("content", string, 0)
            return ("content", self.section(spot.section), spot.offset)
        return (spot.kind, spot.name, spot.offset)

    def _string(self, section: int, point: int) -> bytes | None:
        """The text that a label of a section stands before, up to the next label; None where it is none.

        gcc -O0 puts all strings of a unit into one section, and each of them would seem to change with any other.
        """
        region = self._object.sections[section].data[point : self._object.next_label(section, point)]
        text = region.rstrip(b"\0")
        printable = all(byte >= 0x20 or byte in b"\t\n\r\x1b" for byte in text)
        return text if text and len(text) < len(region) and printable else None

    def _shared_name(self, spot: Spot) -> str:
        hot = names.hot_part(spot.name)
        return self._function_name(spot.name) if hot is None else self._function_name(hot) + ".cold"

    def _bytes(self, section: int, start: int, size: int) -> Meaning:
        data = bytearray(self._object.sections[section].data[start : start + size])
        fields = [each for each in self._object.fields(section) if start <= each.offset < start + size]
        for field in fields:
            place = field.offset - start
            width = min(self._object.width(field.type), len(data) - place)
            data[place : place + width] = bytes(width)
        pointers = tuple((each.offset - start, each.type, self.field(each)) for each in fields)
        return (bytes(data), pointers)


def shared_object_name(symbol: Symbol) -> str:
    """The name of a variable that two builds share."""
    return names.without_numbers(symbol.name) if symbol.binding == STB_LOCAL else symbol.name
