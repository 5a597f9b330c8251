# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callers that were compiled with a static function in sight stay as they are, and compute right with its new code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from livepatch.artifact import file as artifact_file
from livepatch.build import pipeline
from livepatch.build.request import BuildRequest
from tests import mutations
from tests.harness import manifests, toolchain, traces

HERE = Path(__file__).parent
WORKER = toolchain.PROGRAMS / "worker.c"
HURRY = ("--patience", "0.3", "--attempts", "3")
QUESTIONS = (0, 1, 2, 3, 7, 100, -5, 99999, 123456)
NAMES = {"none", "one", "three", "five", "nine", "narrow", "store"}
LONGS, REALS, RECORDS = {"wide", "wider"}, {"real", "rounded"}, {"sum"}


class Shop:
    """The target and the patch, compiled by one compiler.

    :param without: what clang's i386 convention does not let a thunk pass
    """

    def __init__(self, folder: Path, arch: str, compiler: str, without: tuple[str, ...]) -> None:
        self.folder = folder
        self.compiler = compiler
        self.without = without
        self.flags = (toolchain.BITS[arch], "-O2", "-g", "-fwrapv", "-pthread", *without)

    def program(self, name: str, *flags: str, main: Path = WORKER, unit: str = "target.c") -> Path:
        """A program with the target's functions: old, or with -DFIXED new everywhere."""
        sources = [str(main), str(HERE / unit)]
        include = ["-I", str(toolchain.PROGRAMS), "-Wl,--build-id"]
        path = self.folder / name
        subprocess.run([self.compiler, *self.flags, *flags, *include, *sources, "-o", str(path)], check=True)
        return path

    def patch(self, target: Path, source: str = "patch.c") -> Path:
        """The artifact with all functions new."""
        request = BuildRequest(
            str(target), "fix", "1", patch_source=str(HERE / source), cc=self.compiler,
            cflags=("-fwrapv", "-DPATCH", *self.without),
        )  # fmt: skip
        path = self.folder / "patch.lp.o"
        path.write_bytes(pipeline.build(request))
        return path


@pytest.fixture
def make_shop(tmp_path):
    """``make_shop(arch, compiler) -> Shop``"""

    def made(arch: str, compiler: str) -> Shop:
        less = (compiler, arch) == ("clang", "i386")
        return Shop(tmp_path, arch, compiler, ("-DWITHOUT_WIDE",) if less else ())

    return made


@pytest.fixture(params=["gcc", "clang"])
def shop(request, cpu, make_shop):
    return make_shop(cpu.name, request.param)


def answers(program):
    return [program.ask(f"work {x}") for x in QUESTIONS]


def comes_and_goes(program, oracle, artifact, livepatch):
    """Patched, the program answers as the oracle does, which was compiled so; then as before."""
    before = answers(program)
    applied = livepatch("apply", artifact, "--pid", program.pid)
    assert applied.status == "applied", applied
    patched = answers(program)
    assert patched == answers(oracle) and patched != before
    assert livepatch("revert", artifact, "--pid", program.pid).status == "reverted"
    assert answers(program) == before


def test_callers_that_stay_compute_as_if_the_new_code_had_been_compiled_in(shop, cpu, start, livepatch):
    target = shop.program("target")
    artifact = shop.patch(target)
    comes_and_goes(start(target), start(shop.program("oracle", "-DFIXED")), artifact, livepatch)


def test_every_shape_of_function_is_replaced_through_a_thunk(shop, cpu):
    functions = artifact_file.read(str(shop.patch(shop.program("target")))).manifest.functions
    wanted = NAMES | (RECORDS if cpu.word == 8 else set())
    wanted |= REALS if shop.without else LONGS | REALS
    assert {each.name for each in functions} == wanted
    assert all((each.convention, each.thunk) == ("private", f"{each.name}.thunk") for each in functions)


@pytest.mark.parametrize(
    ("compiler", "arch"), [("gcc", "x86_64"), ("gcc", "i386"), ("clang", "i386")]  # clang relies on nothing on x86_64
)
def test_without_its_thunks_the_same_patch_corrupts_its_callers(
    compiler, arch, make_shop, start, livepatch, tmp_path
):
    """What the thunks are for: a jump straight to the new code, as if the convention were the standard one."""
    shop = make_shop(arch, compiler)
    target = shop.program("target")
    data = shop.patch(target).read_bytes()
    manifest = manifests.of(data)
    for function in manifest["functions"]:
        function.update(convention="standard", thunk=None)
    naive = tmp_path / "naive.lp.o"
    naive.write_bytes(manifests.replaced(data, mutations.spelled(manifest)))
    program, oracle = start(target), start(shop.program("oracle", "-DFIXED"))
    assert livepatch("apply", naive, "--pid", program.pid).status == "applied"
    program.may_exit = True
    try:
        assert answers(program) != answers(oracle)
    except AssertionError as death:
        assert "is dead" in str(death), death  # misaligned stack: SIGSEGV


def test_new_code_calls_static_functions_that_stay_by_their_own_convention(shop, start, livepatch):
    target = shop.program("target", unit="calls.c")
    artifact = shop.patch(target, "calls.c")
    (function,) = artifact_file.read(str(artifact)).manifest.functions
    assert (function.name, function.convention) == ("work", "standard")
    oracle = shop.program("oracle", "-DNEW_WORK", unit="calls.c")
    comes_and_goes(start(target), start(oracle), artifact, livepatch)


def test_a_thread_that_sleeps_behind_a_thunk_is_found_through_it(shop, cpu, start, livepatch):
    target = shop.program("target", main=toolchain.PROGRAMS / "waits.c", unit="blocks.c")
    artifact = shop.patch(target, "blocks.c")
    (function,) = artifact_file.read(str(artifact)).manifest.functions
    assert (function.name, function.thunk) == ("inner", "inner.thunk")
    program = start(target)
    assert livepatch("apply", artifact, "--pid", program.pid).status == "applied"
    inside = int(program.ask("enter").split()[1])
    traces.wait_for_call(program.pid, inside, cpu.syscall_number("read"))
    answer = livepatch("revert", artifact, "--pid", program.pid, *HURRY)
    assert (answer.status, answer.reason) == ("busy", "function_on_stack"), answer
    assert program.ask("leave") == "left 2"
    assert livepatch("revert", artifact, "--pid", program.pid).status == "reverted"
