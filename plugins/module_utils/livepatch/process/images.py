# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Every ELF image that a process has mapped, found in its memory.

An image is where a readable mapping of a file's first page shows an ELF header, and every executable
PT_LOAD of it begins, at the place that the header's own address gives, in executable memory::

    maps                                        program headers
    7f10000000 r--p 00000000 libx.so  <- base   LOAD R    vaddr 0x0000   bias = 7f10000000 - 0x0000
    7f10001000 r-xp 00001000 libx.so            LOAD R X  vaddr 0x1000   executable at bias + 0x1000?
    7f10003000 rw-p 00002000 libx.so            LOAD RW   vaddr 0x3db8

So a file that is mapped only to be read (a debugger does that) is none, and a library that was deleted,
replaced, or is of another mount namespace is found as well as any other.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import Callable, List, Optional, Sequence, Tuple

from ..cpu import Cpu, of_machine
from ..elf import DT_TEXTREL, EM_X86_64, PF_X, PT_LOAD, Malformed
from ..elf.file import ElfFile
from ..elf.loaded import LoadedImage
from ..kernel.procfs import Mapping
from . import mapped_file
from .mapped_file import DELETED, MappedFile, without_deleted

PAGE = 4096
VDSO = "[vdso]"

ReadMemory = Callable[[int, int], bytes]


@dataclass(frozen=True)
class Image:
    """One mapped ELF file.

    Addresses are memory addresses here; memory address = link-time address + :attr:`bias`, modulo the
    width of an address.

    :ivar task: whose /proc directory shows the memory: the process, or a living thread of it
    :ivar path: as the process's mount namespace has it, without " (deleted)"; "[vdso]"
    :ivar deleted: the name is gone, or stands for another file now
    :ivar executable: the program that the process runs, and not a library
    :ivar end: of the last mapping, behind .bss
    :ivar mappings: of this file, in order of address
    :ivar loaded: what its memory says
    :ivar build_id: hexadecimal digits, from the notes in memory; None: it has none
    """

    task: int
    path: str
    deleted: bool
    executable: bool
    start: int
    end: int
    mappings: Tuple[Mapping, ...]
    loaded: LoadedImage = field(repr=False, compare=False)
    build_id: Optional[str]

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return posixpath.basename(self.path)

    @property
    def is_vdso(self) -> bool:
        """Mapped by the kernel; there is no file."""
        return self.path == VDSO

    @property
    def machine(self) -> int:
        """e_machine."""
        return self.loaded.machine

    @property
    def elf_class(self) -> int:
        """32 or 64."""
        return self.loaded.elf_class

    @property
    def type(self) -> int:
        """ET_EXEC or ET_DYN."""
        return self.loaded.type

    @property
    def bias(self) -> int:
        """Memory address minus link-time address, bytes."""
        return self.loaded.bias

    @property
    def cpu(self) -> Optional[Cpu]:
        """The architecture of its code; None: none that we know, x32 included."""
        return of_machine(self.machine, self.elf_class)

    @property
    def is_x32(self) -> bool:
        """64-bit instructions with 32-bit pointers."""
        return (self.machine, self.elf_class) == (EM_X86_64, 32)

    def contains(self, address: int) -> bool:
        """Whether a memory address is inside of it."""
        return self.start <= address < self.end

    def open_file(self) -> Optional[ElfFile]:
        """The file itself; None where it can not be opened any more, or is not the one that is mapped.

        :raises ProcessLookupError: the process is gone
        """
        found = self._mapped_file()
        return None if found is None else found.elf

    def file_bytes(self, address: int, size: int) -> Optional[bytes]:
        """What the *file* has at a link-time address; None: no file, or not there."""
        file = self.open_file()
        try:
            return None if file is None else file.read(address, size)
        except Malformed:
            return None

    def text_sha256(self) -> Optional[str]:
        """The identity of an image without build ID, see :meth:`ElfFile.text_sha256`; None: not to be told.

        Where no door leads to the file the text in memory stands for it, unless it has text relocations.
        """
        found = self._mapped_file()
        try:
            if found is not None:
                return found.text_sha256()
            if any(tag == DT_TEXTREL for tag, _ in self.loaded.dynamic):
                return None
            return self.loaded.text_sha256()
        except Malformed:
            return None

    def _mapped_file(self) -> Optional[MappedFile]:
        if self.is_vdso:
            return None
        found = mapped_file.opened(self.task, self.mappings[0], self.executable)
        if found is None:
            return None
        try:
            same = found.elf.build_id() == self.build_id and found.elf.segments == self.loaded.segments
        except Malformed:
            return None
        return found if same else None


def find(task: int, mappings: Sequence[Mapping], read: ReadMemory, exe: str) -> Tuple[Image, ...]:
    """Every image among `mappings`, in order of address.

    :param task: the process, or a living thread of it
    :param mappings: its whole memory map
    :param read: read(memory address, size)
    :param exe: what /proc/PID/exe leads to
    :raises ProcessLookupError: the process is gone
    """
    found: List[Image] = []
    executed = {_file_of(each) for each in mappings if each.executable}
    for index, mapping in enumerate(mappings):
        if mapping.offset or not mapping.readable or not (mapping.inode or mapping.path == VDSO):
            continue
        # Text that was moved to huge pages is anonymous; but then the rest of the file is still private.
        if _file_of(mapping) not in executed and not mapping.private:
            continue
        # The first page of a file may be mapped once more, behind its text.
        if found and mapping.start < found[-1].end:
            continue
        image = at(task, mappings, index, read, exe)
        if image is not None:
            found.append(image)
    return tuple(found)


def at(task: int, mappings: Sequence[Mapping], index: int, read: ReadMemory, exe: str) -> Optional[Image]:
    """The image whose first page is mapped by `mappings[index]`, or None.

    Parameters as in :func:`find`.
    """
    mapping = mappings[index]
    try:
        # a device, or what is behind the end of a truncated file, can not be read
        if read(mapping.start, 4) != b"\x7fELF":
            return None
        loaded = LoadedImage(read, mapping.start)
        if not _is_executed(loaded, mappings):
            return None
        extent = loaded.extent
        build_id = loaded.build_id()
    except ProcessLookupError:
        raise
    except (Malformed, OSError):
        return None
    end = loaded.memory_address(extent.address + extent.size + PAGE - 1 & -PAGE)
    return Image(
        task=task,
        path=without_deleted(mapping.path),
        deleted=mapping.path.endswith(DELETED),
        executable=mapping.path == exe,
        start=mapping.start,
        end=end,
        mappings=tuple(
            each for each in mappings[index:] if each.start < end and _file_of(each) == _file_of(mapping)
        ),
        loaded=loaded,
        build_id=build_id,
    )


def _is_executed(loaded: LoadedImage, mappings: Sequence[Mapping]) -> bool:
    """Whether every executable PT_LOAD begins in executable memory, and there is one."""
    texts = [each for each in loaded.segments if each.type == PT_LOAD and each.flags & PF_X]
    addresses = [loaded.memory_address(segment.address) for segment in texts]
    return bool(texts) and all(
        any(each.executable and each.start <= address < each.end for each in mappings) for address in addresses
    )


def _file_of(mapping: Mapping) -> Tuple[str, int, str]:
    return mapping.device, mapping.inode, mapping.path
