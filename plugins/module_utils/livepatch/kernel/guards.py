# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Guard pages that the memory map does not show: madvise(2), MADV_GUARD_INSTALL (Linux 6.13).

glibc has made the guards of thread stacks this way since 2.42; neighbouring stacks then look like one mapping.
"""

from __future__ import annotations

import os
from typing import List

from .procfs import PAGE

# Documentation/admin-guide/mm/pagemap.rst: bit 58 (since Linux 6.15) of an entry's 64, here of its last byte.
_GUARD = 1 << 58 - 56
_IS_GUARD = bytes(bool(value & _GUARD) for value in range(256))


def hidden(pid: int, tid: int, start: int, end: int) -> List[int]:
    """Addresses of the guard pages between ``start`` and ``end``, in order.

    Empty on kernels that have none, and on 6.13 and 6.14, which do not tell.

    :raises ProcessLookupError: the thread is gone
    :raises PermissionError: PTRACE_MODE_READ was denied
    """
    try:
        descriptor = os.open(f"/proc/{pid}/task/{tid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ProcessLookupError(error.errno, f"thread {tid} is gone") from error
    try:
        entries = os.pread(descriptor, (end - start) // PAGE * 8, start // PAGE * 8)
    finally:
        os.close(descriptor)
    marks = entries[7::8].translate(_IS_GUARD)
    found = []
    at = marks.find(1)
    while at >= 0:
        found.append(start + at * PAGE)
        at = marks.find(1, at + 1)
    return found
