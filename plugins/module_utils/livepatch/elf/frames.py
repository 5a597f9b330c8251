# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The unwind rule at an address.

::

     .eh_frame_hdr                                 .eh_frame
    +-----------------------------+               +------+-----+-----+------+-----
    | pointer to .eh_frame, count |      +------->| CIE  | FDE | FDE | CIE  | FDE ...
    | start of function -> FDE    |------+        +------+-----+-----+------+-----
    | ... sorted by start         |                 eh_frame.py      cfi.py makes rows of them
    +-----------------------------+

PT_GNU_EH_FRAME leads to the left one, which needs no section headers and so works in memory, too.
Static executables and single objects have only the right one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Dict, Iterator, List, Optional, Sequence

from . import Malformed
from .cfi import Row, rows
from .cursor import Cursor, Data
from .eh_frame import OMIT, EhFrame, Fde

# .eh_frame_hdr, LSB core 5.0, 10.6.2: version 1, then the encodings of three things.  Every linker
# writes this one; with another one the section is read from its start instead.
_TABLE_ENCODING = 0x3B  # signed, four bytes, relative to the header


class FrameTable:
    """Unwind rules of one image, or of one piece of code.

    Addresses are those of the address space that ``address`` belongs to: link-time ones for a
    file's bytes, run-time ones for bytes from a process's memory.
    Functions are read when they are asked for, and kept.
    """

    def __init__(self, frame: EhFrame, starts: Sequence[int], positions: Sequence[int], origin: int) -> None:
        """:param starts: of functions, ascending, and :param positions: of their FDEs, both minus ``origin``"""
        self._frame = frame
        self._starts = starts
        self._positions = positions
        self._origin = origin
        self._fdes: Dict[int, Fde] = {}
        self._rows: Dict[int, List[Row]] = {}

    @classmethod
    def from_header(cls, data: Data, address: int, header: int, word: int) -> FrameTable:
        """The table that the .eh_frame_hdr at address ``header`` describes.

        :param data: bytes with the header **and** the .eh_frame that it points to: the contents of
            the segment that they are in
        :param address: of the first byte of ``data``
        :param word: bytes in an address: 4 or 8
        :raises Malformed: what is there is something else
        """
        frame = EhFrame(data, address, word)
        cursor = Cursor(data, header - address, len(data))
        if cursor.unsigned(1) != 1:
            raise Malformed(f"no .eh_frame_hdr of version 1 at {header:#x}")
        section_encoding, count_encoding, table_encoding = cursor.unsigned(1), cursor.unsigned(1), cursor.unsigned(1)
        section = frame.pointer(cursor, section_encoding, header)
        if OMIT in (count_encoding, table_encoding) or table_encoding != _TABLE_ENCODING:
            return cls._scan(frame, section - address, terminated=True)
        count = frame.pointer(cursor, count_encoding, header)
        table = memoryview(data)[cursor.skip(8 * count) : cursor.position].cast("i")
        return cls(frame, table[::2], table[1::2], header)

    @classmethod
    def from_section(cls, data: Data, address: int, word: int) -> FrameTable:
        """The table of an .eh_frame section alone, ``data``, which stands at ``address``.

        Reads every record: some 10 us each.

        :raises Malformed: it is none
        """
        return cls._scan(EhFrame(data, address, word), 0, terminated=False)

    @classmethod
    def _scan(cls, frame: EhFrame, position: int, terminated: bool) -> FrameTable:
        found = sorted(
            (frame.fde(each).start, each) for each in frame.fdes(position, len(frame.data), terminated)
        )
        starts = array("Q", [start for start, _ in found])
        # The address of an FDE rather than its position, as in the header's table.
        positions = array("Q", [frame.address + each for _, each in found])
        return cls(frame, starts, positions, 0)

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Fde]:
        """All functions, in the order of their addresses."""
        return (self._fde(index) for index in range(len(self)))

    def find(self, pc: int) -> Optional[Fde]:
        """The function that ``pc`` is in; ``None`` where no FDE covers it.

        :raises Malformed: the FDE, its CIE or the search table is broken
        """
        index = self._index(pc)
        return None if index is None else self._fdes[index]

    def row(self, pc: int) -> Optional[Row]:
        """The unwind rules at ``pc``; ``None`` where no FDE covers it.

        For a return address ask for the address before it: it may belong to the next function
        when the call was the last instruction of its own.

        :raises Malformed: as :meth:`find`, and for broken instructions
        """
        index = self._index(pc)
        if index is None:
            return None
        known = self._rows.get(index)
        if known is None:
            known = self._rows[index] = rows(self._fdes[index].program)
        low, high = 0, len(known)  # bisect's key= came with Python 3.10
        while low < high:
            middle = (low + high) // 2
            if known[middle].end <= pc:
                low = middle + 1
            else:
                high = middle
        return known[low]

    def _index(self, pc: int) -> Optional[int]:
        index = bisect_right(self._starts, pc - self._origin) - 1
        if index < 0:
            return None
        fde = self._fde(index)
        return index if fde.start <= pc < fde.end else None

    def _fde(self, index: int) -> Fde:
        fde = self._fdes.get(index)
        if fde is None:
            frame = self._frame
            fde = frame.fde(self._origin + self._positions[index] - frame.address)
            if fde.start != self._origin + self._starts[index]:
                raise Malformed(f"the search table has {self._origin + self._starts[index]:#x} for {fde.start:#x}")
            self._fdes[index] = fde
        return fde
