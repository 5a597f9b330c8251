# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several of these tests start from; a test file may have another one by the same name."""

from __future__ import annotations

from pathlib import Path

import pytest

from livepatch.cpu import Cpu
from tests.harness.signing import Key
from tests.harness.workshop import Workshop


@pytest.fixture
def workshop(tmp_path: Path, cpu: Cpu) -> Workshop:
    """Builds shared libraries of -fPIC objects."""
    return Workshop(tmp_path / "libraries", cpu)


@pytest.fixture
def programs(tmp_path: Path, cpu: Cpu) -> Workshop:
    """Builds programs of objects whose functions see each other."""
    return Workshop(tmp_path / "programs", cpu, ("-fno-pie",), ("-no-pie",))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Key]:
    """Who signs: ops, whom :func:`trusted` allows, and eve."""
    folder = tmp_path_factory.mktemp("keys")
    return {name: Key.make(folder, name) for name in ("ops", "eve")}


@pytest.fixture
def trusted(tmp_path: Path, keys: dict[str, Key]) -> Path:
    """A list that allows ops."""
    path = tmp_path / "trusted"
    path.write_text(keys["ops"].allowed())
    return path
