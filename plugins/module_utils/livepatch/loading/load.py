# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Bring a linked patch into a process, and take it out again.

All calls are made in one hold, while the other threads run::

    memfd_create "livepatch:ID"     our bytes go in from outside, then it is sealed
                                     file: [ data, ledger first | zeros | text ]
    mmap data    rw- private         the ledger says from its first instant where the text will be
    mmap text    r-x private         of the same file; nothing is ever writable and executable
    close

Private mappings: a child of fork gets variables and a ledger of its own.  If we
die on the way, what is left is an open memory file or a mapping that bears our
name; :func:`leftovers` finds both.  An anonymous text mapping (made where the
policy lets nobody execute files) has no name, but the ledger knows it.
"""

from __future__ import annotations

import errno
from typing import Callable, Iterable, List, NamedTuple, Sequence, Tuple

from ..errors import LivepatchError, Refused, Stranded
from ..process.snapshot import Snapshot
from ..tracee import descriptors
from ..tracee.remote import Hold
from ..tracee.seccomp import Call
from .memory_map import Mapping

Range = Tuple[int, int]  # (address, size in bytes)

_PREFIX = "livepatch:"
_LINK = f"/memfd:{_PREFIX}"  # how maps and fd links begin (memfd_create(2))
_SHOWN_ID = 12  # digits of the artifact's id

# <linux/memfd.h>, <asm-generic/mman-common.h>, <asm-generic/mman.h>
MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_NOEXEC_SEAL = 1, 2, 8
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_PRIVATE, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE = 0x02, 0x20, 0x100000
_NO_FILE = 0xFFFFFFFF  # -1 as int

# The kernel since 6.3 wants to be told that the file itself will not be executed (Documentation/
# userspace-api/mfd_noexec.rst); mappings of it may be executable all the same.
_FLAGS = (MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL, MFD_CLOEXEC | MFD_ALLOW_SEALING)
_DENIED = (errno.EACCES, errno.EPERM)

UNLOAD_CALLS = (Call("munmap", (None, None)),)
CLEAN_CALLS = (*UNLOAD_CALLS, Call("close", (None,)))


class Content(NamedTuple):
    """What goes into the process; sizes in bytes."""

    data: bytes  # with the ledger; zeros follow
    text: bytes
    data_span: int  # whole pages
    text_span: int  # whole pages


class Leftovers(NamedTuple):
    """What bears our name in a process."""

    data: Sequence[Range]  # a ledger stands at the start of each
    texts: Sequence[Range]
    descriptors: Sequence[int]


def scratch(artifact_id: str) -> bytes:
    """What the hold must have in its scratch memory for :func:`load`: the name of the file."""
    return f"{_PREFIX}{artifact_id[:_SHOWN_ID]}".encode() + b"\0"


def calls_needed(content: Content) -> Sequence[Call]:
    """What :func:`load` calls, undoing it included: for the thread's seccomp filters."""
    return (
        Call("memfd_create", (None, None)),
        _data_mapping(content, None, None),
        _text_mapping(content, None, None),
        *CLEAN_CALLS,
    )


def _data_mapping(content: Content, address: int | None, descriptor: int | None) -> Call:
    flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE
    return Call("mmap", (address, content.data_span, PROT_READ | PROT_WRITE, flags, descriptor, 0))


def _text_mapping(content: Content, address: int | None, descriptor: int | None) -> Call:
    flags = MAP_PRIVATE | MAP_FIXED_NOREPLACE
    return Call(
        "mmap", (address, content.text_span, PROT_READ | PROT_EXEC, flags, descriptor, content.data_span)
    )


def load(hold: Hold, content: Content, data_address: int, text_address: int) -> None:
    """Map both parts.

    :param hold: has :func:`scratch` in its scratch memory
    :raises Refused: ``no_named_memory``, ``no_executable_memory``, ``no_memory_in_reach``, ``seccomp``:
        what was made is gone again
    :raises Stranded: and could not be removed
    """
    undo: List[Callable[[], object]] = []
    try:
        descriptor = _create(hold)
        undo.append(lambda: hold.call("close", descriptor))
        _fill(hold, descriptor, content)
        _map(hold, _data_mapping(content, data_address, descriptor), "no_named_memory")
        undo.append(lambda: hold.call("munmap", data_address, content.data_span))
        _map_text(hold, content, text_address, descriptor)
        undo.append(lambda: hold.call("munmap", text_address, content.text_span))
        hold.call("close", descriptor)
    except (LivepatchError, OSError) as error:
        _undo(undo, error)
        if isinstance(error, LivepatchError):
            raise
        raise Refused("no_named_memory", f"The patch could not be loaded: {error}") from error
    except BaseException as error:
        _undo(undo, error)
        raise


def _undo(steps: Sequence[Callable[[], object]], cause: BaseException) -> None:
    if isinstance(cause, Stranded):
        return  # the thread can make no calls
    try:
        for step in reversed(steps):
            step()
    except (LivepatchError, OSError) as error:
        raise Stranded(
            "could_not_undo", f"{cause}; and what was mapped could not be removed: {error}"
        ) from error


def _create(hold: Hold) -> int:
    for flags in _FLAGS:
        try:
            return hold.call("memfd_create", hold.scratch, flags)
        except OSError as error:
            # Kernels before 6.3 do not know the first flags.
            if error.errno == errno.EINVAL and flags != _FLAGS[-1]:
                continue
            raise Refused("no_named_memory", f"memfd_create: {error}") from error
    raise AssertionError("the last attempt returns or raises")


def _fill(hold: Hold, descriptor: int, content: Content) -> None:
    size = content.data_span + content.text_span
    try:
        descriptors.fill_and_seal(
            hold.tid, descriptor, ((0, content.data), (content.data_span, content.text)), size
        )
    except OSError as error:
        raise Refused(
            "no_named_memory", f"{size} bytes could not be written to the memory file: {error}"
        ) from error


def _map(hold: Hold, call: Call, denied: str) -> None:
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


def _map_text(hold: Hold, content: Content, address: int, descriptor: int) -> None:
    """From the file, else anonymous and written from outside.

    :raises Refused: ``no_executable_memory``, ``no_memory_in_reach``; nothing is mapped
    """
    try:
        _map(hold, _text_mapping(content, address, descriptor), "no_executable_memory")
        return
    except Refused as refusal:
        if refusal.reason not in ("no_executable_memory", "seccomp"):
            raise
    flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
    anonymous = Call("mmap", (address, content.text_span, PROT_READ | PROT_EXEC, flags, _NO_FILE, 0))
    _map(hold, anonymous, "no_executable_memory")
    try:
        descriptors.fill_memory(hold.tid, address, content.text)
    except OSError as error:
        hold.call("munmap", address, content.text_span)
        raise Refused("no_executable_memory", f"code can not be written at {address:#x}: {error}") from error


def unload(hold: Hold, texts: Sequence[Range], data: Range) -> None:
    """Unmap text, then data: as long as anything is left, the ledger tells of it.

    :param texts: the text mapping, or nothing where it is gone already
    :raises OSError: munmap(2)
    """
    for address, size in (*texts, data):
        hold.call("munmap", address, size)


def is_text(mappings: Iterable[Mapping], text: Range) -> bool:
    """Whether what a ledger calls its text is still that, and not what came there later.

    It bears our name or, where no file could be executed, none at all.
    """
    address, size = text
    return any(
        (mapping.start, mapping.size, mapping.permissions) == (address, size, "r-xp")
        and (mapping.path.startswith(_LINK) or not mapping.path)
        for mapping in mappings
    )


def bears_our_name(task: int) -> bool:
    """Whether a process has any mapping or descriptor of ours; far cheaper than a snapshot.

    :param task: the process, or a living thread of it
    :raises ProcessLookupError: it is gone
    :raises PermissionError: we may not look
    """
    return descriptors.maps_any(task, _LINK) or bool(descriptors.named(task, _LINK))


def leftovers(snapshot: Snapshot) -> Leftovers:
    """Everything in a process that bears our name; nothing is stopped.

    :raises ProcessLookupError: it is gone
    """
    ours = [mapping for mapping in snapshot.mappings if mapping.path.startswith(_LINK)]
    return Leftovers(
        data=[(mapping.start, mapping.size) for mapping in ours if mapping.writable],
        texts=[(mapping.start, mapping.size) for mapping in ours if not mapping.writable],
        descriptors=descriptors.named(snapshot.task, _LINK),
    )


def clean(hold: Hold, found: Leftovers) -> None:
    """Remove what is in ``found``: the caller has taken out what belongs to a ledger.

    :raises OSError: munmap(2), close(2)
    """
    for address, size in (*found.texts, *found.data):
        hold.call("munmap", address, size)
    for descriptor in found.descriptors:
        hold.call("close", descriptor)
