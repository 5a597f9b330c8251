# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The library before the fix and the objects of both versions, compiled as Debian compiles them, not stripped.

The flags are those of the package's build log: its configure's, then dpkg-buildflags', then libtool's. The
objects for the builder have a section for each function and datum besides; the library has not.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.harness.toolchain import BITS, PROGRAMS, DoesNotCompile
from tests.real.expat import source

HERE = Path(__file__).parent
UNITS = ("xmlparse", "xmltok", "xmlrole")  # of libexpatinternal_la_SOURCES in expat/lib/Makefile.am
DEBIAN = {"x86_64": "amd64", "i386": "i386"}

# expat/configure.ac (AM_CPPFLAGS, AM_CFLAGS), debian/rules (-Wall, -Bsymbolic-functions) and libtool (-fPIC -DPIC)
DEFINES = ("-DHAVE_CONFIG_H", "-DXML_ENABLE_VISIBILITY=1")
CONFIGURED = ("-fexceptions", "-fno-strict-aliasing", "-fvisibility=hidden")
LIBTOOL = ("-fPIC", "-DPIC")
LINK = ("-shared", "-Wl,-soname,libexpat.so.1", "-Wl,-Bsymbolic-functions", "-Wl,--build-id")

SECTIONS = ("-ffunction-sections", "-fdata-sections")
NO_LINES = ("-D__LINE__=0",)


class Rebuilt(NamedTuple):
    """What the test needs, in one folder.

    ``old``, ``new``: the unit that the fix changes, xmlparse; ``*_noline``: with every ``__LINE__`` the same.
    """

    library: Path
    consumer: Path
    old: Path
    new: Path
    old_noline: Path
    new_noline: Path
    version: str


def rebuilt(arch: str) -> Rebuilt:
    """Everything for one architecture, compiled once for its content; about 20 CPU seconds.

    :param arch: ``x86_64`` or ``i386``
    :raises source.Unavailable: no apt source has the package
    :raises DoesNotCompile: gcc refused
    """
    trees = source.trees()
    flags = {name: _buildflags(name, arch) for name in ("CPPFLAGS", "CFLAGS", "LDFLAGS")}
    kept = source.CACHE / f"{arch}-{_digest(trees, flags)}"
    if not kept.exists():
        fresh = Path(tempfile.mkdtemp(dir=source.CACHE, prefix=".fresh-"))
        try:
            _build(arch, trees, flags, fresh)
            fresh.rename(kept)
        except OSError:
            if not kept.exists():  # else another run was first
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    names = ("libexpat.so.1", "consumer", "old.o", "new.o", "old-noline.o", "new-noline.o")
    return Rebuilt(*(kept / name for name in names), version=trees.version)


def _build(arch: str, trees: source.Trees, flags: dict[str, list[str]], folder: Path) -> None:
    def gcc(*arguments: object) -> None:
        command = ["gcc", BITS[arch], *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise DoesNotCompile(" ".join(command) + "\n" + done.stdout)

    def compiled(tree: Path, unit: str, name: str, *more: str) -> Path:
        before = (*DEFINES, f"-I{HERE}", *flags["CPPFLAGS"], *CONFIGURED, *flags["CFLAGS"])
        mapped = (
            f"-ffile-prefix-map={tree}=expat"  # so that no path of this machine, and not the version, differs
        )
        gcc(*before, mapped, *LIBTOOL, *more, "-c", tree / "lib" / f"{unit}.c", "-o", folder / name)
        return folder / name

    units = [compiled(trees.old, unit, f"{unit}.o") for unit in UNITS]
    gcc(*LINK, *flags["LDFLAGS"], *units, "-o", folder / "libexpat.so.1")
    for name, tree in (("old", trees.old), ("new", trees.new)):
        compiled(tree, "xmlparse", f"{name}.o", *SECTIONS)
        compiled(tree, "xmlparse", f"{name}-noline.o", *SECTIONS, *NO_LINES)
    include = ("-I", PROGRAMS, "-I", trees.old / "lib")
    linked = (HERE / "consumer.c", folder / "libexpat.so.1", "-Wl,-rpath,$ORIGIN", "-o", folder / "consumer")
    gcc("-O2", "-g", "-Wall", "-Werror", "-pthread", *include, *linked)


def _buildflags(name: str, arch: str) -> list[str]:
    """What dpkg-buildflags(1) gives packages on this release, without the map of its own build folder."""
    environment = dict(os.environ, DEB_HOST_ARCH=DEBIAN[arch], DEB_BUILD_OPTIONS="")
    command = ["dpkg-buildflags", "--get", name]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return [flag for flag in done.stdout.split() if not flag.startswith("-ffile-prefix-map=")]


def _digest(trees: source.Trees, flags: dict[str, list[str]]) -> str:
    compiler = subprocess.run(["gcc", "--version"], check=True, capture_output=True).stdout
    digest = hashlib.sha256(compiler + repr(sorted(flags.items())).encode() + trees.version.encode())
    for path in (Path(__file__), HERE / "source.py", HERE / "expat_config.h", HERE / "consumer.c"):
        digest.update(path.read_bytes())
    digest.update((PROGRAMS / "protocol.h").read_bytes())
    return digest.hexdigest()[:24]


if __name__ == "__main__":
    for word in sys.argv[1:]:
        for field, value in rebuilt(word)._asdict().items():
            print(f"{field}: {value}")
