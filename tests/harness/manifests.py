# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The manifest of an artifact, read and replaced without the product's reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.sections import Sections

SECTION = ".livepatch.manifest"


def of(data: bytes) -> dict[str, Any]:
    """The manifest in an artifact's bytes."""
    sections = Sections(data)
    header = sections.header(sections.find(SECTION))
    return json.loads(data[header["offset"] : header["offset"] + header["size"]])


def read(path: Path) -> dict[str, Any]:
    """The manifest in an artifact."""
    return of(path.read_bytes())


def replaced(data: bytes, manifest: bytes) -> bytes:
    """The artifact with another manifest; its id, being the file's digest, is another and right."""
    sections = Sections(data)
    sections.replace(sections.find(SECTION), manifest)
    return bytes(sections.data)
