# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real library, a real fix: CVE-2024-45490 in Debian's expat, in a program that goes on parsing."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

from livepatch.artifact import file as artifact_file
from tests.harness import product
from tests.harness.playbook import playbook
from tests.real.expat import rebuild
from tests.real.expat.rebuild import Rebuilt
from tests.real.objects import functions_that_differ

pytestmark = pytest.mark.xdist_group("expat")  # it is built once


@pytest.fixture
def expat(cpu) -> Rebuilt:
    """Debian's library without the one patch, and the objects of both versions."""
    return rebuild.rebuilt(cpu.name)


@pytest.fixture
def patch(cpu, tmp_path_factory) -> Path:
    """The live patch, by ``livepatch build``."""
    return built_patch(cpu.name, tmp_path_factory.getbasetemp())


@functools.lru_cache(maxsize=None)
def built_patch(arch: str, folder: Path) -> Path:
    expat = rebuild.rebuilt(arch)
    artifact = folder / f"expat-cve-2024-45490-{arch}.lp.o"
    pair = (expat.old, expat.new, expat.old_noline, expat.new_noline)
    return product.build_pairs(
        artifact, expat.library, "expat-cve-2024-45490", pair, "--cve", "CVE-2024-45490"
    )


def test_exactly_one_function_is_replaced(patch):
    manifest = artifact_file.read(str(patch)).manifest
    assert [function.name for function in manifest.functions] == ["XML_ParseBuffer"]
    assert manifest.functions[0].file.endswith("xmlparse.c")
    assert manifest.target.soname == "libexpat.so.1"
    assert manifest.cve == ("CVE-2024-45490",)


def test_line_numbers_alone_would_have_replaced_many(expat):
    """So the pair without them is what makes it one: the fix moves 6 lines, and every assertion knows its own."""
    assert len(functions_that_differ(expat.old, expat.new)) > 10
    assert functions_that_differ(expat.old_noline, expat.new_noline) == {"XML_ParseBuffer"}


def test_the_fix_goes_into_a_program_that_parses_and_out_again(expat, patch, start):
    consumer = start(expat.consumer)
    selected = {"artifact": str(patch), "processes": {"pid": consumer.pid}}
    assert consumer.ask("negative") == "accepted"

    checked = playbook("check", **selected)
    assert (checked.code, checked.process["status"]) == (0, "planned"), checked
    assert checked.process["functions"] == ["XML_ParseBuffer"]
    assert consumer.ask("negative") == "accepted"

    applied = playbook("apply", **selected)
    assert (applied.code, applied.process["status"]) == (0, "applied"), applied
    assert consumer.ask("negative") == "error 41"  # XML_ERROR_INVALID_ARGUMENT
    assert consumer.ask("progress") == "progress"

    again = playbook("apply", **selected)
    assert (again.process["status"], again.result("patch")["changed"]) == ("already", False), again
    assert consumer.ask("negative") == "error 41"

    reverted = playbook("revert", **selected)
    assert (reverted.code, reverted.process["status"]) == (0, "reverted"), reverted
    assert consumer.ask("negative") == "accepted"
    assert consumer.ask("progress") == "progress"

    written, parsed, wrong = map(int, re.findall("[0-9]+", consumer.ask("end")))
    assert wrong == 0, "a document was misread"
    assert parsed == written > 1000, "a document was lost"
