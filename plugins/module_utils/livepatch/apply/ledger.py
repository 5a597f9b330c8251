# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The record of a patch, kept in the patched process itself, as bytes.

It stands at the start of the patch's own data mapping, and is complete before
that mapping exists, so whoever finds the mapping can read it.  Only ``state``
changes later, with one aligned write of eight bytes::

      0  magic "LIVEPTCH"
      8  format            u32   of the body
     12  body size         u32   bytes of JSON from offset 64 on
     16  state             u32 \\ written together
     20  state, inverted   u32 /
     24  checksum          u32   CRC-32 of bytes 0 to 15, 32 to 63 and the body
     28  zero              u32
     32  text address      u64   recorded before the text mapping is made
     40  text size         u64
     48  data address      u64   of the mapping that this ledger starts
     56  data size         u64
     64  body, UTF-8 JSON, see :mod:`record`

Little-endian on both architectures.  Everything read is checked before it is
believed; a damaged or newer ledger is said to be one, never guessed at.
``tests/fixtures/ledgers`` keeps one of each format: it must be readable for ever.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import Tuple

from ..errors import Refused
from ..loading.layout import PAGE
from . import record as body_format
from .record import FORMAT, FORMATS, Record, Site

__all__ = ["FORMAT", "Damaged", "Ledger", "Record", "Site"]

MAGIC = b"LIVEPTCH"
HEADER = struct.Struct("<8sIIIIIIQQQQ")
STATE_OFFSET = 16
MAX_BODY = 1 << 20

# What a process with this ledger has: see recover.py for what each asks for.
LOADED = 1  # code is in memory, no jump was written
SWITCHING = 2  # jumps are being written
APPLIED = 3  # all jumps stand, but where a patch above has put its own
REVERTING = 4  # jumps are being taken back
RETIRED = 5  # no jump stands; only the memory is left
REPLACING = 6  # another patch, whose ledger says so, is taking its place
STATES = {
    LOADED: "loaded", SWITCHING: "switching", APPLIED: "applied", REVERTING: "reverting", RETIRED: "retired",
    REPLACING: "replacing",
}  # fmt: skip
CUT_OFF = frozenset({LOADED, SWITCHING, REVERTING, REPLACING})


class Damaged(ValueError):
    """These bytes are no ledger that we can believe."""


@dataclass(frozen=True)
class Ledger:
    """A ledger as found or as it will be.

    :ivar raw: its bytes in memory, but for the state
    """

    state: int
    text: Tuple[int, int]  # address, size
    data: Tuple[int, int]
    record: Record
    raw: bytes = field(default=b"", compare=False, repr=False)

    @property
    def title(self) -> str:
        return f"{self.record.name} {self.record.version}"

    def bytes_in(self, state: int) -> bytes:
        """The bytes that must stand in memory while it is in this state."""
        return self.raw[:STATE_OFFSET] + state_bytes(state) + self.raw[STATE_OFFSET + 8 :]


def state_bytes(state: int) -> bytes:
    """The eight bytes at STATE_OFFSET."""
    return struct.pack("<II", state, state ^ 0xFFFFFFFF)


def encoded(ledger: Ledger) -> Ledger:
    """The ledger with its ``raw`` bytes, in the newest format; their length does not depend on the state.

    :raises Refused: ``not_supported_yet``: the body is longer than MAX_BODY
    :raises ValueError: a text in it is no Unicode
    """
    body = body_format.to_bytes(ledger.record)
    if len(body) > MAX_BODY:
        what = f"{ledger.title} replaces so much that its record would have {len(body)} bytes, more than {MAX_BODY}"
        raise Refused("not_supported_yet", what)
    head = HEADER.pack(
        MAGIC, FORMAT, len(body), ledger.state, ledger.state ^ 0xFFFFFFFF, 0, 0, *ledger.text, *ledger.data
    )
    checksum = _checksum(head, body)
    return replace(ledger, raw=head[:24] + struct.pack("<I", checksum) + head[28:] + body)


def _checksum(head: bytes, body: bytes) -> int:
    return zlib.crc32(head[:16] + head[32:64] + body)


def size_of(head: bytes) -> int:
    """How many bytes the whole ledger has, from its first 64.

    :raises Damaged: no ledger, or of a newer format
    """
    if len(head) < HEADER.size or head[:8] != MAGIC:
        raise Damaged("no ledger stands at the start of the mapping")
    form, body_size = struct.unpack_from("<II", head, 8)
    if form not in FORMATS:
        raise Damaged(f"the ledger is of format {form}, this livepatch knows format {FORMAT}")
    if not 0 < body_size <= MAX_BODY:
        raise Damaged(f"the ledger's body would have {body_size} bytes")
    return HEADER.size + int(body_size)


def decode(data: bytes, mapping: Tuple[int, int]) -> Ledger:
    """Read a ledger.

    :param data: memory from the start of the mapping on
    :param mapping: (start, end) of the mapping it was found in
    :raises Damaged: not all of it is as it must be
    """
    total = size_of(data[: HEADER.size])
    if len(data) < total:
        raise Damaged("the ledger is cut off")
    fields = HEADER.unpack_from(data)
    form, state, inverse, checksum, zero = fields[1], *fields[3:7]
    body = data[HEADER.size : total]
    if zero or checksum != _checksum(data[: HEADER.size], body):
        raise Damaged("the ledger's checksum is wrong")
    if state ^ inverse != 0xFFFFFFFF or state not in STATES:
        raise Damaged("the ledger's state is damaged")
    text_address, text_size, data_address, data_size = fields[7:11]
    if data_address != mapping[0] or data_size < total or data_address + data_size > mapping[1]:
        raise Damaged("the ledger describes another mapping")
    if not text_size or any(value % PAGE for value in (text_address, text_size, data_size)):
        raise Damaged("the ledger describes memory that is not whole pages")
    try:
        record = body_format.from_bytes(body, form)
        for part in (part for site in record.sites for part in site.code):
            if not text_address <= part["address"] <= text_address + text_size - part["size"]:
                raise ValueError("new code is outside of its text")
    except ValueError as error:
        raise Damaged(f"the ledger's body is damaged: {error}") from error
    return Ledger(state, (text_address, text_size), (data_address, data_size), record, data[:total])
