# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Artifacts that are wrong in one place each.

The unit tests hold the reader against them; the integration test offers some to a live process and looks
that nothing was touched. A mutant's id is right, always: it is the SHA-256 of whatever bytes there are.
"""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jsonschema

from livepatch.artifact.schema import json_schema
from tests import artifacts
from tests.sections import SHT_NOBITS, SHT_REL, SHT_RELA, SHT_SYMTAB, Sections


class Mutant(NamedTuple):
    """``of``: a manifest as JSON, or the bytes of a file. ``name`` says what is wrong with it."""

    name: str
    of: Any


# Manifests


_OTHER_TYPES: tuple[Any, ...] = (None, True, 7, "text", [], {}, [None], {"key": 1})
_NUMBERS = (-1, 0, 1, 2, 64, 1 << 31, 1 << 32, 1 << 47, 1 << 53, (1 << 64) - 1)
_TEXTS = (
    "",
    " ",
    "a/b",
    "x" * 29,
    "x" * 101,
    "x" * 256,
    "x" * 4097,
    "new\nline",
    "\u202eabc",
    "\ud800",
    "A" * 64,
)


def manifests(manifest: dict[str, Any]) -> Iterator[Mutant]:
    """Every field dropped, retyped, moved to and beyond its bounds, and a key added to every object.

    Some of them are right: only JSON Schema and the reader can tell, and they must agree.
    """
    for path in _paths(manifest):
        holder, last = _holder(manifest, path)
        value = holder[last]
        if isinstance(holder, dict):
            yield _changed(manifest, path, "dropped", lambda holder, last: holder.pop(last))
        others = [other for other in _OTHER_TYPES if type(other) is not type(value) or other != value]
        if isinstance(value, int) and not isinstance(value, bool):
            others += [*_NUMBERS, value + 1, -value]
        elif isinstance(value, str):
            others += [*_TEXTS, value + "\n", value.upper(), value[:-1], value + value[-1:]]
        elif isinstance(value, list):
            others += [value + value, value[:1] * 257, value[1:]]
        elif isinstance(value, dict):
            others += [dict(value, another=1)]
        for other in others:
            shown = ascii(other)[:40]
            yield _changed(manifest, path, f"is {shown}", lambda h, k, other=other: h.__setitem__(k, other))
    for other in _OTHER_TYPES:
        yield Mutant(f"the whole manifest is {other!r}", other)
    yield Mutant("the manifest has another key", dict(manifest, another=1))


def broken_rules(manifest: dict[str, Any]) -> Iterator[Mutant]:
    """What JSON Schema accepts and the host refuses: one or more for each rule of ``artifact/rules.py``.

    :param manifest: as ``artifacts.document()`` has it
    """
    limit = {"x86_64": 1 << 47, "i386": 1 << 32}[manifest["arch"]]
    changes: tuple[tuple[str, tuple[str | int, ...], Any], ...] = (
        ("addresses: a range ends outside", ("functions", 0, "ranges", 0, "address"), limit - 95),
        ("addresses: a copy is outside", ("functions", 0, "copies", 0, "address"), limit),
        ("addresses: a reference is outside", ("references", 0, "address"), limit),
        ("apart: two ranges of one function", ("functions", 0, "ranges", 1, "address"), 0x1240 + 95),
        ("apart: ranges of two functions", ("functions", 1, "ranges", 0, "address"), 0x1240 - 31),
        ("inside: no such range", ("functions", 0, "text_relocations", 0, "range"), 2),
        ("inside: ends after the range", ("functions", 0, "text_relocations", 0, "offset"), 93),
        ("inside: overlap", ("functions", 0, "text_relocations", 1), {"range": 0, "offset": 7, "size": 4}),
        ("order: one missing", ("write_order",), [0]),
        ("order: one too high", ("write_order",), [0, 2]),
        ("unique: two functions", ("functions", 1, "symbol"), "new_check"),
        ("unique: two references", ("references", 1, "symbol"), "limit"),
        ("unique: function and reference", ("references", 1, "symbol"), "new_check"),
        ("unique: symbol and thunk", ("functions", 1, "thunk"), "new_check"),
        ("thunk: none to a private function", ("functions", 1, "thunk"), None),
        ("thunk: one to a standard function", ("functions", 1, "convention"), "standard"),
        ("thunk: for an injector that knows none", ("needs_injector",), 1),
        ("home: an import with an address", ("references", 2, "address"), 0x1000),
        ("home: the target's with a version", ("references", 0, "version"), "V1"),
        ("home: the target's with a library", ("references", 0, "library"), "libc.so.6"),
    )
    for name, path, value in changes:
        if value == 1 << 47:
            continue  # JSON Schema says this one
        yield _changed(
            manifest, path, name, lambda holder, last, value=value: holder.__setitem__(last, value)
        )


def broken_manifests(arch: str) -> Iterator[Mutant]:
    """All of the above that are wrong, by JSON Schema's word or as a rule's counterexample."""
    manifest = artifacts.document(arch)
    accepts = jsonschema.Draft202012Validator(json_schema()).is_valid
    yield from (mutant for mutant in manifests(manifest) if not accepts(mutant.of))
    yield from broken_rules(manifest)


def broken_json(arch: str) -> Iterator[Mutant]:
    """Bytes of a manifest section that are no document, or could be read as two."""
    manifest = artifacts.document(arch)
    text = json.dumps(manifest)
    for name, data in (
        ("empty", b""),
        ("not UTF-8", text.replace("daemon-fix", "daemon-f\xefx", 1).encode("latin-1")),
        ("byte order mark", b"\xef\xbb\xbf" + text.encode()),
        ("UTF-16", text.encode("utf-16")),
        ("a key twice", text.replace('"kind"', '"format": 1, "kind"', 1).encode()),
        ("a key twice, deep inside", text.replace('"soname"', '"type": "ET_DYN", "soname"', 1).encode()),
        ("a second document", text.encode() + b"{}"),
        ("a NUL at the end", text.encode() + b"\0"),
        ("a fraction", text.replace('"format": 1', '"format": 1.0', 1).encode()),
        ("an exponent", text.replace('"format": 1', '"format": 1e0', 1).encode()),
        ("not a number", text.replace('"format": 1', '"format": NaN', 1).encode()),
        ("a million digits", text.replace('"format": 1', '"format": 1' + "0" * 1_000_000, 1).encode()),
        ("deep nesting", b"[" * 100_000 + b"]" * 100_000),
        ("half a surrogate pair", text.replace("\\u00fc", "\\ud800", 1).encode()),
        ("too long", text.encode() + b" " * (8 << 20)),
        *((f"cut after {end} bytes", text.encode()[:end]) for end in range(1, len(text), 97)),
    ):
        yield Mutant(name, data)


def _paths(value: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for last, item in items:
        yield (*here, last)
        yield from _paths(item, (*here, last))


def _holder(manifest: Any, path: tuple[str | int, ...]) -> tuple[Any, str | int]:
    for step in path[:-1]:
        manifest = manifest[step]
    return manifest, path[-1]


def _changed(
    manifest: Any, path: tuple[str | int, ...], name: str, change: Callable[[Any, Any], Any]
) -> Mutant:
    mutant = copy.deepcopy(manifest)
    change(*_holder(mutant, path))
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return Mutant(f"{where[1:]}: {name}", mutant)


# Files


def truncated(data: bytes) -> Iterator[Mutant]:
    """Cut at every section's beginning and end, at every header's, and at regular places between."""
    sections = Sections(data)
    ends = {0, 1, 4, 15, 16, 51, 52, 63, 64, len(data) - 1, *range(0, len(data), 101)}
    for index in range(sections.count):
        header = sections.header(index)
        ends |= {header["offset"], sections.offset + index * (64 if sections.bits == 64 else 40)}
        if header["type"] != SHT_NOBITS:
            ends |= {header["offset"] + header["size"], max(header["offset"] + header["size"] - 1, 0)}
    for end in sorted(ends):
        if end < len(data):
            yield Mutant(f"cut after {end} of {len(data)} bytes", data[:end])


def broken_headers(data: bytes) -> Iterator[Mutant]:
    """The ELF header: another kind of file, or section headers that are elsewhere."""
    wide = data[4] == 2
    count, offset = (0x3C, 0x28) if wide else (0x30, 0x20)
    for name, place, content in (
        ("magic number", 0, b"\x7fELG"),
        ("class", 4, b"\x03"),
        ("the other class", 4, b"\x01" if wide else b"\x02"),
        ("big-endian", 5, b"\x02"),
        ("ET_EXEC", 16, b"\x02\0"),
        ("ET_DYN", 16, b"\x03\0"),
        ("EM_ARM", 18, b"\x28\0"),
        ("the other machine", 18, b"\x03\0" if wide else b"\x3e\0"),
        ("e_shoff", offset, struct.pack("<I", len(data))),
        ("e_shoff is 0", offset, bytes(4)),
        ("e_shentsize", count - 2, b"\x01\0"),
        ("e_shnum is 0", count, b"\0\0"),
        ("e_shnum", count, b"\xff\xfe"),
        ("e_shstrndx", count + 2, b"\xff\xfe"),
    ):
        yield Mutant(f"header: {name}", data[:place] + content + data[place + len(content) :])


def broken_sections(data: bytes) -> Iterator[Mutant]:
    """Section header fields out of range, sections that a patch has not, the manifest missing or twice."""
    original = Sections(data)
    for index in range(1, original.count):
        header, name = original.header(index), original.name(index)
        changes: list[dict[str, int]] = [{"name": 1 << 31}]
        if header["type"] == SHT_NOBITS:
            changes += [{"size": 1 << 31}, {"type": 14}, {"flags": 0x403}]
        else:
            changes += [{"offset": len(data) + 1}, {"offset": -1}, {"size": len(data)}, {"size": -1}]
        if header["type"] in (SHT_REL, SHT_RELA):
            changes += [
                {"link": 0},
                {"link": original.count},
                {"info": 0},
                {"info": original.count},
                {"info": -1},
            ]
            changes += [{"size": header["size"] - 1}, {"type": SHT_REL + SHT_RELA - header["type"]}]
        elif header["type"] == SHT_SYMTAB:
            changes += [{"link": 0}, {"link": original.count}, {"size": header["size"] - 1}, {"type": 11}]
        elif header["flags"] & 2:  # SHF_ALLOC
            changes += [{"flags": 7}, {"flags": 0x403}, {"flags": header["flags"] | 0x800}, {"type": 14}]
            changes += [{"addralign": 3}, {"addralign": 8192}, {"addralign": -1}]
        for change in changes:
            sections = Sections(data)
            sections.set(index, **change)
            field, value = next(iter(change.items()))
            yield Mutant(f"section {index} {name}: {field} is {value:#x}", bytes(sections.data))
    manifest = original.find(".livepatch.manifest")
    for name, change in (
        ("has memory", {"flags": 2}),
        ("is SHT_NOBITS", {"type": SHT_NOBITS}),
        ("missing", {"name": 0}),
    ):
        sections = Sections(data)
        sections.set(manifest, **change)
        yield Mutant(f"the manifest section {name}", bytes(sections.data))
    for name, kind, flags in (
        (".livepatch.manifest", 1, 0),
        (".init_array", 14, 3),
        (".ctors.65535", 1, 3),
        (".tdata", 1, 0x403),
        (".unknown", 1, 2),
        (".dynamic", 6, 3),
        (".symtab", 2, 0),
    ):
        sections = Sections(data)
        sections.append(name, b"{}", kind, flags)
        yield Mutant(f"another section {name}", bytes(sections.data))


def broken_relocations(data: bytes) -> Iterator[Mutant]:
    """Each relocation just outside of its section and far outside; with symbols that are not there."""
    sections = Sections(data)
    entry = struct.Struct("<QQ" if sections.bits == 64 else "<II")
    shift = 32 if sections.bits == 64 else 8
    symbols = sections.header(sections.find(".symtab"))
    count = symbols["size"] // (24 if sections.bits == 64 else 16)
    for index in range(sections.count):
        table = sections.header(index)
        if table["type"] not in (SHT_REL, SHT_RELA):
            continue
        size = sections.header(table["info"])["size"]
        step = entry.size + (8 if table["type"] == SHT_RELA else 0)
        for place in range(table["offset"], table["offset"] + table["size"], step):
            offset, info = entry.unpack_from(data, place)
            kind = info & ((1 << shift) - 1)
            for name, record in (
                (f"offset is {size:#x}", (size, info)),
                ("offset is the highest", ((1 << entry.size * 4) - 1, info)),
                (f"symbol is {count}", (offset, count << shift | kind)),
                ("symbol is the highest", (offset, (1 << entry.size * 4) - (1 << shift) | kind)),
            ):
                changed = bytearray(data)
                entry.pack_into(changed, place, *record)
                yield Mutant(f"{sections.name(index)} at {offset:#x}: {name}", bytes(changed))


def broken_symbols(data: bytes) -> Iterator[Mutant]:
    """Each symbol with a name, a section or an extent that is not there, or of an unsupported kind."""
    sections = Sections(data)
    form = struct.Struct("<IBBHQQ" if sections.bits == 64 else "<IIIBBH")
    fields = ("name", "info", "other", "section", "value", "size")
    if sections.bits == 32:
        fields = ("name", "value", "size", "info", "other", "section")
    table = sections.header(sections.find(".symtab"))
    for number, place in enumerate(range(table["offset"], table["offset"] + table["size"], form.size)):
        symbol = dict(zip(fields, form.unpack_from(data, place)))
        if number == 0:
            continue
        changes = [{"name": 1 << 31}, {"section": sections.count}, {"section": 0xFFF2}, {"section": 0xFFFF}]
        changes += [{"info": symbol["info"] & 0xF0 | 6}]  # STT_TLS
        if symbol["section"] not in (0, 0xFFF1):
            changes += [{"value": 1 << 31}, {"size": 1 << 31}]
            changes += [{"info": symbol["info"] & 0xF0 | 10}]  # STT_GNU_IFUNC
        for change in changes:
            changed = bytearray(data)
            form.pack_into(changed, place, *(dict(symbol, **change)[field] for field in fields))
            field, value = next(iter(change.items()))
            yield Mutant(f"symbol {number}: {field} is {value:#x}", bytes(changed))


def spelled(manifest: Any) -> bytes:
    """A manifest, right or not, as the bytes of its section."""
    return json.dumps(manifest).encode()
