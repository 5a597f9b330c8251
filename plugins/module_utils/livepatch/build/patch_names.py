# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a patch file says with the macros of ``livepatch.h``: the records of ``.livepatch.names``.

::

    "bind" NUL "patch.c" NUL "12" NUL "times_of_a" NUL "times.0" NUL "a.c" NUL
     kind      the macro's file, line  in the patch      in the target   source file

Whoever compiled the object may have written anything there: every record is checked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Iterator, Mapping, NamedTuple

from ..elf import SHF_ALLOC, SHT_PROGBITS
from ..errors import Refused
from .objects import ObjectFile

SECTION = ".livepatch.names"
INCLUDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "include")  # has livepatch.h

_MOST = 1 << 20  # bytes of records
_FIELDS = 6


class Record(NamedTuple):
    """One macro.

    :ivar kind: ``file``, ``bind``, ``replaces``
    :ivar where: "FILE:LINE" of the macro
    :ivar name: the patch's symbol, "" for ``file``
    :ivar target: the target's name, "" for ``file``
    :ivar source: of the target; "": any
    """

    kind: str
    where: str
    name: str
    target: str
    source: str


@dataclass(frozen=True)
class PatchNames:
    """The macros of one patch file.

    :ivar file: of ``LIVEPATCH_FILE``
    :ivar binds: by the extern name of the patch
    :ivar replaces: by the function of the patch
    """

    file: Record | None
    binds: Mapping[str, Record]
    replaces: Mapping[str, Record]


def read(new: ObjectFile) -> PatchNames:
    """The records of an object, held against what it defines and refers to.

    :raises Refused: ``macro_misused``, ``file_malformed``
    """
    file: Record | None = None
    binds: dict[str, Record] = {}
    replaces: dict[str, Record] = {}
    for record in _records(new):
        if record.kind == "file":
            if file is not None and file.source != record.source:
                raise _misused(record, f"LIVEPATCH_FILE was {file.source!r} at {file.where} already")
            file = record
            continue
        table = binds if record.kind == "bind" else replaces
        known = table.setdefault(record.name, record)
        if (known.target, known.source) != (record.target, record.source):
            raise _misused(
                record, f"{record.name} was {known.target} of {_any(known)} at {known.where} already"
            )
    used = {each.name for each in new.symbols if each.name and not each.defined}
    defined = {each.name for each in new.symbols if each.name and each.defined}
    for name, record in binds.items():
        if name in defined:
            raise _misused(record, f"{name} is defined here; LIVEPATCH_BIND is for what is declared extern")
        if name not in used:
            raise _misused(record, f'nothing here uses {name} (in C++, declare it extern "C")')
    for name, record in replaces.items():
        if name not in new.functions:
            what = f"no function {name} is defined here, or it is static and was left out"
            raise _misused(record, f'{what}; make it non-static (in C++, extern "C")')
    return PatchNames(file, binds, replaces)


def _records(new: ObjectFile) -> Iterator[Record]:
    for section in new.sections:
        if section.name != SECTION:
            continue
        size = len(section.data)
        if section.header.type != SHT_PROGBITS or section.header.flags & SHF_ALLOC or size > _MOST:
            raise _malformed(new, f"is no section of at most {_MOST} bytes that takes no memory")
        if new.fields(section.header.index) or section.data[-1:] not in (b"", b"\0"):
            raise _malformed(new, "is not made of whole strings")
        try:
            words = [each.decode() for each in section.data.split(b"\0")[:-1]]
        except UnicodeDecodeError as error:
            raise _malformed(new, f"is no UTF-8: {error.reason}") from error
        if len(words) % _FIELDS:
            raise _malformed(new, f"has {len(words)} strings, and a record has {_FIELDS}")
        for at in range(0, len(words), _FIELDS):
            kind, file, line, name, target, source = words[at : at + _FIELDS]
            if kind not in ("file", "bind", "replaces") or not line.isdecimal() or "\n" in "".join(words):
                raise _malformed(new, f"has a record {kind!r} of line {line!r}")
            record = Record(kind, f"{file}:{line}", name, target, source)
            if kind == "file" and not source:
                raise _misused(record, "LIVEPATCH_FILE names no file")
            if kind != "file" and not (name and target):
                raise _misused(record, "a name is empty")
            yield record


def _any(record: Record) -> str:
    return record.source or "any file"


def _malformed(new: ObjectFile, what: str) -> Refused:
    return Refused("file_malformed", f"{new.path}: {SECTION} {what}")


def _misused(record: Record, what: str) -> Refused:
    return Refused("macro_misused", f"{record.where}: {what}")
