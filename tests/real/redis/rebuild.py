# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""redis-server before a fix, redis-benchmark, and pairs of objects, compiled as Debian compiles them, not stripped.

Left out of debian/rules is what takes packages that the test has no use for: TLS, systemd, jemalloc (the
allocator is the C library's), lzf and Lua from elsewhere. The units of the pairs have a section for each
function and datum besides; the server has not.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from tests.real import debian

# Debian 12's, and the fix of CVE-2024-51741: a key selector without permissions is refused.
PACKAGE = debian.Package(
    "redis", "5:7.0.15-1~deb12u", "0002-Fix-Read-Write-key-pattern-selector-CVE-2024-51741-1.patch"
)
HERE = Path(__file__).parent
SECTIONS = ("-ffunction-sections", "-fdata-sections")
NO_LINES = ("-Wno-builtin-macro-redefined", "-D__LINE__=0")


class Pair(NamedTuple):
    """The objects of one unit before and after; ``*_noline``: with every ``__LINE__`` the same."""

    old: Path
    new: Path
    old_noline: Path
    new_noline: Path


class Rebuilt(NamedTuple):
    """What the test needs, in one folder.

    :ivar acl: differs by Debian's fix
    :ivar incrby: differs by incrby.diff
    """

    server: Path
    benchmark: Path
    acl: Pair
    incrby: Pair
    version: str


def rebuilt() -> Rebuilt:
    """Everything, compiled once for its content; about 75 CPU seconds.

    :raises debian.Unavailable: no apt source has the package
    :raises DoesNotCompile: make or gcc refused
    """
    trees = debian.trees(PACKAGE)
    flags = {name: debian.buildflags(name, hardening="+all") for name in ("CPPFLAGS", "CFLAGS", "LDFLAGS")}
    inputs = (Path(__file__), HERE / "incrby.diff")
    folder = PACKAGE.cache / f"x86_64-{debian.digest(trees.version, flags, inputs)}"
    kept = debian.kept(folder, lambda fresh: _build(trees, flags, fresh))
    pairs = (Pair(*(kept / f"{unit}-{name}.o" for name in Pair._fields)) for unit in ("acl", "t_string"))
    return Rebuilt(kept / "redis-server", kept / "redis-benchmark", *pairs, version=trees.version)


def _build(trees: debian.Trees, flags: dict[str, list[str]], folder: Path) -> None:
    old, new = folder / "old", folder / "new"
    shutil.copytree(trees.old, old)
    shutil.copytree(trees.new, new)
    debian.patch(new, HERE / "incrby.diff")
    # Without a Python commands.c stays as it was unpacked, whatever its time and that of its sources.
    make = ["make", "-j2", "V=1", "MALLOC=libc", "USE_SYSTEMD=no", "PYTHON=", "-C", "src"]
    make += [f"{name}={' '.join(words)}" for name, words in flags.items()]
    said = debian.run([*make, "redis-server", "redis-benchmark"], old)
    for unit in ("acl", "t_string"):
        line = debian.compile_line(said, f"{unit}.c")
        for name, tree, more in (
            ("old", old, ()),
            ("new", new, ()),
            ("old_noline", old, NO_LINES),
            ("new_noline", new, NO_LINES),
        ):
            mapped = f"-ffile-prefix-map={tree}=package"  # so that no path of this machine differs
            target = folder / f"{unit}-{name}.o"
            debian.run([*line, *SECTIONS, mapped, *more, "-c", f"{unit}.c", "-o", target], tree / "src")
    for name in ("redis-server", "redis-benchmark"):
        (old / "src" / name).rename(folder / name)
    for tree in (old, new):
        shutil.rmtree(tree)


if __name__ == "__main__":
    for field, value in rebuilt()._asdict().items():
        print(f"{field}: {value}")
