# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An artifact made without the product: gcc compiles the object, this file puts the manifest in.

So the reader is tested with bytes that the builder's author did not write. It has one of everything that
format 1 knows, which is more than any patch needs.
"""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

from tests.harness import toolchain
from tests.sections import Sections

SOURCE = """
extern int limit, printf(const char *, ...), helper(int);
static int calls;
const char *const words[] = {"one", "two"};
int new_check(int value) { return value < limit ? helper(value) : printf("%s %d", words[value & 1], ++calls); }
int new_answer(void) { return calls; }
int new_answer_thunk(void) { return new_answer(); }
"""

# Not position-independent: i386 code that is has a COMDAT group for its thunk, which the builder dissolves.
FLAGS = ("-fno-pic", "-c", "-ffunction-sections", "-fdata-sections", "-g0")

_MANIFEST: dict[str, Any] = {
    "format": 1,
    "kind": "patch",
    "name": "daemon-fix",
    "version": "1.0.2",
    "arch": "x86_64",
    "needs_injector": 2,
    "target": {
        "build_id": "0123456789abcdef0123456789abcdef01234567",
        "text_sha256": hashlib.sha256(b"text").hexdigest(),
        "name": "libdaemon.so.1.2",
        "soname": "libdaemon.so.1",
        "type": "ET_DYN",
    },
    "functions": [
        {
            "name": "check",
            "symbol": "new_check",
            "file": "src/check.c",
            "ranges": [
                {"address": 0x1240, "size": 96, "sha256": hashlib.sha256(b"check").hexdigest()},
                {"address": 0x1100, "size": 16, "sha256": hashlib.sha256(b"check.cold").hexdigest()},
            ],
            "text_relocations": [
                {"range": 0, "offset": 4, "size": 4},
                {"range": 1, "offset": 8, "size": 8},
            ],
            "entry_safe": True,
            "convention": "standard",
            "thunk": None,
            "copies": [{"name": "caller", "address": 0x1300, "kind": "inlined", "accepted": True}],
        },
        {
            "name": "answer",
            "symbol": "new_answer",
            "file": "",
            "ranges": [{"address": 0x12A0, "size": 32, "sha256": hashlib.sha256(b"answer").hexdigest()}],
            "text_relocations": [],
            "entry_safe": False,
            "convention": "private",
            "thunk": "new_answer_thunk",
            "copies": [],
        },
    ],
    "references": [
        {"symbol": "limit", "kind": "target", "address": 0x4010, "version": None, "library": None},
        {"symbol": "helper", "kind": "target", "address": 0x1400, "version": None, "library": None},
        {
            "symbol": "printf",
            "kind": "import",
            "address": 0,
            "version": "GLIBC_2.2.5",
            "library": "libc.so.6",
        },
    ],
    "write_order": [1, 0],
    "hooks": {},
    "allowed": [],
    "supersedes": [{"name": "daemon-fix", "version": "1.0.1"}],
    "requires": [{"name": "base-fix", "version": None}],
    "conflicts": [{"name": "other-fix", "version": "2"}],
    "cve": ["CVE-2026-12345"],
    "description": "A value at the limit is refused, \u00fcberall.",
    "built_with": {"compiler": "gcc 12.2.0", "livepatch": "1.0.0"},
}


def document(arch: str = "x86_64") -> dict[str, Any]:
    """A manifest that holds every key, and every list at least one item, of the caller's own."""
    manifest = copy.deepcopy(_MANIFEST)
    manifest["arch"] = arch
    return manifest


def compiled(arch: str = "x86_64", source: str = SOURCE, flags: tuple[str, ...] = ()) -> bytes:
    """The object of a source, as the compiler writes it."""
    folder = toolchain.CACHE / "sources" / hashlib.sha256(source.encode()).hexdigest()[:24]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "patch.c"
    if not path.exists():
        path.write_text(source)
    return toolchain.gcc(path, flags=(toolchain.BITS[arch], *FLAGS, *flags)).read_bytes()


def artifact(arch: str = "x86_64", manifest: dict[str, Any] | bytes | None = None) -> bytes:
    """The bytes of an artifact that is right unless ``manifest`` is not."""
    if manifest is None:
        manifest = document(arch)
    if isinstance(manifest, dict):
        manifest = json.dumps(manifest).encode()
    sections = Sections(compiled(arch))
    sections.append(".livepatch.manifest", manifest)
    return bytes(sections.data)
