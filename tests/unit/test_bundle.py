# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle: whole, small enough, and the same everywhere."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from plugins.plugin_utils import bundle


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle.make_bundle(tmp_path_factory.mktemp("bundle"))[0]


def test_its_name_is_its_content(packed: Path) -> None:
    assert packed.name == f"livepatch-{hashlib.sha256(packed.read_bytes()).hexdigest()}.pyz"


def test_the_same_files_give_the_same_bytes(packed: Path, tmp_path: Path) -> None:
    other, sha256 = bundle.make_bundle(tmp_path)
    assert other.read_bytes() == packed.read_bytes()
    assert sha256 in other.name


def test_one_run_makes_it_once(tmp_path: Path) -> None:
    first = bundle.bundle_of_run(tmp_path)
    written = first[0].stat().st_mtime_ns
    assert bundle.bundle_of_run(tmp_path) == first
    assert first[0].stat().st_mtime_ns == written


def test_what_only_the_build_host_needs_stays_there(packed: Path) -> None:
    names = zipfile.ZipFile(packed).namelist()
    assert not [name for name in names if name.startswith(("livepatch/build", "livepatch/artifact/schema"))]
    assert {"__main__.py", "livepatch/__main__.py", "ptrace/__init__.py", "COPYING.python-ptrace"} <= set(names)
    assert not [name for name in names if name.startswith("ptrace/debugger")]


def test_all_that_it_imports_is_in_it_or_in_the_standard_library(packed: Path) -> None:
    archive = zipfile.ZipFile(packed)
    sources = {name[:-3].replace("/", ".").replace(".__init__", ""): name for name in archive.namelist()}
    there = {*sources, *sys.stdlib_module_names}
    missing = []
    for name in sources.values():
        for node in ast.walk(ast.parse(archive.read(name)) if name.startswith("livepatch/") else ast.Module()):
            wanted = []
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                package = name.split("/")[: -node.level] if node.level else []
                wanted = [".".join([*package, *([node.module] if node.module else [])])]
            missing += [f"{name}: {each}" for each in wanted if not {each, each.split(".")[0]} & there]
            missing += [f"{name}: {each}" for each in wanted if each.startswith("livepatch") and each not in sources]
    assert missing == []


def test_it_runs_by_hand_without_anything_installed(packed: Path) -> None:
    command = [sys.executable, "-I", "-S", packed, "list", "--json", "--pid", str(os.getpid())]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["processes"] == []


def test_a_controller_without_python_ptrace_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "find_spec", lambda name: None)
    with pytest.raises(bundle.MissingPackage, match="pip install python-ptrace"):
        bundle.make_bundle(tmp_path)
    assert os.listdir(tmp_path) == []
