# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""One process at one moment, without a stop: what is mapped, which threads there are, where they wait."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import Callable, Iterable, List, Optional, Tuple

from ..cpu import Cpu
from ..errors import Refused
from ..kernel import namespaces, procfs
from ..kernel.memory import Memory
from ..kernel.procfs import Mapping, Syscall
from . import cgroups, coroutines, images, link_map
from .images import Image
from .mapped_file import DELETED, without_deleted

PF_KTHREAD = 0x00200000  # include/linux/sched.h
ZOMBIE, DEAD = "Z", "X"
# How long a process that just begins may keep us waiting, seconds.
_LINKING_S = 2.0
_LINKING_PAUSE_S = 0.005


@dataclass(frozen=True)
class ThreadView:
    """One thread.

    :ivar state: the letter of /proc/PID/stat: R, S, D, T, t, Z, X, I
    :ivar syscall: what it is blocked in; None: it runs, or it could not be told
    :ivar seccomp: 0 none, 1 strict, 2 filter
    :ivar seccomp_filters: how many; -1: the kernel does not say (before 5.9)
    :ivar tracer: PID of who traces it, 0 for nobody
    :ivar features: x86_Thread_features, space-separated ("shstk")
    """

    tid: int
    name: str
    state: str
    syscall: Optional[Syscall]
    seccomp: int
    seccomp_filters: int
    tracer: int
    features: str


@dataclass(frozen=True)
class Snapshot:
    """A process as it was when :func:`take` looked.

    :ivar task: whose /proc directory shows the memory: the PID, or a living thread where the leader has exited
    :ivar start_time: clock ticks after boot; with the PID it names one process, ever
    :ivar exe: as its mount namespace has it, without " (deleted)"
    :ivar exe_deleted: that name is gone, or stands for another file now
    :ivar uid: effective user
    :ivar unit: systemd unit, the user's own before the system's; None: in none
    :ivar container: id (or name) of its container; None: in none
    :ivar threads: the living ones, in order of their ids
    :ivar memory: reads it; it stays with this address space, whoever gets the PID next
    """

    pid: int
    task: int
    start_time: int
    exe: str
    exe_deleted: bool
    name: str
    cmdline: Tuple[str, ...]
    uid: int
    cgroup: str
    threads: Tuple[ThreadView, ...]
    mappings: Tuple[Mapping, ...] = field(repr=False)
    images: Tuple[Image, ...] = field(repr=False)
    memory: Memory = field(repr=False, compare=False)

    @property
    def leader_exited(self) -> bool:
        """The leader called pthread_exit(3); the other threads live on."""
        return self.task != self.pid

    @property
    def executable(self) -> Optional[Image]:
        """The image of the program that it runs."""
        return next((image for image in self.images if image.executable), None)

    @property
    def cpu(self) -> Optional[Cpu]:
        """The architecture of the program; None: none that we know, x32 included, or no program found."""
        executable = self.executable
        return None if executable is None else executable.cpu

    @property
    def unit(self) -> Optional[str]:
        units = cgroups.units(self.cgroup)
        return units[-1] if units else None

    @property
    def container(self) -> Optional[str]:
        return cgroups.container(self.cgroup)

    @cached_property
    def hostname(self) -> str:
        """The host name in its UTS namespace, see :func:`hostname_of`."""
        return hostname_of(self.task)

    @property
    def seccomp(self) -> int:
        """The strictest mode of any thread: 0 none, 1 strict, 2 filter."""
        modes = {thread.seccomp for thread in self.threads}
        return 1 if 1 in modes else max(modes, default=0)

    @cached_property
    def link_map(self) -> Optional[Tuple[Image, ...]]:
        """The images in the order of symbol lookup, the executable first, the vdso left out.

        A static executable is alone. None: ld.so's list can not be read or is being changed: not to be told.
        """
        return link_map.ordered(self.images, self.executable, self.memory.read)

    @cached_property
    def coroutine_sign(self) -> Optional[str]:
        """The first sign that it has stacks which belong to no thread, see :func:`coroutines.signs`; None: none."""
        return next(coroutines.signs(self), None)

    @property
    def linking(self) -> bool:
        """Whether ld.so is at work right now, see :func:`link_map.at_work`."""
        return link_map.at_work(self.executable, self.memory.read)

    def image_at(self, address: int) -> Optional[Image]:
        """The image that holds a memory address."""
        return next((image for image in self.images if image.contains(address)), None)

    def mapping_at(self, address: int) -> Optional[Mapping]:
        """The mapping that holds a memory address."""
        index = bisect_right(self._starts, address) - 1
        return self.mappings[index] if index >= 0 and address < self.mappings[index].end else None

    @cached_property
    def _starts(self) -> List[int]:
        return [mapping.start for mapping in self.mappings]

    def targets(self, build_id: Optional[str], text_sha256: str) -> Tuple[Image, ...]:
        """The images that are a target, by build ID, else by the hash of its text."""
        if build_id is not None:
            return tuple(image for image in self.images if image.build_id == build_id)
        return tuple(
            image for image in self.images if image.build_id is None and image.text_sha256() == text_sha256
        )

    def close(self) -> None:
        """Close the memory."""
        self.memory.close()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def take(pid: int) -> Snapshot:
    """Look at a process. What changes afterwards, the stop will show.

    One that just begins, or loads a library, is looked at when it has done so, if that does not take long.

    :raises ProcessLookupError: it is gone
    :raises Refused: ``kernel_thread``; ``exiting``: a zombie; ``not_permitted``: PTRACE_MODE_READ was denied
    """
    until = time.monotonic() + _LINKING_S
    try:
        while True:
            snapshot = _take(pid)
            if time.monotonic() > until or not _is_changing(snapshot):
                return snapshot
            snapshot.close()
            time.sleep(_LINKING_PAUSE_S)
    except PermissionError as error:
        name = procfs.stat(pid).comm
        raise Refused("not_permitted", f"process {pid} ({name}) may not be looked at: {error}") from None


def _is_changing(snapshot: Snapshot) -> bool:
    """Whether ld.so is at work, or was when the snapshot was half done: looking again helps."""
    if snapshot.link_map is not None:
        return False
    return snapshot.linking or _files(procfs.maps(snapshot.task)) != _files(snapshot.mappings)


def _files(mappings: Iterable[Mapping]) -> List[Tuple[int, str]]:
    return [(mapping.start, mapping.path) for mapping in mappings if mapping.inode]


def _take(pid: int) -> Snapshot:
    stat = procfs.stat(pid)
    if stat.flags & PF_KTHREAD:
        raise Refused("kernel_thread", f"process {pid} ({stat.comm}) is a kernel thread")
    task = memory_task(pid)
    memory = Memory(pid, None if task == pid else task)
    try:
        exe = procfs.exe(task)
        mappings = tuple(procfs.maps(task))
        return Snapshot(
            pid=pid,
            task=task,
            start_time=stat.start_time,
            exe=without_deleted(exe),
            exe_deleted=exe.endswith(DELETED),
            name=stat.comm,
            cmdline=tuple(procfs.cmdline(task)),
            uid=effective_uid(task),
            cgroup=procfs.cgroup(task),
            threads=look_at_threads(pid),
            mappings=mappings,
            images=images.find(task, mappings, memory.read, exe),
            memory=memory,
        )
    except BaseException:
        memory.close()
        raise


def memory_task(pid: int) -> int:
    """The PID, or a living thread where the leader has exited: /proc/PID has no maps, exe or memory then.

    :raises ProcessLookupError: it is gone
    :raises Refused: ``exiting``: no thread lives
    """
    stat = procfs.stat(pid)
    if stat.state not in (ZOMBIE, DEAD):
        return pid
    for tid in procfs.tids(pid):
        try:
            if procfs.stat(pid, tid).state not in (ZOMBIE, DEAD):
                return tid
        except ProcessLookupError:
            continue
    raise Refused("exiting", f"process {pid} ({stat.comm}) is a zombie, whose parent {stat.ppid} has not waited for it")


def effective_uid(task: int) -> int:
    """The effective user of a process."""
    return int(procfs.status(task)["Uid"].split()[1])


def look_at_threads(pid: int) -> Tuple[ThreadView, ...]:
    """Every living thread; one that ends meanwhile is left out.

    :raises ProcessLookupError: the process is gone
    """
    found: List[ThreadView] = []
    for tid in procfs.tids(pid):
        try:
            status = procfs.status(pid, tid)
            state = status["State"][:1]
            if state in (ZOMBIE, DEAD):
                continue
            found.append(
                ThreadView(
                    tid=tid,
                    name=status["Name"],
                    state=state,
                    syscall=_or_none(procfs.syscall, pid, tid),
                    seccomp=int(status.get("Seccomp", "0")),
                    seccomp_filters=int(status.get("Seccomp_filters", "-1")),
                    tracer=int(status["TracerPid"]),
                    features=status.get("x86_Thread_features", ""),
                )
            )
        except (ProcessLookupError, KeyError):
            continue
    return tuple(found)


def hostname_of(task: int) -> str:
    """The host name in a process's UTS namespace.

    Where we may not enter that (setns(2) wants CAP_SYS_ADMIN): HOSTNAME of the environment that it was
    started with, which container managers set and programs may change; else "".

    :raises ProcessLookupError: the process is gone
    """
    try:
        return namespaces.hostname(task)
    except ProcessLookupError:
        raise
    except OSError:
        return procfs.environ(task).get("HOSTNAME", "")


def _or_none(look: Callable[[int, int], Optional[Syscall]], pid: int, tid: int) -> Optional[Syscall]:
    """/proc/PID/syscall wants PTRACE_MODE_ATTACH, and is missing from some kernels."""
    try:
        return look(pid, tid)
    except PermissionError:
        return None
    except ProcessLookupError:
        procfs.stat(pid, tid)
        return None
