# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The records of an .eh_frame section: CIEs and FDEs (LSB core 5.0, 10.6.1).

::

    +--------+-----------+----------------------------------------------------------------+
    | length | 0         | version, augmentation, factors, [augmentation data], program   |  CIE
    +--------+-----------+----------------------------------------------------------------+
    | length | back to   | start, size of the function, [augmentation data: LSDA], program|  FDE
    |        | its CIE   |                                                                |
    +--------+-----------+----------------------------------------------------------------+
    | 0      |  a terminator; linkers leave more than one where they join sections
"""

from __future__ import annotations

from typing import Dict, Iterator, NamedTuple, Optional

from . import Malformed
from .cfi import REGISTERS, Program
from .cursor import Cursor, Data

# Pointer encodings, DW_EH_PE_*: LSB core 5.0, 10.5.
OMIT = 0xFF
_ABSOLUTE, _RELATIVE_TO_FIELD, _RELATIVE_TO_HEADER = 0x00, 0x10, 0x30
_INDIRECT = 0x80  # the value is the address of the pointer
_SIZES = {0x02: 2, 0x03: 4, 0x04: 8, 0x0A: 2, 0x0B: 4, 0x0C: 8}


class Cie(NamedTuple):
    """What many functions have in common."""

    code_alignment: int
    data_alignment: int
    return_address: int  # a DWARF number
    pointer_encoding: int
    lsda_encoding: int
    personality: Optional[int]  # its address, or that of the pointer to it; None: no exceptions to handle
    signal_frame: bool
    augmented: bool  # FDEs have augmentation data
    instructions: Cursor


class Fde(NamedTuple):
    """One function, or one part of it, in [start, end)."""

    start: int
    end: int
    lsda: Optional[int]  # address of the language-specific data: landing pads, exception specifications
    cie: Cie
    program: Program

    @property
    def takes_part_in_exceptions(self) -> bool:
        """A personality routine is asked when an exception crosses this function."""
        return self.cie.personality is not None


class EhFrame:
    """Records in ``data``, whose first byte stands at ``address``.

    :param word: bytes in an address: 4 or 8
    """

    def __init__(self, data: Data, address: int, word: int) -> None:
        self.data = data
        self.address = address
        self.word = word
        self.mask = (1 << 8 * word) - 1
        self._cies: Dict[int, Cie] = {}

    def pointer(self, cursor: Cursor, encoding: int, header: Optional[int] = None) -> int:
        """An encoded pointer; indirect ones are left as the address of the pointer.

        :param header: what DW_EH_PE_datarel counts from, where that has a meaning
        :raises Malformed: an encoding that we do not know, or bytes that run out
        """
        field = self.address + cursor.position
        form = encoding & 0x0F
        if form in (0x00, 0x08):
            value = cursor.unsigned(self.word)
        elif form == 0x01:
            value = cursor.uleb128()
        elif form == 0x09:
            value = cursor.sleb128()
        elif form in _SIZES:
            value = cursor.signed(_SIZES[form]) if form & 0x08 else cursor.unsigned(_SIZES[form])
        else:
            raise Malformed(f"pointer encoding {encoding:#x} at {field:#x}")
        relation = encoding & 0x70
        if relation == _RELATIVE_TO_FIELD:
            value += field
        elif relation == _RELATIVE_TO_HEADER and header is not None:
            value += header
        elif relation != _ABSOLUTE:
            raise Malformed(f"pointer encoding {encoding:#x} at {field:#x}")
        return value & self.mask

    def fdes(self, position: int, end: int, terminated: bool) -> Iterator[int]:
        """Positions of all FDEs between ``position`` and ``end``, in the section's order.

        :param terminated: the first terminator ends the section, whose size is not known
        """
        while end - position >= 4:
            body = self._record(position, end)
            if body.left:
                if body.unsigned(4):
                    yield position
            elif terminated:
                return
            position = body.end

    def fde(self, position: int) -> Fde:
        """The FDE at ``position``.

        :raises Malformed: there is none, or it or its CIE does not make sense
        """
        body = self._record(position, len(self.data))
        field = body.position
        distance = body.unsigned(4)
        if not distance:
            raise Malformed(f"a CIE where an FDE should be, at {self.address + position:#x}")
        cie = self._cie(field - distance)
        start = self.pointer(body, cie.pointer_encoding)
        size = self.pointer(body, cie.pointer_encoding & 0x0F)
        if start + size > self.mask + 1:
            raise Malformed(f"an FDE for {size:#x} bytes of code at {start:#x}")
        lsda = None
        if cie.augmented:
            augmentation = self._augmentation(body)
            if cie.lsda_encoding != OMIT:
                lsda = self._pointer_or_none(augmentation, cie.lsda_encoding)
        program = Program(
            start=start,
            end=start + size,
            code_alignment=cie.code_alignment,
            data_alignment=cie.data_alignment,
            return_address=cie.return_address,
            signal_frame=cie.signal_frame,
            initial=cie.instructions,
            instructions=body,
            location=lambda cursor: self.pointer(cursor, cie.pointer_encoding),
        )
        return Fde(start, start + size, lsda, cie, program)

    def _cie(self, position: int) -> Cie:
        cie = self._cies.get(position)
        if cie is None:
            cie = self._cies[position] = self._read_cie(position)
        return cie

    def _read_cie(self, position: int) -> Cie:
        where = f"CIE at {self.address + position:#x}"
        body = self._record(position, len(self.data))
        if body.unsigned(4):
            raise Malformed(f"no {where}")
        version = body.unsigned(1)
        if version not in (1, 3, 4):
            raise Malformed(f"{where}: version {version}")
        augmentation = body.string()
        if version == 4 and (body.unsigned(1), body.unsigned(1)) != (self.word, 0):
            raise Malformed(f"{where}: another size of addresses, or segments")
        code_alignment, data_alignment = body.uleb128(), body.sleb128()
        return_address = body.unsigned(1) if version == 1 else body.uleb128()
        if return_address >= REGISTERS:
            raise Malformed(f"{where}: return address in register {return_address}")

        pointer_encoding, lsda_encoding, personality, signal_frame = _ABSOLUTE, OMIT, None, False
        # Without a z nobody could skip what is unknown: such strings are of gcc 2 ("eh").
        if augmentation[:1] not in (b"", b"z"):
            raise Malformed(f"{where}: augmentation {augmentation!r}")
        if augmentation:
            data = self._augmentation(body)
            for letter in augmentation[1:].decode("latin-1"):
                if letter == "R":
                    pointer_encoding = data.unsigned(1)
                elif letter == "L":
                    lsda_encoding = data.unsigned(1)
                elif letter == "P":
                    personality = self._pointer_or_none(data, data.unsigned(1))
                elif letter == "S":
                    signal_frame = True
                elif letter != "B":  # aarch64: return addresses signed with the other key
                    raise Malformed(f"{where}: augmentation {augmentation!r}")
        return Cie(
            code_alignment=code_alignment,
            data_alignment=data_alignment,
            return_address=return_address,
            pointer_encoding=pointer_encoding,
            lsda_encoding=lsda_encoding,
            personality=personality,
            signal_frame=signal_frame,
            augmented=bool(augmentation),
            instructions=body,
        )

    def _pointer_or_none(self, cursor: Cursor, encoding: int) -> Optional[int]:
        """A pointer of which a zero in the file, whatever it would be relative to, means none."""
        start = cursor.position
        value = self.pointer(cursor, encoding & ~_INDIRECT)
        return value if any(self.data[start : cursor.position]) else None

    @staticmethod
    def _augmentation(body: Cursor) -> Cursor:
        size = body.uleb128()
        start = body.skip(size)
        return Cursor(body.data, start, body.position)

    def _record(self, position: int, end: int) -> Cursor:
        """What follows the length field of the record at ``position``, to the record's end."""
        cursor = Cursor(self.data, position, end)
        length = cursor.unsigned(4)
        if length == 0xFFFFFFFF:  # the extended length; the CIE pointer keeps its four bytes
            length = cursor.unsigned(8)
        start = cursor.skip(length)
        return Cursor(self.data, start, cursor.position)
