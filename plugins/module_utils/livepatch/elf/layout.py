# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause

"""The records of ELF as struct formats, one :class:`Layout` per class."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import List, NamedTuple, Optional, Tuple, Union

from . import ELFCLASS32, ELFCLASS64, ELFDATA2LSB, PT_LOAD, Malformed

Buffer = Union[bytes, memoryview]  # what the functions of this room take bytes from

IDENT = 16  # bytes of e_ident, the same in both classes


class Header(NamedTuple):
    """The ELF header, after e_ident."""

    type: int
    machine: int
    version: int
    entry: int
    segment_offset: int
    section_offset: int
    flags: int
    size: int
    segment_entry: int
    segment_count: int
    section_entry: int
    section_count: int
    section_names: int


class Segment(NamedTuple):
    """A program header. Offset and file_size in the file; address and memory_size at link time; bytes."""

    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int
    align: int


class Relocation(NamedTuple):
    """One relocation. `addend` is None in REL tables, where it stands in the bytes to be relocated."""

    offset: int  # section offset in ET_REL, else link-time address
    type: int
    symbol_index: int
    addend: Optional[int]


@dataclass(frozen=True)
class Layout:
    """How one class lays out its records."""

    elf_class: int  # 32 or 64
    word: int  # bytes in an address
    header: struct.Struct
    segment: struct.Struct
    section: struct.Struct
    symbol: struct.Struct
    rel: struct.Struct
    rela: struct.Struct
    dynamic: struct.Struct
    symbol_shift: int  # r_info >> symbol_shift is the symbol, the rest the type

    @property
    def mask(self) -> int:
        """All bits of an address."""
        return (1 << 8 * self.word) - 1

    def parse_header(self, data: Buffer) -> Header:
        """The header at the start of `data`, whose e_ident chose this layout."""
        if len(data) < self.header.size:
            raise Malformed(f"{len(data)} bytes are too short for an ELF header")
        return Header(*self.header.unpack(data[: self.header.size]))

    def parse_segments(self, table: Buffer) -> List[Segment]:
        """Every program header of `table`."""
        rows = self.segment.iter_unpack(table)
        if self.elf_class == 64:
            return [Segment(kind, flags, offset, address, file_size, memory_size, align)
                    for kind, flags, offset, address, _, file_size, memory_size, align in rows]
        return [Segment(kind, flags, offset, address, file_size, memory_size, align)
                for kind, offset, address, _, file_size, memory_size, flags, align in rows]

    def parse_relocations(self, table: Buffer, has_addends: bool) -> List[Relocation]:
        """Every entry of a RELA (`has_addends`) or REL table.

        :raises Malformed: the table ends inside an entry
        """
        record = self.rela if has_addends else self.rel
        if len(table) % record.size:
            raise Malformed(f"{len(table)} bytes of relocations, which have {record.size} each")
        shift, mask = self.symbol_shift, (1 << self.symbol_shift) - 1
        if has_addends:
            return [Relocation(offset, info & mask, info >> shift, addend)
                    for offset, info, addend in record.iter_unpack(table)]
        return [Relocation(offset, info & mask, info >> shift, None)
                for offset, info in record.iter_unpack(table)]


ELF64 = Layout(
    elf_class=64,
    word=8,
    header=struct.Struct("<16xHHIQQQIHHHHHH"),
    segment=struct.Struct("<IIQQQQQQ"),
    section=struct.Struct("<IIQQQQIIQQ"),
    symbol=struct.Struct("<IBBHQQ"),
    rel=struct.Struct("<QQ"),
    rela=struct.Struct("<QQq"),
    dynamic=struct.Struct("<qQ"),
    symbol_shift=32,
)
ELF32 = Layout(
    elf_class=32,
    word=4,
    header=struct.Struct("<16xHHIIIIIHHHHHH"),
    segment=struct.Struct("<8I"),
    section=struct.Struct("<10I"),
    symbol=struct.Struct("<IIIBBH"),
    rel=struct.Struct("<II"),
    rela=struct.Struct("<IIi"),
    dynamic=struct.Struct("<iI"),
    symbol_shift=8,
)


def of_ident(ident: Buffer) -> Layout:
    """The layout that e_ident, the first 16 bytes, announces.

    :raises Malformed: no ELF, an unknown class, or big-endian
    """
    if len(ident) < IDENT or bytes(ident[:4]) != b"\x7fELF":
        raise Malformed("no ELF: the magic number is missing")
    if ident[5] != ELFDATA2LSB:
        raise Malformed(f"data encoding {ident[5]}: only little-endian ELF is read")
    if ident[4] == ELFCLASS64:
        return ELF64
    if ident[4] == ELFCLASS32:
        return ELF32
    raise Malformed(f"unknown ELF class {ident[4]}")


def table_size(what: str, count: int, entry: int, expected: int) -> int:
    """Bytes of a header table of `count` entries, whose entry size must be the `expected` one."""
    if count and entry != expected:
        raise Malformed(f"{what} of {entry} bytes each, expected {expected}")
    return count * expected


def covering(
    segments: List[Segment], address: int, size: int, in_file: bool
) -> Optional[Tuple[Segment, int]]:
    """The PT_LOAD that holds [address, address + size), and the offset in it.

    `in_file`: only its file part counts, not the zeros behind (.bss).
    """
    for segment in segments:
        if segment.type == PT_LOAD:
            offset = address - segment.address
            limit = segment.file_size if in_file else segment.memory_size
            if offset >= 0 and offset + size <= limit:
                return segment, offset
    return None
