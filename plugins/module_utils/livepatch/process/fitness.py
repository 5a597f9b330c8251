# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Can this process be patched? What can be told without stopping it.

Every rule is a function of what was seen, and of nothing else. It gives a :class:`Refused` or None; the table
at the end has them in the order in which the answers help an operator most.
"""

from __future__ import annotations

import posixpath
import re
from typing import Callable, Iterator, List, Optional, Tuple

from ..errors import Refused
from .coroutines import why_search
from .observations import Observations, Tracer, observe, tracers
from .snapshot import Snapshot, ThreadView

SHADOW_STACK = "shstk"  # arch/x86/kernel/cpu/proc.c, arch_proc_pid_thread_features

Rule = Callable[[Snapshot, Observations], Optional[Refused]]


def check(snapshot: Snapshot, mode: str = "auto", milliseconds: float = 50) -> None:
    """Look once more, and judge.

    :param mode: the parameter ``coroutines``
    :param milliseconds: the longest stop
    :raises Refused: the first reason against it
    :raises ProcessLookupError: the process is gone
    """
    for refused in judge(snapshot, observe(snapshot, mode, milliseconds)):
        raise refused


def check_untraced(snapshot: Snapshot) -> None:
    """:raises Refused: ``being_traced``, ``in_use_by``"""
    refused = _traced(snapshot, Observations(tracers=tracers(snapshot)))
    if refused is not None:
        raise refused


def judge(snapshot: Snapshot, seen: Observations) -> Iterator[Refused]:
    """Every reason against it, the most helpful first."""
    for rule in RULES:
        refused = rule(snapshot, seen)
        if refused is not None:
            yield refused


def unproven(snapshot: Snapshot, mode: str = "auto") -> Tuple[str, ...]:
    """What only a stop can show, as words for a report: check mode does not promise these.

    :param mode: the parameter ``coroutines``
    """
    words = ["busy", "no_stack_room", "shares_memory"]
    if why_search(snapshot, mode) is not None:
        words.append("function_on_coroutine")
    if snapshot.seccomp:
        words.append("seccomp")
    return tuple(words)


def _exiting(snapshot: Snapshot, seen: Observations) -> Optional[Refused]:
    if snapshot.threads:
        return None
    return Refused("exiting", f"{_title(snapshot)} has no living thread")


def _traced(snapshot: Snapshot, seen: Observations) -> Optional[Refused]:
    for tid, tracer in sorted(seen.tracers.items()):
        return traced_by(tracer, f"thread {tid} of {_title(snapshot)}")
    return None


def traced_by(tracer: Tracer, what: str) -> Refused:
    """The refusal to work on ``what``, which somebody else holds: ``in_use_by`` or ``being_traced``."""
    by = f"process {tracer.pid} ({tracer.name or 'of another PID namespace'})"
    return Refused("in_use_by" if is_ours(tracer) else "being_traced", f"{what} is traced by {by}")


def _architecture(snapshot: Snapshot, seen: Observations) -> Optional[Refused]:
    executable = snapshot.executable
    if executable is None:
        what = f"the program of {_title(snapshot)}, {snapshot.exe}, was not found in its memory"
        return Refused("wrong_architecture", what)
    if executable.is_x32:
        return Refused("x32", f"{_title(snapshot)} runs {executable.path}, an x32 program")
    if snapshot.cpu is None:
        what = f"e_machine {executable.machine}, {executable.elf_class} bits"
        return Refused("wrong_architecture", f"{_title(snapshot)} runs {executable.path}: {what}")
    return None


def _not_permitted(snapshot: Snapshot, seen: Observations) -> Optional[Refused]:
    if seen.not_writable is None:
        return None
    return Refused("not_permitted", f"the memory of {_title(snapshot)} may not be written: {seen.not_writable}")


def _shadow_stack(snapshot: Snapshot, seen: Observations) -> Optional[Refused]:
    for thread in snapshot.threads:
        if SHADOW_STACK in thread.features.split():
            return Refused("shadow_stack", f"{_thread(thread)} of {_title(snapshot)} runs with a shadow stack")
    return None


def _vfork(snapshot: Snapshot, seen: Observations) -> Optional[Refused]:
    for thread in snapshot.threads:
        if thread.tid in seen.vforking:
            return Refused("vfork", f"{_thread(thread)} of {_title(snapshot)} waits for its vfork child")
    return None


def _shares_memory(snapshot: Snapshot, seen: Observations) -> Optional[Refused]:
    if seen.sharers_unknown is not None:
        what = f"whether {_title(snapshot)} shares its memory can not be told: {seen.sharers_unknown}"
        return Refused("shares_memory", what)
    if seen.sharers:
        others = ", ".join(map(str, seen.sharers))
        return Refused("shares_memory", f"{_title(snapshot)} shares its memory with process {others}")
    return None


def _uninterruptible(snapshot: Snapshot, seen: Observations) -> Optional[Refused]:
    for thread in snapshot.threads:
        if thread.tid in seen.uninterruptible:
            what = f"{_thread(thread)} of {_title(snapshot)} is in an uninterruptible {_call(snapshot, thread)}"
            return Refused("uninterruptible", what)
    return None


def _coroutines(snapshot: Snapshot, seen: Observations) -> Optional[Refused]:
    if seen.unsearchable is None:
        return None
    return Refused("coroutines_unsupported", f"{_title(snapshot)}: {seen.unsearchable}")


RULES: Tuple[Rule, ...] = (
    _exiting,
    _traced,
    _not_permitted,
    _architecture,
    _shadow_stack,
    _coroutines,
    _vfork,
    _shares_memory,
    _uninterruptible,
)

_PROGRAM = re.compile(r"livepatch(-[0-9a-f]{8,64})?(\.pyz)?")


def is_ours(tracer: Tracer) -> bool:
    """Whether a tracer is another injector: livepatch, python3 livepatch-DIGEST.pyz, python3 -m livepatch.

    Only the program counts, not what it is told to work on.
    """
    words: List[str] = list(tracer.cmdline[:1])
    if words and posixpath.basename(words[0]).startswith("python"):
        # the script or module: the first word that is no option (-m NAME counts as its name)
        words += [word for word in tracer.cmdline[1:] if not word.startswith("-")][:1]
    return any(_PROGRAM.fullmatch(part) for word in words for part in word.split("/"))


def _title(snapshot: Snapshot) -> str:
    return f"process {snapshot.pid} ({snapshot.name})"


def _thread(thread: ThreadView) -> str:
    return f"thread {thread.tid} ({thread.name})"


def _call(snapshot: Snapshot, thread: ThreadView) -> str:
    if thread.syscall is None or thread.syscall.number < 0 or snapshot.cpu is None:
        return "wait in the kernel"
    return f"system call, {snapshot.cpu.syscall_name(thread.syscall.number)}"
