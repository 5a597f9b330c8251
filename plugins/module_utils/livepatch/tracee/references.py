# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Which words of a process's memory lead into a piece of it?

Asked before a patch's memory is freed: a callback that the patch registered, a
string of its that somebody kept.  Looked through are all words of all writable
memory that was ever touched, and of the stacks from the stack pointers on.

Words that point into the *middle* of the patch's functions do not count when
nobody is inside: return addresses of calls that are over lie about for ever, on
stacks and where stacks have been.  Function pointers lead to the start of one.

:mod:`suspended` asks the opposite question of the same memory.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Callable, Iterator, List, NamedTuple, Optional, Protocol, Sequence, Tuple

from ..cpu import Cpu
from ..elf.frames import FrameTable
from ..kernel.memory import IOV_MAX, BulkReader, Memory
from ..kernel.procfs import PAGE, Mapping
from ..process.written import TooLarge, areas
from .scan import Scanner

__all__ = ["Finder", "TooLarge", "Wanted", "bodies", "first"]

Range = Tuple[int, int]

MILLISECONDS = 24.0  # what may be spent in a stop to free a few pages
_CHUNK = 1 << 20  # bytes read at once


class Sought(Protocol):
    """What is looked for: words in ``whole``, both ends included, that ``leads`` accepts."""

    @property
    def whole(self) -> Sequence[Range]: ...

    def leads(self, value: int) -> bool: ...


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


def first(
    pid: int,
    task: int,
    memory: Memory,
    word: int,
    wanted: Wanted,
    mappings: Sequence[Mapping],
    unused: Sequence[Range],
) -> Optional[str]:
    """The first word outside of a patch that leads into it, in words; None: there is none.

    :param unused: (start, end) of memory where nothing is alive
    :raises TooLarge: there is too much to look through
    """
    own = {start for start, _ in wanted.whole}
    others = [mapping for mapping in mappings if mapping.start not in own]
    where = areas(pid, task, others, unused, MILLISECONDS)
    for address, value in Finder(task, memory, wanted, word).find(where):
        return f"the word at {address:#x} is {value:#x}, in the patch's memory"
    return None


class Finder:
    """Built before the stop, used in it.

    :param task: any living thread of the process
    :param word: bytes in an address
    """

    def __init__(self, task: int, memory: Memory, sought: Sought, word: int) -> None:
        self._memory = memory
        self._sought = sought
        self._word = word
        self._scanner = Scanner(word, sought.whole)
        self._reader = BulkReader(task, _CHUNK)

    def find(self, where: Sequence[Range]) -> Iterator[Tuple[int, int]]:
        """Words that lead there: (address of the word, its value), in order of address.

        :param where: addresses aligned to words, see :func:`livepatch.process.written.areas`
        :raises ProcessLookupError: the process is gone
        """
        for batch in _batches(where):
            try:
                size = self._reader.read([(start, end - start) for start, end in batch])
            except ProcessLookupError:
                raise
            except OSError:
                yield from self._page_by_page(batch)
                continue
            yield from self._hits(self._reader.buffer, size, batch)

    def _page_by_page(self, batch: Sequence[Range]) -> Iterator[Tuple[int, int]]:
        """Something in between was unmapped meanwhile, or is device memory: no word of it is ours to follow."""
        for start, end in batch:
            for first in range(start, end, PAGE):
                last = min(first + PAGE, end)
                try:
                    data = self._memory.read(first, last - first)
                except ProcessLookupError:
                    raise
                except OSError:
                    continue
                yield from self._hits(bytearray(data), len(data), [(first, last)])

    def _hits(self, data: bytearray, size: int, batch: Sequence[Range]) -> Iterator[Tuple[int, int]]:
        offsets = self._scanner.find(data, size)
        if not offsets:
            return
        begins = []
        total = 0
        for start, end in batch:
            begins.append(total)
            total += end - start
        for offset in offsets:
            value = int.from_bytes(data[offset : offset + self._word], "little")
            if self._sought.leads(value):
                index = bisect_right(begins, offset) - 1
                yield batch[index][0] + offset - begins[index], value


def _batches(where: Sequence[Range]) -> Iterator[List[Range]]:
    """Ranges that are read together."""
    batch: List[Range] = []
    room = _CHUNK
    for start, end in where:
        while start < end:
            part = min(end - start, room)
            batch.append((start, start + part))
            start += part
            room -= part
            if not room or len(batch) == IOV_MAX:
                yield batch
                batch, room = [], _CHUNK
    if batch:
        yield batch
