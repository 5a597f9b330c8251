# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nearly every scenario starts from: a running program and the patch for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from livepatch.cpu import Cpu
from tests.harness import product
from tests.harness.product import Answer, livepatch
from tests.harness.program import Program
from tests.harness.situation import LINKAGES, OPTIMISATIONS, Cell, Situation
from tests.harness.toolchain import Pair


class Patient(NamedTuple):
    """A running program and a patch that fits it; acts are limited to this process."""

    program: Program
    artifact: Path
    pair: Pair

    @property
    def pid(self) -> int:
        """The program's."""
        return self.program.pid

    def apply(self, *options: object) -> Answer:
        """``livepatch apply --pid``."""
        return livepatch("apply", "--pid", self.pid, self.artifact, *options)

    def check(self, *options: object) -> Answer:
        """``livepatch check --pid``: the dry run."""
        return livepatch("check", "--pid", self.pid, self.artifact, *options)

    def revert(self, *options: object) -> Answer:
        """``livepatch revert --pid``."""
        return livepatch("revert", "--pid", self.pid, self.artifact, *options)

    def recover(self) -> Answer:
        """``livepatch recover --pid``."""
        return livepatch("recover", "--pid", self.pid)


@pytest.fixture
def patient(
    object_pair: Callable[..., Pair], build_patch: Callable[..., Path], start: Callable[..., Program]
) -> Callable[..., Patient]:
    """``patient(main, unit, *arguments, linkage="pie", flags=()) -> Patient``; worker.c and work.c by default."""

    def ready(
        main: str = "worker.c",
        unit: str = "work.c",
        *arguments: object,
        linkage: str = "pie",
        flags: tuple = (),
    ) -> Patient:
        pair = object_pair(main, unit, linkage=linkage, flags=flags)
        return Patient(start(pair.program, *arguments), build_patch(pair), pair)

    return ready


@pytest.fixture
def variant(tmp_path: Path) -> Callable[..., Path]:
    """``variant(patient, name, version="1", plus=2, fixed="FIXED", **relations) -> Path``: another patch for it.

    Made with ``-DFIXED -DPLUS=N`` of the same unit; ``fixed`` may be several names.
    """

    def built(
        it: Patient,
        name: str,
        version: str = "1",
        plus: int = 2,
        fixed: str | tuple[str, ...] = "FIXED",
        **relations: list[str],
    ) -> Path:
        names = (fixed,) if isinstance(fixed, str) else fixed
        new = it.pair.variant(*(f"-D{each}" for each in names), f"-DPLUS={plus}")
        artifact = tmp_path / f"{name}-{version}-{plus}.lp.o"
        return product.build(dataclasses.replace(it.pair, new=new), artifact, name, version, **relations)

    return built


@pytest.fixture(params=OPTIMISATIONS, ids=[each[1:] for each in OPTIMISATIONS])
def optimisation(request: pytest.FixtureRequest) -> str:
    """How the target was compiled."""
    return request.param


@pytest.fixture(params=LINKAGES)
def situation(
    request: pytest.FixtureRequest, cpu: Cpu, optimisation: str, tmp_path: Path, start: Callable[..., Program]
) -> Situation:
    """The house, in which the situation of the test's folder is called all the time; in every linkage,
    architecture and optimisation."""
    return Situation(request.path.parent, Cell(cpu, request.param, optimisation), tmp_path, start)
