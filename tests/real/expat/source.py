# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's expat source package: its whole series of patches, and the series without one of them.

The package comes from where the machine's other packages come from. Its apt configuration has no ``deb-src``
as a rule, so a private one is made, in a folder of its own, and named by ``APT_CONFIG`` (apt.conf(5)).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.harness.toolchain import REPOSITORY

CACHE = REPOSITORY / "build" / "real" / "expat"
FIX = "CVE-2024-45490.patch"
RELEASE = "2.5.0-1+deb12u"  # Debian 12's; the fix is in its series from the first security update on
MACHINE = Path("/etc/apt")


class Unavailable(AssertionError):
    """The source package could not be had, and this is what apt said. A test that needs it has failed."""


class Trees(NamedTuple):
    """The folders ``expat/`` of two versions that differ by the fix alone, and Debian's name for the newer."""

    old: Path
    new: Path
    version: str


def trees() -> Trees:
    """Both versions of the source, fetched once.

    :raises Unavailable: no apt source has the package
    """
    kept = CACHE / "source"
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=CACHE, prefix=".fresh-"))
        try:
            description = _fetch(fresh / "apt", fresh / "package")
            for name, without in (("new", None), ("old", FIX)):
                _unpack(description, fresh / name, without)
            (fresh / "version").write_text(re.sub(r".*_(.*)\.dsc", r"\1", description.name))
            shutil.rmtree(fresh / "apt")
            fresh.rename(kept)
        except OSError:
            if not kept.exists():  # else another run was first
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return Trees(kept / "old" / "expat", kept / "new" / "expat", (kept / "version").read_text())


def _fetch(apt: Path, destination: Path) -> Path:
    """Download the package; the path of its .dsc."""
    for folder in (
        destination,
        apt / "lists" / "partial",
        apt / "cache" / "archives" / "partial",
        apt / "sources",
    ):
        folder.mkdir(parents=True)
    for path in (MACHINE / "sources.list", *(MACHINE / "sources.list.d").glob("*")):
        if path.suffix in (".list", ".sources") and path.is_file():
            (apt / "sources" / path.name).write_text(_for_sources(path))
    (apt / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "{apt}/sources";\n'
        f'Dir::State::lists "{apt}/lists";\nDir::Cache "{apt}/cache";\n'
        'Acquire::Languages "none";\nAPT::Sandbox::User "root";\nAcquire::Retries "3";\n'
    )
    environment = dict(os.environ, APT_CONFIG=str(apt / "apt.conf"), LC_ALL="C")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=environment, cwd=destination, capture_output=True, text=True)

    updated = run("apt-get", "--quiet", "update")
    known = run("apt-cache", "showsrc", "expat").stdout
    versions = re.findall(rf"^Version: ({re.escape(RELEASE)}[0-9]+)$", known, re.MULTILINE)
    said = [updated.stdout + updated.stderr]
    # The oldest first: it is in the main suite, whose files stay; those of the security suite come and go.
    for version in sorted(set(versions), key=lambda version: int(version[len(RELEASE) :])):
        done = run("apt-get", "--quiet", "source", "--download-only", f"expat={version}")
        if done.returncode == 0:
            return destination / f"expat_{version}.dsc"
        said.append(done.stdout + done.stderr)
    raise Unavailable(f"expat {RELEASE}* from the apt sources of this machine:\n" + "\n".join(said))


def _for_sources(path: Path) -> str:
    """A file of apt sources (sources.list(5)), asking for source packages instead of binary ones."""
    text = path.read_text()
    if path.suffix == ".sources":
        return re.sub(r"^Types:.*$", "Types: deb-src", text, flags=re.MULTILINE)
    lines = (line for line in text.splitlines() if line.startswith("deb "))
    return "".join(f"deb-src{line[3:]}\n" for line in lines)


def _unpack(description: Path, destination: Path, without: str | None) -> None:
    """Unpack the package and apply its series, less one patch, each without fuzz."""
    command = ["dpkg-source", "--skip-patches", "--no-copy", "--extract", str(description), str(destination)]
    subprocess.run(command, check=True, capture_output=True)
    patches = destination / "debian" / "patches"
    series = (patches / "series").read_text().split()
    if without is not None:
        series.remove(without)
    for name in series:
        command = ["patch", "-p1", "-F0", "--silent", "--no-backup-if-mismatch", f"--input={patches / name}"]
        subprocess.run(command, cwd=destination, check=True, capture_output=True)
