# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed host's program as one file, ``livepatch-<sha256>.pyz``.

::

    livepatch-<sha256>.pyz       a zip that Python runs: python3 livepatch-....pyz list
      __main__.py                starts livepatch.__main__
      livepatch/                 module_utils/livepatch without what only a build host needs
      ptrace/                    the files of python-ptrace that livepatch reaches
      COPYING.python-ptrace      that package's licence (GPL-2.0-only)
      LICENSE.livepatch          this one's (BSD-2-Clause)

The same files give the same bytes on every controller: names sorted, times
fixed, nothing compressed (compressed bytes depend on the version of zlib, and
a host that meets two controllers would keep two bundles).
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

COLLECTION = Path(__file__).resolve().parents[2]
ROOMS = COLLECTION / "plugins" / "module_utils" / "livepatch"

# Rooms and files that only the build host and the controller use (docs: architecture, "Where code runs").
NOT_FOR_HOSTS = ("build", "build_main.py", "artifact/schema.py")

_MAIN = b"""\
# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
import sys

from livepatch.__main__ import main

sys.exit(main())
"""

# The earliest time that a zip can hold; the files' own times say nothing about their content.
_TIME = (1980, 1, 1, 0, 0, 0)


class MissingPackage(Exception):
    """The controller lacks a Python package; the message names it and says how to get it."""


def make_bundle(dest_dir: str | os.PathLike[str]) -> tuple[Path, str]:
    """Write the bundle into ``dest_dir``, which exists, under its final name.

    :returns: the file's path, and its SHA-256 in hex, which is in its name
    :raises MissingPackage: python-ptrace is not installed beside ansible-core
    :raises OSError: ``dest_dir`` can not be written to
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(contents().items()):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3  # Unix, also where a controller is not: it is one of the bytes
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    sha256 = hashlib.sha256(buffer.getbuffer()).hexdigest()
    path = Path(dest_dir) / f"livepatch-{sha256}.pyz"
    handle, unfinished = tempfile.mkstemp(dir=dest_dir, prefix=".livepatch-")
    with open(handle, "wb") as file:
        file.write(buffer.getbuffer())
    os.replace(unfinished, path)  # whoever finds the name finds all of it
    return path, sha256


def bundle_of_run(scratch: str | os.PathLike[str]) -> tuple[Path, str]:
    """The bundle for one run of ansible, made once and kept in its own temporary folder.

    Making it takes a quarter of a second, which a run with a thousand hosts
    should not pay a thousand times.

    :param scratch: a folder of this run and this user alone (Ansible's ``DEFAULT_LOCAL_TMP``)
    """
    for path in Path(scratch).glob("livepatch-*.pyz"):
        return path, path.stem[len("livepatch-") :]
    return make_bundle(scratch)


def contents() -> dict[str, bytes]:
    """Name in the bundle -> bytes, for every file of it.

    :raises MissingPackage: python-ptrace is not installed beside ansible-core
    """
    rooms = {f"livepatch/{name}": path.read_bytes() for name, path in _rooms()}
    ptrace, licence = _python_ptrace()
    wanted = set().union(*(_imported(source, "", "ptrace") for source in rooms.values()))
    return {
        "__main__.py": _MAIN,
        "LICENSE.livepatch": (COLLECTION / "LICENSES" / "BSD-2-Clause.txt").read_bytes(),
        "COPYING.python-ptrace": licence,
        **rooms,
        **_reached(ptrace, wanted),
    }


def _rooms() -> Iterator[tuple[str, Path]]:
    for path in ROOMS.rglob("*.py"):
        name = path.relative_to(ROOMS).as_posix()
        if not any(name == left_out or name.startswith(left_out + "/") for left_out in NOT_FOR_HOSTS):
            yield name, path


def _python_ptrace() -> tuple[Path, bytes]:
    """The folder that holds the package ``ptrace``, and the text of its licence."""
    found = find_spec("ptrace")
    try:
        files = metadata.distribution("python-ptrace").files or []
    except metadata.PackageNotFoundError:
        found = None
    if found is None or not found.submodule_search_locations:
        raise MissingPackage(
            "The Python package python-ptrace, which goes to the managed hosts in the bundle, is not installed on"
            " the controller. Install it where ansible-core runs: python3 -m pip install python-ptrace"
        )
    licences = [file for file in files if file.name == "COPYING"]
    licence = licences[0].read_binary() if licences else b"python-ptrace is licensed under the GPL, version 2.\n"
    return Path(next(iter(found.submodule_search_locations))).parent, licence


def _reached(site: Path, wanted: set[str]) -> dict[str, bytes]:
    """The modules of ``wanted`` and all that they import of ``ptrace``, as name in the bundle -> source.

    Imports inside functions and conditions count: what may be imported must be there.
    """
    result: dict[str, bytes] = {}
    seen: set[str] = set()
    while wanted:
        module = wanted.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in (module.replace(".", "/") + ".py", module.replace(".", "/") + "/__init__.py"):
            if (site / name).is_file():
                result[name] = (site / name).read_bytes()
                package = module if name.endswith("/__init__.py") else module.rpartition(".")[0]
                wanted |= _imported(result[name], package, "ptrace")
    return result


def _imported(source: bytes, package: str, top: str) -> set[str]:
    """Names of modules of ``top`` that ``source``, a module of ``package``, may import.

    ``from a import b`` yields ``a`` and ``a.b``: which one ``b`` is, module or
    name, is seen when the file is looked for.  Parents come with their children.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    parts = [name.split(".") for name in names if name.split(".")[0] == top]
    return {".".join(part[:length]) for part in parts for length in range(1, len(part) + 1)}


def main() -> int:
    """``livepatch bundle -o FILE``: the bundle under a name of one's own, for use by hand."""
    parser = argparse.ArgumentParser(
        prog="livepatch bundle",
        description="Write the managed hosts' program as one file: python3 FILE list. Needs Python 3.8 there.",
    )
    parser.add_argument("-o", "--output", default="livepatch.pyz", metavar="FILE", help="default: %(default)s")
    output = Path(parser.parse_args().output)
    try:
        with tempfile.TemporaryDirectory(dir=output.absolute().parent, prefix=".livepatch-") as scratch:
            path, sha256 = make_bundle(scratch)
            path.chmod(0o644)
            os.replace(path, output)
    except (MissingPackage, OSError) as error:
        print(f"livepatch bundle: {error}", file=sys.stderr)
        return 1
    print(f"{output}  sha256 {sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
