# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a patch says about itself: the one table that defines the manifest.

The dataclasses below are the table: a field is a key of the JSON object, its
metadata says which values the key may have and what they mean.  JSON Schema
(``schema.py``) and the checks on the managed host are both generated from it.
What one value alone can not show stands in ``rules.py``, which only the host
checks.  ``docs/formats.md`` has the format for people.

All addresses are link-time virtual addresses of the target file.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from ..errors import Refused
from . import strict_json
from .rules import ADDRESS_LIMIT, RULES
from .shapes import Array, Boolean, Choice, Integer, Mismatch, Nullable, Record, Shape, Text, key, shown

FORMAT = 1  # the manifest's, the highest that this code reads
INJECTOR = 2  # what this code can do; an artifact that needs more says so in needs_injector
MAX_MANIFEST = 8 << 20  # bytes of JSON

_ADDRESS = Integer(0, max(ADDRESS_LIMIT.values()) - 1)
_SIZE = Integer(1, (1 << 31) - 1)
_SHA256 = Text(64, 64, "[0-9a-f]{64}")
_SYMBOL = Text(4096)  # mangled names are long
_PATCH_NAME = Text(100, 1, "[A-Za-z0-9][A-Za-z0-9._+-]*")
_PATCH_VERSION = Text(64, 1, "[A-Za-z0-9][A-Za-z0-9._+~:-]*")
_PATH = Text(4096, 0)


@dataclass(frozen=True)
class Target:
    """The shipped file whose code is replaced."""

    build_id: str | None = field(
        metadata=key(
            Nullable(Text(128, 2, "([0-9a-f]{2})+")),
            "NT_GNU_BUILD_ID of the target in hexadecimal; null: none, text_sha256 alone identifies it",
        )
    )
    text_sha256: str = field(
        metadata=key(
            _SHA256, "SHA-256 of the file bytes of all PT_LOAD with PF_X, in header order, p_filesz each"
        )
    )
    name: str = field(
        metadata=key(Text(255, 1, "[^/]+"), "file name of the target without its folder, for people")
    )
    soname: str | None = field(
        metadata=key(Nullable(Text(255)), "DT_SONAME of the target; null: it has none")
    )
    type: str = field(
        metadata=key(
            Choice(("ET_DYN", "ET_EXEC")),
            "e_type of the target: ET_DYN is loaded with a bias, ET_EXEC without",
        )
    )


@dataclass(frozen=True)
class Range:
    """One run of bytes of a function in the target file."""

    address: int = field(metadata=key(_ADDRESS, "address of the first byte"))
    size: int = field(metadata=key(_SIZE, "length in bytes"))
    sha256: str = field(metadata=key(_SHA256, "SHA-256 of the bytes as they stand in the target file"))


@dataclass(frozen=True)
class TextRelocation:
    """A place in a range where memory may differ from the file, because the dynamic linker wrote there."""

    range: int = field(metadata=key(Integer(0, 63), "index in ranges"))
    offset: int = field(metadata=key(Integer(0, (1 << 31) - 1), "bytes from the start of that range"))
    size: int = field(metadata=key(Integer(1, 8), "length in bytes"))


@dataclass(frozen=True)
class Copy:
    """The replaced function's code at another place of the target, where it goes on running."""

    name: str = field(metadata=key(_SYMBOL, "the function that holds the copy, or the clone's own name"))
    address: int = field(metadata=key(_ADDRESS, "address of the copy's first byte"))
    kind: str = field(
        metadata=key(
            Choice(("clone", "inlined")), "inlined: inside another function; clone: a function of its own"
        )
    )
    accepted: bool = field(
        metadata=key(Boolean(), "the patch's author has accepted by name that it goes on running")
    )


@dataclass(frozen=True)
class Function:
    """A function of the target and what takes its place."""

    name: str = field(metadata=key(_SYMBOL, "the target's symbol"))
    symbol: str = field(metadata=key(_SYMBOL, "the symbol of the new code, defined once in this object"))
    file: str = field(metadata=key(_PATH, "source file as the target's build named it; empty: not known"))
    ranges: tuple[Range, ...] = field(
        metadata=key(
            Array(Record(Range), 64, minimum=1),
            "where the old code stands; the first range begins with the function's entry",
        )
    )
    text_relocations: tuple[TextRelocation, ...] = field(
        metadata=key(Array(Record(TextRelocation), 16384), "where memory may differ from the target file")
    )
    entry_safe: bool = field(
        metadata=key(
            Boolean(),
            "no branch of the old code lands in the bytes that the jump covers, but for calls of the function",
        )
    )
    convention: str = field(
        metadata=key(
            Choice(("private", "standard")),
            "how the function is called; standard: as the psABI says, or in a way that the new code is proven to "
            "keep; private: in a way that its thunk turns into the psABI's",
        )
    )
    thunk: str | None = field(
        metadata=key(
            Nullable(_SYMBOL),
            "the symbol of the thunk that the jump leads to instead of symbol, defined once in this object; "
            "null: there is none. Needs injector 2",
        )
    )
    copies: tuple[Copy, ...] = field(
        metadata=key(Array(Record(Copy), 1024), "copies of the old code that the patch does not replace")
    )

    @property
    def entry_symbol(self) -> str:
        """The symbol in this object that the jump leads to."""
        return self.symbol if self.thunk is None else self.thunk


@dataclass(frozen=True)
class Reference:
    """A symbol that is undefined in this object, and where its value comes from."""

    symbol: str = field(metadata=key(_SYMBOL, "the undefined symbol's name in this object"))
    kind: str = field(
        metadata=key(
            Choice(("ifunc", "import", "target", "tls")),
            "target: at address in the target; import: looked up by name in the process; "
            "ifunc: resolved by the function at address in the target; "
            "tls: at offset address in the target's TLS segment",
        )
    )
    address: int = field(metadata=key(_ADDRESS, "as kind says; 0 for an import"))
    version: str | None = field(
        metadata=key(Nullable(Text(255)), "symbol version of an import; null: the default one, or none")
    )
    library: str | None = field(
        metadata=key(
            Nullable(Text(255)),
            "DT_SONAME of the library that had an import at build time, for people; null: not known",
        )
    )


@dataclass(frozen=True)
class Relation:
    """Another patch."""

    name: str = field(metadata=key(_PATCH_NAME, "the other patch's name"))
    version: str | None = field(metadata=key(Nullable(_PATCH_VERSION), "its version; null: any"))


@dataclass(frozen=True)
class Hooks:
    """Functions to run around the switch: none yet."""


@dataclass(frozen=True)
class BuiltWith:
    """What made this artifact, for people."""

    compiler: str = field(metadata=key(Text(1024, 0), "as the compiler names itself; empty: not known"))
    livepatch: str = field(metadata=key(Text(64), "version of this collection"))


_RELATIONS = Array(Record(Relation), 256, unique=True)


@dataclass(frozen=True)
class Manifest:
    """The section ``.livepatch.manifest`` of an artifact."""

    format: int = field(metadata=key(Integer(FORMAT, FORMAT), "version of this format"))
    kind: str = field(metadata=key(Choice(("patch",)), "patch: replaces functions"))
    name: str = field(metadata=key(_PATCH_NAME, "the patch's name"))
    version: str = field(metadata=key(_PATCH_VERSION, "the patch's version"))
    arch: str = field(
        metadata=key(Choice(tuple(ADDRESS_LIMIT)), "architecture of the target and of this object")
    )
    needs_injector: int = field(
        metadata=key(Integer(1, INJECTOR), "what the injector must at least be able to do")
    )
    target: Target = field(metadata=key(Record(Target), "the shipped file whose code is replaced"))
    functions: tuple[Function, ...] = field(
        metadata=key(Array(Record(Function), 1024, minimum=1), "the functions that are replaced")
    )
    references: tuple[Reference, ...] = field(
        metadata=key(Array(Record(Reference), 16384), "all undefined symbols of this object, and no others")
    )
    write_order: tuple[int, ...] = field(
        metadata=key(
            Array(Integer(0, 1023), 1024, unique=True), "indices of functions in the order of their jumps"
        )
    )
    hooks: Hooks = field(metadata=key(Record(Hooks), "kept for a later needs_injector"))
    allowed: tuple[str, ...] = field(metadata=key(Array(Text(64), 0), "kept for a later needs_injector"))
    supersedes: tuple[Relation, ...] = field(metadata=key(_RELATIONS, "patches whose place this one takes"))
    requires: tuple[Relation, ...] = field(
        metadata=key(_RELATIONS, "patches that must be in the process before")
    )
    conflicts: tuple[Relation, ...] = field(
        metadata=key(_RELATIONS, "patches that must not be in the process")
    )
    cve: tuple[str, ...] = field(
        metadata=key(Array(Text(28, 1, "CVE-[0-9]{4}-[0-9]{4,19}"), 256, unique=True), "what is fixed")
    )
    description: str = field(metadata=key(Text(4096, 0), "for people"))
    built_with: BuiltWith = field(metadata=key(Record(BuiltWith), "what made this artifact, for people"))

    @classmethod
    def from_json(cls, document: Any) -> Manifest:
        """The manifest in a parsed JSON document.

        :raises Refused: ``artifact_too_new``, or ``artifact_malformed`` with the path of the key
        """
        _refuse_newer(document)
        try:
            manifest: Manifest = SHAPE.read(document, "")
            for rule in RULES:
                for problem in rule(manifest):
                    raise problem
        except Mismatch as error:
            raise _malformed(error) from error
        return manifest

    @classmethod
    def from_json_bytes(cls, data: bytes) -> Manifest:
        """The manifest in the bytes of its section.

        :raises Refused: ``artifact_too_new``, or ``artifact_malformed``
        """
        if len(data) > MAX_MANIFEST:
            raise Refused(
                "artifact_malformed", f"the manifest has {len(data)} bytes, more than {MAX_MANIFEST}"
            )
        try:
            document = strict_json.loads(data)
        except Mismatch as error:
            raise _malformed(error) from error
        return cls.from_json(document)

    def to_json(self) -> dict[str, Any]:
        """The manifest as ``json.loads`` would give it."""
        document: dict[str, Any] = strict_json.loads(self.to_json_bytes())
        return document

    def to_json_bytes(self) -> bytes:
        """The manifest's only spelling: the same manifest gives the same bytes."""
        return strict_json.dumps(dataclasses.asdict(self))


SHAPE: Shape = Record(Manifest)


def _refuse_newer(document: Any) -> None:
    """Say that it is too new before saying what looks odd: a newer format may look like anything."""
    for name, ours in (("format", FORMAT), ("needs_injector", INJECTOR)):
        value = document.get(name) if isinstance(document, dict) else None
        if isinstance(value, int) and not isinstance(value, bool) and value > ours:
            raise Refused(
                "artifact_too_new",
                f"manifest: {name} is {shown(value)}, and this livepatch knows {ours} at most",
            )


def _malformed(error: Mismatch) -> Refused:
    where = f"manifest: {error.path}" if error.path else "the manifest"
    return Refused("artifact_malformed", f"{where} {error.problem}")
