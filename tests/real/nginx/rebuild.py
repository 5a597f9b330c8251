# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx before a fix, and the pair of objects of the unit that it changes, compiled as Debian compiles them.

Left out of debian/rules are the modules that take other packages (TLS, PCRE, zlib) and those that the test has
no use for. The objects of the pair have a section for each function and datum besides; the program has not.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from tests.harness.toolchain import BITS
from tests.real import debian

# Debian 12's: a Destination that is shorter than the location's name.
PACKAGE = debian.Package("nginx", "1.22.1-9+deb12u", "CVE-2026-27654.patch")
UNIT = "src/http/modules/ngx_http_dav_module.c"
SECTIONS = ("-ffunction-sections", "-fdata-sections")

WITH = ("compat", "debug", "threads", "http_dav_module")  # of debian/rules
# proxy stays: its cache has two processes of its own
WITHOUT = (
    *("rewrite", "gzip"),  # PCRE, zlib
    *("charset", "ssi", "userid", "access", "auth_basic", "mirror", "autoindex", "geo", "map", "referer"),
    *("split_clients", "fastcgi", "uwsgi", "scgi", "grpc", "memcached", "limit_conn", "limit_req"),
    *("empty_gif", "browser", "upstream_hash", "upstream_ip_hash", "upstream_least_conn"),
    *("upstream_random", "upstream_keepalive", "upstream_zone"),
)


class Rebuilt(NamedTuple):
    """What the test needs, in one folder."""

    program: Path
    old: Path
    new: Path
    version: str


def rebuilt(arch: str) -> Rebuilt:
    """Everything for one architecture, compiled once for its content; about 35 CPU seconds.

    :param arch: ``x86_64`` or ``i386``
    :raises debian.Unavailable: no apt source has the package
    :raises DoesNotCompile: configure, make or gcc refused
    """
    trees = debian.trees(PACKAGE)
    compiling = [
        word for name in ("CFLAGS", "CPPFLAGS") for word in debian.buildflags(name, arch, hardening="+all")
    ]
    linking = debian.buildflags("LDFLAGS", arch, hardening="+all")
    # debian/rules adds -fPIC to both.
    options = [
        f"--with-cc-opt={' '.join([BITS[arch], *compiling, '-fPIC'])}",
        f"--with-ld-opt={' '.join([BITS[arch], *linking, '-fPIC'])}",
        *(f"--with-{name}" for name in WITH),
        *(f"--without-http_{name}_module" for name in WITHOUT),
    ]
    folder = PACKAGE.cache / f"{arch}-{debian.digest(trees.version, options, [Path(__file__)])}"
    kept = debian.kept(folder, lambda fresh: _build(trees, options, fresh))
    return Rebuilt(kept / "nginx", kept / "old.o", kept / "new.o", trees.version)


def _build(trees: debian.Trees, options: list[str], folder: Path) -> None:
    built = folder / "tree"
    shutil.copytree(trees.old, built)
    debian.run(["./configure", *options], built)
    said = debian.run(["make", "-j2", "build"], built)
    (built / "objs" / "nginx").rename(folder / "nginx")
    line = [*debian.compile_line(said, UNIT), *SECTIONS]
    debian.run([*line, "-c", UNIT, "-o", folder / "old.o"], built)
    shutil.copytree(trees.new / "src", built / "src", dirs_exist_ok=True)
    debian.run([*line, "-c", UNIT, "-o", folder / "new.o"], built)
    shutil.rmtree(built)


if __name__ == "__main__":
    for word in sys.argv[1:]:
        for field, value in rebuilt(word)._asdict().items():
            print(f"{field}: {value}")
