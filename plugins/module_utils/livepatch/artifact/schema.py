# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The manifest as JSON Schema, for controller, build host and other programs.

Run as a program (``python -m livepatch.artifact.schema``) it prints the
published ``docs/schemas/manifest-1.json``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from .manifest import FORMAT, SHAPE
from .rules import RULES


def json_schema() -> dict[str, Any]:
    """The manifest's JSON Schema, draft 2020-12.

    It accepts and refuses what ``Manifest.from_json`` does, but for the rules
    that need more than one value, which its description lists.
    """
    rules = "".join(f" {rule.__doc__}" for rule in RULES)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:userspace.livepatch:manifest:{FORMAT}",
        "title": f"userspace.livepatch manifest, format {FORMAT}",
        "description": "Section .livepatch.manifest of an artifact. "
        f"Not said here, and checked all the same:{rules}",
        **SHAPE.schema(),
    }


def published() -> str:
    """The text of ``docs/schemas/manifest-1.json``."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(published())
