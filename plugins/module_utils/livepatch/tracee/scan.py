# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The quick look at stacks: may any word on them be an address in these ranges?

A stack without such a word holds no return address into the ranges, whatever else is on it: no
unwinding is needed.  A stack with one may hold an old one, or a pointer that is no return address;
then the unwinder decides.

To look at each word would take 10 ms for 248 KB.  All addresses of a range share their high bytes,
so one byte is taken out of every word (a slice with a step, 15 us), and the bytes that are left are
searched for the shared one (memchr)::

    range  0x7f3a12341180 ... 0x7f3a12341495       the words on a stack, little-endian

                                                   80 11 34 12 3a 7f 00 00
                                                   01 00 00 00 00 00 00 00
                                                   d8 e3 81 92 fe 7f 00 00
                                                         ^^ this column: 34 00 81

A zero byte is no good: most words have many.  Ranges are cut where the third byte changes, every
64 KiB, so that the third is shared.  Where many words have that by chance, as when the stack's own
addresses do, the search goes on in the next column.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, Literal, Optional, Sequence, Tuple, Union

Range = Tuple[int, int]
Mark = Tuple[int, int]  # (column, the byte in it)

# Another column costs 15 us, a word that has the byte and is no address in the range 0.4 us.
_FEW = 60


class Scanner:
    """Finds the words that may be addresses in ``ranges``.

    Both ends count, [start, end]: a return address can be the end of its function, where the last
    instruction is a call that never returns.

    :param word: bytes in an address: 4 or 8
    :param ranges: (start, end)
    """

    def __init__(self, word: int, ranges: Iterable[Range]) -> None:
        self.word = word
        self._format: Literal["I", "Q"] = "Q" if word == 8 else "I"
        self._ranges = list(ranges)
        # What tells the words apart, the best first -> what the whole word must be in.
        self._searches: Dict[Tuple[Mark, ...], List[Range]] = {}
        for start, end in self._ranges:
            for piece in _pieces(start, end):
                self._searches.setdefault(_marks(piece, word), []).append(piece)

    def find(self, buffer: Union[bytes, bytearray], size: Optional[int] = None) -> List[int]:
        """Offsets in ``buffer`` of all such words, ascending.

        :param buffer: its first byte is one of an aligned address
        :param size: how many bytes of it count; a part of a word at their end does not
        """
        word = self.word
        size = (len(buffer) if size is None else min(size, len(buffer))) // word * word
        words = memoryview(buffer)[:size].cast(self._format)
        columns: Dict[int, Union[bytes, bytearray]] = {}
        found: List[int] = []
        for marks, pieces in self._searches.items():
            index = 0
            # The last time without a limit.
            for limit, (column, byte) in zip([*(_FEW for _ in marks), size], (*marks, marks[0])):
                if column not in columns:
                    columns[column] = buffer[column:size:word]
                index = _search(columns[column], byte, index, limit, words, pieces, found)
                if index < 0:
                    break
        # A word at which two ranges touch was found for each of them.
        return sorted({index * word for index in found})

    def contains(self, values: Iterable[int]) -> bool:
        """Whether any of some values, a thread's registers, may be an address in the ranges."""
        return any(start <= value <= end for value in values for start, end in self._ranges)


def extent(sp: int, low: int, high: int, word: int, most: int) -> Optional[Tuple[int, int]]:
    """(address, size in bytes) of what a thread uses of its stack, if that can be read whole.

    ``None`` sends the thread to the unwinder: its stack pointer is not inside of its own stack
    [low, high) (an alternate stack, a coroutine's), is not aligned (return addresses would not be,
    either), or there is too much of it.

    :param most: bytes
    """
    if not low <= sp < high or sp % word or high - sp > most:
        return None
    return sp, (high - sp) // word * word


def _pieces(start: int, end: int) -> Iterable[Range]:
    """[start, end] cut where the bytes change that all of a piece shall share: above the second, if
    that makes no more pieces than a byte has values, else above the third and so on."""
    bits = 16
    while (end >> bits) - (start >> bits) > 255:
        bits += 8
    edges = [number << bits for number in range((start >> bits) + 1, (end >> bits) + 1)]
    return zip([start, *edges], [*(edge - 1 for edge in edges), end])


def _marks(piece: Range, word: int) -> Tuple[Mark, ...]:
    """The bytes that all addresses of a piece share and that are not zero, the lowest first.

    The lowest says most: addresses of one library share the higher ones.
    """
    first, last = (end.to_bytes(word, "little") for end in piece)
    shared = word
    while shared and first[shared - 1] == last[shared - 1]:
        shared -= 1
    marks = tuple((column, first[column]) for column in range(max(shared, 2), word) if first[column])
    return marks or ((word - 1, first[-1]),)  # below 64 KiB nothing is mapped; correct all the same, if slow


def _search(
    column: Union[bytes, bytearray],
    byte: int,
    index: int,
    limit: int,
    words: memoryview,
    pieces: Sequence[Range],
    found: List[int],
) -> int:
    """Add to ``found`` the indices, from ``index`` on, of words that have ``byte`` in their column
    and are in one of ``pieces``.

    :returns: -1, or after ``limit`` words with that byte where to go on
    """
    find = column.find
    index = find(byte, index)
    while index >= 0 and limit:
        value = words[index]
        for low, high in pieces:
            if low <= value <= high:
                found.append(index)
                break
        index = find(byte, index + 1)
        limit -= 1
    return index
