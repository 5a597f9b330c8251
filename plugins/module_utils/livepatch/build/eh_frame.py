# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The unwind tables of some functions, cut out of a unit's (LSB 5.0 core, 10.6.1).

::

    .eh_frame   CIE | FDE f | FDE g | CIE' | FDE h        length, CIE pointer: 4 bytes each
                       |       |                          CIE pointer: back from itself to the CIE
                       relocation of pc_begin, 8 bytes from the FDE's start, says whose it is
"""

from __future__ import annotations

import struct
from typing import Iterator, NamedTuple, Set

from ..errors import Refused
from .objects import Field, ObjectFile

NAME = ".eh_frame"
_PC_BEGIN = 8  # offset in an FDE


class Table(NamedTuple):
    """A part of a unit's table; ``fields`` are relocations with offsets in ``data``."""

    data: bytes
    fields: tuple[Field, ...]


class _Record(NamedTuple):
    offset: int
    size: int
    cie: int  # offset of its CIE; of a CIE itself its own


def cut(read: ObjectFile, sections: Set[int]) -> Table:
    """The entries for the code in these sections.

    :raises Refused: ``no_unwind_tables``, ``throws_through``, ``file_malformed``
    """
    index = next((i for i, each in enumerate(read.sections) if each.name == NAME), None)
    if index is None:
        raise Refused(
            "no_unwind_tables", f"{read.path} has no {NAME}; compile with -fasynchronous-unwind-tables"
        )
    data = read.sections[index].data
    fields = {each.offset: each for each in read.fields(index)}
    records = list(_records(read, data))
    result, kept, placed, found = bytearray(), [], {}, set()
    for record in records:
        owner = fields.get(record.offset + _PC_BEGIN)
        if record.cie == record.offset or owner is None or owner.symbol.section_index not in sections:
            continue
        cie = next(each for each in records if each.offset == record.cie)
        inside = [fields[at] for at in sorted(fields) if record.offset <= at < record.offset + record.size]
        if len(inside) > 1 or any(cie.offset <= at < cie.offset + cie.size for at in fields):
            where = read.sections[owner.symbol.section_index].name
            raise Refused("throws_through", f"{read.path}: the code in {where} handles exceptions")
        if cie.offset not in placed:
            placed[cie.offset] = len(result)
            result += data[cie.offset : cie.offset + cie.size]
        start = len(result)
        result += data[record.offset : record.offset + record.size]
        struct.pack_into("<I", result, start + 4, start + 4 - placed[cie.offset])
        kept.append(owner._replace(offset=start + _PC_BEGIN))
        found.add(owner.symbol.section_index)
    for section in sorted(sections - found):
        if read.functions_in(section) and not _is_thunk(read, section):
            raise Refused(
                "no_unwind_tables", f"{read.path} has no unwind entry for {read.sections[section].name}"
            )
    return Table(bytes(result), tuple(kept))


def _is_thunk(read: ObjectFile, section: int) -> bool:
    return read.sections[section].name.startswith(".text.__x86.get_pc_thunk.")


def _records(read: ObjectFile, data: bytes) -> Iterator[_Record]:
    offset = 0
    while offset + 8 <= len(data):
        length, pointer = struct.unpack_from("<II", data, offset)
        if length == 0:
            return
        size = length + 4
        if length == 0xFFFFFFFF or offset + size > len(data) or pointer > offset + 4:
            raise Refused("file_malformed", f"{read.path}: {NAME}+{offset:#x} is no entry")
        yield _Record(offset, size, offset + 4 - pointer if pointer else offset)
        offset += size
