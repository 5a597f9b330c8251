# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registers that code may write, against the processor: every one that changed is among them."""

from __future__ import annotations

import subprocess

import pytest

from livepatch.build import clobbers
from livepatch.build.sight import TargetCode
from livepatch.build.target import TargetFile
from tests.harness import toolchain

LEVELS = ("-O0", "-Os", "-O2", "-O3")
ALWAYS = {"-fno-strict-aliasing", "-fno-builtin-clock"}


def built(cpu, here, level, *flags):
    options = (toolchain.BITS[cpu.name], level, "-fno-pie", "-no-pie", *sorted(ALWAYS), *flags)
    return toolchain.gcc(here.parent / "clobbered.c", flags=options)


def sums(cpu, path):
    """Function -> (may, sure), of the functions that the program tries."""
    target = TargetFile(str(path))
    code = TargetCode(target)
    return {
        each.name: tuple(
            clobbers.closure(cpu, each.address, code.effects, sure).registers for sure in (False, True)
        )
        for each in target.functions()
        if each.symbol.size
    }


@pytest.mark.parametrize("level", LEVELS)
def test_every_register_that_changed_is_one_that_may_be_written(cpu, level, request):
    path = built(cpu, request.path, level, "-msse2")
    told = sums(cpu, path)
    lines = subprocess.run([path], capture_output=True, check=True, text=True).stdout.splitlines()
    assert len(lines) == 17
    for line in lines:
        name, *changed = line.split()
        may, sure = told[name]
        assert set(changed) <= may, line
        assert {each for each in sure if each[0] != "y"} <= may, line  # gcc knows vector registers whole


def test_the_sets_are_no_wider_than_they_must_be(cpu, request):
    told = sums(cpu, built(cpu, request.path, "-O2"))
    accumulator, data = ("rax", "rdx") if cpu.word == 8 else ("eax", "edx")
    assert told["leaf"] == ({accumulator}, {accumulator})
    assert {accumulator, data} <= told["divided"][1] <= clobbers.general(cpu)
    assert told["nested"][0] <= clobbers.general(cpu)
    assert told["nested"][1] >= told["counted"][1]
    assert told["chosen"][0] == clobbers.everything(cpu)  # by a table that is not read here


def test_functions_that_leave_sight_write_everything_in_both_senses(cpu, request):
    told = sums(cpu, built(cpu, request.path, "-O2"))
    assert told["main"] == (clobbers.everything(cpu), clobbers.everything(cpu))  # printf
