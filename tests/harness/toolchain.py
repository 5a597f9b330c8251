# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources become programs, libraries and objects, each built once for its content.

What is built is kept under ``build/test-cache/DIGEST/``; the digest covers the compiler, the flags, the
sources, the headers beside them and the bytes of objects and libraries that are linked, so an edit builds
anew and nothing else does. Two test runs may share the folder: a result appears by rename.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = REPOSITORY / "tests" / "programs"
CACHE = REPOSITORY / "build" / "test-cache"

BITS = {"x86_64": "-m64", "i386": "-m32"}

# What a distribution gives: optimised, with DWARF, with frame tables. A build ID names the file.
FLAGS = ("-O2", "-g", "-Wall", "-Werror", "-fasynchronous-unwind-tables", "-pthread", "-Wl,--build-id")

# How an executable may be linked; the third column of `file`(1)'s answer, so to say.
EXECUTABLES = {
    "non_pie": ("-fno-pie", "-no-pie"),
    "pie": ("-fPIE", "-pie"),
    "static": ("-fno-pie", "-no-pie", "-static"),
    "static_pie": ("-fPIE", "-static-pie"),
}
LINKAGES = (*EXECUTABLES, "library")

_LINKING = frozenset({"-pie", "-no-pie", "-static", "-static-pie"})


class DoesNotCompile(AssertionError):
    """The compiler refused; its own words are the message."""


@functools.lru_cache(maxsize=None)
def _version(compiler: str) -> bytes:
    return subprocess.run([compiler, "--version"], check=True, stdout=subprocess.PIPE).stdout


def _digest(compiler: str, arguments: list[str], inputs: list[Path]) -> str:
    digest = hashlib.sha256(_version(compiler))
    digest.update("\0".join(arguments).encode())
    headers = {header for each in inputs for header in each.parent.glob("*.h")} | set(PROGRAMS.glob("*.h"))
    for path in [*inputs, *sorted(headers)]:
        digest.update(b"\0" + path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:24]


def gcc(*sources: Path | str, flags: tuple[str, ...] = (), name: str | None = None, cc: str = "gcc") -> Path:
    """Run a compiler over C sources, assembly, objects and libraries; the path of what it made.

    :param sources: paths; a plain name is looked for in ``tests/programs``
    :param flags: come after ``FLAGS``; with ``-c`` the result is an object, with ``-shared`` a library
    :param name: the file's name, where the first source's own does not do
    :param cc: gcc, or another compiler that takes its options
    :raises DoesNotCompile: the compiler said no
    """
    inputs = [PROGRAMS / source for source in sources]  # an absolute path stays what it is
    suffix = ".o" if "-c" in flags else ".so" if "-shared" in flags else ""
    name = name or inputs[0].stem + suffix
    arguments = [*FLAGS, "-I", str(PROGRAMS), *flags]
    if cc == "clang":
        arguments.append("-Wno-unused-command-line-argument")  # -Wl where nothing is linked
    folder = CACHE / _digest(cc, [name, *arguments], inputs)
    if not (folder / name).exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=CACHE, prefix=".fresh-"))
        command = [cc, *arguments, "-o", str(fresh / name), *map(str, inputs)]
        # Libraries that are linked stand beside the program, whoever runs it and from wherever.
        for library in inputs:
            if library.suffix == ".so":
                shutil.copy2(library, fresh / library.name)
        if any(library.suffix == ".so" for library in inputs):
            command.append("-Wl,-rpath,$ORIGIN")
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            shutil.rmtree(fresh)
            raise DoesNotCompile(" ".join(command) + "\n" + done.stdout)
        _keep(fresh, folder)
    return folder / name


def _keep(fresh: Path, folder: Path) -> None:
    """What was built appears as a whole."""
    try:
        fresh.rename(folder)
    except OSError:  # another run was first, with the same bytes
        shutil.rmtree(fresh)


@dataclass(frozen=True)
class Pair:
    """A program that can be fixed, and the two objects that a patch is made from.

    ``target`` is the file that holds the functions to replace: the program itself, or the library it uses.
    ``unit`` and ``compiling`` are what the objects were made of, for one more of them.
    """

    program: Path
    target: Path
    old: Path
    new: Path
    unit: Path | str
    compiling: tuple[str, ...]

    def variant(self, *flags: str) -> Path:
        """Another object of the unit."""
        return gcc(self.unit, flags=(*self.compiling, *flags))


def pair(
    main: Path | str,
    unit: Path | str,
    arch: str,
    linkage: str = "pie",
    flags: tuple[str, ...] = (),
    support: tuple[Path | str, ...] = (),
    cc: str = "gcc",
) -> Pair:
    """A program of two units, where ``unit`` is old as it stands and new with ``-DFIXED``.

    The target is linked from the very object that the patch's old side is; both are built with a section per
    function, which is what the builder asks for.

    :param linkage: one of ``LINKAGES``; with ``library`` the unit becomes a shared library of its own
    :param support: more sources of the program
    :param cc: what compiles the unit
    """
    position = ("-fPIC",) if linkage == "library" else EXECUTABLES[linkage]
    compiling = tuple(flag for flag in position if flag not in _LINKING)
    objects = (BITS[arch], *compiling, *flags, "-c", "-ffunction-sections", "-fdata-sections")
    old = gcc(unit, flags=objects, cc=cc)
    new = gcc(unit, flags=(*objects, "-DFIXED"), cc=cc)
    if linkage == "library":
        name = f"lib{old.stem}.so"
        library = gcc(old, flags=(BITS[arch], "-shared", f"-Wl,-soname,{name}"), name=name)
        program = gcc(main, *support, library, flags=(BITS[arch], *flags))
        return Pair(program, program.parent / name, old, new, unit, objects)
    program = gcc(main, *support, old, flags=(BITS[arch], *position, *flags))
    return Pair(program, program, old, new, unit, objects)


def without_local_symbols(target: Path, copy: Path) -> Path:
    """The same program or library with neither DWARF nor the names of what is local in its units."""
    subprocess.run(["strip", "--strip-debug", "--discard-all", "-o", str(copy), str(target)], check=True)
    return copy


def copied(program: Path, folder: Path) -> Path:
    """The program and the libraries beside it in a folder of the test's own, to delete or replace there."""
    for each in program.parent.iterdir():
        shutil.copy2(each, folder / each.name)
    return folder / program.name


def go(source: Path, name: str, library: Path | None = None) -> Path:
    """A Go program from one file, without the network; static, but for a C library that it calls.

    :raises DoesNotCompile: the Go tool said no
    """
    folder = CACHE / _digest("gcc", ["go", name], [source, *([library] if library else [])])
    if not (folder / name).exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=CACHE, prefix=".fresh-"))
        settings = dict(os.environ, CGO_ENABLED="0", GO111MODULE="off", GOCACHE=str(CACHE / "go"))
        if library is not None:
            shutil.copy2(library, fresh / library.name)
            settings.update(CGO_ENABLED="1", CGO_LDFLAGS=f"{fresh / library.name} -Wl,-rpath,$ORIGIN")
        command = ["go", "build", "-o", str(fresh / name), str(source)]
        done = subprocess.run(command, env=settings, capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(fresh)
            raise DoesNotCompile(" ".join(command) + "\n" + done.stderr)
        _keep(fresh, folder)
    return folder / name


def go_pair(main: Path, unit: Path, arch: str) -> Pair:
    """A Go program and its C library of one unit, which is fixed with ``-DFIXED``."""
    flags = (BITS[arch], "-fPIC", "-c", "-ffunction-sections", "-fdata-sections")
    old, new = gcc(unit, flags=flags), gcc(unit, flags=(*flags, "-DFIXED"))
    name = f"lib{old.stem}.so"
    library = gcc(old, flags=(BITS[arch], "-shared", f"-Wl,-soname,{name}"), name=name)
    program = go(main, main.stem, library)
    return Pair(program, program.parent / name, old, new, unit, flags)
