# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What the kernel tells about a process beyond its snapshot, asked for just before it is judged."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterable, List, Optional, Tuple

from ..kernel import kcmp, procfs
from ..kernel.memory import Memory
from . import coroutines
from .snapshot import Snapshot, ThreadView

CLONE_VFORK = 0x4000  # <linux/sched.h>
UNINTERRUPTIBLE = "D"

# A disk read takes milliseconds and shows D, too: only who stays in D for all of these looks is stuck.
_LOOKS = 5
_BETWEEN_LOOKS = 0.02  # seconds


@dataclass(frozen=True)
class Tracer:
    """Who traces a thread."""

    pid: int
    name: str
    cmdline: Tuple[str, ...]


@dataclass(frozen=True)
class Observations:
    """Facts for :mod:`.fitness`.

    :ivar tracers: thread -> who traces it
    :ivar not_writable: why its memory may not be written, in the kernel's words; None: it may
    :ivar sharers: other processes in the same address space
    :ivar sharers_unknown: why that can not be told; None: it can
    :ivar vforking: threads that wait for their vfork child
    :ivar uninterruptible: threads that stay in an uninterruptible system call
    :ivar unsearchable: why it can not be searched for suspended coroutines; None: it can, or need not
    """

    tracers: Dict[int, Tracer] = field(default_factory=dict)
    not_writable: Optional[str] = None
    sharers: Tuple[int, ...] = ()
    sharers_unknown: Optional[str] = None
    vforking: Tuple[int, ...] = ()
    uninterruptible: Tuple[int, ...] = ()
    unsearchable: Optional[str] = None


def observe(snapshot: Snapshot, mode: str = "auto", milliseconds: float = 50) -> Observations:
    """Ask for everything.

    :param mode: how suspended coroutines are looked for, see :func:`.coroutines.why_search`
    :param milliseconds: the longest stop
    :raises ProcessLookupError: the process is gone
    """
    vforking = tuple(thread.tid for thread in snapshot.threads if waits_for_vfork(snapshot, thread))
    sharers: Tuple[int, ...] = ()
    sharers_unknown = None
    try:
        sharers = sharing(snapshot.task, kcmp.same_address_space, procfs.pids())
    except ProcessLookupError:
        raise
    except OSError as error:
        sharers_unknown = f"kcmp(2): {error.strerror}"
    return Observations(
        tracers=tracers(snapshot),
        not_writable=_not_writable(snapshot),
        sharers=tuple(pid for pid in sharers if pid != snapshot.pid),
        sharers_unknown=sharers_unknown,
        vforking=vforking,
        uninterruptible=_stuck(snapshot, vforking),
        unsearchable=coroutines.obstacle(snapshot, mode, milliseconds),
    )


def tracers(snapshot: Snapshot) -> Dict[int, Tracer]:
    """Thread -> who traces it."""
    return {thread.tid: tracer(thread.tracer) for thread in snapshot.threads if thread.tracer}


def sharing(task: int, same: Callable[[int, int], bool], pids: Iterable[int]) -> Tuple[int, ...]:
    """Who shares the address space of `task` without being a thread of it: clone(2) with CLONE_VM.

    Processes that may not be compared are of other users, and left out: whoever starts a process in its own
    memory can be traced as it can.

    :param same: same(task, pid), as :func:`.kcmp.same_address_space`
    :raises OSError: the comparison does not work at all (ENOSYS; EPERM on `task` itself)
    """
    same(task, task)
    found: List[int] = []
    for pid in pids:
        try:
            if pid != task and same(task, pid):
                found.append(pid)
        except (ProcessLookupError, PermissionError):
            continue
    return tuple(found)


def waits_for_vfork(snapshot: Snapshot, thread: ThreadView) -> bool:
    """Whether a thread is in vfork(2) or the like; posix_spawn(3) is.

    Such a thread can not be stopped before its child has executed a program or ended. It shows the state D
    (kernel/fork.c, wait_for_vfork_done).
    """
    if thread.state != UNINTERRUPTIBLE or thread.syscall is None or snapshot.cpu is None:
        return False
    name = snapshot.cpu.syscall_name(thread.syscall.number)
    if name == "clone":
        return bool(thread.syscall.arguments[0] & CLONE_VFORK)
    if name == "clone3":
        try:
            flags = snapshot.memory.read(thread.syscall.arguments[0], 8)  # struct clone_args: flags come first
        except ProcessLookupError:
            raise
        except OSError:
            return True  # it can not be told
        return bool(int.from_bytes(flags, "little") & CLONE_VFORK)
    return name == "vfork"


def _stuck(snapshot: Snapshot, vforking: Tuple[int, ...]) -> Tuple[int, ...]:
    stuck = [
        thread.tid
        for thread in snapshot.threads
        if thread.state == UNINTERRUPTIBLE and thread.tid not in vforking
    ]
    for _ in range(_LOOKS - 1):
        if not stuck:
            break
        time.sleep(_BETWEEN_LOOKS)
        stuck = [tid for tid in stuck if _state(snapshot.pid, tid) == UNINTERRUPTIBLE]
    return tuple(stuck)


def _state(pid: int, tid: int) -> Optional[str]:
    try:
        return procfs.stat(pid, tid).state
    except ProcessLookupError:
        return None


def tracer(pid: int) -> Tracer:
    """Who it is; without a name where it is in another PID namespace, or gone."""
    try:
        return Tracer(pid, procfs.stat(pid).comm, tuple(procfs.cmdline(pid)))
    except OSError:
        return Tracer(pid, "", ())


def _not_writable(snapshot: Snapshot) -> Optional[str]:
    try:
        with Memory(snapshot.pid, snapshot.task) as memory:
            memory.open_writable()
    except PermissionError as error:
        return str(error.strerror)
    return None
