# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ELF section headers, to read and to falsify: gABI chapter 4, both classes.

Nothing here comes from the product, whose reader these bytes are to test.
"""

from __future__ import annotations

import struct

SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 1, 2, 4, 8, 9

FIELDS = ("name", "type", "flags", "addr", "offset", "size", "link", "info", "addralign", "entsize")
_HEADER = {64: struct.Struct("<IIQQQQIIQQ"), 32: struct.Struct("<IIIIIIIIII")}
_SECTION_OFFSET = {64: (0x28, "<Q"), 32: (0x20, "<I")}  # e_shoff
_SECTION_COUNT = {64: 0x3C, 32: 0x30}  # e_shnum, e_shstrndx after it


class Sections:
    """The section headers of one file, changed in place.

    :ivar data: the file
    :ivar bits: 64 or 32
    """

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        self.bits = {1: 32, 2: 64}[data[4]]

    @property
    def offset(self) -> int:
        """e_shoff: where the headers begin."""
        place, form = _SECTION_OFFSET[self.bits]
        return struct.unpack_from(form, self.data, place)[0]

    @property
    def count(self) -> int:
        """e_shnum."""
        return struct.unpack_from("<H", self.data, _SECTION_COUNT[self.bits])[0]

    def header(self, index: int) -> dict[str, int]:
        """The fields of one section header."""
        form = _HEADER[self.bits]
        return dict(zip(FIELDS, form.unpack_from(self.data, self.offset + index * form.size)))

    def set(self, index: int, **fields: int) -> None:
        """Overwrite fields of one section header, each cut to its width."""
        form = _HEADER[self.bits]
        values = dict(self.header(index), **fields)
        masks = (0xFFFFFFFF if width == "I" else (1 << 64) - 1 for width in form.format[1:])
        cut = [values[name] & mask for name, mask in zip(FIELDS, masks)]
        form.pack_into(self.data, self.offset + index * form.size, *cut)

    def name(self, index: int) -> str:
        """The section's name."""
        start = self._names["offset"] + self.header(index)["name"]
        return self.data[start : self.data.index(0, start)].decode()

    def find(self, name: str) -> int:
        """The index of the only section of this name."""
        (index,) = [index for index in range(self.count) if self.name(index) == name]
        return index

    def replace(self, index: int, content: bytes) -> None:
        """Give a section other bytes, at the end of the file."""
        self.set(index, offset=len(self.data), size=len(content))
        self.data += content

    def append(self, name: str, content: bytes, kind: int = SHT_PROGBITS, flags: int = 0) -> int:
        """Add a section: its name, its bytes and all headers move to the end of the file."""
        names_index = struct.unpack_from("<H", self.data, _SECTION_COUNT[self.bits] + 2)[0]
        names = self.header(names_index)
        text = bytes(self.data[names["offset"] : names["offset"] + names["size"]])
        self.replace(names_index, text + name.encode() + b"\0")
        form = _HEADER[self.bits]
        headers = bytes(self.data[self.offset : self.offset + self.count * form.size])
        headers += form.pack(len(text), kind, flags, 0, len(self.data), len(content), 0, 0, 1, 0)
        self.data += content
        self.data += bytes(-len(self.data) % 8)
        place, width = _SECTION_OFFSET[self.bits]
        struct.pack_into(width, self.data, place, len(self.data))
        struct.pack_into("<H", self.data, _SECTION_COUNT[self.bits], self.count + 1)
        self.data += headers
        return self.count - 1

    @property
    def _names(self) -> dict[str, int]:
        return self.header(struct.unpack_from("<H", self.data, _SECTION_COUNT[self.bits] + 2)[0])
