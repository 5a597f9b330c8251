# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes .eh_frame records byte by byte, for tests."""

from __future__ import annotations

import struct


def uleb(value: int) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def sleb(value: int) -> bytes:
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        done = value == (-1 if low & 0x40 else 0)
        out.append(low | (0 if done else 0x80))
        if done:
            return bytes(out)


def record(body: bytes) -> bytes:
    body += bytes(-len(body) % 4)  # DW_CFA_nop
    return struct.pack("<I", len(body)) + body


# x86_64: CFA is rsp+8, the return address stands at CFA-8
INITIAL = b"\x0c\x07\x08\x90\x01"


def cie(
    program: bytes = INITIAL,
    version: int = 1,
    augmentation: bytes = b"zR",
    data: bytes = b"\x1b",
    code: int = 1,
    align: int = -8,
    column: int = 16,
) -> bytes:
    """A CIE; pointers are relative to themselves, signed, four bytes."""
    body = struct.pack("<IB", 0, version) + augmentation + b"\0"
    if version == 4:
        body += b"\x08\0"
    body += uleb(code) + sleb(align) + (bytes([column]) if version == 1 else uleb(column))
    if augmentation:
        body += uleb(len(data)) + data
    return record(body + program)


def fde(at: int, start: int, size: int, program: bytes = b"", cie_at: int = 0, data: bytes = b"") -> bytes:
    """An FDE that stands at address ``at``; the CIE stands at address ``cie_at``."""
    body = struct.pack("<Iii", at + 4 - cie_at, start - (at + 8), size) + uleb(len(data)) + data
    return record(body + program)


def section(*programs: bytes, address: int = 0x1000, start: int = 0x4000, size: int = 0x100, **of_cie: object) -> bytes:
    """One CIE and an FDE a program, for functions of ``size`` bytes in a row."""
    out = cie(**of_cie)  # type: ignore[arg-type]
    for index, program in enumerate(programs):
        out += fde(address + len(out), start + index * size, size, program, address)
    return out


def header(section_address: int, at: int, table: list[tuple[int, int]]) -> bytes:
    """An .eh_frame_hdr that stands at ``at``; the table: (start of a function, address of its FDE)."""
    out = struct.pack("<BBBBiI", 1, 0x1B, 0x03, 0x3B, section_address - (at + 4), len(table))
    return out + b"".join(struct.pack("<ii", start - at, place - at) for start, place in table)
