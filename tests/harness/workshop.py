# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small C units as text become objects, programs and patches: what the builder's tests are made of."""

from __future__ import annotations

import dataclasses
import itertools
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from livepatch.artifact import file as artifact_file
from livepatch.artifact.file import Artifact
from livepatch.build import pipeline
from livepatch.build.request import BuildRequest
from livepatch.cpu import Cpu
from livepatch.errors import Refused

from .toolchain import BITS

COMPILE = (
    "-O2",
    "-g",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-common",
    "-fasynchronous-unwind-tables",
)
MAIN = "int work(int); int main(int c, char **v) { (void)v; return work(c); }"
OLD = "int work(int x) { return x * 300 + 1; }"
NEW = "int work(int x) { return x * 300 + 2; }"


def names(artifact: Artifact) -> list[str]:
    """The functions that an artifact replaces, in its order."""
    return [each.name for each in artifact.manifest.functions]


def refused(reason: str, build: Callable[[], object], *words: str) -> None:
    """The call raises Refused with this reason and a message that has these words."""
    with pytest.raises(Refused) as caught:
        build()
    assert caught.value.reason == reason, caught.value
    for word in words:
        assert word in caught.value.what, caught.value


def command_line(request: BuildRequest) -> list[str]:
    """A request by hand as options of ``livepatch build``, all but where to."""
    source = ["--target", request.target, "--patch-source", str(request.patch_source)]
    return [*source, "--name", request.name, "--version", request.version]


class Workshop:
    """A folder, an architecture and a compiler.

    :param cc: the C compiler, of units and of patch files
    :param flags: for every compilation, after ``COMPILE``
    :param linking: for every target: ``-shared`` with ``-fPIC`` makes libraries, ``-no-pie`` and so on programs
    """

    def __init__(
        self,
        folder: Path,
        cpu: Cpu,
        flags: tuple[str, ...] = ("-fPIC",),
        linking: tuple[str, ...] = ("-shared",),
        cc: str = "gcc",
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.cpu = cpu
        self.flags = flags
        self.linking = linking
        self.cc = cc
        self._numbers = itertools.count()

    def object(self, source: str, *flags: str, name: str = "unit.c") -> Path:
        """An object of this source, which the compiler is given as a file called ``name``, folders and all."""
        place = self.folder / str(next(self._numbers))
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(source)
        compiler = "g++" if name.endswith("cc") else self.cc
        arguments = [compiler, BITS[self.cpu.name], *COMPILE, *self.flags, *flags, "-c", name, "-o", "unit.o"]
        self._run(arguments, place)
        return place / "unit.o"

    def link(self, *objects: Path, flags: tuple[str, ...] = (), name: str = "target") -> Path:
        """The target that these objects make."""
        place = self.folder / str(next(self._numbers))
        place.mkdir()
        arguments = ["gcc", BITS[self.cpu.name], "-Wl,--build-id", *self.linking, *flags]
        self._run([*arguments, "-o", name, *map(str, objects)], place)
        return place / name

    def request(
        self, old: str, new: str, *others: str, flags: tuple[str, ...] = (), **changes: object
    ) -> BuildRequest:
        """A target made of the old source and other units, and the pair to patch it with."""
        objects = self.object(old, *flags), self.object(new, *flags)
        units = [self.object(source, name=f"other{number}.c") for number, source in enumerate(others)]
        target = self.link(objects[0], *units)
        request = BuildRequest(
            str(target), "fix", "1", old_objects=[str(objects[0])], new_objects=[str(objects[1])]
        )
        return dataclasses.replace(request, **changes)

    def patch(
        self, old: str, new: str, *others: str, flags: tuple[str, ...] = (), **changes: object
    ) -> Artifact:
        """The artifact that makes the new source of the old one."""
        return artifact_file.parse(pipeline.build(self.request(old, new, *others, flags=flags, **changes)))

    def manual(self, target: str, patch: str, *flags: str, **changes: object) -> BuildRequest:
        """A target with a main of its own unit, and one C file to patch it with."""
        return self.by_hand({"unit.c": target, "main.c": MAIN}, patch, *flags, **changes)

    def by_hand(self, units: Mapping[str, str], patch: str, *flags: str, **changes: object) -> BuildRequest:
        """A target of these units (a file's name, folders and all, and its source), and one C file to patch it with."""
        source = self.folder / f"patch{next(self._numbers)}.c"
        source.write_text(patch)
        program = self.link(*(self.object(text, *flags, name=name) for name, text in units.items()))
        request = BuildRequest(str(program), "fix", "1", patch_source=str(source), cc=self.cc)
        return dataclasses.replace(request, **changes)

    @staticmethod
    def _run(arguments: list[str], place: Path) -> None:
        done = subprocess.run(
            arguments, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}"
