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

from functools import lru_cache
from typing import Callable, Iterable, List, Optional, Sequence

from ..cpu import Cpu
from ..elf import PT_GNU_EH_FRAME, PT_LOAD, STT_FUNC, Malformed
from ..elf.file import ElfFile
from ..elf.frames import FrameTable
from ..elf.layout import Segment
from ..elf.loaded import LoadedImage
from ..kernel.procfs import Mapping
from ..process.images import Image
from .steps import Code, Located, Read
from .vdso import VdsoFunction, VdsoTable


def of_process(cpu: Cpu, images: Sequence[Image], mappings: Iterable[Mapping]) -> List[Code]:
    """The executable memory of a process.

    Nothing is read yet; each table is, when it is needed for the first time.
    """
    locates = [of_image(cpu, image) for image in images]
    code = []
    for mapping in mappings:
        if mapping.executable:
            name, locate = mapping.path or f"anonymous memory at {mapping.start:#x}", _nothing
            for image, located in zip(images, locates):
                if image.contains(mapping.start):
                    name, locate = image.name, located
            code.append(Code(mapping.start, mapping.end, name, locate))
    return code


def of_patch(cpu: Cpu, start: int, end: int, name: str, eh_frame: int, size: int, read: Read) -> Code:
    """A patch's code in [start, end), whose .eh_frame of ``size`` bytes stands in memory at ``eh_frame``."""

    def locate() -> Located:
        return Located(FrameTable.from_section(read(eh_frame, size), eh_frame, cpu.word), 0)

    return Code(start, end, name, locate)


def _nothing() -> Optional[Located]:
    return None


def of_image(cpu: Cpu, image: Image) -> Callable[[], Optional[Located]]:
    """Finds the table of an image when it is called; None: it has none.

    What it calls raises Malformed, and OSError where memory can not be read.
    """
    @lru_cache(maxsize=None)  # an image can have several executable mappings
    def locate() -> Optional[Located]:
        file = image.open_file()
        if file is not None:
            return _in_file(cpu, file, image.bias)
        return _in_memory(cpu, image.loaded, image.is_vdso)

    return locate


def _in_file(cpu: Cpu, file: ElfFile, bias: int) -> Optional[Located]:
    """The table of a file, in link-time addresses."""
    header = _eh_frame_hdr(file.segments)
    if header is not None:
        around = _around(file.segments, header)
        contents = file.read(around.address, around.file_size)
        return Located(FrameTable.from_header(contents, around.address, header.address, cpu.word), bias)
    section = file.section(".eh_frame")
    if section is None:
        return None
    return Located(FrameTable.from_section(file.content(section), section.address, cpu.word), bias)


def _in_memory(cpu: Cpu, image: LoadedImage, is_vdso: bool) -> Optional[Located]:
    """The table of a mapped image, in addresses in memory: what was relocated there fits those."""
    header = _eh_frame_hdr(image.segments)
    if header is None:
        return None
    around = _around(image.segments, header)
    contents = image.read(around.address, around.file_size)
    start = image.memory_address(around.address)
    table = FrameTable.from_header(contents, start, image.memory_address(header.address), cpu.word)
    if not is_vdso or cpu.word == 8:
        return Located(table, 0)
    functions = [
        VdsoFunction(image.memory_address(symbol.value), image.read(symbol.value, symbol.size))
        for symbol in image.symbols()
        if symbol.type == STT_FUNC and symbol.size
    ]
    return Located(VdsoTable(table, functions), 0)


def _eh_frame_hdr(segments: Sequence[Segment]) -> Optional[Segment]:
    return next((each for each in segments if each.type == PT_GNU_EH_FRAME), None)


def _around(segments: Sequence[Segment], header: Segment) -> Segment:
    """The loaded segment that .eh_frame_hdr, and with it .eh_frame, is in."""
    for each in segments:
        if each.type == PT_LOAD and each.address <= header.address < each.address + each.file_size:
            return each
    raise Malformed(".eh_frame_hdr is in no loaded segment")
