# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Does anything in a process still lead into a piece of its memory?

Asked before a patch's memory is freed: a callback that the patch registered, a
string of its that somebody kept.  Looked through are all words of all writable
memory that was ever touched, and of the stacks from the stack pointers on.

Words that point into the *middle* of the patch's functions do not count when
nobody is inside: return addresses of calls that are over lie about for ever, on
stacks and where stacks have been.  Function pointers lead to the start of one.
"""

from __future__ import annotations

from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ..cpu import Cpu
from ..elf.frames import FrameTable
from ..kernel import procfs
from ..kernel.memory import Memory
from ..kernel.procfs import Mapping
from .scan import Scanner

Range = Tuple[int, int]

_CHUNK = 1 << 20  # bytes read at once
# More than this is not worth a stop: bytes that were touched (some 0.3 ms a MiB), and bytes of address
# space to ask about.
_MOST_TOUCHED = 24 << 20
_MOST_MAPPED = 16 << 30


class TooLarge(Exception):
    """The process has more memory than can be searched in a short stop."""


class Wanted(NamedTuple):
    """The memory that is to be freed, as (start, end)."""

    whole: Sequence[Range]  # its mappings
    bodies: Sequence[Range]  # of functions: (start, end)

    def leads(self, value: int) -> bool:
        """Whether a word of this value is a pointer into the memory, as far as one can tell."""
        if not any(start <= value < end for start, end in self.whole):
            return False
        return not any(start < value <= end for start, end in self.bodies)


def bodies(cpu: Cpu, eh_frame: int, size: int, read: Callable[[int, int], bytes]) -> List[Range]:
    """(start, end) of the functions that a patch's .eh_frame describes."""
    return [(fde.start, fde.end) for fde in FrameTable.from_section(read(eh_frame, size), eh_frame, cpu.word)]


def areas(
    pid: int, tid: int, mappings: Iterable[Mapping], unused: Sequence[Range], wanted: Wanted
) -> List[Range]:
    """What there is to look through, in order of address.

    :param tid: a living thread
    :param unused: below the stack pointers of stacks that are proven: nothing there is alive
    :raises TooLarge: see there
    :raises ProcessLookupError: the process is gone
    """
    own = {start for start, _ in wanted.whole}
    searched = [mapping for mapping in mappings if mapping.writable and mapping.start not in own]
    if sum(mapping.size for mapping in searched) > _MOST_MAPPED:
        raise TooLarge
    result = []
    total = 0
    for mapping in searched:
        start = mapping.start
        gaps: Dict[int, int] = {}  # of several stack pointers on what looks like one stack, the lowest counts
        for low, high in unused:
            if mapping.start <= low < mapping.end:
                gaps[low] = min(high, gaps.get(low, high))
        for low, high in [*sorted(gaps.items()), (mapping.end, mapping.end)]:
            if start < low:
                for first, last in procfs.touched(pid, tid, start & -procfs.PAGE, low):
                    result.append((max(first, start), last))
                    total += last - first
                    if total > _MOST_TOUCHED:
                        raise TooLarge
            start = max(start, high & -8)
    return result


def find(memory: Memory, where: Sequence[Range], wanted: Wanted, word: int) -> Optional[Tuple[int, int]]:
    """The first word that leads into ``wanted``: (address of the word, its value); ``None``: there is none.

    :raises ProcessLookupError: the process is gone
    """
    scanner = Scanner(word, wanted.whole)
    for first, last in where:
        for start in range(first, last, _CHUNK):
            try:
                data = memory.read(start, min(_CHUNK, last - start))
            except ProcessLookupError:
                raise
            except OSError:  # unmapped meanwhile, or device memory: no word of it is ours to follow
                continue
            for offset in scanner.find(data):
                value = int.from_bytes(data[offset : offset + word], "little")
                if wanted.leads(value):
                    return start + offset, value
    return None
