# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What we take from python-ptrace, without what its packages drag along.

Importing its binding looks the C library up with ldconfig or a compiler
(20 ms and a child process) for what is loaded already, and ``ptrace.syscall``
brings a debugger's tables of prototypes and the socket module (10 ms).  A host
with fifty patched processes pays that at every command.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Iterator


@contextmanager
def without_library_search() -> Iterator[None]:
    """Inside, ``ctypes.util.find_library`` knows nothing; None stands for the program's own symbols."""
    stand_in: Any = ModuleType("ctypes.util")
    stand_in.find_library = lambda name: None
    with _in_place_of(stand_in):
        yield


@contextmanager
def bare_package(name: str) -> Iterator[None]:
    """Inside, modules of the package ``ptrace.NAME`` are imported without its ``__init__``."""
    parent = find_spec("ptrace")
    if parent is None or parent.submodule_search_locations is None:
        raise ImportError("the Python package python-ptrace is missing")
    stand_in: Any = ModuleType(f"ptrace.{name}")
    stand_in.__path__ = [f"{folder}/{name}" for folder in parent.submodule_search_locations]
    with _in_place_of(stand_in):
        yield


@contextmanager
def _in_place_of(stand_in: ModuleType) -> Iterator[None]:
    real = sys.modules.get(stand_in.__name__)
    sys.modules[stand_in.__name__] = stand_in
    try:
        yield
    finally:
        if real is None:
            del sys.modules[stand_in.__name__]
        else:
            sys.modules[stand_in.__name__] = real
