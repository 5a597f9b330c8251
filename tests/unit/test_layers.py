# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The law of imports, held over the real imports, and the other rules of the house that a program can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PLUGINS = REPOSITORY / "plugins"
LIVEPATCH = PLUGINS / "module_utils" / "livepatch"
COLLECTION = "ansible_collections.userspace.livepatch."

# Room -> the rooms that it may enter, besides itself and ``errors``. A room is named by its place below plugins/
# (of the injector's rooms, by its own name). What is not here may enter nothing.
GROUND = ("elf", "cpu", "kernel", "report", "errors", "injector", "plugin_utils", "callback", "doc_fragments")
LAW = {
    **dict.fromkeys(GROUND, ()),
    "python_ptrace": (),  # the ground below the ground: how a package of others is imported
    "cpu": ("python_ptrace",),
    "kernel": ("python_ptrace",),
    "livepatch": (),  # the package's own __init__: a docstring
    "process": ("elf", "cpu", "kernel"),
    "artifact": ("elf",),
    "tracee": ("process", "elf", "cpu", "kernel"),
    "loading": ("tracee", "process", "artifact", "elf", "cpu"),
    "apply": ("loading", "tracee", "process", "artifact", "elf", "cpu", "report"),
    "build": ("artifact", "elf", "cpu", "report"),
    "__main__": ("apply", "artifact", "report"),
    "build_main": ("build", "artifact", "report"),
    "action": ("plugin_utils", "artifact", "report"),
    "modules": ("injector",),
}

# Who may import what is not the standard library's. tests/ and the makers of documentation are free.
PACKAGES = {
    "kernel": {"ptrace"},
    "cpu": {"ptrace"},
    "build": {"elftools", "capstone"},
    "action": {"ansible", "jsonschema"},
    "modules": {"ansible"},
    "plugin_utils": {"ansible"},
    "callback": {"ansible"},
}

# ~400 lines is the house's limit. A module's documentation is data that Ansible wants in the file, and
# a table of one line an entry is read by looking up, not from the top: neither counts.
MAX_LINES = 400
TOLERANCE = 20  # "about": a file need not be cut in two for its last function


def tracked() -> list[Path]:
    """What git has or would have: also a file that is not added yet must keep the rules."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    return [REPOSITORY / name for name in sorted(set(listed.split("\0")) - {""}) if (REPOSITORY / name).is_file()]


def room_of(path: Path) -> str:
    """The room that a Python file below plugins/ belongs to."""
    parts = path.relative_to(PLUGINS).with_suffix("").parts
    if parts[:2] == ("module_utils", "livepatch"):
        return "livepatch" if parts[2:] == ("__init__",) else parts[2]
    return parts[1] if parts[0] == "module_utils" else parts[0]


def imports(source: str, package: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Every import of a module of ``package``, wherever it stands: line, and dotted name as a tuple.

    ``from a import b`` yields ``a.b``: as a module it is one, as a name it lies in the module ``a``.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, tuple(alias.name.split("."))) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            yield from ((node.lineno, (*module, alias.name)) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
            "import_module", "__import__",
        ):  # fmt: skip
            yield node.lineno, ("<dynamic import>",)


def normal(name: tuple[str, ...]) -> tuple[str, ...]:
    """A name as seen from the collection's plugins/: ``module_utils.livepatch.X`` however it was written."""
    text = ".".join(name)
    for prefix, place in ((COLLECTION + "plugins.", ""), ("livepatch.", "module_utils.livepatch.")):
        if text.startswith(prefix):
            return tuple((place + text[len(prefix) :]).split("."))
    return name


def violations(path: Path, source: str) -> list[str]:
    """What of the law a file breaks, each a line for a person."""
    found = []
    room = room_of(path)
    package = path.relative_to(PLUGINS).parent.parts
    for line, raw in imports(source, package):
        name = normal(raw)
        where = f"{path.relative_to(PLUGINS)}:{line}: {room} enters "
        if name[0] in ("module_utils", "plugin_utils", "action", "modules", "callback"):
            target = (PLUGINS / Path(*name)).with_suffix(".py")
            entered = room_of(target)
            if entered not in (room, "errors", *LAW.get(room, ())):
                found.append(where + entered)
        elif name[0] not in sys.stdlib_module_names and name[0] not in PACKAGES.get(room, ()):
            found.append(where + ".".join(name))
    return found


PYTHON = sorted(path for path in PLUGINS.rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_a_room_enters_only_the_rooms_that_its_row_names(path: Path) -> None:
    assert violations(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("module_utils/livepatch/elf/x.py", "from ..apply import plan"),
        ("module_utils/livepatch/elf/x.py", "from .. import apply"),
        ("module_utils/livepatch/elf/deep/er.py", "from ...tracee.stop import stop"),
        ("module_utils/livepatch/apply/x.py", "from ..kernel import ptrace"),
        ("module_utils/livepatch/apply/x.py", "import livepatch.build.pipeline"),
        ("module_utils/livepatch/apply/x.py", "def f():\n    from ..reexec import job"),
        ("module_utils/livepatch/build/x.py", "from ..process.snapshot import take"),
        ("module_utils/livepatch/loading/x.py", "from livepatch.kernel.memory import Memory"),
        ("module_utils/livepatch/process/x.py", "import elftools"),
        ("module_utils/livepatch/report.py", "from .artifact import file"),
        ("module_utils/livepatch/__init__.py", "from . import errors, apply"),
        ("module_utils/livepatch/apply/x.py", "import importlib\nimportlib.import_module('livepatch.build')"),
        ("module_utils/injector.py", "from .livepatch import errors, report"),
        ("modules/patch.py", f"from {COLLECTION}plugins.module_utils.livepatch.report import table"),
        ("modules/patch.py", "from ..module_utils.livepatch.report import table"),
        ("action/patch.py", f"from {COLLECTION}plugins.module_utils.livepatch.apply import plan"),
        ("plugin_utils/push.py", f"from {COLLECTION}plugins.module_utils.livepatch.artifact import file"),
    ],
)
def test_the_law_notices(place: str, line: str) -> None:
    assert violations(PLUGINS / place, line)


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("module_utils/livepatch/elf/x.py", "from ..errors import Refused\nfrom . import file\nimport struct"),
        ("module_utils/livepatch/elf/deep/er.py", "from ...errors import Refused\nfrom ..file import ElfFile"),
        ("module_utils/livepatch/loading/x.py", "from ..tracee.call import Caller\nfrom ..elf import file"),
        ("modules/patch.py", f"from {COLLECTION}plugins.module_utils import injector"),
        ("action/patch.py", f"from {COLLECTION}plugins.module_utils.livepatch.errors import Refused"),
    ],
)
def test_the_law_allows(place: str, line: str) -> None:
    assert violations(PLUGINS / place, line) == []


def test_only_one_file_calls_ptrace() -> None:
    """Neither python-ptrace's binding nor the C library's function is reached from anywhere else."""
    calls = re.compile(r"ptrace\.binding|\.ptrace\b\s*\(|\bsyscall\(\s*(?:101|26)\b|\bptrace_[a-z]+\(")
    callers = [path for path in LIVEPATCH.rglob("*.py") if calls.search(path.read_text())]
    assert callers == [LIVEPATCH / "kernel" / "ptrace.py"]


def test_no_file_hides_what_it_is_for() -> None:
    vague = {"utils", "common", "helpers", "types", "misc"}
    names = {stem for path in tracked() for stem in (*path.relative_to(REPOSITORY).parts[:-1], path.stem)}
    assert names & vague == set()


@pytest.mark.parametrize("room", sorted(LIVEPATCH.glob("*/__init__.py")), ids=lambda path: path.parent.name)
def test_every_room_says_what_each_of_its_files_is_for(room: Path) -> None:
    said = set(re.findall(r"\w+", ast.get_docstring(ast.parse(room.read_text())) or ""))
    assert {path.stem for path in room.parent.glob("*.py")} - said == {"__init__"}


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    """``select.py`` breaks ``selectors`` for whoever runs Python in that folder."""
    modules = [path for path in tracked() if path.suffix == ".py" and path.stem != "__main__"]
    assert [path for path in modules if path.stem in sys.stdlib_module_names] == []


def lines_that_count(source: str) -> int:
    """Lines without the strings that Ansible wants at the top level of a module, and without tables of literals."""
    skipped = 0
    for node in ast.parse(source).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(
            node.value, (ast.Constant, ast.Dict, ast.Tuple, ast.List)
        ):
            skipped += (node.end_lineno or node.lineno) - node.lineno
    return source.count("\n") - skipped


@pytest.mark.parametrize("path", [path for path in tracked() if path.suffix == ".py"], ids=lambda path: path.name)
def test_no_file_is_too_long_to_be_read(path: Path) -> None:
    assert lines_that_count(path.read_text()) <= MAX_LINES + TOLERANCE


WITHOUT_HEADER = {".md", ".txt", ".json", ".map"}  # prose and data carry no header


def test_every_source_says_whose_it_is_and_under_which_licence() -> None:
    wrong = []
    for path in tracked():
        name = path.relative_to(REPOSITORY)
        if path.suffix in WITHOUT_HEADER or name.parts[0] in ("COPYING", "LICENSES", ".gitignore", "changelogs"):
            continue
        try:
            head = path.read_text()[:800]
        except UnicodeDecodeError:
            continue
        rooms = LIVEPATCH in path.parents
        licence = "BSD-2-Clause" if rooms else "GPL-3.0-or-later"
        if f"SPDX-License-Identifier: {licence}" not in head or "SPDX-FileCopyrightText: " not in head:
            wrong.append(f"{name} ({licence})")
    assert wrong == []


def test_no_file_names_a_machine_or_a_registry() -> None:
    """What is true of one machine only: its paths, its mirrors. Sources and package indexes are configured there."""
    # Put together, so that this file does not name them either.
    hosts = ("deb.debian" + ".org", "pypi" + ".org", "pythonhosted" + ".org", "proxy.golang" + ".org")
    paths = ("/work" + "/main", "/work" + "/shared", "/tmp" + "/plan", "/tmp" + "/v/", "/root" + "/.", "/opt" + "/pypi")
    found = []
    for path in tracked():
        content = path.read_bytes()
        found += [f"{path.relative_to(REPOSITORY)}: {word}" for word in hosts + paths if word.encode() in content]
    assert found == []
