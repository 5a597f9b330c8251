# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that every test may ask for.

A test that asks for ``cpu`` runs once for each architecture; what it compiles is compiled for that one.
"""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from livepatch.cpu import ALL, Cpu
from tests.harness import product, toolchain
from tests.harness.program import Program
from tests.killing.judge import Range


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that run alone come last, when there is little left that they would wait for."""
    items.sort(key=_is_alone)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Others run beside a test, in another process of ``pytest -n``, but for one that is marked ``alone``."""
    toolchain.CACHE.mkdir(parents=True, exist_ok=True)
    with open(toolchain.CACHE / "alone.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # a child that outlives the test may have the file open, too


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.fixture(autouse=True)
def signal_mask() -> Iterator[None]:
    """The mask that the test found, for the programs that the next one starts: a tracer blocks SIGCHLD, and gdb
    waits for ever with it blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.fixture(params=ALL, ids=[each.name for each in ALL])
def cpu(request: pytest.FixtureRequest) -> Cpu:
    """An architecture, as the value that ``livepatch.cpu`` has for it."""
    return request.param


@pytest.fixture
def compile(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """``compile(source, *flags) -> Path``: gcc, each result kept for its content.

    Sources stand in ``tests/programs`` or beside the test. For the architecture of ``cpu`` where the test
    asks for that, for the compiler's own where it gives no ``-m32``.
    """
    bits = ()
    if "cpu" in request.fixturenames:
        bits = (toolchain.BITS[request.getfixturevalue("cpu").name],)
    here = request.path.parent

    def compiled(*sources: Path | str, name: str | None = None) -> Path:
        paths = [source for source in sources if not str(source).startswith("-")]
        flags = tuple(str(flag) for flag in sources if str(flag).startswith("-"))
        found = [here / path if (here / path).exists() else path for path in paths]
        return toolchain.gcc(*found, flags=(*bits, *flags), name=name)

    return compiled


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """``start(program, *arguments) -> Program``: a process that is ready; the end of the test kills it."""
    with ExitStack() as running:
        yield lambda *arguments, **options: running.enter_context(Program(*arguments, **options))


@pytest.fixture
def object_pair(request: pytest.FixtureRequest, cpu: Cpu) -> Callable[..., toolchain.Pair]:
    """``object_pair(main, unit, linkage="pie", flags=(), support=()) -> Pair`` for ``cpu``'s architecture.

    ``unit`` is old as it stands and new with ``-DFIXED``. Sources as in ``compile``.
    """
    here = request.path.parent

    def built(
        main: str = "worker.c",
        unit: str = "work.c",
        linkage: str = "pie",
        flags: tuple[str, ...] = (),
        support: tuple[str, ...] = (),
    ) -> toolchain.Pair:
        main, unit, *support = (
            here / name if (here / name).exists() else name for name in (main, unit, *support)
        )
        return toolchain.pair(main, unit, cpu.name, linkage, flags, tuple(support))

    return built


@pytest.fixture
def build_patch(tmp_path: Path) -> Callable[..., Path]:
    """``build_patch(pair, name="fix", version="1") -> Path``: the artifact, by the product's own builder."""

    def built(pair: toolchain.Pair, name: str = "fix", version: str = "1") -> Path:
        return product.build(pair, tmp_path / f"{name}-{version}.lp.o", name=name, version=version)

    return built


@pytest.fixture
def target(
    object_pair: Callable[..., toolchain.Pair], start: Callable[..., Program], build_patch: Callable[..., Path]
) -> Range:
    """What the kill tests shoot at, running: threads in several calls, whose registers, results and calls are checked
    all the time; and the patch of its two functions."""
    pair = object_pair("killtarget.c", "pairwise.c", support=("registers.S",))
    return Range(start(pair.program, yielding=True), build_patch(pair, name="pairwise"))


@pytest.fixture
def livepatch() -> Callable[..., product.Answer]:
    """``livepatch(act, *arguments) -> Answer``: the host program as a separate process, its report read."""
    return product.livepatch
