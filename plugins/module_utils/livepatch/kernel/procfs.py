# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""proc(5), read as it is.

Every function raises ``ProcessLookupError`` when the process or thread is gone
and ``PermissionError`` when the kernel says no.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

PAGE = 4096  # bytes, on both architectures


class Mapping(NamedTuple):
    """One line of /proc/PID/maps."""

    start: int
    end: int
    permissions: str  # "r-xp"
    offset: int  # of ``start`` in the file, bytes
    device: str  # "08:01"
    inode: int
    path: str  # "" for anonymous memory; may end in " (deleted)"

    @property
    def size(self) -> int:
        return self.end - self.start

    @property
    def readable(self) -> bool:
        return self.permissions[0] == "r"

    @property
    def writable(self) -> bool:
        return self.permissions[1] == "w"

    @property
    def executable(self) -> bool:
        return self.permissions[2] == "x"

    @property
    def private(self) -> bool:
        return self.permissions[3] == "p"


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that we use."""

    pid: int
    comm: str
    state: str  # one letter
    ppid: int
    flags: int  # PF_* of include/linux/sched.h
    threads: int
    start_time: int  # clock ticks after boot


class Syscall(NamedTuple):
    """What a blocked thread waits in (/proc/PID/syscall)."""

    number: int  # -1: blocked, but in no system call
    arguments: Tuple[int, ...]  # six, or none where number is -1
    sp: int
    pc: int


@contextmanager
def _gone_is_gone(pid: int) -> Iterator[None]:
    """A vanished process shows as ENOENT or ESRCH, depending on when it vanished."""
    try:
        yield
    except FileNotFoundError as error:
        raise ProcessLookupError(error.errno, f"process {pid} is gone") from error


def _directory(pid: int, tid: Optional[int]) -> str:
    return f"/proc/{pid}" if tid is None else f"/proc/{pid}/task/{tid}"


def _read(path: str, pid: int) -> bytes:
    # Unbuffered: procfs hands out up to a page a read, and a buffer would only be copied.
    with _gone_is_gone(pid):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            pieces: List[bytes] = []
            while True:
                piece = os.read(descriptor, 1 << 16)
                if not piece:
                    return b"".join(pieces)
                pieces.append(piece)
        finally:
            os.close(descriptor)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _numbers(directory: str, pid: int) -> List[int]:
    with _gone_is_gone(pid):
        return sorted(int(name) for name in os.listdir(directory) if name.isdigit())


def pids() -> List[int]:
    """All processes of our PID namespace."""
    return _numbers("/proc", 0)


def tids(pid: int) -> List[int]:
    """All threads of a process."""
    return _numbers(f"/proc/{pid}/task", pid)


def maps(pid: int) -> List[Mapping]:
    """The memory map, in order of address.

    :param pid: a living thread's where the leader has exited: /proc/PID/maps is empty then
    """
    result = []
    for line in _text(_read(f"/proc/{pid}/maps", pid)).split("\n"):
        if line:
            fields = line.split(None, 5)
            start, _, end = fields[0].partition("-")
            path = _unescape(fields[5]) if len(fields) > 5 else ""
            result.append(
                Mapping(int(start, 16), int(end, 16), fields[1], int(fields[2], 16), fields[3], int(fields[4]), path)
            )
    return result


def _unescape(path: str) -> str:
    """fs/proc/task_mmu.c, show_map_vma: only a newline is escaped."""
    return path.replace("\\012", "\n")


def status(pid: int, tid: Optional[int] = None) -> Dict[str, str]:
    """/proc/PID/status as field -> value, stripped."""
    result = {}
    for line in _text(_read(f"{_directory(pid, tid)}/status", pid)).split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            result[name] = value.strip()
    return result


def stat(pid: int, tid: Optional[int] = None) -> Stat:
    """/proc/PID/stat; the name may hold spaces and parentheses."""
    head, _, tail = _text(_read(f"{_directory(pid, tid)}/stat", pid)).rpartition(")")
    number, _, comm = head.partition(" (")
    fields = tail.split()
    return Stat(int(number), comm, fields[0], int(fields[1]), int(fields[6]), int(fields[17]), int(fields[19]))


def syscall(pid: int, tid: int) -> Optional[Syscall]:
    """What a thread is blocked in; ``None``: it is running, or stopped for good."""
    fields = _text(_read(f"/proc/{pid}/task/{tid}/syscall", pid)).split()
    if not fields or fields[0] == "running":
        return None
    number = int(fields[0])
    numbers = tuple(int(field, 16) for field in fields[1:])
    return Syscall(number, numbers[:-2], numbers[-2], numbers[-1])


def exe(pid: int) -> str:
    """The path of the executable as its mount namespace sees it; may end in " (deleted)"."""
    with _gone_is_gone(pid):
        return os.readlink(f"/proc/{pid}/exe")


def cmdline(pid: int) -> List[str]:
    """The argument vector; empty for kernel threads and zombies."""
    data = _read(f"/proc/{pid}/cmdline", pid)
    return _text(data).rstrip("\0").split("\0") if data else []


def environ(pid: int) -> Dict[str, str]:
    """The environment that the program was started with."""
    entries = (entry.partition("=") for entry in _text(_read(f"/proc/{pid}/environ", pid)).split("\0"))
    return {name: value for name, equals, value in entries if equals}


def cgroup(pid: int) -> str:
    """The path in the unified hierarchy, else in systemd's named one, else ""."""
    named = ""
    for line in _text(_read(f"/proc/{pid}/cgroup", pid)).split("\n"):
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            return path
        if controllers == "name=systemd":
            named = path
    return named


def descriptors(pid: int) -> List[Tuple[int, str]]:
    """Open file descriptors and what they lead to."""
    directory = f"/proc/{pid}/fd"
    result = []
    for number in _numbers(directory, pid):
        try:
            result.append((number, os.readlink(f"{directory}/{number}")))
        except FileNotFoundError:  # closed meanwhile
            continue
    return result


def map_file(pid: int, mapping: Mapping) -> str:
    """A path that opens the mapped file itself, also when it was deleted or replaced.

    Needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE (proc(5), map_files).
    """
    return f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"


def in_root(pid: int, path: str) -> str:
    """A path of the process's mount namespace, as we can open it."""
    return f"/proc/{pid}/root{path}"


def boot_id() -> str:
    """Random for each boot."""
    return _text(_read("/proc/sys/kernel/random/boot_id", 0)).strip()


def last_pid() -> int:
    """The PID that was given out last in our PID namespace (proc(5), loadavg).

    Unchanged between two reads: no process and no thread has started in between.
    """
    return int(_read("/proc/loadavg", 0).split()[-1])


# Of a pagemap entry, by its high byte: bit 63 present, bit 62 swapped.
_IS_TOUCHED = bytes(bool(high & 0xC0) for high in range(256))
_PAGEMAP_CHUNK = 1 << 17  # pages read at once


def touched(pid: int, tid: int, ranges: Iterable[Tuple[int, int]]) -> Iterator[Tuple[int, int]]:
    """The parts (start, end) of some ranges of pages that are in memory or in swap, in the ranges' order.

    Everything else has never been written: reading it would only make the kernel map zeros.
    Documentation/admin-guide/mm/pagemap.rst; no capability is needed for these bits.

    :raises OSError: the kernel tells less than it was asked for
    """
    with _gone_is_gone(pid):
        descriptor = os.open(f"/proc/{pid}/task/{tid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for start, end in ranges:
            for first in range(start // PAGE, end // PAGE, _PAGEMAP_CHUNK):
                count = min(_PAGEMAP_CHUNK, end // PAGE - first)
                entries = os.pread(descriptor, count * 8, first * 8)
                if len(entries) != count * 8:
                    raise OSError(errno.EIO, f"the page map of process {pid} ends at {first * PAGE:#x}")
                flags = entries[7::8].translate(_IS_TOUCHED)
                at = flags.find(1)
                while at >= 0:
                    behind = flags.find(0, at)
                    behind = count if behind < 0 else behind
                    yield (first + at) * PAGE, (first + behind) * PAGE
                    at = flags.find(1, behind)
    finally:
        os.close(descriptor)
