#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/refusals.md from the one table of reasons, ``livepatch.errors.REASONS``.

``tools/refusals.py`` writes the page; ``tests/unit/test_refusals_doc.py`` fails where that was forgotten.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs" / "refusals.md"
ERRORS = REPOSITORY / "plugins" / "module_utils" / "livepatch" / "errors.py"

sys.path.insert(0, str(ERRORS.parents[1]))

from livepatch import errors  # noqa: E402
from livepatch.report import STATUSES  # noqa: E402

_HEAD = """\
<!--
SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
SPDX-License-Identifier: GPL-3.0-or-later
Written by tools/refusals.py from plugins/module_utils/livepatch/errors.py: change it there.
-->

# Refusals and failures

The **status** says what state the process is in, the **reason** why. Both are stable words: playbooks may rely on
them. The `message` beside them has the facts of the case, and ends with what to do.

| status | what it leaves behind | exit code |
|---|---|---|
"""


def groups() -> dict[str, list[str]]:
    """Title -> words: the table as ``errors.py`` groups it, by comments between the rows."""
    source = ERRORS.read_text(encoding="utf-8")
    (table,) = [
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "REASONS"
    ]
    assert isinstance(table, ast.Dict)
    rows = {key.lineno: key.value for key in table.keys if isinstance(key, ast.Constant)}
    found: dict[str, list[str]] = {}
    title = ""
    for number, line in enumerate(source.splitlines(), 1):
        if number in rows:
            found[title].append(str(rows[number]))
        elif table.lineno < number < (table.end_lineno or 0) and (comment := re.match(r" {4}# (.+)", line)):
            title = comment[1].capitalize()
            found[title] = []
    return found


def page() -> str:
    """The text of docs/refusals.md."""
    lines = []
    for kind in (errors.Refused, errors.Busy, errors.RolledBack, errors.Interrupted, errors.Stranded):
        lines.append(f"| `{kind.status}` | {kind.__doc__} | {STATUSES[kind.status]} |\n")
    for title, words in groups().items():
        lines.append(f"\n## {title}\n\n| reason | what it means | what to do |\n|---|---|---|\n")
        for word in words:
            meaning, remedy = errors.REASONS[word]
            lines.append(f"| `{word}` | {meaning} | {remedy} |\n")
    return _HEAD + "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
