# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The record of a patch, kept in the patched process itself, as bytes.

It stands at the start of the patch's own data mapping, and is complete before
that mapping exists, so whoever finds the mapping can read it.  Only ``state``
changes later, with one aligned write of eight bytes::

      0  magic "LIVEPTCH"
      8  format            u32   1
     12  body size         u32   bytes of JSON from offset 64 on
     16  state             u32 \\ written together
     20  state, inverted   u32 /
     24  checksum          u32   CRC-32 of bytes 0 to 15, 32 to 63 and the body
     28  zero              u32
     32  text address      u64   recorded before the text mapping is made
     40  text size         u64
     48  data address      u64   of the mapping that this ledger starts
     56  data size         u64
     64  body, UTF-8 JSON: the fields of :class:`Record`

Little-endian on both architectures.  Everything read is checked before it is
believed; a damaged or newer ledger is said to be one, never guessed at.
``tests/fixtures/ledgers`` keeps one of each format: it must be readable for ever.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ..artifact import strict_json
from ..artifact.shapes import shown
from ..errors import Refused
from ..loading.layout import PAGE

MAGIC = b"LIVEPTCH"
FORMAT = 1
HEADER = struct.Struct("<8sIIIIIIQQQQ")
STATE_OFFSET = 16
MAX_BODY = 1 << 20

# What a process with this ledger has: see recover.py for what each asks for.
LOADED = 1  # code is in memory, no jump was written
SWITCHING = 2  # jumps are being written
APPLIED = 3  # all jumps stand
REVERTING = 4  # jumps are being taken back
RETIRED = 5  # no jump stands; only the memory is left
STATES = {LOADED: "loaded", SWITCHING: "switching", APPLIED: "applied", REVERTING: "reverting", RETIRED: "retired"}
CUT_OFF = frozenset({LOADED, SWITCHING, REVERTING})


class Damaged(ValueError):
    """These bytes are no ledger that we can believe."""


@dataclass(frozen=True)
class Site:
    """One replaced function: where its jump stands, and what stood there."""

    name: str
    file: str
    address: int  # of the jump's first byte in the process
    old: str  # hex, as many bytes as ``new``
    new: str  # hex: the jump
    entry: int  # where the jump leads
    ranges: List[Dict[str, Any]]  # {"address" (in the process), "size", "sha256" (of the target file's bytes)}
    text_relocations: List[Dict[str, int]]  # {"range", "offset", "size"}

    @property
    def old_bytes(self) -> bytes:
        return bytes.fromhex(self.old)

    @property
    def new_bytes(self) -> bytes:
        return bytes.fromhex(self.new)


@dataclass(frozen=True)
class Record:
    """The body of a ledger."""

    artifact: str  # the artifact's id, hex
    name: str
    version: str
    target: Dict[str, Any]  # the manifest's target
    image_start: int  # where the target's image lies in the process
    sites: List[Site]  # in write order
    eh_frame: Tuple[int, int]  # address and size of the new code's unwind tables, (0, 0) if there are none
    keeps_code: bool  # it makes pointers to its own functions: its memory is never freed
    by: str  # who
    at: str  # when, UTC, ISO 8601
    comment: str
    requires: List[Dict[str, Any]] = field(default_factory=list)
    conflicts: List[Dict[str, Any]] = field(default_factory=list)
    supersedes: List[Dict[str, Any]] = field(default_factory=list)
    below: Optional[str] = None  # artifact id of the patch whose functions this one replaced anew


@dataclass(frozen=True)
class Ledger:
    """A ledger as found or as it will be."""

    state: int
    text: Tuple[int, int]  # address, size
    data: Tuple[int, int]
    record: Record

    @property
    def title(self) -> str:
        return f"{self.record.name} {self.record.version}"


def state_bytes(state: int) -> bytes:
    """The eight bytes at STATE_OFFSET."""
    return struct.pack("<II", state, state ^ 0xFFFFFFFF)


def encode(ledger: Ledger) -> bytes:
    """The ledger as it stands in memory; its length does not depend on the state.

    :raises Refused: ``not_supported_yet``: the body is longer than MAX_BODY
    :raises ValueError: a text in it is no Unicode
    """
    body = strict_json.dumps(asdict(ledger.record))
    if len(body) > MAX_BODY:
        what = f"{ledger.title} replaces so much that its record would have {len(body)} bytes, more than {MAX_BODY}"
        raise Refused("not_supported_yet", what)
    head = HEADER.pack(
        MAGIC, FORMAT, len(body), ledger.state, ledger.state ^ 0xFFFFFFFF, 0, 0, *ledger.text, *ledger.data
    )
    checksum = _checksum(head, body)
    return head[:24] + struct.pack("<I", checksum) + head[28:] + body


def _checksum(head: bytes, body: bytes) -> int:
    return zlib.crc32(head[:16] + head[32:64] + body)


def size_of(head: bytes) -> int:
    """How many bytes the whole ledger has, from its first 64.

    :raises Damaged: no ledger, or of a newer format
    """
    if len(head) < HEADER.size or head[:8] != MAGIC:
        raise Damaged("no ledger stands at the start of the mapping")
    form, body_size = struct.unpack_from("<II", head, 8)
    if form != FORMAT:
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
    state, inverse, checksum, zero = fields[3:7]
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
        record = _record(strict_json.loads(body))
        if strict_json.dumps(asdict(record)) != body:
            raise ValueError("it is not the canonical spelling")
    except ValueError as error:
        raise Damaged(f"the ledger's body is damaged: {error}") from error
    return Ledger(state, (text_address, text_size), (data_address, data_size), record)


Reader = Callable[[Any], Any]  # a JSON value -> what it stands for; raises ValueError


def _object(value: Any, keys: Mapping[str, Reader]) -> Dict[str, Any]:
    """An object with exactly these keys, each read."""
    if not isinstance(value, dict) or set(value) != set(keys):
        raise ValueError(f"an object of {', '.join(keys)} is missing, or has other keys")
    return {name: read(value[name]) for name, read in keys.items()}


def _list(item: Reader) -> Reader:
    def read(value: Any) -> List[Any]:
        if not isinstance(value, list):
            raise ValueError(f"{shown(value)} is no list")
        return [item(each) for each in value]

    return read


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no text")
    return value


def _text_or_null(value: Any) -> Optional[str]:
    return None if value is None else _text(value)


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
        raise ValueError(f"{shown(value)} is no address or size")
    return value


def _digest(value: Any) -> str:
    if not re.fullmatch("[0-9a-f]{64}", _text(value)):
        raise ValueError(f"{shown(value)} is no SHA-256")
    return str(value)


def _code(value: Any) -> str:
    if not re.fullmatch("(?:[0-9a-f]{2}){1,8}", _text(value)):
        raise ValueError(f"{shown(value)} is not one to eight bytes of code")
    return str(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is not true or false")
    return value


def _pair(value: Any) -> Tuple[int, int]:
    address, size = _list(_number)(value)
    return address, size


def _site(value: Any) -> Site:
    site = Site(**_object(value, _SITE))
    if len(site.old) != len(site.new):
        raise ValueError(f"the jump of {shown(site.name)} has another length than what stood there")
    first = site.ranges[0] if site.ranges else {"address": 0, "size": 0}
    if not first["address"] <= site.address <= first["address"] + first["size"] - len(site.old_bytes):
        raise ValueError(f"the jump of {shown(site.name)} is outside of its first range")
    for place in site.text_relocations:
        if place["range"] >= len(site.ranges):
            raise ValueError("a text relocation is in no range")
        if place["offset"] + place["size"] > site.ranges[place["range"]]["size"]:
            raise ValueError("a text relocation is outside of its range")
    return site


def _record(value: Any) -> Record:
    record = Record(**_object(value, _RECORD))
    if not record.sites:
        raise ValueError("it replaces no function")
    return record


_RANGE: Mapping[str, Reader] = {"address": _number, "size": _number, "sha256": _digest}
_RELOCATION: Mapping[str, Reader] = {"range": _number, "offset": _number, "size": _number}
_TARGET: Mapping[str, Reader] = {"build_id": _text_or_null, "text_sha256": _digest, "name": _text}
_RELATIONS = _list(lambda value: _object(value, {"name": _text, "version": _text_or_null}))
_SITE: Mapping[str, Reader] = {
    "name": _text,
    "file": _text,
    "address": _number,
    "old": _code,
    "new": _code,
    "entry": _number,
    "ranges": _list(lambda value: _object(value, _RANGE)),
    "text_relocations": _list(lambda value: _object(value, _RELOCATION)),
}
_RECORD: Mapping[str, Reader] = {
    "artifact": _digest,
    "name": _text,
    "version": _text,
    "target": lambda value: _object(value, _TARGET),
    "image_start": _number,
    "sites": _list(_site),
    "eh_frame": _pair,
    "keeps_code": _flag,
    "by": _text,
    "at": _text,
    "comment": _text,
    "requires": _RELATIONS,
    "conflicts": _RELATIONS,
    "supersedes": _RELATIONS,
    "below": lambda value: None if value is None else _digest(value),
}
