# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Where in the address space a patch goes: decided over the memory map, nothing is done.

The two parts stand side by side in one gap, each a mapping of its own.  The
data part comes first, so that what overruns it meets memory that can not be
written::

         +-----------+-----------+
    free |  data rw- |  text r-x | free         and anywhere near: the target
         +-----------+-----------+
         ^           ^
         data        text = data + Layout.data_span

Every byte of the patch is in reach of every byte of the target, either way: for
the jumps into the patch, and for what non-PIC and PIE code refers to.

A gap that something grows into is the last choice.  brk(2) moves the end of
``[heap]`` up, page faults move the start of ``[stack]`` down; both stop at the
next mapping, and the process fails there, later, because of us.
"""

from __future__ import annotations

from typing import Iterable, NamedTuple, Sequence

from ..errors import Refused
from .layout import PAGE, Layout
from .memory_map import Mapping

# vm.mmap_min_addr as Debian and RHEL set it; CONFIG_LSM_MMAP_MIN_ADDR likewise.
LOWEST = 0x10000
# mm/mmap.c, stack_guard_gap: a mapping that grows down keeps 256 pages from the next one.  maps
# does not tell which ones do (MAP_GROWSDOWN), only that they are anonymous and writable.
STACK_GUARD = 256 * PAGE
# What we leave to heap and stack where there is as much, and what they must have.
ROOM = 1 << 30
LEAST_ROOM = 64 << 20

_LOW_END = 1 << 31  # AMD64 psABI, "Code Models": the small model's addresses end here
_TASK_END_64 = (1 << 47) - PAGE  # arch/x86/include/asm/page_64_types.h, DEFAULT_MAP_WINDOW


class _Gap(NamedTuple):
    """Free addresses, and whether what is below grows up or what is above grows down into them."""

    start: int
    end: int
    grows_up: bool
    grows_down: bool


class _Candidate(NamedTuple):
    """A base address; the smallest tuple is the best."""

    missing_room: int  # bytes of ROOM that heap or stack would lack
    distance: int  # from the target, bytes
    base: int


def find_gap(
    layout: Layout, mappings: Sequence[Mapping], target: tuple[int, int], executable_end: int
) -> tuple[int, int]:
    """Addresses for both parts, as near to the target as can be.

    :param mappings: the process's memory map, in order of address
    :param target: (start, end) in memory of the image that is patched
    :param executable_end: end of the main program's last mapping, behind which
        the heap will begin if there is none yet
    :returns: (text address, data address)
    :raises Refused: ``no_memory_in_reach``
    """
    size = layout.data_span + layout.text_span
    lowest, highest = _window(layout, mappings, target)
    candidates = []
    for gap in _gaps(mappings, target, executable_end):
        candidate = _best_in(gap, max(gap.start, lowest), min(gap.end, highest) - size, size, target)
        if candidate is not None:
            candidates.append(candidate)
    if not candidates:
        below = ", below 2 GiB" if layout.needs_low_addresses else ""
        raise Refused(
            "no_memory_in_reach",
            f"No gap of {size} bytes between {max(lowest, 0):#x} and {highest:#x}{below}, "
            f"around the target at {target[0]:#x}-{target[1]:#x}, that nothing grows into",
        )
    base = min(candidates).base
    return base + layout.data_span, base


def _window(layout: Layout, mappings: Sequence[Mapping], target: tuple[int, int]) -> tuple[int, int]:
    """The first address that may be used, and the first that may not."""
    cpu = layout.cpu
    # A page less than the reach: a displacement counts from the end of its instruction.
    reach = cpu.jump_reach - PAGE
    lowest = max(LOWEST, target[1] - reach)
    highest = min(_task_end(cpu.word, mappings), target[0] + reach)
    if layout.needs_low_addresses:
        highest = min(highest, _LOW_END)
    return lowest, highest


def _task_end(word: int, mappings: Sequence[Mapping]) -> int:
    """The end of what the process may map.

    For 32-bit processes it depends on the kernel, 64-bit (0xffffe000) or not
    (0xc0000000 and others); the stack stands at the end of either.
    """
    if word > 4:
        return _TASK_END_64
    return max((mapping.end for mapping in mappings), default=0)


def _gaps(mappings: Iterable[Mapping], target: tuple[int, int], executable_end: int) -> Iterable[_Gap]:
    """What is free, less a page beside everything and the guard below what may be a stack."""
    mappings = list(mappings)
    has_heap = any(mapping.path == "[heap]" for mapping in mappings)
    end_before, grows_up = 0, False
    for mapping in mappings:
        is_stack = mapping.path == "[stack]"
        anonymous = not mapping.path or mapping.path.startswith("[anon")
        guard = STACK_GUARD if is_stack or (anonymous and mapping.writable) else PAGE
        # Holes inside of the target belong to it.
        inside = target[0] <= end_before and mapping.start < target[1]
        if not inside:
            yield _Gap(end_before + PAGE, mapping.start - guard, grows_up, is_stack)
        grows_up = (
            (mapping.path == "[heap]" if has_heap else mapping.end == executable_end)
            # .bss continues the executable's last mapping
            or (grows_up and mapping.start == end_before)
        )
        end_before = max(end_before, mapping.end)
    yield _Gap(end_before + PAGE, 1 << 64, grows_up, False)


def _best_in(gap: _Gap, first: int, last: int, size: int, target: tuple[int, int]) -> _Candidate | None:
    """The best base in one gap.

    :param first: lowest base that may be taken
    :param last: highest base that may be taken
    """
    first, last = -(-first // PAGE) * PAGE, last // PAGE * PAGE
    if first > last:
        return None
    nearest = first if first >= target[1] else last
    if gap.grows_up and gap.grows_down:
        base = _between(first, gap.start + (gap.end - gap.start - size) // 2 // PAGE * PAGE, last)
    elif gap.grows_up:
        base = _between(first, max(nearest, gap.start + ROOM), last)
    elif gap.grows_down:
        base = _between(first, min(nearest, (gap.end - ROOM - size) // PAGE * PAGE), last)
    else:
        base = nearest
    rooms = [base - gap.start] * gap.grows_up + [gap.end - (base + size)] * gap.grows_down
    missing = sum(max(0, ROOM - room) for room in rooms)
    if any(room < LEAST_ROOM for room in rooms):
        return None
    distance = max(base - target[1], target[0] - (base + size))
    return _Candidate(missing, distance, base)


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))
