# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The library before the fix and the objects of both versions, compiled as Debian compiles them, not stripped.

The flags are those of the package's build log: its configure's, then dpkg-buildflags', then libtool's. The
objects for the builder have a section for each function and datum besides; the library has not.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.harness.toolchain import BITS, PROGRAMS, DoesNotCompile
from tests.real import debian

# Debian 12's; the fix is in its series from the first security update on.
PACKAGE = debian.Package("expat", "2.5.0-1+deb12u", "CVE-2024-45490.patch")
HERE = Path(__file__).parent
UNITS = ("xmlparse", "xmltok", "xmlrole")  # of libexpatinternal_la_SOURCES in expat/lib/Makefile.am

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
    :raises debian.Unavailable: no apt source has the package
    :raises DoesNotCompile: gcc refused
    """
    trees = debian.trees(PACKAGE)
    flags = {name: debian.buildflags(name, arch) for name in ("CPPFLAGS", "CFLAGS", "LDFLAGS")}
    ours = (Path(__file__), HERE / "expat_config.h", HERE / "consumer.c", PROGRAMS / "protocol.h")
    folder = PACKAGE.cache / f"{arch}-{debian.digest(trees.version, flags, ours)}"
    kept = debian.kept(folder, lambda fresh: _build(arch, trees, flags, fresh))
    names = ("libexpat.so.1", "consumer", "old.o", "new.o", "old-noline.o", "new-noline.o")
    return Rebuilt(*(kept / name for name in names), version=trees.version)


def _build(arch: str, trees: debian.Trees, flags: dict[str, list[str]], folder: Path) -> None:
    def gcc(*arguments: object) -> None:
        command = ["gcc", BITS[arch], *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise DoesNotCompile(" ".join(command) + "\n" + done.stdout)

    def compiled(tree: Path, unit: str, name: str, *more: str) -> Path:
        before = (*DEFINES, f"-I{HERE}", *flags["CPPFLAGS"], *CONFIGURED, *flags["CFLAGS"])
        mapped = (
            f"-ffile-prefix-map={tree}=package"  # so that no path of this machine, and not the version, differs
        )
        gcc(*before, mapped, *LIBTOOL, *more, "-c", tree / "expat" / "lib" / f"{unit}.c", "-o", folder / name)
        return folder / name

    units = [compiled(trees.old, unit, f"{unit}.o") for unit in UNITS]
    gcc(*LINK, *flags["LDFLAGS"], *units, "-o", folder / "libexpat.so.1")
    for name, tree in (("old", trees.old), ("new", trees.new)):
        compiled(tree, "xmlparse", f"{name}.o", *SECTIONS)
        compiled(tree, "xmlparse", f"{name}-noline.o", *SECTIONS, *NO_LINES)
    include = ("-I", PROGRAMS, "-I", trees.old / "expat" / "lib")
    linked = (HERE / "consumer.c", folder / "libexpat.so.1", "-Wl,-rpath,$ORIGIN", "-o", folder / "consumer")
    gcc("-O2", "-g", "-Wall", "-Werror", "-pthread", *include, *linked)


if __name__ == "__main__":
    for word in sys.argv[1:]:
        for field, value in rebuilt(word)._asdict().items():
            print(f"{field}: {value}")
