# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of a Markdown page, and what it says that they print.

A fenced block with the language ``console`` holds commands (``$ ...``; a here-document goes on without a
prompt) and lines of what they print. A comment ``<!-- exits N -->`` before the fence says that the block's
last command fails so.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .toolchain import REPOSITORY

DEADLINE = 120.0  # seconds for one command
_BLOCK = re.compile(r"(?:<!-- exits (\d+) -->\n)?```console\n(.*?)```", re.DOTALL)
_HEREDOC = re.compile(r"<<'(\w+)'")


@dataclass
class Command:
    """One command, the lines that the page shows after it, and the exit code that it should have."""

    line: int  # in the page
    text: str
    shown: list[str] = field(default_factory=list)
    code: int = 0


def commands(page: Path) -> Iterator[Command]:
    """All of a page, in order."""
    text = page.read_text()
    for block in _BLOCK.finditer(text):
        start = text.count("\n", 0, block.start(2)) + 1
        found: list[Command] = []
        end = None  # of a here-document
        for number, line in enumerate(block.group(2).splitlines(), start):
            if end is not None:
                found[-1].text += "\n" + line
                end = None if line == end else end
            elif line.startswith("$ "):
                found.append(Command(number, line[2:]))
                heredoc = _HEREDOC.search(line)
                end = heredoc.group(1) if heredoc else None
            else:
                found[-1].shown.append(line)
        found[-1].code = int(block.group(1) or 0)
        yield from found


class Shell:
    """A bash in a folder of its own, as a reader of the page has it; ``livepatch`` is the clone's.

    :param folder: empty; becomes the home folder, with the clone in it
    :ivar folder: where the commands are run
    """

    def __init__(self, folder: Path) -> None:
        (folder / "userspace.livepatch").symlink_to(REPOSITORY)
        tools = folder / "tools"
        tools.mkdir()
        self._program(tools / "livepatch", REPOSITORY / "bin" / "livepatch")
        self.folder = folder / "work"
        self.folder.mkdir()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE", "PYTEST"))},
            "HOME": str(folder), "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], cwd=self.folder, env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    @staticmethod
    def _program(path: Path, script: Path) -> None:
        """What ``bin/livepatch`` does, with the Python that runs the tests."""
        builder = "build|inspect|sign|verify"
        path.write_text(
            f"#!/bin/sh\ncase $1 in {builder}) module=livepatch.build_main ;; *) module=livepatch ;; esac\n"
            f"PYTHONPATH={script.parents[1]}/plugins/module_utils exec {sys.executable} -m $module \"$@\"\n"
        )
        path.chmod(0o755)

    def run(self, text: str) -> tuple[int, str]:
        """Run a command; its exit code and what it printed.

        :raises AssertionError: it took too long
        """
        late = threading.Timer(DEADLINE, self.close)
        late.start()
        try:
            # Standard input stays the shell's: a command must not read the next ones.
            self._bash.stdin.write(f"{{ {text}\n}} </dev/null 2>&1\nprintf '\\n:::%d:::\\n' $?\n")
            self._bash.stdin.flush()
            lines: list[str] = []
            for line in self._bash.stdout:
                ended = re.fullmatch(r":::(\d+):::\n", line)
                if ended:
                    return int(ended.group(1)), "".join(lines)
                lines.append(line)
            raise AssertionError(f"the shell ended, or {text!r} took more than {DEADLINE} s: {''.join(lines)}")
        finally:
            late.cancel()

    def close(self) -> None:
        """End it and all that it has started."""
        if self._bash.poll() is None:
            os.killpg(self._bash.pid, 9)
        self._bash.wait()

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def plain(text: str) -> str:
    """A line without what differs from run to run: numbers, times and spaces."""
    return re.sub(r"\s+", " ", re.sub(r"\d+", "N", text)).strip()
