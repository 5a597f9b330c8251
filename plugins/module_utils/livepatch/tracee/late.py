# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Threads that did not stop in time, and are ours still.

Only a stopped thread can be detached, and a request to stop can not be taken back: a thread that sits in the
kernel for seconds (a disk, a vfork child) stops when it comes out, and would stand still until we exit, which
may be many processes later.  So whoever begins or ends with a process looks after them.
"""

from __future__ import annotations

import time
from typing import Dict, Tuple

from ..errors import Busy, Gone
from .thread import Thread

_threads: Dict[int, Tuple[int, bool]] = {}


def add(tid: int, pid: int, filtered: bool) -> None:
    """A seized thread that was asked to stop; :func:`let_go` has it from here on."""
    _threads[tid] = pid, filtered


def let_go() -> None:
    """Let go of those that have stopped since; waits for nobody."""
    for tid, (pid, filtered) in list(_threads.items()):
        try:
            Thread(tid, pid).release(time.monotonic(), filtered)
        except Busy:
            continue
        except (Gone, ProcessLookupError):  # ended, or somebody here had it meanwhile
            pass
        del _threads[tid]
