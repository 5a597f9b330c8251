# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause

"""DT_GNU_HASH: which symbols can have a name, without reading all names.

::

    nbuckets, first, bloom words, shift          first: index of the first symbol that is in the table
    bloom[...]      one word; both bits of a hash clear: the name is not here
    buckets[...]    hash % nbuckets -> index of the first symbol of a chain, 0: none
    chains[i-first] hash of symbol i, whose lowest bit ends the chain

Source: glibc elf/dl-lookup.c, do_lookup_x; binutils bfd/elflink.c, elf_gnu_hash_process_symidx.
"""

from __future__ import annotations

import functools
import struct
from typing import Callable, Iterator, Sequence

from . import Malformed
from .layout import Layout

_HEADER = struct.Struct("<IIII")
_CHAIN_STEP = 4096  # bytes of the last chain to read at a time


@functools.lru_cache(maxsize=4096)
def hash_of(name: str) -> int:
    """The 32-bit hash of a symbol name (Bernstein's, times 33)."""
    value = 5381
    for byte in name.encode():
        value = (value * 33 + byte) & 0xFFFFFFFF
    return value


class GnuHash:
    """The table at `address`; `read` and `room` as in :class:`~.dynamic.DynamicTables`.

    :raises Malformed: (every method) the table does not fit what can be read
    """

    def __init__(
        self, layout: Layout, read: Callable[[int, int], bytes], room: Callable[[int], int], address: int
    ) -> None:
        buckets, self._first, words, self._shift = _HEADER.unpack(read(address, _HEADER.size))
        if not buckets or not words:
            raise Malformed(f"GNU hash table at {address:#x} has no buckets or no filter")
        self._word_bits = 8 * layout.word
        bloom = address + _HEADER.size
        self._bloom = _numbers("Q" if layout.word == 8 else "I", read(bloom, words * layout.word))
        self._buckets = _numbers("I", read(bloom + words * layout.word, 4 * buckets))
        chains = bloom + words * layout.word + 4 * buckets
        self.symbol_count = self._count(read, room, chains)
        self._chains = _numbers("I", read(chains, 4 * max(0, self.symbol_count - self._first)))

    def candidates(self, name: str) -> Iterator[int]:
        """Indices of the defined symbols whose hash is that of `name`."""
        value = hash_of(name)
        word = self._bloom[value // self._word_bits % len(self._bloom)]
        second = (value >> self._shift) if self._shift < 32 else 0
        if not (word >> value % self._word_bits) & (word >> second % self._word_bits) & 1:
            return
        index = self._buckets[value % len(self._buckets)]
        if index == 0:
            return
        for position in range(index - self._first, len(self._chains)):
            if position < 0:
                raise Malformed(f"hash chain starts at symbol {index}, the table at {self._first}")
            if (self._chains[position] ^ value) >> 1 == 0:
                yield position + self._first
            if self._chains[position] & 1:
                return

    def _count(self, read: Callable[[int, int], bytes], room: Callable[[int], int], chains: int) -> int:
        """One more than the highest index in the table: the end of the last chain. 0: the table is empty.

        Symbols that nobody can find, imports above all, stand before `first`; where the table is empty
        linkers do not keep `first` up to date, so that it says nothing.
        """
        last = max(self._buckets)
        if last == 0:
            return 0
        if last < self._first:
            raise Malformed(f"hash chain starts at symbol {last}, the table at {self._first}")
        position = chains + 4 * (last - self._first)
        while True:
            size = min(_CHAIN_STEP, room(position)) & -4
            if size <= 0:
                raise Malformed("the last hash chain does not end")
            for value in _numbers("I", read(position, size)):
                last += 1
                if value & 1:
                    return last
            position += size


def _numbers(code: str, data: bytes) -> Sequence[int]:
    return struct.unpack(f"<{len(data) // struct.calcsize('<' + code)}{code}", data)
