# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The memory that a process can have written to, as far as a short stop suffices to look through it.

How long that takes is told from its size, not from how busy the host is, so that the answer is the same
each time.  On two cores of 2.1 GHz, kernel 6.18, Python 3.11: 0.3 to 0.5 ms for a MiB that was touched
(0.25 of it process_vm_readv(2)), 6 ms for each GiB of address space whose page map must be asked.
"""

from __future__ import annotations

from typing import Dict, Iterable, Iterator, List, Sequence, Tuple

from ..kernel import procfs
from ..kernel.procfs import Mapping

Range = Tuple[int, int]

MS_PER_MIB = 1.0  # at least twice what was measured
MS_PER_MAPPED_GIB = 10.0


class TooLarge(Exception):
    """There is more of it than can be looked through in a short stop.

    :ivar mib: MiB that were touched, as far as was counted
    """

    def __init__(self, mib: int, mapped: int) -> None:
        self.mib = mib
        super().__init__(f"more than {mib} MiB of {mapped >> 20} MiB of writable memory were touched")


def areas(
    pid: int, tid: int, mappings: Iterable[Mapping], unused: Sequence[Range], milliseconds: float
) -> List[Range]:
    """What there is to look through, in order of address.

    :param tid: a living thread
    :param mappings: those that are not writable are left out
    :param unused: (start, end) to be left out, too: nothing there counts
    :param milliseconds: how long it may take to look through
    :raises TooLarge: that is not enough
    :raises ProcessLookupError: the process is gone
    """
    searched = list(_without([mapping for mapping in mappings if mapping.writable], unused))
    mapped = sum(end - start for start, end in searched)
    left = milliseconds - mapped / (1 << 30) * MS_PER_MAPPED_GIB
    result: List[Range] = []
    total = 0
    most = left / MS_PER_MIB * (1 << 20)
    if left < 0:
        raise TooLarge(0, mapped)
    starts = iter(searched)
    begin, end = 0, 0
    for first, last in procfs.touched(pid, tid, ((start & -procfs.PAGE, end) for start, end in searched)):
        while not begin <= last - 1 < end:  # the range that this is a part of: both are in order
            begin, end = next(starts)
        result.append((max(first, begin), min(last, end)))
        total += last - first
        if total > most:
            raise TooLarge(total >> 20, mapped)
    return result


def _without(mappings: Sequence[Mapping], unused: Sequence[Range]) -> Iterator[Range]:
    for mapping in mappings:
        start = mapping.start
        gaps: Dict[int, int] = {}  # of several stack pointers on what looks like one stack, the lowest counts
        for low, high in unused:
            if mapping.start <= low < mapping.end:
                gaps[low] = min(high, mapping.end, gaps.get(low, high))
        for low, high in [*sorted(gaps.items()), (mapping.end, mapping.end)]:
            if start < low:
                yield start, low
            start = max(start, high & -8)
