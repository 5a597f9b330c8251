# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a ledger's body says: one patch, and each function that it has replaced.

The body is JSON of a numbered format.  What is written is always the newest;
what was written by an earlier livepatch is read for ever:

======  ======================================================================
format  since then
======  ======================================================================
1       one patch a function; ``below`` was always null
2       several patches a function: ``order``, ``displaced``, and for each site
        the ``code`` that came
======  ======================================================================
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ..artifact import strict_json
from ..artifact.shapes import shown

FORMAT = 2


@dataclass(frozen=True)
class Site:
    """One replaced function: where its jump stands, and what the target file has there."""

    name: str
    file: str
    address: int  # of the jump's first byte in the process
    old: str  # hex, as many bytes as ``new``: the target's own code, also where another patch's jump stood
    new: str  # hex: the jump
    entry: int  # where the jump leads
    ranges: List[Dict[str, Any]]  # {"address" (in the process), "size", "sha256" (of the target file's bytes)}
    text_relocations: List[Dict[str, int]]  # {"range", "offset", "size"}
    code: List[Dict[str, int]] = field(default_factory=list)  # {"address", "size"} of the new code; empty: unknown

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
    order: int = 0  # of several patches the one with the highest is on top; 0: of format 1, the only one
    displaced: List[int] = field(default_factory=list)  # data mappings of the patches whose place this one took


def to_bytes(record: Record) -> bytes:
    """The body, in the newest format.

    :raises ValueError: a text in it is no Unicode
    """
    return strict_json.dumps(asdict(record))


def from_bytes(body: bytes, form: int) -> Record:
    """A body of a format that is known.

    :raises ValueError: it is not what that format demands
    """
    document = strict_json.loads(body)
    if strict_json.dumps(document) != body:
        raise ValueError("it is not the canonical spelling")
    values = _object(document, _RECORD[form])
    values.pop("below", None)
    record = Record(**values)
    if not record.sites:
        raise ValueError("it replaces no function")
    return record


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


def _site(keys: Mapping[str, Reader]) -> Reader:
    def read(value: Any) -> Site:
        site = Site(**_object(value, keys))
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

    return read


_RANGE: Mapping[str, Reader] = {"address": _number, "size": _number, "sha256": _digest}
_PLACE: Mapping[str, Reader] = {"address": _number, "size": _number}
_RELOCATION: Mapping[str, Reader] = {"range": _number, "offset": _number, "size": _number}
_TARGET: Mapping[str, Reader] = {"build_id": _text_or_null, "text_sha256": _digest, "name": _text}
_RELATIONS = _list(lambda value: _object(value, {"name": _text, "version": _text_or_null}))
_SITE_1: Mapping[str, Reader] = {
    "name": _text,
    "file": _text,
    "address": _number,
    "old": _code,
    "new": _code,
    "entry": _number,
    "ranges": _list(lambda value: _object(value, _RANGE)),
    "text_relocations": _list(lambda value: _object(value, _RELOCATION)),
}
_SITE_2: Mapping[str, Reader] = {**_SITE_1, "code": _list(lambda value: _object(value, _PLACE))}
_COMMON: Mapping[str, Reader] = {
    "artifact": _digest,
    "name": _text,
    "version": _text,
    "target": lambda value: _object(value, _TARGET),
    "image_start": _number,
    "eh_frame": _pair,
    "keeps_code": _flag,
    "by": _text,
    "at": _text,
    "comment": _text,
    "requires": _RELATIONS,
    "conflicts": _RELATIONS,
    "supersedes": _RELATIONS,
}
_RECORD: Mapping[int, Mapping[str, Reader]] = {
    1: {**_COMMON, "sites": _list(_site(_SITE_1)), "below": lambda value: None if value is None else _digest(value)},
    2: {**_COMMON, "sites": _list(_site(_SITE_2)), "order": _number, "displaced": _list(_number)},
}
FORMATS = frozenset(_RECORD)
