# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What remote calls have made in a process, reached from outside: descriptors and mappings.

A call can create a memory file or a mapping; its bytes come from us.
"""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Sequence, Tuple

from ..kernel import procfs
from ..kernel.memory import Memory

# <linux/fcntl.h>; the fcntl module has them from Python 3.8 on only where libc had them at its build.
F_ADD_SEALS = 1033
F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE = 1, 2, 4, 8
_ALL_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE


def fill_and_seal(tid: int, descriptor: int, parts: Sequence[Tuple[int, bytes]], size: int) -> None:
    """Write a memory file of the process, and make it unchangeable for everybody (fcntl(2), seals).

    Without the seals, whoever opens /proc/PID/fd or map_files could change code
    under a private mapping, whose untouched pages are the file's.

    :param tid: a thread whose descriptor it is; thread and process may differ in their tables
    :param parts: (offset in the file, bytes); what none of them covers is zeros and takes no memory
    :param size: of the file, bytes
    :raises OSError: no such descriptor, no memory, or not permitted
    """
    # Opened anew: a descriptor of our own to the same file, which ends with us.
    own = os.open(f"/proc/{tid}/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(own, size)
        for offset, content in parts:
            _write_all(own, content, offset)
        fcntl.fcntl(own, F_ADD_SEALS, _ALL_SEALS)
    finally:
        os.close(own)


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view, offset = view[written:], offset + written


def fill_memory(tid: int, address: int, content: bytes) -> None:
    """Write memory that the process itself may not write.

    :raises OSError: the kernel forbids it, or nothing is mapped there
    """
    with Memory(tid) as memory:
        memory.write(address, content)


def named(task: int, prefix: str) -> Sequence[int]:
    """Open descriptors that lead to something whose name starts with ``prefix``.

    :param task: the process, or a living thread of it
    :raises ProcessLookupError: it is gone
    :raises PermissionError: we may not look
    """
    return [number for number, link in procfs.descriptors(task) if link.startswith(prefix)]


def maps_any(task: int, prefix: str) -> bool:
    """Whether anything is mapped whose name starts with ``prefix``; raises as :func:`named`."""
    return any(mapping.path.startswith(prefix) for mapping in procfs.maps(task))
