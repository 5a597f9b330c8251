# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process looks like from outside: read from /proc here, so that the product is not its own judge."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass

from .product import livepatch

OURS = "memfd:livepatch"  # the name that every mapping and every descriptor of ours carries


def threads(pid: int) -> list[int]:
    """The thread ids of a process, sorted."""
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))


def states(pid: int) -> dict[int, str]:
    """The state letter of each thread, proc(5): R, S, D, T (stopped), t (tracing stop), Z."""
    found = {}
    for tid in threads(pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{tid}/stat") as file:
            found[tid] = file.read().rpartition(")")[2].split()[0]
    return found


def tracers(pid: int) -> set[int]:
    """The processes that trace any thread of this one."""
    found = set()
    for tid in threads(pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{tid}/status") as file:
            found |= {int(line.split()[1]) for line in file if line.startswith("TracerPid:")}
    return found - {0}


def maps(pid: int) -> list[str]:
    """The lines of /proc/PID/maps, of any thread that still has them (an exited leader has none)."""
    for tid in threads(pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{tid}/maps") as file:
            lines = file.read().splitlines()
            if lines:
                return lines
    return []


def our_mappings(pid: int) -> list[str]:
    """The mappings that a patch left in the process."""
    return [line for line in maps(pid) if OURS in line]


def our_descriptors(pid: int) -> list[str]:
    """The descriptors that a patch left open in the process."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            link = os.readlink(f"/proc/{pid}/fd/{number}")
            if OURS in link:
                found.append(f"{number} -> {link}")
    return found


def writable_and_executable(pid: int) -> list[str]:
    """Mappings that nobody should have."""
    return [line for line in maps(pid) if line.split()[1][1:3] == "wx"]


def executable(pid: int) -> list[tuple[int, int, str]]:
    """(start, end, path) of the executable mappings, the vdso and vsyscall pages left out."""
    found = []
    for line in maps(pid):
        fields = line.split(maxsplit=5)
        path = fields[5] if len(fields) > 5 else ""
        if "x" in fields[1] and not path.startswith("[v"):
            start, end = (int(part, 16) for part in fields[0].split("-"))
            found.append((start, end, path))
    return found


def read(pid: int, address: int, size: int) -> bytes:
    """Memory of the process, at a run-time address."""
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        memory.seek(address)
        return memory.read(size)


def looks_at(injector: int, pid: int) -> bool:
    """Whether a process has the memory of another one open."""
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{injector}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{injector}/fd/{number}") == f"/proc/{pid}/mem":
                    return True
    return False


@dataclass(frozen=True)
class Fingerprint:
    """All that a refused patch must leave as it was."""

    code: tuple[tuple[int, int, str, str], ...]  # start, end, path, SHA-256 of each executable mapping
    ours: tuple[str, ...]
    descriptors: tuple[str, ...]


def fingerprint(pid: int) -> Fingerprint:
    """What the process is now: its code, and what of ours is in it."""
    code = tuple(
        (start, end, path, hashlib.sha256(read(pid, start, end - start)).hexdigest())
        for start, end, path in executable(pid)
    )
    return Fingerprint(code, tuple(our_mappings(pid)), tuple(our_descriptors(pid)))


@contextlib.contextmanager
def untouched(pid: int) -> Iterator[None]:
    """Fail if the block changes the code of the process, maps anything of ours, or leaves a thread traced."""
    before, stopped = fingerprint(pid), {tid for tid, state in states(pid).items() if state in "tT"}
    traced = tracers(pid)
    yield
    after = fingerprint(pid)
    assert after == before, [set(now) ^ set(then) for now, then in zip(astuple(after), astuple(before))]
    assert {tid for tid, state in states(pid).items() if state in "tT"} == stopped
    assert tracers(pid) == traced


def assert_released(pid: int) -> None:
    """No thread is stopped, nobody traces the process."""
    assert tracers(pid) == set()
    stopped = {tid: state for tid, state in states(pid).items() if state in "tT"}
    assert not stopped, f"threads left stopped: {stopped}"


def assert_clean(pid: int) -> None:
    """Nothing of ours is left in the process, and nobody holds it."""
    assert our_mappings(pid) == []
    assert our_descriptors(pid) == []
    assert writable_and_executable(pid) == []
    assert_released(pid)


def assert_collected(pid: int) -> None:
    """:func:`assert_clean`; memory that a busy host had to keep for now is collected by later commands first."""
    for _ in range(5):
        if not our_mappings(pid):
            break
        livepatch("recover", "--pid", pid)
    assert_clean(pid)


def wait_for_call(pid: int, tid: int, number: int, seconds: float = 10.0) -> None:
    """Return once the thread sleeps in the system call ``number`` (of its own ABI).

    A program can say that it is about to block, never that it has; the kernel alone knows.

    :raises AssertionError: it did not within ``seconds``
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/task/{tid}/syscall") as file:
            words = file.read().split()
        if words[0].isdigit() and int(words[0]) == number and states(pid).get(tid) == "S":
            return
        os.sched_yield()
    raise AssertionError(f"thread {tid} of {pid} never slept in system call {number}")


def wait_until_stopped(pid: int, seconds: float = 10.0) -> None:
    """Return once every thread of a process is stopped by a signal, and by no tracer.

    A thread that is let go in a group-stop runs a few instructions, in the kernel, before it is stopped again.

    :raises AssertionError: one was not within ``seconds``
    """
    deadline = time.monotonic() + seconds
    while set(found := states(pid).values()) != {"T"}:
        assert time.monotonic() < deadline, f"process {pid} does not stop: {sorted(found)}"
        os.sched_yield()
