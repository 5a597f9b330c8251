# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What this room asks of a line of /proc/PID/maps; a snapshot's mappings are such."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Mapping(Protocol):
    """One mapping: ``end`` is the first address behind it, ``size`` in bytes, ``permissions`` as "r-xp"."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...

    @property
    def size(self) -> int: ...

    @property
    def permissions(self) -> str: ...

    @property
    def writable(self) -> bool: ...

    @property
    def path(self) -> str: ...


class Reserved(NamedTuple):
    """Addresses that will be taken before we come to use a memory map."""

    start: int
    size: int
    permissions: str = "---p"
    path: str = ""
    writable: bool = False

    @property
    def end(self) -> int:
        return self.start + self.size
