# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every command in the manual and in the guide is run, in order, and prints what the page shows."""

from __future__ import annotations

import pytest

from tests.harness.documents import Shell, commands, plain
from tests.harness.toolchain import REPOSITORY

PAGES = ["operators-manual.md", "patch-authors-guide.md"]


@pytest.mark.parametrize("name", PAGES)
def test_every_command_of_the_page_does_what_the_page_says(name, tmp_path):
    page = REPOSITORY / "docs" / name
    with Shell(tmp_path) as shell:
        for command in commands(page):
            code, printed = shell.run(command.text)
            where = f"{name}:{command.line}: {command.text}\n{printed}"
            assert code == command.code, f"exit {code}: {where}"
            for line in command.shown:
                wanted, found = plain(line), plain(printed.replace(str(shell.folder), "."))
                assert wanted in found, f"{wanted!r} is not in {found!r}: {where}"
