# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Memory files that a thread makes and maps for us, inside a hold.

The pieces that a patch and a waiting room are brought in with: memfd_create(2), mmap(2) of its
parts, and undoing in reverse what was done when one of them fails.
"""

from __future__ import annotations

import errno
from typing import Callable, Sequence

from ..errors import LivepatchError, Refused, Stranded
from . import descriptors
from .remote import Hold
from .seccomp import Call

# <linux/memfd.h>, <asm-generic/mman-common.h>, <asm-generic/mman.h>
MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_NOEXEC_SEAL = 1, 2, 8
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE = 0x02, 0x10, 0x20, 0x100000
_NO_FILE = 0xFFFFFFFF  # -1 as int

# The kernel since 6.3 wants to be told that the file itself will not be executed (Documentation/
# userspace-api/mfd_noexec.rst); mappings of it may be executable all the same.
_FLAGS = (MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL, MFD_CLOEXEC | MFD_ALLOW_SEALING)
_DENIED = (errno.EACCES, errno.EPERM)

CREATE = Call("memfd_create", (None, None))


def link_of(name: str) -> str:
    """How /proc/PID/maps and fd links begin for files whose name begins with ``name`` (memfd_create(2))."""
    return f"/memfd:{name}"


def create(hold: Hold) -> int:
    """A memory file; its name, with a zero, is what the hold has in its scratch memory.

    :returns: the thread's descriptor
    :raises Refused: ``no_named_memory``
    """
    for flags in _FLAGS:
        try:
            return hold.call("memfd_create", hold.scratch, flags)
        except OSError as error:
            # Kernels before 6.3 do not know the first flags.
            if error.errno == errno.EINVAL and flags != _FLAGS[-1]:
                continue
            raise Refused("no_named_memory", f"memfd_create: {error}") from error
    raise AssertionError("the last attempt returns or raises")


def map_at(hold: Hold, call: Call, denied: str) -> None:
    """One mapping, exactly where it should be.

    :param denied: the reason word where the policy says no
    :raises Refused: ``no_memory_in_reach``, or ``denied``
    """
    address, size = call.arguments[0] or 0, call.arguments[1] or 0
    try:
        result = hold.call(call.name, *[argument or 0 for argument in call.arguments])
    except OSError as error:
        reason = denied if error.errno in _DENIED else "no_memory_in_reach"
        raise Refused(reason, f"{size} bytes at {address:#x} could not be mapped: {error}") from error
    if result != address:
        # Before Linux 4.17 MAP_FIXED_NOREPLACE is no flag, and the address a hint.
        hold.call("munmap", result, size)
        raise Refused("no_memory_in_reach", f"{size} bytes at {address:#x} were taken meanwhile")


def map_text(hold: Hold, mapping: Call, text: bytes) -> None:
    """Executable memory from a file, else anonymous and written from outside.

    :param mapping: the call that maps the file
    :raises Refused: ``no_executable_memory``, ``no_memory_in_reach``; nothing is mapped
    """
    try:
        map_at(hold, mapping, "no_executable_memory")
        return
    except Refused as refusal:
        if refusal.reason not in ("no_executable_memory", "seccomp"):
            raise
    address, size, protection, flags = (argument or 0 for argument in mapping.arguments[:4])
    anonymous = Call("mmap", (address, size, protection, flags | MAP_ANONYMOUS, _NO_FILE, 0))
    map_at(hold, anonymous, "no_executable_memory")
    try:
        descriptors.fill_memory(hold.tid, address, text)
    except OSError as error:
        hold.call("munmap", address, size)
        raise Refused("no_executable_memory", f"code can not be written at {address:#x}: {error}") from error


def undo(steps: Sequence[Callable[[], object]], cause: BaseException) -> None:
    """Take back what was done, the last first.

    :raises Stranded: that failed, too
    """
    if isinstance(cause, Stranded):
        return  # the thread can make no calls
    try:
        for step in reversed(steps):
            step()
    except (LivepatchError, OSError) as error:
        raise Stranded(
            "could_not_undo", f"{cause}; and what was mapped could not be removed: {error}"
        ) from error
