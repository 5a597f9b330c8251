# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Proof that the shipped code is the code that was compiled: Ksplice's run-pre matching, with symbols at hand.

Every byte of the object's function must be the target's, except what the linker was asked to change: the
relocated fields, and the instructions that it may rewrite while it is there (psABI, "Linker Optimization";
x86_64 B.2, i386 A.2).  What it put into the fields of a matched function is evidence of where
local symbols are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, NamedTuple

from ..elf import STB_LOCAL
from ..elf.symbols import Symbol
from ..errors import Refused
from . import names
from .objects import Field, Function, ObjectFile, Piece
from .target import TargetFile, TargetSymbol

#: Bytes before and behind a field's first byte that the linker may rewrite with it.
_REWRITTEN = {
    "R_X86_64_GOTPCREL": (2, 4),
    "R_X86_64_GOTPCRELX": (2, 4),
    "R_X86_64_REX_GOTPCRELX": (3, 4),
    "R_X86_64_TLSGD": (4, 12),
    "R_X86_64_TLSLD": (3, 9),
    "R_X86_64_GOTTPOFF": (3, 4),
    "R_X86_64_GOTPC32_TLSDESC": (3, 4),
    "R_X86_64_TLSDESC_CALL": (0, 2),
    "R_386_GOT32X": (2, 4),
    "R_386_TLS_GD": (3, 10),
    "R_386_TLS_LDM": (2, 9),
    "R_386_TLS_IE": (2, 4),
    "R_386_TLS_GOTIE": (2, 4),
    "R_386_TLS_GOTDESC": (2, 4),
    "R_386_TLS_DESC_CALL": (0, 2),
}
_GOT_LOADS = ("GOTPCREL", "GOTPCRELX", "REX_GOTPCRELX", "GOT32X")

#: First opcode byte of an instruction that reads the GOT -> what it may have become.
_BECOMES = {
    0x8B: (0x8B, 0x8D, 0xC7),  # mov: load, lea, mov $immediate
    0x85: (0x85, 0xF7),  # test
    0xFF: (0xFF, 0x67, 0xE8, 0xE9),  # call, jmp: through the slot, or direct with a prefix or a no-op
}
_BINARY = (0x03, 0x0B, 0x13, 0x1B, 0x23, 0x2B, 0x33, 0x3B)


class Mismatch(NamedTuple):
    """The first byte that differs: its offset in the function, and up to 16 bytes of both from there on."""

    offset: int
    expected: bytes
    found: bytes

    def __str__(self) -> str:
        return f"at offset {self.offset:#x} the object has {self.expected.hex()} and the target {self.found.hex()}"


@dataclass(frozen=True)
class Match:
    """Where a function of an object is in the target; ``addresses`` has one for each of its pieces."""

    function: Function
    symbol: TargetSymbol
    addresses: tuple[int, ...]


def locate(target: TargetFile, read: ObjectFile, function: Function) -> Match:
    """Find an object's function in the target and compare the code.

    :raises Refused: ``symbol_not_found``, ``code_differs``, ``ambiguous_symbol``, ``several_ranges``
    """
    candidates = _candidates(target, read, function)
    if not candidates:
        raise Refused(
            "symbol_not_found", f"{target.debug_path} has no function {function.name} of {read.unit}"
        )
    answers = [_compare(target, read, function, symbol) for symbol in candidates]
    matches = [each for each in answers if isinstance(each, Match)]
    if not matches:
        raise Refused(
            "code_differs", f"{read.path}: {function.name} is not what {target.path} has: {answers[0]}"
        )
    if len(matches) > 1:
        where = " and ".join(f"{each.address:#x}" for each in candidates)
        raise Refused(
            "ambiguous_symbol", f"{target.path} has the code of {read.unit}: {function.name} at {where}"
        )
    return matches[0]


def _candidates(target: TargetFile, read: ObjectFile, function: Function) -> list[TargetSymbol]:
    if function.local:
        found = [each for each in target.local_symbols(function.name, read.unit) if each.function]
    else:
        symbol = target.global_symbol(function.name)
        found = [symbol] if symbol is not None and symbol.function else []
        found = found or [each for each in target.local_symbols(function.name, read.unit) if each.function]
    return list({each.address: each for each in found}.values())


def _compare(target: TargetFile, read: ObjectFile, function: Function, symbol: TargetSymbol) -> Match | str:
    addresses = [symbol.address]
    for piece in function.pieces[1:]:
        name = function.name + ".cold"
        cold = [
            each for each in target.named(name) if each.file in (read.unit, "") and each.size == piece.size
        ]
        if len(cold) != 1:
            raise Refused(
                "several_ranges", f"{target.debug_path} has {len(cold)} symbols {name} of {read.unit}"
            )
        addresses.append(cold[0].address)
    for piece, address in zip(function.pieces, addresses):
        difference = compare_code(target, read, piece, address) or _compare_referents(
            target, read, piece, address
        )
        if difference is not None:
            return str(difference)
    if symbol.size not in (0, function.pieces[0].size):
        return f"it has {function.pieces[0].size} bytes in the object and {symbol.size} in the target"
    return Match(function, symbol, tuple(addresses))


def compare_code(target: TargetFile, read: ObjectFile, piece: Piece, address: int) -> Mismatch | None:
    """The first difference between a piece of an object's function and the target's bytes, or None."""
    ours = read.sections[piece.section].data[piece.start : piece.start + piece.size]
    theirs = target.read(address, piece.size)
    masked = bytearray(piece.size)
    for field in read.fields(piece.section):
        if not piece.start <= field.offset < piece.start + piece.size:
            continue
        at = field.offset - piece.start
        name = read.cpu.relocations[field.type].name if field.type in read.cpu.relocations else ""
        before, behind = _REWRITTEN.get(name, (0, read.width(field.type)))
        if name.endswith(_GOT_LOADS) and not _may_become(ours, theirs, at):
            before = 0
        for index in range(max(at - before, 0), min(at + behind, piece.size)):
            masked[index] = 1
    if ours == theirs:
        return None
    for index in range(piece.size):
        if not masked[index] and ours[index] != theirs[index]:
            return Mismatch(index, ours[index : index + 16], theirs[index : index + 16])
    return None


def _may_become(ours: bytes, theirs: bytes, at: int) -> bool:
    if at < 2:
        return False
    opcode, found = ours[at - 2], theirs[at - 2]
    return found in _BECOMES.get(opcode, ()) or (opcode in _BINARY and found in (opcode, 0x81))


def _compare_referents(target: TargetFile, read: ObjectFile, piece: Piece, address: int) -> str | None:
    """Masked fields hide what they point at: the strings must be the same, and the names of what is called."""
    for field in read.fields(piece.section):
        if not piece.start <= field.offset < piece.start + piece.size:
            continue
        value = _value(target, read, field, address + field.offset - piece.start)
        if value is None:
            continue
        spot = read.spot(field)
        where = (
            value - field.symbol.value
        ) & target.cpu.mask  # of what the object has at the section's start
        at = f"at offset {field.offset - piece.start:#x} "
        if spot.kind == "content" and read.sections[spot.section].merged:
            ours, _ = read.sections[spot.section].entry_at(spot.offset)
            theirs = target.peek((where + field.point) & target.cpu.mask, len(ours))
            if theirs is not None and read.sections[spot.section].strings and ours != theirs:
                return at + f"the object refers to {ours[:40]!r} and the target to {theirs[:40]!r}"
        elif spot.symbol is not None and spot.section == spot.symbol.section_index:
            there = target.names_at((where + spot.symbol.value) & target.cpu.mask)
            if there and not _is_named(read, spot.symbol, there):
                return at + f"the object refers to {spot.symbol.name} and the target to {min(there)}"
    return None


def _is_named(read: ObjectFile, symbol: Symbol, there: set[str]) -> bool:
    """Whether the object knows a symbol, or another one at the same place, by one of these names."""
    if names.without_numbers(symbol.name) in map(names.without_numbers, there):
        return True
    place = (symbol.section_index, symbol.value)
    return symbol.defined and any(
        (each.section_index, each.value) == place and each.name in there for each in read.symbols
    )


def evidence(target: TargetFile, read: ObjectFile, match: Match) -> Iterator[tuple[Symbol, int]]:
    """The local symbols that a matched function refers to, each with its address as the linker wrote it."""
    for piece, address in zip(match.function.pieces, match.addresses):
        for field in read.fields(piece.section):
            if not piece.start <= field.offset < piece.start + piece.size:
                continue
            spot = read.spot(field)
            symbol = spot.symbol
            if symbol is None or symbol.binding != STB_LOCAL or spot.section != symbol.section_index:
                continue  # global: the linker may have sent it elsewhere; .cold: no symbol of its own here
            value = _value(target, read, field, address + field.offset - piece.start)
            if value is not None:
                yield symbol, (value - field.symbol.value + symbol.value) & target.cpu.mask


def _value(target: TargetFile, read: ObjectFile, field: Field, place: int) -> int | None:
    """The address of a field's symbol, computed back from what the linker stored; None where it stored another."""
    formula = read.cpu.relocations[field.type].formula
    if formula is None or place in target.dynamic_relocations:
        return None
    stored = int.from_bytes(target.read(place, read.width(field.type)), "little", signed=True)
    base = {"S + A": 0, "S + A - P": place, "L + A - P": place, "S + A - GOT": target.got_base}.get(
        formula.text
    )
    return None if base is None else stored + base - field.addend
