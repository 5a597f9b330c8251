# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The near jump ``E9 rel32`` (Intel SDM volume 2, JMP), which both architectures have."""

from __future__ import annotations

import struct
from typing import Optional

SIZE = 5
REACH = 1 << 31

_DISPLACEMENT = struct.Struct("<i")


def encode_64(source: int, destination: int) -> bytes:
    """:raises OverflowError: farther than 2 GiB"""
    displacement = destination - (source + SIZE)
    if not -REACH <= displacement < REACH:
        raise OverflowError(f"{destination:#x} is out of a jump's reach from {source:#x}")
    return b"\xe9" + _DISPLACEMENT.pack(displacement)


def decode_64(code: bytes, source: int) -> Optional[int]:
    """Where the jump at ``source`` goes; ``None`` if ``code`` is no near jump."""
    if len(code) < SIZE or code[0] != 0xE9:
        return None
    return (source + SIZE + int(_DISPLACEMENT.unpack_from(code, 1)[0])) & (1 << 64) - 1


def encode_32(source: int, destination: int) -> bytes:
    """Addresses wrap at 4 GiB, so everything is in reach."""
    return b"\xe9" + ((destination - source - SIZE) & 0xFFFFFFFF).to_bytes(4, "little")


def decode_32(code: bytes, source: int) -> Optional[int]:
    """Where the jump at ``source`` goes; ``None`` if ``code`` is no near jump."""
    destination = decode_64(code, source)
    return None if destination is None else destination & 0xFFFFFFFF
