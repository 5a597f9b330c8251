# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""An artifact as a file: an ELF relocatable object with a manifest in it.

Whoever holds an :class:`Artifact` may believe every number in it to be within
its bounds: all of it has been checked before :func:`parse` returns.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Any

from ..elf import SHF_ALLOC, SHF_EXECINSTR, SHN_ABS, SHT_PROGBITS, STT_FUNC, Malformed
from ..elf.file import ElfFile
from ..elf.symbols import Symbol
from ..errors import Refused
from . import relocatable
from .manifest import MAX_MANIFEST, Manifest
from .relocatable import malformed
from .shapes import shown

SECTION = ".livepatch.manifest"
MAX_SIZE = 64 << 20  # bytes of a file

#: Undefined like a reference, but its value is the patch's own: the base that its GOT offsets count from.
GOT_BASE = "_GLOBAL_OFFSET_TABLE_"

_SHF_COMPRESSED = 0x800


@dataclass(frozen=True)
class Artifact:
    """A checked artifact.

    :param id: SHA-256 of the file, 64 hexadecimal digits; it stands outside of the file
    :param data: the file
    """

    id: str
    data: bytes
    elf: ElfFile
    manifest: Manifest

    def summary(self) -> dict[str, Any]:
        """What reports say of it; ``docs/formats.md`` ("Report") has the keys."""
        manifest, target = self.manifest, self.manifest.target
        return {
            "id": self.id,
            "name": manifest.name,
            "version": manifest.version,
            "arch": manifest.arch,
            "target": {"name": target.name, "build_id": target.build_id, "text_sha256": target.text_sha256},
            "functions": [function.name for function in manifest.functions],
            "cve": list(manifest.cve),
            "copies": sorted({copy.name for function in manifest.functions for copy in function.copies}),
        }


def read(path: str) -> Artifact:
    """The artifact in the file at ``path``, which is followed through symbolic links.

    :raises Refused: ``artifact_not_found``, and what :func:`parse` raises
    """
    try:
        data = contents(path, MAX_SIZE)
    except OSError as error:
        raise Refused("artifact_not_found", f"{shown(path)}: {error.strerror}") from error
    except ValueError as error:  # a NUL byte in the path
        raise Refused("artifact_not_found", f"{shown(path)}: {error}") from error
    try:
        return parse(data)
    except Refused as refusal:
        raise Refused(refusal.reason, f"{path}: {refusal.what}") from refusal


def contents(path: str, limit: int) -> bytes:
    """The bytes of a regular file, which is followed through symbolic links; at most one more than ``limit``.

    :raises OSError: it is not there, can not be read, or is no regular file
    :raises ValueError: a NUL byte in the path
    """
    # O_NONBLOCK: open(2) of a FIFO would wait for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        with open(handle, "rb", closefd=False) as file:
            return file.read(limit + 1)
    finally:
        os.close(handle)


def parse(data: bytes) -> Artifact:
    """The artifact in the bytes of a file.

    :raises Refused: ``artifact_malformed``, ``artifact_too_new``, ``wrong_architecture``, ``x32`` or
        ``unsupported_relocation``; nothing else, whatever the bytes
    """
    if len(data) > MAX_SIZE:
        raise malformed(f"the file has more than {MAX_SIZE} bytes")
    try:
        elf = ElfFile(data, "artifact")
        arch = relocatable.architecture(elf)
        manifest = Manifest.from_json_bytes(_manifest_section(elf))
        if manifest.arch != arch:
            raise Refused(
                "wrong_architecture", f"manifest: arch is {manifest.arch}, and the object is for {arch}"
            )
        relocatable.check_sections(elf, len(data))
        symbols = relocatable.check_symbols(elf)
        relocatable.check_relocations(elf, symbols)
    except Malformed as error:
        raise malformed(str(error)) from error
    _check_references(manifest, symbols)
    _check_functions(manifest, elf, symbols)
    return Artifact(hashlib.sha256(data).hexdigest(), data, elf, manifest)


def _manifest_section(elf: ElfFile) -> bytes:
    sections = [section for section in elf.sections if section.name == SECTION]
    if len(sections) != 1:
        raise malformed(f"the object has {len(sections)} sections {SECTION}, not one")
    section = sections[0]
    if section.type != SHT_PROGBITS or section.flags & (SHF_ALLOC | _SHF_COMPRESSED):
        raise malformed(f"{SECTION} has the type {section.type:#x} and the flags {section.flags:#x}")
    if section.size > MAX_MANIFEST:
        raise malformed(f"{SECTION} has {section.size} bytes, more than {MAX_MANIFEST}")
    return bytes(elf.content(section))


def _check_references(manifest: Manifest, symbols: list[Symbol]) -> None:
    """The undefined symbols and the manifest's references are the same set."""
    undefined = {symbol.name for symbol in symbols[1:] if not symbol.defined} - {GOT_BASE}
    named = {reference.symbol for reference in manifest.references}
    for name in sorted(undefined - named):
        raise malformed(f"symbol {shown(name)} is undefined and not in the manifest's references")
    for index, reference in enumerate(manifest.references):
        if reference.symbol not in undefined:
            raise malformed(
                f"manifest: references[{index}].symbol is {shown(reference.symbol)}, not an undefined symbol"
            )


def _check_functions(manifest: Manifest, elf: ElfFile, symbols: list[Symbol]) -> None:
    """Each function's new code is one function symbol in executable memory, and so is its thunk."""
    defined: dict[str, list[Symbol]] = {}
    for symbol in symbols[1:]:
        if symbol.defined:
            defined.setdefault(symbol.name, []).append(symbol)
    named = [
        (f"functions[{index}].{key}", name)
        for index, function in enumerate(manifest.functions)
        for key, name in (("symbol", function.symbol), ("thunk", function.thunk))
        if name is not None
    ]
    for path, name in named:
        where = f"manifest: {path} is {shown(name)}, which"
        found = defined.get(name, [])
        if len(found) != 1:
            raise malformed(f"{where} the object defines {len(found)} times, not once")
        symbol = found[0]
        if symbol.section_index == SHN_ABS or not elf.sections[symbol.section_index].flags & SHF_EXECINSTR:
            raise malformed(f"{where} is not in a section of code")
        if symbol.type != STT_FUNC or symbol.size == 0:
            raise malformed(f"{where} is no function with a size")
