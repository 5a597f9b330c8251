# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Where the unwind tables of a process's code come from.

======================================  =========================================================
an image with .eh_frame_hdr (ld makes   the file; memory where the file can not be opened
one for all but static executables)
a static executable                     the section .eh_frame of the file, read from its start
the vdso                                memory; for what a 32-bit one lacks see vdso.py
a patch                                 the memory that it was loaded to
any other code (JIT compilers')         none: a thread in there can not be unwound
======================================  =========================================================
"""

from __future__ import annotations

import mmap
import os
from typing import BinaryIO, Callable, List, Optional, Sequence

from ..cpu import Cpu
from ..elf import PF_X, PT_GNU_EH_FRAME, PT_LOAD, STT_FUNC, Malformed
from ..elf.file import ElfFile
from ..elf.frames import FrameTable
from ..elf.layout import Segment
from ..elf.loaded import LoadedImage
from ..kernel.procfs import Mapping
from .unwind import Code, Located, Read
from .vdso import VdsoFunction, VdsoTable

OpenFile = Callable[[Mapping], Optional[BinaryIO]]


def of_process(cpu: Cpu, mappings: Sequence[Mapping], read: Read, open_file: OpenFile) -> List[Code]:
    """The executable memory of a process.

    Nothing is read yet; each table is, when it is needed for the first time.

    :param mappings: all of them, ascending
    :param open_file: opens the very file that is mapped, deleted or replaced as it may be, or gives
        ``None``; we close it
    """
    return [
        Code(mapping.start, mapping.end, _name(mapping), _located(cpu, mapping, mappings, read, open_file))
        for mapping in mappings
        if mapping.executable
    ]


def of_patch(cpu: Cpu, start: int, end: int, name: str, eh_frame: int, size: int, read: Read) -> Code:
    """A patch's code in [start, end), whose .eh_frame of ``size`` bytes stands in memory at ``eh_frame``."""

    def locate() -> Located:
        return Located(FrameTable.from_section(read(eh_frame, size), eh_frame, cpu.word), 0)

    return Code(start, end, name, locate)


def _name(mapping: Mapping) -> str:
    return os.path.basename(mapping.path) or f"anonymous memory at {mapping.start:#x}"


def _located(
    cpu: Cpu, mapping: Mapping, mappings: Sequence[Mapping], read: Read, open_file: OpenFile
) -> Callable[[], Optional[Located]]:
    def locate() -> Optional[Located]:
        if mapping.path == "[vdso]":
            return _in_vdso(cpu, mapping, read)
        if not mapping.inode:
            return None
        file = open_file(mapping)
        if file is None:
            return _in_memory(cpu, _first(mapping, mappings), read)
        with file:
            return _in_file(cpu, mapping, memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)))

    return locate


def _first(mapping: Mapping, mappings: Sequence[Mapping]) -> int:
    """Where the image begins that a mapping belongs to: its file's last offset 0 up to there."""
    starts = [
        each.start
        for each in mappings
        if (each.device, each.inode, each.offset) == (mapping.device, mapping.inode, 0) and each.start <= mapping.start
    ]
    if not starts:
        raise Malformed("its first page is not mapped")
    return max(starts)


def _in_file(cpu: Cpu, mapping: Mapping, data: memoryview) -> Optional[Located]:
    """The table of a file, as link-time addresses."""
    elf = ElfFile(data, _name(mapping))
    segment = next(
        (
            each
            for each in elf.segments
            if each.type == PT_LOAD
            and each.flags & PF_X
            and each.offset < mapping.offset + mapping.size
            and mapping.offset < each.offset + each.file_size
        ),
        None,
    )
    if segment is None:
        raise Malformed("no segment of the file is what is mapped")
    # mmap(2) works in pages: it maps the file from `mapping.offset` on, wherever the segment begins in there.
    bias = mapping.start - mapping.offset + segment.offset - segment.address

    header = _eh_frame_hdr(elf.segments)
    if header is not None:
        around = _around(elf.segments, header.address)
        contents = data[around.offset : around.offset + around.file_size]
        return Located(FrameTable.from_header(contents, around.address, header.address, cpu.word), bias)
    section = elf.section(".eh_frame")
    if section is None:
        return None
    return Located(FrameTable.from_section(elf.content(section), section.address, cpu.word), bias)


def _in_memory(cpu: Cpu, base: int, read: Read) -> Optional[Located]:
    """The table of an image that begins at ``base``, as addresses in memory."""
    image = LoadedImage(read, base)
    header = _eh_frame_hdr(image.segments)
    if header is None:
        return None
    around = _around(image.segments, header.address)
    start = image.memory_address(around.address)
    contents = image.read(around.address, around.file_size)
    return Located(FrameTable.from_header(contents, start, image.memory_address(header.address), cpu.word), 0)


def _in_vdso(cpu: Cpu, mapping: Mapping, read: Read) -> Optional[Located]:
    located = _in_memory(cpu, mapping.start, read)
    if located is None or cpu.word == 8:
        return located
    image = LoadedImage(read, mapping.start)
    functions = [
        VdsoFunction(image.memory_address(symbol.value), image.read(symbol.value, symbol.size))
        for symbol in image.symbols()
        if symbol.type == STT_FUNC and symbol.size
    ]
    return Located(VdsoTable(located.table, functions), 0)


def _eh_frame_hdr(segments: Sequence[Segment]) -> Optional[Segment]:
    return next((each for each in segments if each.type == PT_GNU_EH_FRAME), None)


def _around(segments: Sequence[Segment], address: int) -> Segment:
    """The loaded segment that the header, and with it .eh_frame, is in."""
    for each in segments:
        if each.type == PT_LOAD and each.address <= address < each.address + each.file_size:
            return each
    raise Malformed(".eh_frame_hdr is in no loaded segment")
