# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause

"""An ELF image that is mapped in a process, read from its memory.

::

    base --> +-------------+ <- the first page of the file: ELF header, program headers
             | PT_LOAD R   |    notes, dynamic symbols, strings, versions, hash
             | PT_LOAD R X |    text
             | PT_LOAD RW  |    PT_DYNAMIC, whose pointers glibc has relocated in place (musl has not)
             +-------------+
    bias = memory address - link-time address, one number for the whole image
"""

from __future__ import annotations

import errno
import hashlib
from functools import cached_property
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from . import PF_X, PN_XNUM, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_LOAD, PT_NOTE, Malformed
from .dynamic import LEFT_ALONE, RELOCATED, DynamicEntry, DynamicTables, PltSlot, first_values, read_entries
from .layout import IDENT, Layout, Relocation, Segment, covering, of_ident, table_size
from .notes import Note, build_id, read_notes
from .symbols import Symbol

PAGE = 4096
LONGEST_READ = 1 << 28  # bytes: no table of a real image is longer, and a false header shall not cost more
_CHUNK = 1 << 22


class Range(NamedTuple):
    """`size` bytes at a link-time address."""

    address: int
    size: int


class LoadedImage:
    """What the memory of one mapped image says. Addresses are link-time ones, as in the file.

    :param read: read(memory address, size) -> bytes; it raises OSError where nothing is mapped
    :param base: memory address of the image's ELF header
    :ivar bias: memory address = (link-time address + bias), modulo the address width
    :raises Malformed: here and in every method: what is in memory does not fit together
    :raises ProcessLookupError: whatever `read` raises of it: the process is gone
    """

    def __init__(self, read: Callable[[int, int], bytes], base: int) -> None:
        self._read_memory = read
        self.base = base
        self._layout: Layout = of_ident(self._memory(base, IDENT))
        header = self._layout.parse_header(self._memory(base, self._layout.header.size))
        if header.segment_count == PN_XNUM:
            raise Malformed("a mapped image with more than 65534 program headers")
        entry = self._layout.segment.size
        size = table_size("program headers", header.segment_count, header.segment_entry, entry)
        self.elf_class = self._layout.elf_class
        self.machine = header.machine
        self.type = header.type
        self.entry = header.entry
        table = self._memory(base + header.segment_offset, size)
        self.segments: List[Segment] = self._layout.parse_segments(table)
        self.bias = base - self._address_of_header()

    @property
    def layout(self) -> Layout:
        """The record formats of this image's class."""
        return self._layout

    def memory_address(self, address: int) -> int:
        """Where a link-time address is in memory."""
        return (address + self.bias) & self._layout.mask

    def link_address(self, address: int) -> int:
        """The link-time address of a memory address."""
        return (address - self.bias) & self._layout.mask

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes at a link-time address, as they are in memory now."""
        if covering(self.segments, address, size, in_file=False) is None:
            raise Malformed(f"{size} bytes at {address:#x} are in no loaded part of the image")
        return self._memory(self.memory_address(address), size)

    @cached_property
    def dynamic(self) -> Tuple[DynamicEntry, ...]:
        """The entries of the dynamic section as they are in memory; () where there is none."""
        for segment in self.segments:
            if segment.type == PT_DYNAMIC:
                return read_entries(self._layout, self.read(segment.address, segment.memory_size))
        return ()

    @cached_property
    def dynamic_tables(self) -> DynamicTables:
        """What the dynamic section leads to."""
        return DynamicTables(self._layout, self.read, self._room, self.dynamic, self._pointers())

    def symbols(self) -> List[Symbol]:
        """Every dynamic symbol, imports too, with versions; .symtab is never in memory."""
        return self.dynamic_tables.symbols

    def lookup(self, name: str, version: Optional[str] = None) -> Optional[Symbol]:
        """The definition that ld.so would take from this image, see :meth:`DynamicTables.lookup`."""
        return self.dynamic_tables.lookup(name, version)

    def relocations(self) -> List[Relocation]:
        """Every dynamic relocation. Of REL tables the addends are gone: they were overwritten."""
        return self.dynamic_tables.relocations()

    def plt_slots(self) -> List[PltSlot]:
        """A slot for each function that is called through the PLT."""
        return self.dynamic_tables.plt_slots()

    def notes(self) -> Iterator[Note]:
        """Every loaded note."""
        for segment in self.segments:
            # notes that are not loaded are not in memory, whatever is at their address
            if segment.type == PT_NOTE and self._room(segment.address) >= segment.memory_size:
                yield from read_notes(self.read(segment.address, segment.memory_size), segment.align)

    def build_id(self) -> Optional[str]:
        """The build ID from the loaded notes in hexadecimal digits, or None."""
        return build_id(self.notes())

    def text_sha256(self) -> str:
        """:meth:`ElfFile.text_sha256` of what is in memory: the file's, as long as nothing has changed it."""
        digest = hashlib.sha256()
        for segment in self.segments:
            if segment.type == PT_LOAD and segment.flags & PF_X:
                for position in range(0, segment.file_size, _CHUNK):
                    size = min(_CHUNK, segment.file_size - position)
                    digest.update(self.read(segment.address + position, size))
        return digest.hexdigest()

    @property
    def soname(self) -> Optional[str]:
        """DT_SONAME, or None."""
        return self.dynamic_tables.soname

    @property
    def needed(self) -> Tuple[str, ...]:
        """DT_NEEDED, in order."""
        return self.dynamic_tables.needed

    @property
    def eh_frame_hdr(self) -> Optional[Range]:
        """Where .eh_frame_hdr is (PT_GNU_EH_FRAME), or None."""
        for segment in self.segments:
            if segment.type == PT_GNU_EH_FRAME:
                return Range(segment.address, segment.memory_size)
        return None

    @property
    def extent(self) -> Range:
        """From the first loaded byte to the last, gaps included."""
        loads = [segment for segment in self.segments if segment.type == PT_LOAD]
        start = min(segment.address for segment in loads)
        return Range(start, max(segment.address + segment.memory_size for segment in loads) - start)

    def _address_of_header(self) -> int:
        """The link-time address of file offset 0, which may be in front of the first PT_LOAD's address.

        The kernel maps whole pages: a segment at offset 0x40 brings the header along (fs/binfmt_elf.c,
        elf_map).
        """
        for segment in self.segments:
            if segment.type == PT_LOAD and segment.offset < PAGE:
                return (segment.address - segment.offset) & self._layout.mask
        raise Malformed("no loaded segment holds the ELF header")

    def _pointers(self) -> Dict[int, int]:
        """The addresses in the dynamic section, undone what ld.so did to them."""
        values = first_values(self.dynamic)
        raw = {tag: values[tag] for tag in RELOCATED if values.get(tag)}  # 0: there is no such table
        undone = {tag: self.link_address(value) for tag, value in raw.items()}
        as_is, moved = self._all_loaded(raw.values()), self._all_loaded(undone.values())
        if as_is and moved and self.bias:
            raise Malformed(f"bias {self.bias:#x}: whether the dynamic section was relocated can not be told")
        if not as_is and not moved:
            raise Malformed("the dynamic section points outside of the image")
        pointers = undone if moved else raw
        pointers.update((tag, values[tag]) for tag in LEFT_ALONE if tag in values)
        return pointers

    def _all_loaded(self, addresses: Iterable[int]) -> bool:
        return all(covering(self.segments, address, 0, in_file=False) is not None for address in addresses)

    def _room(self, address: int) -> int:
        found = covering(self.segments, address, 1, in_file=False)
        return 0 if found is None else found[0].memory_size - found[1]

    def _memory(self, address: int, size: int) -> bytes:
        if size > LONGEST_READ or address + size > 1 << 8 * 8 - 1:
            raise Malformed(f"{size:#x} bytes at {address:#x}: no table of an image")
        if not size:
            return b""
        try:
            data = self._read_memory(address, size)
        except OSError as error:
            if error.errno in (errno.EFAULT, errno.EIO):
                raise Malformed(f"{size:#x} bytes at {address:#x} are not mapped") from None
            raise
        if len(data) != size:
            raise Malformed(f"{size:#x} bytes at {address:#x} are not all mapped")
        return data
