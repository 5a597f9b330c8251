# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Signs that a process has stacks which belong to no thread: suspended coroutines and goroutines.

The stop checks the stacks of threads. For a function that a suspended coroutine is inside of, memory has to be
searched (tracee/suspended.py), which takes far longer; so it is done where one of these signs shows:

- the process is written in Go, or maps a library that is;
- it maps a coroutine library, or a language runtime that has coroutines of its own;
- an image imports swapcontext(3), makecontext(3) or the switch of Boost.Context (the C library, which
  defines the first two, does not import them), or drives the coroutines of OpenSSL; a static executable has
  them in its .symtab;
- a thread waits in a system call with its stack pointer outside of its own stack.

What none of them shows: a program without symbols that has its own switch linked in and whose coroutines
all sleep on the program's heap at the moment. Searched without need are 32-bit threads whose stack the
program gave (pthread_attr_setstack(3)) and those of glibc >= 2.42: maps does not show that these are stacks,
and where their descriptors are, which tells it of 64-bit threads, the kernel tells 32-bit programs only.

Code of Go itself can not be replaced: its runtime moves goroutines' stacks and collects garbage by tables of
its own, and ends the process at a return address that is in none of them (runtime/traceback.go).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Dict, Iterator, Mapping, Optional

from ..elf import PF_W, PT_INTERP, PT_LOAD, Malformed
from ..elf.dynamic import DynamicTables
from ..errors import Refused
from ..kernel import robust_list
from ..kernel.procfs import Mapping as MemoryMapping
from . import written
from .images import Image

if TYPE_CHECKING:
    from .snapshot import Snapshot, ThreadView

# beginnings of file names
LIBRARIES = {
    "libboost_context": "Boost.Context",
    "libboost_coroutine": "Boost.Coroutine",
    "libboost_fiber": "Boost.Fiber",
    "libpth.so": "GNU Pth",
    "libtask.so": "libtask",
    "libco.so": "libco",
    "libcolib": "libco",
    "liblthread": "lthread",
    "libcoro": "libcoro",
    "libaco": "libaco",
    "libst.so": "State Threads",
    "libmill.so": "libmill",
    "libdill.so": "libdill",
    "_greenlet.": "greenlet (Python)",
    "libruby": "Ruby, whose fibers have stacks of their own",
}
IMPORTS = ("swapcontext", "makecontext", "jump_fcontext", "make_fcontext")
# libcrypto has coroutines for asynchronous engines (ASYNC_start_job(3)), which a program has to drive by one
# of these. libssl can, so its imports say nothing.
OPENSSL = ("libcrypto.so", "libssl.so")
OPENSSL_DRIVERS = (
    "ASYNC_start_job",
    "ASYNC_init_thread",
    "SSL_waiting_for_async",
    "SSL_get_all_async_fds",
    "SSL_get_changed_async_fds",
)
EXPORTS = {"zend_fiber_switch_context": "PHP, whose fibers have stacks of their own"}

GO_SECTIONS = (".note.go.buildid", ".go.buildinfo", ".gopclntab")
GO_BUILD_INFO = b"\xff Go buildinf:"  # debug/buildinfo, at the beginning of the data
_BUILD_INFO_WITHIN = 64 << 10

_TID = "_thread_db_pthread_tid"
_LONGEST_DESCRIPTOR = 4 << 10  # bytes

_SMALLEST_STACK = 16 << 10  # PTHREAD_STACK_MIN


def why_search(snapshot: Snapshot, mode: str) -> Optional[str]:
    """Why memory is to be searched for suspended coroutines, in words; None: it is not.

    :param mode: the parameter ``coroutines``: "auto", "search" or "ignore"
    :raises ProcessLookupError: the process is gone
    """
    if mode == "ignore":
        return None
    return snapshot.coroutine_sign or ("it was asked for" if mode == "search" else None)


def obstacle(snapshot: Snapshot, mode: str, milliseconds: float) -> Optional[str]:
    """Why it can not be searched, in words; None: it can, or need not.

    :param milliseconds: the longest stop
    :raises ProcessLookupError: the process is gone
    """
    why = why_search(snapshot, mode)
    if why is not None:
        try:
            written.areas(snapshot.pid, snapshot.task, snapshot.mappings, (), milliseconds)
        except written.TooLarge as error:
            return f"{why}; {error}, which is too much to be searched in a stop of {milliseconds:.0f} ms"
    return None


def check_target(image: Image) -> None:
    """:raises Refused: ``coroutines_unsupported``: the code to be replaced is Go's"""
    what = next(_go(image), None) or next(_go_file(image), None)
    if what is not None:
        raise Refused("coroutines_unsupported", f"{what}, whose runtime does not bear code that it does not know")


def tid_offset(snapshot: Snapshot) -> Optional[int]:
    """Where the C library keeps a thread's id in its descriptor (struct pthread), in bytes; None: not to be told.

    Told to debuggers as three words: bits, how many, offset (glibc, nptl_db/structs.def).

    :raises ProcessLookupError: the process is gone
    """
    for image in snapshot.link_map or ():
        try:
            if image.loaded.dynamic_tables.mentions(_TID):
                found = image.loaded.lookup(_TID, "GLIBC_PRIVATE")
                if found is not None:
                    bits, count, offset = struct.unpack("<3I", image.loaded.read(found.value, 12))
                    return offset if (bits, count) == (32, 1) and offset < _LONGEST_DESCRIPTOR else None
        except Malformed:
            continue
    return None


def signs(snapshot: Snapshot) -> Iterator[str]:
    """Each sign as a phrase that names the image or thread, the cheap ones first.

    :raises ProcessLookupError: the process is gone
    """
    for image in snapshot.images:
        if not image.is_vdso:
            yield from _signs_of_image(image)
    if snapshot.executable is not None:
        yield from _go_file(snapshot.executable)
        yield from _static_switch(snapshot.executable)
    descriptors = _descriptors(snapshot)
    for thread in snapshot.threads:
        where = off_its_stack(snapshot, thread, descriptors)
        if where is not None:
            yield f"thread {thread.tid} ({thread.name}) has its stack pointer in {where}, outside of its own stack"


def _signs_of_image(image: Image) -> Iterator[str]:
    for beginning, what in LIBRARIES.items():
        if image.name.startswith(beginning):
            yield f"it maps {image.path}: {what}"
    yield from _go(image)
    try:
        tables = image.loaded.dynamic_tables
        for name in () if image.name.startswith(OPENSSL) else IMPORTS + OPENSSL_DRIVERS:
            if _imports(tables, name):
                yield f"{image.path} imports {name}"
        for name, what in EXPORTS.items():
            if tables.mentions(name) and tables.lookup(name) is not None:
                yield f"{image.path} exports {name}: {what}"
    except Malformed as error:
        yield f"the symbols of {image.path} can not be read: {error}"


def _imports(tables: DynamicTables, name: str) -> bool:
    # most images say no at the first question, and the C library, which defines some, at the second
    return (
        tables.mentions(name)
        and tables.lookup(name) is None
        and any(symbol.name == name and not symbol.defined for symbol in tables.symbols)
    )


def _go(image: Image) -> Iterator[str]:
    try:
        if any(note.owner == b"Go" for note in image.loaded.notes()):
            yield f"{image.path} is written in Go"
    except Malformed as error:
        yield f"the notes of {image.path} can not be read: {error}"


def _go_file(image: Image) -> Iterator[str]:
    """What stands in no memory, or not at a place that a header names."""
    loaded = image.loaded
    try:
        data = next(each for each in loaded.segments if each.type == PT_LOAD and each.flags & PF_W)
        if GO_BUILD_INFO in loaded.read(data.address, min(data.file_size, _BUILD_INFO_WITHIN)):
            yield f"{image.path} is written in Go"
    except (StopIteration, Malformed):
        pass
    file = image.open_file()
    try:
        if file is not None and any(file.section(name) is not None for name in GO_SECTIONS):
            yield f"{image.path} is written in Go"
    except Malformed as error:
        yield f"the sections of {image.path} can not be read: {error}"


def _static_switch(executable: Image) -> Iterator[str]:
    file = executable.open_file()
    if file is None or any(each.type == PT_INTERP for each in executable.loaded.segments):
        return
    try:
        strings = file.section(".strtab")
        names = b"" if strings is None else file.content(strings)
    except Malformed as error:
        yield f"the sections of {executable.path} can not be read: {error}"
        return
    for name in IMPORTS:
        if name.encode() + b"\0" in names:
            yield f"{executable.path} is static and contains {name}"


def off_its_stack(snapshot: Snapshot, thread: ThreadView, descriptors: Mapping[int, int]) -> Optional[str]:
    """What memory a blocked thread's stack pointer is in, if that is not its own stack; else None.

    None for a thread that runs, too: where its stack pointer is only a stop can show.

    :param descriptors: thread -> address of its descriptor, as far as they are known
    """
    if thread.syscall is None:
        return None
    sp = thread.syscall.sp
    mapping = snapshot.mapping_at(sp)
    if mapping is None:
        return f"unmapped memory at {sp:#x}"
    is_leader = thread.tid == snapshot.pid
    own = mapping.path == "[stack]" if is_leader else _is_thread_stack(snapshot, mapping, sp, thread.tid, descriptors)
    return None if own else (mapping.path or f"anonymous memory at {sp:#x}")


def _is_thread_stack(
    snapshot: Snapshot, mapping: MemoryMapping, sp: int, tid: int, descriptors: Mapping[int, int]
) -> bool:
    """Whether a stack pointer in `mapping` is on the stack of the thread `tid`, which is not the leader.

    glibc puts a thread's descriptor at the upper end of its stack, also of one that the program gave, so the
    stack pointer is below its own and nobody else's (nptl/allocatestack.c). Without the descriptor: private
    anonymous memory above a guard.
    """
    own = descriptors.get(tid)
    if own is not None:
        nearest = min((each for each in descriptors.values() if each > sp), default=0)
        return nearest == own and own < mapping.end
    anonymous = not mapping.inode and (not mapping.path or mapping.path.startswith(("[anon:", "[stack:")))
    if not (anonymous and mapping.writable and mapping.private):
        return False
    return mapping.size >= _SMALLEST_STACK and _has_guard(snapshot, mapping)


def _descriptors(snapshot: Snapshot) -> Dict[int, int]:
    """Where the threads' descriptors (struct pthread) are, by the robust lists that are inside of them."""
    found = {}
    for thread in snapshot.threads:
        try:
            head = robust_list.head(thread.tid)
        except OSError:
            continue
        if head:
            found[thread.tid] = head
    return found


def _has_guard(snapshot: Snapshot, mapping: MemoryMapping) -> bool:
    return any(
        each.end == mapping.start and not (each.readable or each.writable or each.executable)
        for each in snapshot.mappings
    )
