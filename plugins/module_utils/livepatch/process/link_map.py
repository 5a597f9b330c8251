# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The dynamic linker's list of images: the order in which symbols are looked up.

::

    DT_DEBUG of the executable --> struct r_debug         struct link_map  (<link.h>, both of words)
                                   | r_version  |    +--> | l_addr | l_name | l_ld | l_next | l_prev |
                                   | r_map  ----|----+          the bias         |      |
                                   | r_brk      |                 of the image --+      +--> the next one
                                   | r_state    |  0: RT_CONSISTENT

The list is the one of the main namespace: the executable, what it needs, breadth first, and after that
whatever dlopen(3) added, RTLD_LOCAL or not. Images of other namespaces (dlmopen(3)) are not in it.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Tuple

from ..elf import DT_DEBUG, PT_DYNAMIC, PT_INTERP, Malformed
from ..elf.loaded import LoadedImage
from .images import Image, ReadMemory

_LONGEST = 10_000  # images
_CONSISTENT = 0


def ordered(images: Sequence[Image], executable: Optional[Image], read: ReadMemory) -> Optional[Tuple[Image, ...]]:
    """The images in the order of symbol lookup, the executable first, the vdso left out.

    A static executable is alone in its list. None: the list can not be read, is being changed, or does
    not fit what is mapped.

    :raises ProcessLookupError: the process is gone
    """
    if executable is None:
        return None
    if not any(segment.type == PT_INTERP for segment in executable.loaded.segments):
        return (executable,)
    try:
        return _followed(images, executable, read)
    except ProcessLookupError:
        raise
    except (Malformed, OSError):
        return None


def at_work(executable: Optional[Image], read: ReadMemory) -> bool:
    """Whether the dynamic linker is just bringing images in or taking some out: the program begins, or dlopen(3).

    :raises ProcessLookupError: the process is gone
    """
    if executable is None or not any(segment.type == PT_INTERP for segment in executable.loaded.segments):
        return False
    try:
        debug = _debug(executable)
        # 0: it has not even begun
        return debug is not None and (not debug or _state(executable, debug, read) != _CONSISTENT)
    except ProcessLookupError:
        raise
    except (Malformed, OSError):
        return False


def _debug(executable: Image) -> Optional[int]:
    """Address of struct r_debug; 0 before the dynamic linker has written it; None: there is no place for it."""
    return next((value for tag, value in executable.loaded.dynamic if tag == DT_DEBUG), None)


def _state(executable: Image, debug: int, read: ReadMemory) -> int:
    return int.from_bytes(read(debug + 3 * executable.loaded.layout.word, 4), "little")


def _followed(images: Sequence[Image], executable: Image, read: ReadMemory) -> Optional[Tuple[Image, ...]]:
    layout = executable.loaded.layout

    def word(address: int, index: int) -> int:
        return int.from_bytes(read(address + index * layout.word, layout.word), "little")

    debug = _debug(executable)
    if not debug or _state(executable, debug, read) != _CONSISTENT:
        return None
    by_dynamic = _by_dynamic_section(images)
    found: List[Image] = []
    entry = word(debug, 1)
    for _ in range(_LONGEST):
        if not entry:
            return tuple(found) if found and found[0] is executable else None
        bias, _, dynamic, following = (word(entry, index) for index in range(4))
        image = by_dynamic.get(dynamic)
        # the same number, but for the width: a bias below zero is large there
        if image is None or (image.bias - bias) & layout.mask or image in found:
            return None
        if not image.is_vdso:
            found.append(image)
        entry = following
    return None


def _by_dynamic_section(images: Sequence[Image]) -> Dict[int, Image]:
    result = {}
    for image in images:
        address = dynamic_address(image.loaded)
        if address is not None:
            result[address] = image
    return result


def dynamic_address(loaded: LoadedImage) -> Optional[int]:
    """Memory address of the dynamic section, which is what a link_map entry (l_ld) is known by."""
    for segment in loaded.segments:
        if segment.type == PT_DYNAMIC:
            return loaded.memory_address(segment.address)
    return None
