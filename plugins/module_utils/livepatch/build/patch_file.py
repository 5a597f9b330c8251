# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The one C file of a manual patch, compiled for the target."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Iterable

from ..elf import ET_EXEC
from ..errors import Refused
from . import patch_names
from .debug_info import DebugInfo, Unit
from .objects import ObjectFile
from .request import BuildRequest
from .target import TargetFile

#: What the target's place in memory asks of the code, and what an artifact needs.
_FLAGS = (
    "-c", "-g", "-O2", "-ffunction-sections", "-fdata-sections", "-fno-common", "-fasynchronous-unwind-tables",
)  # fmt: skip
_POINTER = "livepatch_declared_"


@dataclass(frozen=True)
class PatchFile:
    """The compiled file: its object, what its macros say, its DWARF."""

    new: ObjectFile
    names: patch_names.PatchNames
    unit: Unit


def compiled(request: BuildRequest, target: TargetFile) -> PatchFile:
    """Compile it and read the result. A folder of its own keeps the compiler's files apart.

    :raises Refused: ``compile_failed``, ``wrong_architecture``, ``no_debug_info``, ``macro_misused``
    """
    folder = tempfile.mkdtemp(prefix="livepatch-build-")
    try:
        path = os.path.join(folder, "patch.o")
        _compile(request, target, str(request.patch_source), path)
        new = ObjectFile(path)
        if new.cpu is not target.cpu:
            raise Refused("wrong_architecture", f"{request.cc} compiled for {new.cpu.name}")
        said = patch_names.read(new)
        unit = next(DebugInfo(path).units(), None)
    finally:
        shutil.rmtree(folder)
    if unit is None:
        raise Refused("no_debug_info", f"{request.cc} wrote no DWARF; leave -g in the flags")
    return PatchFile(new, said, unit)


def add_declared(request: BuildRequest, target: TargetFile, unit: Unit, wanted: Iterable[str]) -> None:
    """Complete a unit's DWARF by the types of what the file declares: clang leaves out what is extern.

    A second file includes the patch and defines a pointer to each of them; pointers are there in DWARF.

    :param wanted: symbols of the target that the file refers to
    :raises Refused: ``no_debug_info``: of a symbol nothing tells the type
    """
    missing = [name for name in wanted if name not in unit.prototypes and name not in unit.variables]
    if not missing:
        return
    source = os.path.abspath(str(request.patch_source))
    folder = tempfile.mkdtemp(prefix="livepatch-build-")
    try:
        for name in missing:
            asking = os.path.join(folder, "declared" + os.path.splitext(source)[1])
            with open(asking, "w", encoding="utf-8") as file:
                file.write(f'#include "{source}"\n__typeof__({name}) *{_POINTER}{name};\n')
            path = os.path.join(folder, "declared.o")
            try:
                _compile(request, target, asking, path)
            except Refused as error:
                what = f"{request.patch_source} refers to {name} and {request.cc} does not tell its type"
                raise Refused("no_debug_info", f"{what}: declare it outside of functions") from error
            DebugInfo(path).add_pointees(_POINTER, unit)
    finally:
        shutil.rmtree(folder)


def _compile(request: BuildRequest, target: TargetFile, source: str, path: str) -> None:
    bits = "-m64" if target.cpu.word == 8 else "-m32"
    position = ["-fno-pie", "-fno-pic"] if target.elf.type == ET_EXEC else ["-fPIC"]
    command = [request.cc, bits, *_FLAGS, *position, *request.cflags, "-I", patch_names.INCLUDE]
    command += ["-o", path, source]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except OSError as error:
        raise Refused("compile_failed", f"{request.cc}: {error.strerror}") from error
    if done.returncode:
        raise Refused("compile_failed", f"{' '.join(command)}:\n{done.stdout.strip()}")
