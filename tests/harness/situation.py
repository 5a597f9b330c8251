# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a patch can meet, one scenario folder a situation; here is the life that each of them goes through.

All situations live in one program, the *house* (``tests/programs/house.c``), one for each way to build it. Of a
scenario's folder ``caller.c`` calls and judges; it is the program's own, also where the target is a library. The
other C files are the target's; ``patch.c`` is the patch, or one of the others is new with ``-DFIXED``.

::

    house NAME                      threads that stay, threads that come and go, a timer's signals, queued signals:
      caller.c ──call──▶ unit.c     all call, all the time, and each result says which code it came from
                           ▲
                        patch.c     check, apply, apply, list, revert, revert, apply, and out again
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from livepatch.cpu import Cpu

from . import product, toolchain, traces
from .product import Answer
from .program import Program
from .toolchain import BITS, EXECUTABLES, PROGRAMS, REPOSITORY, gcc

SCENARIOS = REPOSITORY / "tests" / "integration" / "scenarios"
CALLER, PATCH = "caller.c", "patch.c"

LINKAGES = ("static", "pie", "library")
OPTIMISATIONS = ("-O0", "-O2")

#: What is kept because something may still lead to it is collected by a later command, when it no longer does.
_LATER = 10

#: How long a stop takes is no claim here, and other tests are at work beside this one.
_CALM = ("--stop-ms", 1000, "--patience", 40, "--attempts", 1000)

_WENT = re.compile(r"old (\d+) new (\d+) wrong (\d+) lost (\d+)")


@dataclass(frozen=True)
class Cell:
    """One way to build the house."""

    cpu: Cpu
    linkage: str
    optimisation: str

    def compiling(self, source: Path) -> tuple[str, ...]:
        """The flags that make a source's object, sections apart, as the builder asks it of pairs of objects."""
        library = self.linkage == "library" and source.parent != PROGRAMS and source.name != CALLER
        position = ("-fPIC",) if library else EXECUTABLES["pie" if self.linkage == "library" else self.linkage]
        generating = (flag for flag in position if flag.startswith("-f"))  # the others are for linking
        return (BITS[self.cpu.name], self.optimisation, *generating, "-ffunction-sections", "-fdata-sections", "-c")


def object_of(source: Path, cell: Cell, *flags: str) -> Path:
    """The object of one source of the house."""
    return gcc(source, flags=(*cell.compiling(source), *flags))


@functools.lru_cache(maxsize=None)
def house(cell: Cell) -> tuple[Path, Path]:
    """The program, and the file that has the code to patch: the program itself, or its library."""
    callers, units = [object_of(PROGRAMS / "house.c", cell)], []
    for folder in sorted(each.parent for each in SCENARIOS.glob(f"*/{CALLER}")):
        callers.append(object_of(folder / CALLER, cell))
        units += [object_of(source, cell) for source in units_of(folder)]
    bits = BITS[cell.cpu.name]
    if cell.linkage == "library":
        library = gcc(*units, flags=(bits, "-shared", "-Wl,-soname,libhouse.so"), name="libhouse.so")
        program = gcc(*callers, library, flags=(bits,), name="house")
        return program, program.parent / library.name
    program = gcc(*callers, *units, flags=(bits, *EXECUTABLES[cell.linkage]), name="house")
    return program, program


def units_of(folder: Path) -> list[Path]:
    """The sources of a scenario that are the target's."""
    return sorted(each for each in folder.glob("*.c") if each.name not in (CALLER, PATCH))


class Situation:
    """A house in which one situation is called all the time, and the patch for it.

    :param folder: the scenario's
    :param start: the fixture
    """

    def __init__(self, folder: Path, cell: Cell, place: Path, start: Callable[..., Program]) -> None:
        self.folder = folder
        self.cell = cell
        self.place = place
        program, self.target = house(cell)
        self.program = start(program, folder.name)
        self.artifact = place / f"{folder.name}.lp.o"

    @property
    def pid(self) -> int:
        """The house's."""
        return self.program.pid

    def by_hand(self) -> Situation:
        """Make the patch from ``patch.c``."""
        self.artifact = product.build_by_hand(self.target, self.folder / PATCH, self.artifact)
        return self

    def from_objects(self, stripped: bool = False) -> Situation:
        """Make the patch from the only unit, compiled before and after.

        :param stripped: for a target whose symbols tell of nothing that is local in a unit
        """
        (unit,) = units_of(self.folder)
        target = self.target
        if stripped:
            target = toolchain.without_local_symbols(target, self.place / target.name)
        old, new = object_of(unit, self.cell), object_of(unit, self.cell, "-DFIXED")
        pair = toolchain.Pair(self.program.path, target, old, new, unit, self.cell.compiling(unit))
        self.artifact = product.build(pair, self.artifact, name=self.folder.name, version="1")
        return self

    def lives(self) -> None:
        """The whole life, judged at each step by what every thread and every handler computed."""
        self.gives("old")
        with traces.untouched(self.pid):
            self.says("check", "planned")
        self.gives("old")
        self.says("apply", "applied")
        self.gives("new")
        with traces.untouched(self.pid):
            self.says("apply", "already")
        self.gives("new")
        self.is_listed()
        self.leaves()
        with traces.untouched(self.pid):
            self.says("revert", "absent")
        self.gives("old")
        self.says("apply", "applied")
        self.gives("new")
        self.leaves()

    def gives(self, age: str) -> None:
        """Every result of calls that begin now is of this age; of those before none was wrong, no signal lost."""
        line = self.program.ask("go")
        old, new, wrong, lost = map(int, _WENT.fullmatch(line).groups())
        assert (wrong, lost) == (0, 0), line
        assert (bool(old), bool(new)) == (age == "old", age == "new"), line

    def says(self, act: str, status: str) -> Answer:
        """Run the host program on this process and this patch, and hold what it says against this."""
        answer = product.forked(act, "--pid", self.pid, *_CALM, self.artifact)
        assert (answer.code, answer.status) == (0, status), answer
        assert answer.report["changed"] is (status not in ("already", "absent")), answer
        traces.assert_released(self.pid)
        assert traces.writable_and_executable(self.pid) == []
        return answer

    def is_listed(self) -> None:
        """``list`` shows the patch, and only it."""
        answer = product.forked("list", "--pid", self.pid)
        listed = [(patch["name"], patch["state"]) for patch in answer.process["patches"]]
        assert (answer.code, listed) == (0, [(self.folder.name, "applied")]), answer

    def leaves(self) -> None:
        """Take the patch out: nothing of it is left, at the latest after some more commands."""
        self.says("revert", "reverted")
        self.gives("old")
        told = []
        while traces.our_mappings(self.pid) and len(told) < _LATER:
            told.append(product.forked("recover", "--pid", self.pid).report["message"])
            self.gives("old")
        assert traces.our_mappings(self.pid) == [], told
        traces.assert_clean(self.pid)
