# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause

"""Notes: (owner, type, bytes) records of linkers and compilers (gABI 4.1, "Note Section")."""

from __future__ import annotations

import struct
from typing import Iterable, Iterator, NamedTuple, Optional

from . import NT_GNU_BUILD_ID, Malformed
from .layout import Buffer

_HEADER = struct.Struct("<III")  # n_namesz, n_descsz, n_type: 32-bit words in both classes


class Note(NamedTuple):
    """One note; `owner` without its terminating NUL."""

    owner: bytes
    type: int
    content: bytes


def read_notes(data: Buffer, align: int) -> Iterator[Note]:
    """Every note of a note segment or section.

    `align` is p_align or sh_addralign: 8 pads to eight bytes (.note.gnu.property of ELFCLASS64), anything
    else to four (binutils, elf_parse_notes).

    :raises Malformed: a note ends outside of `data`
    """
    step = 8 if align == 8 else 4
    position = 0
    while position + _HEADER.size <= len(data):
        owner_size, content_size, kind = _HEADER.unpack_from(data, position)
        owner = position + _HEADER.size
        content = _up(owner + owner_size, step)
        end = content + content_size
        if owner + owner_size > len(data) or end > len(data):
            raise Malformed(f"note at {position:#x} ends outside of its {len(data):#x} bytes")
        name = bytes(data[owner : owner + owner_size])
        yield Note(name[:-1] if name.endswith(b"\0") else name, kind, bytes(data[content:end]))
        position = _up(end, step)


def build_id(notes: Iterable[Note]) -> Optional[str]:
    """The build ID among these notes in hexadecimal digits, or None (ld(1), --build-id)."""
    for note in notes:
        if note.type == NT_GNU_BUILD_ID and note.owner == b"GNU" and note.content:
            return note.content.hex()
    return None


def _up(value: int, step: int) -> int:
    return (value + step - 1) & -step
