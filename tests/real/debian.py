# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian source packages: the whole series of patches, and the series without one fix; and what is built of them.

A package comes from where the machine's other packages come from. Its apt configuration has no ``deb-src``
as a rule, so a private one is made, in a folder of its own, and named by ``APT_CONFIG`` (apt.conf(5)).

Everything is kept below ``build/real/PACKAGE``; two test runs may share it: a result appears by rename.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.harness.toolchain import REPOSITORY, DoesNotCompile

CACHE = REPOSITORY / "build" / "real"
MACHINE = Path("/etc/apt")
ARCHITECTURES = {"x86_64": "amd64", "i386": "i386"}


class Unavailable(AssertionError):
    """The source package could not be had, and this is what apt said. A test that needs it has failed."""


class Package(NamedTuple):
    """A source package of one release, with the fix that makes a live patch.

    :ivar release: beginning of the version; Debian's number of the update follows
    :ivar fix: of ``debian/patches/series``
    """

    name: str
    release: str
    fix: str

    @property
    def cache(self) -> Path:
        """Where what is made of it stands."""
        return CACHE / self.name


class Trees(NamedTuple):
    """The source folders of two versions that differ by the fix alone, and Debian's name for the newer."""

    old: Path
    new: Path
    version: str


def trees(package: Package) -> Trees:
    """Both versions of the source, fetched once.

    :raises Unavailable: no apt source has the package
    """

    def fetch(fresh: Path) -> None:
        version = _fetch(package, fresh / "apt", fresh)
        (fresh / "version").write_text(version)
        shutil.rmtree(fresh / "apt")

    folder = kept(package.cache / "source", fetch)
    return Trees(folder / "old", folder / "new", (folder / "version").read_text())


def kept(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder that is made once: ``make`` fills an empty one, which then gets the name."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".fresh-"))
        try:
            make(fresh)
            fresh.rename(folder)
        except OSError:
            if not folder.exists():  # else another run was first
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder


def digest(version: str, flags: object, inputs: Iterable[Path]) -> str:
    """What a build depends on, as part of a folder's name: compiler, source, flags, our own files."""
    compiler = subprocess.run(["gcc", "--version"], check=True, capture_output=True).stdout
    found = hashlib.sha256(compiler + repr(flags).encode() + version.encode())
    for path in (Path(__file__), *inputs):
        found.update(path.read_bytes())
    return found.hexdigest()[:24]


def buildflags(name: str, arch: str = "x86_64", hardening: str = "") -> list[str]:
    """What dpkg-buildflags(1) gives packages on this release, without the map of its own build folder.

    :param hardening: as ``DEB_BUILD_MAINT_OPTIONS`` of debian/rules has it
    """
    environment = dict(os.environ, DEB_HOST_ARCH=ARCHITECTURES[arch], DEB_BUILD_OPTIONS="")
    environment["DEB_BUILD_MAINT_OPTIONS"] = f"hardening={hardening}" if hardening else ""
    command = ["dpkg-buildflags", "--get", name]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return [flag for flag in done.stdout.split() if not flag.startswith("-ffile-prefix-map=")]


def run(command: Sequence[object], folder: Path) -> str:
    """Run one step of a build, politely; what it said.

    :raises DoesNotCompile: it failed
    """
    words = ["nice", "-n", "5", *map(str, command)]
    done = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise DoesNotCompile(" ".join(words) + "\n" + done.stdout[-10000:])
    return done.stdout


def compile_line(said: str, source: str) -> list[str]:
    """The words with which make compiled a source file, without its ``-o`` and without the file."""
    for line in said.replace("\\\n", " ").splitlines():
        words = line.split()
        if source in words and "-c" in words and "-o" in words:
            at = words.index("-o")
            del words[at : at + 2]
            return [word for word in words if word not in ("-c", "-MMD", source)]
    raise DoesNotCompile(f"make did not say how it compiled {source}:\n{said[-10000:]}")


def _fetch(package: Package, apt: Path, folder: Path) -> str:
    """Download the package and unpack both versions; Debian's name of the version."""
    for each in (apt / "lists" / "partial", apt / "cache" / "archives" / "partial", apt / "sources"):
        each.mkdir(parents=True)
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
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)

    updated = run("apt-get", "--quiet", "update")
    known = run("apt-cache", "showsrc", package.name).stdout
    versions = re.findall(rf"^Version: ({re.escape(package.release)}[0-9]+)$", known, re.MULTILINE)
    said = [updated.stdout + updated.stderr]
    # The oldest first: it is in the main suite, whose files stay; those of the security suite come and go.
    for version in sorted(set(versions), key=lambda version: int(version[len(package.release) :])):
        done = run("apt-get", "--quiet", "source", "--download-only", f"{package.name}={version}")
        if done.returncode:
            said.append(done.stdout + done.stderr)
            continue
        description = folder / f"{package.name}_{version.partition(':')[2] or version}.dsc"
        _unpack(description, folder / "new", None)
        if package.fix in _series(folder / "new"):
            _unpack(description, folder / "old", package.fix)
            return version
        said.append(f"{version} has no {package.fix}\n")
        shutil.rmtree(folder / "new")
    what = f"{package.name} {package.release}* with {package.fix}"
    raise Unavailable(f"{what} from the apt sources of this machine:\n" + "\n".join(said))


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
    for name in _series(destination):
        if name != without:
            patch(destination, destination / "debian" / "patches" / name)


def _series(tree: Path) -> list[str]:
    return (tree / "debian" / "patches" / "series").read_text().split()


def patch(tree: Path, diff: Path) -> None:
    """Apply a diff to a source folder, without fuzz."""
    command = ["patch", "-p1", "-F0", "--silent", "--no-backup-if-mismatch", f"--input={diff}"]
    subprocess.run(command, cwd=tree, check=True, capture_output=True)
