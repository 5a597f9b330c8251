# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Reading forwards through bytes that may be hostile."""

from __future__ import annotations

from typing import Tuple, Union

from . import Malformed

Data = Union[bytes, bytearray, memoryview]

# The longest LEB128 that is believed.  64 bits need ten bytes; assemblers pad a few more for
# values that they fill in later.
_LONGEST_LEB128 = 16


class Cursor:
    """A position in ``data``, which every read moves forward and never beyond ``end``.

    Integers are little-endian, as on every architecture we know.  All methods raise
    :class:`Malformed` where the bytes run out.
    """

    __slots__ = ("data", "end", "position")

    def __init__(self, data: Data, position: int, end: int) -> None:
        if not 0 <= position <= end <= len(data):
            raise Malformed(f"bytes {position:#x} to {end:#x} of {len(data):#x}")
        self.data = data
        self.position = position
        self.end = end

    @property
    def left(self) -> int:
        """Bytes that are left."""
        return self.end - self.position

    def skip(self, size: int) -> int:
        """Go on by ``size`` bytes; returns where they began."""
        position = self.position
        if not 0 <= size <= self.end - position:
            raise Malformed(f"{size} bytes wanted at {position:#x}, {self.end - position} are there")
        self.position = position + size
        return position

    def unsigned(self, size: int) -> int:
        """An unsigned integer of ``size`` bytes."""
        start = self.skip(size)
        return int.from_bytes(self.data[start : self.position], "little")

    def signed(self, size: int) -> int:
        """A two's complement integer of ``size`` bytes."""
        start = self.skip(size)
        return int.from_bytes(self.data[start : self.position], "little", signed=True)

    def uleb128(self) -> int:
        """DWARF 5, 7.6: seven bits a byte, the lowest first, the top bit says that more follow."""
        value, _, _ = self._leb128()
        return value

    def sleb128(self) -> int:
        """The same with a sign: bit 6 of the last byte."""
        value, bits, last = self._leb128()
        return value - (1 << bits) if last & 0x40 else value

    def _leb128(self) -> Tuple[int, int, int]:
        data, value, bits = self.data, 0, 0
        for position in range(self.position, min(self.end, self.position + _LONGEST_LEB128)):
            byte = data[position]
            value |= (byte & 0x7F) << bits
            bits += 7
            if byte < 0x80:
                self.position = position + 1
                return value, bits, byte
        raise Malformed(f"a LEB128 number without an end at {self.position:#x}")

    def block(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        start = self.skip(size)
        return bytes(self.data[start : self.position])

    def string(self) -> bytes:
        """Bytes up to a zero byte, which is read, too, and left out."""
        start = self.position
        for position in range(start, self.end):
            if self.data[position] == 0:
                self.position = position + 1
                return bytes(self.data[start:position])
        raise Malformed(f"a string without an end at {start:#x}")
