# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A layout and addresses become bytes.

The patch has a GOT of its own.  x86_64 code reaches it PC-relative; i386 code
computes its address itself (GOTPC), so ``%ebx`` is never the target's, and
calls go straight to the function instead of through the target's PLT, whose
entries would want the target's ``%ebx``.

x86_64 code that was compiled for an executable calls functions of libraries
that are farther than 2 GiB through stubs::

    call f@PLT ---> stub: jmp *slot(%rip) ---> f
                                  |
            GOT slot of f: [ address of f ]

Only a call can be led astray like this.  A data reference that does not reach
is refused.
"""

from __future__ import annotations

from typing import Mapping, NamedTuple

from ..cpu.relocations import Operands, Stub
from ..elf import SHN_ABS, SHN_UNDEF, STB_WEAK
from ..elf.symbols import Symbol
from ..errors import Refused
from .fields import Field
from .layout import Layout, Part, Place

GOT_SYMBOL = "_GLOBAL_OFFSET_TABLE_"  # psABI, "Global Offset Table"


class Linked(NamedTuple):
    """What goes into the process, and where."""

    text: bytes
    data: (
        bytes  # initialised bytes; zeros follow up to the layout's data_size. Starts with room for the ledger
    )
    text_address: int
    data_address: int
    functions: Mapping[str, int]  # symbol -> address of the new code
    eh_frame: tuple[int, int]  # (address, size in bytes with the terminator); size 0: there is none


def link(layout: Layout, text_address: int, data_address: int, symbols: Mapping[str, int]) -> Linked:
    """Relocate everything for these addresses.

    :param symbols: undefined symbol of the object -> address; a weak one may be missing, it is 0 then
    :raises Refused: ``symbol_not_found``, ``relocation_overflow``, ``artifact_malformed``
    """
    return _Linker(layout, {Part.TEXT: text_address, Part.DATA: data_address}, symbols).link()


class _Linker:
    """One linking: addresses of the parts, and their bytes as they grow."""

    def __init__(self, layout: Layout, addresses: Mapping[Part, int], symbols: Mapping[str, int]) -> None:
        self.layout = layout
        self.addresses = addresses
        self.given = symbols
        self.known: dict[int, int] = {}  # symbol index -> address
        self.got = self.at(layout.got)
        self.content = {
            Part.TEXT: bytearray(layout.text_size),
            Part.DATA: bytearray(layout.data_file_size),
        }

    def at(self, place: Place) -> int:
        """The address of a place."""
        return self.addresses[place.part] + place.offset

    def link(self) -> Linked:
        layout = self.layout
        for place, content in layout.contents:
            self.store(place, content)
        for index, slot in layout.slots.items():
            self.store(slot, self.address(layout.symbols[index]).to_bytes(layout.cpu.word, "little"))
        for field in layout.fields:
            self.relocate(field)
        offset, size = layout.eh_frame
        return Linked(
            text=bytes(self.content[Part.TEXT]),
            data=bytes(self.content[Part.DATA]),
            text_address=self.addresses[Part.TEXT],
            data_address=self.addresses[Part.DATA],
            functions={name: self.at(place) for name, place in layout.functions.items()},
            eh_frame=(self.addresses[Part.TEXT] + offset, size),
        )

    def store(self, place: Place, content: bytes) -> None:
        self.content[place.part][place.offset : place.offset + len(content)] = content

    def relocate(self, field: Field) -> None:
        """Compute and store one field."""
        start = self.layout.sections[field.section.index]
        place = Place(start.part, start.offset + field.offset)
        symbol = self.address(field.symbol) if field.formula.needs_symbol else 0
        try:
            try:
                content = self.compute(field, place, symbol)
            except OverflowError:
                if field.stub is None:
                    raise
                content = self.compute(field, place, self.write_stub(field.symbol, field.stub))
        except OverflowError as error:
            raise Refused(
                "relocation_overflow",
                f"{field.where}, at {self.at(place):#x}, is too far from "
                f"{field.symbol.name or 'its section'} at {symbol:#x}: {error}",
            ) from error
        self.store(place, content)

    def compute(self, field: Field, place: Place, symbol: int) -> bytes:
        """:raises OverflowError: the value does not fit"""
        slot = self.layout.slots.get(field.symbol.index)
        operands = Operands(
            S=symbol,
            A=field.addend,
            P=self.at(place),
            L=symbol,
            G=0 if slot is None else self.at(slot) - self.got,
            GOT=self.got,
            Z=field.symbol.size,
            based=field.based,
        )
        return field.relocation.encode(field.formula.compute(operands), self.layout.cpu.word)

    def write_stub(self, symbol: Symbol, stub: Stub) -> int:
        """The address of the symbol's near-call stub, which is there now."""
        place, slot = self.layout.stubs[symbol.index], self.layout.slots[symbol.index]
        self.store(place, stub.encode(self.at(place), self.at(slot)))
        return self.at(place)

    def address(self, symbol: Symbol) -> int:
        """The address of a symbol.

        :raises Refused: ``symbol_not_found``, ``artifact_malformed``
        """
        if symbol.index not in self.known:
            self.known[symbol.index] = self.find(symbol) & self.layout.cpu.mask
        return self.known[symbol.index]

    def find(self, symbol: Symbol) -> int:
        if symbol.index in self.layout.places:
            return self.at(self.layout.places[symbol.index])
        if symbol.section_index == SHN_ABS:
            return symbol.value
        if symbol.index == 0:
            return 0  # gABI, "Relocation": no symbol, its value is 0
        if symbol.section_index != SHN_UNDEF:
            raise Refused(
                "artifact_malformed", f"The patch refers to {symbol.name}, in a section that is not loaded"
            )
        if symbol.name == GOT_SYMBOL:
            return self.got
        if symbol.name in self.given:
            return self.given[symbol.name]
        if symbol.binding == STB_WEAK:
            return 0  # gABI, "Symbol Table": an unresolved weak symbol is zero
        raise Refused("symbol_not_found", f"The patch refers to {symbol.name}, and nothing says where it is")
