# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A running pause meter (pausemeter.c), and what it saw while something was done to it."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

_PAGE = struct.Struct("<IIII")  # struct page: largest_gap (ns), calls, reset, value
_RESET_AT = 8
_PATIENCE = 10.0  # seconds for the meter to answer


class Meter:
    """A pause meter with so many threads; ends with the block that it was started for."""

    def __init__(self, program: Path, threads: int) -> None:
        self._process = subprocess.Popen([program, str(threads)], stdout=subprocess.PIPE)
        self.pid = self._process.pid
        self._path = Path(f"/dev/shm/pausemeter.{self.pid}")
        if self._process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"{program} did not start")
        with self._path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def gap_during(self, act: Callable[[], object]) -> float:
        """Do something; the largest gap that the busy thread saw meanwhile, in microseconds."""
        struct.pack_into("<I", self._page, _RESET_AT, 1)
        self._until(lambda page: page[2] == 0)
        act()
        calls = self._read()[1]
        # A gap is counted at its end: one more call has to be seen.
        self._until(lambda page: page[1] != calls)
        return self._read()[0] / 1000

    @property
    def value(self) -> int:
        """What ``work(1)`` answers: 4, and 5 once it is patched."""
        return self._read()[3]

    def _read(self) -> tuple[int, int, int, int]:
        return _PAGE.unpack_from(self._page)

    def _until(self, holds: Callable[[tuple[int, int, int, int]], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not holds(self._read()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"pause meter {self.pid} does not go on (exit {self._process.poll()})")

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._page.close()
        os.unlink(self._path)
