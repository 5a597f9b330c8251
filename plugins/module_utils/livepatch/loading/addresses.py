# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Does a patch make pointers to its own functions?

Such a pointer can come to stand where no search finds it: in the kernel (the
handler of a signal, a timer's notification), or mangled in the C library
(atexit(3), setjmp(3)).  The memory of such a patch is never freed.
"""

from __future__ import annotations

from ..elf import STT_FUNC
from .fields import Field
from .layout import Layout, Place


def takes_code_address(layout: Layout) -> bool:
    """Whether any relocation yields the address of a function of the patch, other than to branch there.

    Tables that lead into the middle of functions (switch statements) do not count.
    """
    contents = dict(layout.contents)
    starts = {
        layout.places[symbol.index]
        for symbol in layout.symbols
        if symbol.type == STT_FUNC and symbol.index in layout.places
    }
    return any(
        _yields(field, layout) & starts
        for field in layout.fields
        if field.section.name != ".eh_frame" and not _branches(field, contents[layout.sections[field.section.index]])
    )


def _yields(field: Field, layout: Layout) -> set[Place]:
    """Where the value may lead: a PC-relative field counts from its own end, so its addend is less by four."""
    place = layout.places.get(field.symbol.index)
    if place is None:
        return set()
    return {Place(place.part, place.offset + field.addend + end) for end in (0, 4)}


def _branches(field: Field, code: bytes) -> bool:
    """Whether the field is that of a call or jump: E8, E9, 0F 80 to 0F 8F (Intel SDM volume 2)."""
    if "P" not in field.formula.text:
        return False
    before = code[max(0, field.offset - 2) : field.offset]
    return before[-1:] in (b"\xe8", b"\xe9") or (before[:1] == b"\x0f" and b"\x80" <= before[1:] <= b"\x8f")
