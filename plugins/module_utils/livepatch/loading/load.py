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

from typing import Callable, Iterable, List, NamedTuple, Sequence, Tuple

from ..errors import LivepatchError, Refused
from ..process.snapshot import Snapshot
from ..tracee import descriptors, memory_file
from ..tracee.memory_file import MAP_FIXED_NOREPLACE, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE
from ..tracee.remote import Hold
from ..tracee.seccomp import Call
from .memory_map import Mapping

Range = Tuple[int, int]  # (address, size in bytes)

_PREFIX = "livepatch:"
_LINK = memory_file.link_of(_PREFIX)
_SHOWN_ID = 12  # digits of the artifact's id

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
        memory_file.CREATE,
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
        descriptor = memory_file.create(hold)
        undo.append(lambda: hold.call("close", descriptor))
        _fill(hold, descriptor, content)
        memory_file.map_at(hold, _data_mapping(content, data_address, descriptor), "no_named_memory")
        undo.append(lambda: hold.call("munmap", data_address, content.data_span))
        memory_file.map_text(hold, _text_mapping(content, text_address, descriptor), content.text)
        undo.append(lambda: hold.call("munmap", text_address, content.text_span))
        hold.call("close", descriptor)
    except (LivepatchError, OSError) as error:
        memory_file.undo(undo, error)
        if isinstance(error, LivepatchError):
            raise
        raise Refused("no_named_memory", f"The patch could not be loaded: {error}") from error
    except BaseException as error:
        memory_file.undo(undo, error)
        raise


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


def data_mappings(mappings: Iterable[Mapping]) -> List[int]:
    """Where the data mappings of patches begin, each with its ledger."""
    return [mapping.start for mapping in mappings if mapping.path.startswith(_LINK) and mapping.writable]


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
