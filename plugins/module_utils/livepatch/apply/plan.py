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
from ..artifact.manifest import Function, Manifest
from ..cpu import Cpu
from ..errors import Refused
from ..loading.addresses import takes_code_address
from ..loading.layout import PAGE, Layout, lay_out
from ..loading.link import Linked, link
from . import ledger
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
    :ivar installed: patches that are in the process
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
    installed: Sequence[Ledger]
    unproven: Sequence[str]


@dataclass(frozen=True)
class Stamp:
    """Who puts the patch in, when, and what they say about it."""

    by: str
    at: str
    comment: str


@dataclass(frozen=True)
class Jump:
    """Bytes that change at one instant."""

    name: str
    address: int
    old: bytes
    new: bytes


@dataclass(frozen=True)
class Plan:
    """One artifact into one process."""

    artifact_id: str
    cpu: Cpu
    jumps: Sequence[Jump]  # in write order
    ranges: Sequence[Tuple[str, int, int]]  # (function, address in the process, size): nobody may be in there
    layout: Layout
    linked: Linked
    data: bytes  # with the ledger, in state ``loaded``
    ledger: Ledger
    unproven: Sequence[str]

    @property
    def functions(self) -> List[str]:
        return [jump.name for jump in self.jumps]


def make(artifact: Artifact, facts: Facts, stamp: Stamp) -> Plan:
    """The plan.

    :raises Refused: for every reason that can be seen without a stop
    """
    manifest = artifact.manifest
    _check_neighbours(manifest, facts.installed)
    ordered = [manifest.functions[index] for index in manifest.write_order]
    for function in ordered:
        _check_code(function, facts)
        _check_free(function, facts)
        _check_unwind(function, facts)
    entries = [_entry(function, facts) for function in ordered]

    names = [function.entry_symbol for function in ordered]
    draft = _ledger(artifact, facts, stamp, ordered, entries, None)
    room = -(-len(ledger.encode(draft)) // _LEDGER_ALIGN) * _LEDGER_ALIGN
    layout = lay_out(artifact.elf, facts.cpu, room, names)
    text_address, data_address = facts.find_gap(layout)
    linked = link(layout, text_address, data_address, facts.symbols)
    final = _ledger(artifact, facts, stamp, ordered, entries, (layout, linked))
    return Plan(
        artifact_id=artifact.id,
        cpu=facts.cpu,
        jumps=[Jump(site.name, site.address, site.old_bytes, site.new_bytes) for site in final.record.sites],
        ranges=[
            (function.name, part.address + facts.bias & facts.cpu.mask, part.size)
            for function in ordered
            for part in function.ranges
        ],
        layout=layout,
        linked=linked,
        data=_with_ledger(linked.data, ledger.encode(final)),
        ledger=final,
        unproven=facts.unproven,
    )


def _with_ledger(data: bytes, encoded: bytes) -> bytes:
    return encoded + data[len(encoded) :]


def _check_neighbours(manifest: Manifest, installed: Sequence[Ledger]) -> None:
    """Relations to the patches that are in the process, theirs to us included."""
    def matches(relation: Mapping[str, object], name: str, version: str) -> bool:
        return relation["name"] == name and relation["version"] in (None, version)

    for other in installed:
        for relation in manifest.conflicts:
            if matches({"name": relation.name, "version": relation.version}, other.record.name, other.record.version):
                raise Refused("conflicts", f"{manifest.name} {manifest.version} conflicts with {other.title}")
        for known in other.record.conflicts:
            if matches(known, manifest.name, manifest.version):
                raise Refused("conflicts", f"{other.title}, which is in the process, conflicts with this patch")
        if other.record.name == manifest.name:
            raise Refused("stacking", f"another build or version of this patch, {other.title}, is in the process")
    for relation in manifest.requires:
        wanted = {"name": relation.name, "version": relation.version}
        if not any(matches(wanted, other.record.name, other.record.version) for other in installed):
            raise Refused("requires", f"it requires {relation.name} {relation.version or ''}".rstrip())


def _check_code(function: Function, facts: Facts) -> None:
    """The code in memory is what the patch was built against."""
    for index, part in enumerate(function.ranges):
        memory = bytearray(facts.code[part.address])
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


def _check_free(function: Function, facts: Facts) -> None:
    mask = facts.cpu.mask
    for part in function.ranges:
        start = part.address + facts.bias & mask
        for other in facts.installed:
            for site in other.record.sites:
                for theirs in site.ranges:
                    if start < theirs["address"] + theirs["size"] and theirs["address"] < start + part.size:
                        raise Refused("stacking", f"{other.title} has replaced {site.name} already")


def _check_unwind(function: Function, facts: Facts) -> None:
    for part in function.ranges:
        if not facts.has_rule(part.address):
            raise Refused("no_unwind_tables", f"the target has no unwind rule for {function.name}")


def _entry(function: Function, facts: Facts) -> Tuple[int, bytes]:
    """Where the jump goes in the process, and the bytes that stand there."""
    cpu = facts.cpu
    part = function.ranges[0]
    code = facts.code[part.address]
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
        sites.append(
            Site(function.name, function.file, address, old.hex(), new.hex(), entry, ranges, relocations)
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
