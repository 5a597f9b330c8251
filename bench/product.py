# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured, made ready as on a managed host: the bundle unpacked and compiled, meters, patches."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import py_compile
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
BUILD = HERE / "build"
ARCHITECTURES = {"x86_64": "-m64", "i386": "-m32"}

# The interpreter of a managed host, started as module_utils/injector.py starts it.
PYTHON = [shutil.which("python3", path="/usr/bin:/bin") or sys.executable, "-I", "-S", "-B"]


def pinned_to_cpu_0() -> None:
    """For a child process: leave CPU 1 to the busy thread."""
    os.sched_setaffinity(0, {0})


def go_first() -> None:
    """For this process and all it starts: come before what else the machine does, where that is permitted."""
    with contextlib.suppress(OSError):
        os.nice(-20)
        # Between sessions the kernel weighs groups, where it is built so: sched(7), "The autogroup feature".
        Path("/proc/self/autogroup").write_text("-20")


def run(command: list[object]) -> str:
    """Run a program on CPU 0; its standard output.

    :raises RuntimeError: it failed; the message has its output
    """
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=pinned_to_cpu_0)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def unpacked_bundle() -> Path:
    """The bundle as the first task leaves it on a host: unpacked and compiled."""
    sys.path.insert(0, str(REPOSITORY / "plugins" / "plugin_utils"))
    import bundle

    tree = BUILD / "bundle"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    packed, _ = bundle.make_bundle(BUILD)
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tree)
    packed.unlink()
    for source in tree.rglob("*.py"):
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        run([*PYTHON, "-c", f"import py_compile; py_compile.compile({str(source)!r}, doraise=True,"
             f" invalidation_mode=py_compile.PycInvalidationMode({mode.value}))"])  # fmt: skip
    return tree


@dataclass(frozen=True)
class Bench:
    """What is measured with, for one architecture.

    :ivar artifact: changes `work`, which the meter calls
    :ivar many: number of functions -> a patch that changes so many others of the same library
    :ivar stack: patches of `work`, to lie on top of one another
    """

    meter: Path
    library: Path
    old: Path
    new: Path
    artifact: Path
    many: dict[int, Path]
    stack: list[Path]


MANY = (1, 10, 100)
DEPTH = 10


@functools.cache
def bench(arch: str) -> Bench:
    """The pause meter of an architecture, and patches for its library."""
    folder = BUILD / arch
    folder.mkdir(parents=True, exist_ok=True)
    gcc = ["gcc", ARCHITECTURES[arch], "-O2", "-g", "-Wall", "-Werror"]
    units = ["-fPIC", "-ffunction-sections", "-fdata-sections", "-c"]
    old, new, library = folder / "work.old.o", folder / "work.new.o", folder / "libwork.so"
    run([*gcc, *units, HERE / "work.c", "-o", old])
    run([*gcc, *units, HERE / "work.c", "-DFIXED", "-o", new])
    few = folder / "many.0.o"
    run([*gcc, *units, HERE / "many.c", "-o", few])
    run([*gcc, "-shared", "-Wl,--build-id,-soname,libwork.so", "-o", library, old, few])
    meter = folder / "pausemeter"
    run([*gcc, "-pthread", "-o", meter, HERE / "pausemeter.c", library, "-Wl,-rpath,$ORIGIN"])
    many = {}
    for number in MANY:
        fixed = folder / f"many.{number}.o"
        run([*gcc, *units, HERE / "many.c", f"-DFIXED={number}", "-o", fixed])
        many[number] = build(library, few, fixed, f"many-{number}", folder)
    stack = [build(library, old, new, f"work-{number}", folder) for number in range(DEPTH)]
    return Bench(meter, library, old, new, build(library, old, new, "work", folder), many, stack)


def build(library: Path, old: Path, new: Path, name: str, folder: Path) -> Path:
    """A patch, by the builder's command line."""
    artifact = folder / f"{name}.lp.o"
    environment = f"PYTHONPATH={REPOSITORY / 'plugins' / 'module_utils'}"
    words = ["env", environment, sys.executable, "-m", "livepatch.build_main", "build"]
    run([*words, "--target", library, "--old-objects", old, "--new-objects", new, "--name", name,
         "--version", "1", "--dest", artifact])  # fmt: skip
    return artifact


class Livepatch:
    """The host program, one command at a time."""

    def __init__(self, tree: Path) -> None:
        self.program = [*PYTHON, tree]

    def __call__(self, act: str, pid: int, artifact: Path) -> int:
        """``livepatch ACT --pid``; the length of the stop as the injector timed it, microseconds."""
        report = json.loads(run([*self.program, act, "--json", "--pid", pid, artifact]))
        (process,) = report["processes"]
        if process["status"] not in ("applied", "reverted"):
            raise RuntimeError(f"{act}: {process['status']}: {process['message']}")
        return process["stop_us"]
