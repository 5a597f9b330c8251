# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What would be written where, or why not: decided over data, nothing is done.

A plan is complete: addresses, jumps, the bytes of both mappings with the ledger
in them.  What is left for the stop is to see that nobody is in the way, and to
write a few bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..artifact.file import Artifact
from ..artifact.manifest import Function, Range
from ..cpu import Cpu
from ..errors import Refused
from ..loading.addresses import takes_code_address
from ..loading.layout import PAGE, Layout, lay_out
from ..loading.link import Linked, link
from ..tracee.check import Watched
from . import layers, ledger, relations
from .layers import Jump
from .ledger import Ledger, Record, Site

# What a ledger's addresses may grow to; its size must be known before they are.
_WIDEST = (1 << 64) - 1
_LEDGER_ALIGN = 64


@dataclass(frozen=True)
class Facts:
    """What a plan is made from.

    :ivar bias: memory address = link-time address + bias
    :ivar code: link-time address of each range -> its bytes in memory
    :ivar from_file: (link-time address, size) -> the target file's bytes, None where it can not be read
    :ivar has_rule: whether the unwind tables know a link-time address
    :ivar symbols: undefined symbol of the artifact -> address in the process
    :ivar find_gap: layout -> (text address, data address); raises Refused
    :ivar present: patches whose jumps stand in ``code``
    :ivar installed: patches that will be in force when this one goes in: earlier ones of the same job included
    :ivar retired: patches out of use whose memory is still there
    :ivar unproven: what only a stop can show, see ``process.fitness``
    """

    cpu: Cpu
    image_start: int
    bias: int
    code: Mapping[int, bytes]
    from_file: Callable[[int, int], Optional[bytes]]
    has_rule: Callable[[int], bool]
    symbols: Mapping[str, int]
    find_gap: Callable[[Layout], Tuple[int, int]]
    present: Sequence[Ledger]
    installed: Sequence[Ledger]
    retired: Sequence[Ledger]
    unproven: Sequence[str]


@dataclass(frozen=True)
class Terms:
    """What a person asked for, as far as it decides what is written."""

    replace: bool = False  # take the place of what the artifact supersedes
    entry: bool = False  # calls under way finish in the old code


@dataclass(frozen=True)
class Stamp:
    """Who puts the patch in, when, and what they say about it."""

    by: str
    at: str
    comment: str


@dataclass(frozen=True)
class Plan:
    """One artifact into one process."""

    artifact_id: str
    cpu: Cpu
    jumps: Sequence[Jump]  # in the order in which they are written
    watched: Sequence[Watched]  # nobody may be in there
    layout: Layout
    linked: Linked
    data: bytes  # with the ledger, in state ``loaded``
    ledger: Ledger
    beneath: Sequence[Ledger]  # all patches that will be in force by then
    displaced: Sequence[Ledger]  # those of them that go out in the same stop
    unproven: Sequence[str]

    @property
    def functions(self) -> List[str]:
        return [site.name for site in self.ledger.record.sites]


def make(artifact: Artifact, facts: Facts, stamp: Stamp, terms: Terms) -> Plan:
    """The plan.

    :raises Refused: for every reason that can be seen without a stop
    """
    manifest = artifact.manifest
    displaced = relations.displaced(manifest, facts.installed, terms.replace)
    ordered = [manifest.functions[index] for index in manifest.write_order]
    entries = []
    for function in ordered:
        code = {part.address: _unpatched(part, facts) for part in function.ranges}
        _check_code(function, code, facts)
        entries.append(_entry(function, code, facts))
        _check_ranges(function, entries[-1][0], facts)
        if terms.entry:
            _check_entry_safe(function)
        else:
            _check_unwind(function, facts)

    names = [name for function in ordered for name in _symbols(function)]
    draft = ledger.encoded(_ledger(artifact, facts, stamp, ordered, entries, displaced, None))
    room = -(-len(draft.raw) // _LEDGER_ALIGN) * _LEDGER_ALIGN
    layout = lay_out(artifact.elf, facts.cpu, room, names)
    text_address, data_address = facts.find_gap(layout)
    linked = link(layout, text_address, data_address, facts.symbols)
    final = ledger.encoded(_ledger(artifact, facts, stamp, ordered, entries, displaced, (layout, linked)))
    jumps = layers.transition(facts.installed, displaced, [final])
    watched = layers.half_written(jumps) if terms.entry else layers.watched(
        facts.installed, displaced, [final], facts.retired
    )
    return Plan(
        artifact_id=artifact.id,
        cpu=facts.cpu,
        jumps=jumps,
        watched=watched,
        layout=layout,
        linked=linked,
        data=_with_ledger(linked.data, final.raw),
        ledger=final,
        beneath=list(facts.installed),
        displaced=displaced,
        unproven=facts.unproven,
    )


def _with_ledger(data: bytes, encoded: bytes) -> bytes:
    return encoded + data[len(encoded) :]


def _unpatched(part: Range, facts: Facts) -> bytes:
    """A range as it would stand in memory without any patch."""
    start = part.address + facts.bias & facts.cpu.mask
    return layers.unpatched(facts.present, start, facts.code[part.address])


def _check_code(function: Function, code: Mapping[int, bytes], facts: Facts) -> None:
    """The code in memory, less the jumps of patches, is what the patch was built against."""
    for index, part in enumerate(function.ranges):
        memory = bytearray(code[part.address])
        for place in function.text_relocations:
            if place.range == index:
                original = facts.from_file(part.address + place.offset, place.size)
                if original is None:
                    raise Refused(
                        "code_differs",
                        f"{function.name} has text relocations, and the target file, which tells what stood there, "
                        "can not be read",
                    )
                memory[place.offset : place.offset + place.size] = original
        if hashlib.sha256(memory).hexdigest() != part.sha256:
            raise Refused("code_differs", _difference(function.name, part.address, bytes(memory), facts))


def _difference(name: str, address: int, memory: bytes, facts: Facts) -> str:
    original = facts.from_file(address, len(memory))
    if original is None:
        return f"{name} in memory is not the code that the patch was built against"
    if original == memory:
        return f"{name} in the target file is not the code that the patch was built against"
    at = next(index for index, pair in enumerate(zip(original, memory)) if pair[0] != pair[1])
    return (
        f"{name}+{at:#x} is {memory[at : at + 8].hex()} in memory and {original[at : at + 8].hex()} "
        "in the target file"
    )


def _check_ranges(function: Function, jump: int, facts: Facts) -> None:
    """Another patch has replaced the same function, or none of these bytes.

    :param jump: where the jump goes in the process
    """
    mask = facts.cpu.mask
    for part in function.ranges:
        start = part.address + facts.bias & mask
        for other in facts.installed:
            for site in other.record.sites:
                for theirs in site.ranges:
                    shares = start < theirs["address"] + theirs["size"] and theirs["address"] < start + part.size
                    if shares and site.address != jump:
                        raise Refused("stacking", f"{other.title} has replaced {site.name}, which shares code with it")


def _check_entry_safe(function: Function) -> None:
    if not function.entry_safe:
        raise Refused("not_entry_safe", f"calls of {function.name} that are under way could run into the jump")


def _check_unwind(function: Function, facts: Facts) -> None:
    for part in function.ranges:
        if not facts.has_rule(part.address):
            raise Refused("no_unwind_tables", f"the target has no unwind rule for {function.name}")


def _entry(function: Function, ranges: Mapping[int, bytes], facts: Facts) -> Tuple[int, bytes]:
    """Where the jump goes in the process, and the bytes that the target has there."""
    cpu = facts.cpu
    part = function.ranges[0]
    code = ranges[part.address]
    skip = len(cpu.endbr) if code.startswith(cpu.endbr) else 0  # indirect branches need it where it is
    if len(code) < skip + cpu.jump_size:
        needed = skip + cpu.jump_size
        raise Refused("function_too_short", f"{function.name} has {len(code)} bytes, a jump needs {needed}")
    address = part.address + skip + facts.bias & cpu.mask
    if address // PAGE != (address + cpu.jump_size - 1) // PAGE:
        raise Refused("crosses_page", f"the jump at {function.name}, {address:#x}, would cross a page")
    return address, code[skip : skip + cpu.jump_size]


def _ledger(
    artifact: Artifact,
    facts: Facts,
    stamp: Stamp,
    functions: Sequence[Function],
    entries: Sequence[Tuple[int, bytes]],
    displaced: Sequence[Ledger],
    placed: Optional[Tuple[Layout, Linked]],
) -> Ledger:
    """The ledger; without ``placed``, one of the greatest length that it can have."""
    manifest = artifact.manifest
    sites = []
    for function, (address, old) in zip(functions, entries):
        entry = _WIDEST if placed is None else placed[1].functions[function.entry_symbol]
        new = b"\xff" * len(old) if placed is None else facts.cpu.encode_jump(address, entry)
        ranges: List[Dict[str, object]] = [
            {"address": part.address + facts.bias & facts.cpu.mask, "size": part.size, "sha256": part.sha256}
            for part in function.ranges
        ]
        relocations = [
            {"range": place.range, "offset": place.offset, "size": place.size} for place in function.text_relocations
        ]
        code = _new_code(function, placed)
        sites.append(
            Site(function.name, function.file, address, old.hex(), new.hex(), entry, ranges, relocations, code)
        )
    record = Record(
        artifact=artifact.id,
        name=manifest.name,
        version=manifest.version,
        target={
            "build_id": manifest.target.build_id,
            "text_sha256": manifest.target.text_sha256,
            "name": manifest.target.name,
        },
        image_start=facts.image_start,
        sites=sites,
        eh_frame=(_WIDEST, _WIDEST) if placed is None else placed[1].eh_frame,
        keeps_code=placed is not None and takes_code_address(placed[0]),
        by=stamp.by,
        at=stamp.at,
        comment=stamp.comment,
        requires=[{"name": item.name, "version": item.version} for item in manifest.requires],
        conflicts=[{"name": item.name, "version": item.version} for item in manifest.conflicts],
        supersedes=[{"name": item.name, "version": item.version} for item in manifest.supersedes],
        order=_WIDEST if placed is None else 1 + max((found.record.order for found in facts.installed), default=0),
        displaced=[_WIDEST if placed is None else found.data[0] for found in displaced],
    )
    if placed is None:
        return Ledger(ledger.LOADED, (_WIDEST, _WIDEST), (_WIDEST, _WIDEST), record)
    layout, linked = placed
    return Ledger(
        ledger.LOADED,
        (linked.text_address, layout.text_span),
        (linked.data_address, layout.data_span),
        record,
    )


def _new_code(function: Function, placed: Optional[Tuple[Layout, Linked]]) -> List[Dict[str, int]]:
    """Where the new code of a function stands; without ``placed``, of the greatest length that this can have."""
    if placed is None:
        return [{"address": _WIDEST, "size": _WIDEST} for _ in _symbols(function)]
    layout, linked = placed
    sizes = {symbol.name: symbol.size for symbol in layout.symbols}
    return [{"address": linked.functions[name], "size": sizes[name]} for name in _symbols(function)]


def _symbols(function: Function) -> List[str]:
    """The new code's symbols, the one that is entered first."""
    return [function.symbol] if function.thunk is None else [function.thunk, function.symbol]
