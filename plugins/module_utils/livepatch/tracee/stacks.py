# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""On which stacks we may write below the stack pointer, and how far down.

What is below the stack pointer is free by the psABI, as far as the stack reaches.  A
goroutine's or a small coroutine's stack ends a few hundred bytes further down, and then
comes somebody else's data.  So a stack must be *proven* to be one of two kinds::

    the leader's                            another thread's (glibc, musl: nptl/allocatestack.c,
                                            src/thread/pthread_create.c)
    +-----------------------+ [stack] end   +-----------------------+ mapping end
    |                       |               | thread control block  | <- thread pointer
    |  <- stack pointer     |               |                       |
    |                       |               |  <- stack pointer     |
    +-----------------------+ low           +-----------------------+ low
    (grows on demand)                       | guard: no permissions |
                                            +-----------------------+

Room is counted within what is mapped: the kernel does not grow a stack for our writes
(mm/gup.c, since 6.5).  Alternate signal stacks and coroutine stacks lie elsewhere and are never
proven; an alternate signal stack that is a local array of a function on a proven one is found by the
frame of what it interrupted.  What can not be seen from outside, and is taken for a thread's own stack: a
coroutine stack that is such an array, and stacks without a guard between them that the program
handed to pthread_attr_setstack(3).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import (
    TYPE_CHECKING,
    Callable,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from ..cpu import Cpu
from ..cpu.architecture import Registers
from ..cpu.signal_frame import interrupted_sp
from ..errors import Refused
from ..kernel import guards, ptrace
from ..kernel.procfs import PAGE, Syscall
from ..kernel.procfs import Mapping as MemoryMapping
from .restart import is_restart_syscall

if TYPE_CHECKING:
    from .stop import StoppedThread

# Below our frame, for signal handlers that run before it is used up.
MARGIN = 4096

# These calls put on another signal mask while they wait; kernels before 5.1 do not tell
# the tracer which one the thread had before (PTRACE_GETSIGMASK and saved_sigmask).
_CHANGES_MASK = frozenset(
    ("rt_sigsuspend", "sigsuspend", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64")
    + ("epoll_pwait", "epoll_pwait2", "io_pgetevents", "io_pgetevents_time64")
)


class Stack(NamedTuple):
    """Addresses from ``low`` up to ``high`` are one thread's stack."""

    low: int
    high: int


def thread_pointer(tid: int, cpu: Cpu, registers: Registers) -> int:
    """Address of a stopped thread's control block; 0: it has none.

    :raises OSError: the kernel has no such entry
    """
    if cpu.thread_pointer is not None:
        return registers[cpu.thread_pointer]
    # %gs: the upper 13 bits of a selector are the entry (Intel SDM volume 3, 3.4.2)
    entry = (registers[cpu.register_names.index("gs")] & 0xFFFF) >> 3
    return ptrace.get_thread_area(tid, entry) if entry else 0


class StackMap:
    """The memory map of a process, seen as stacks.

    It may be older than the stop: a thread's stack stays as long as the thread, and only grows.

    :param mappings: in order of address
    :param pid: the process, which is its leader's thread id, too
    :param hidden_guards: (pid, tid, start, end) -> addresses of guard pages in between that the map
        does not show
    """

    def __init__(
        self,
        mappings: Sequence[MemoryMapping],
        pid: int,
        hidden_guards: Callable[[int, int, int, int], Sequence[int]] = guards.hidden,
    ) -> None:
        self.pid = pid
        self._mappings = mappings
        self._starts = [mapping.start for mapping in mappings]
        self._hidden_guards = hidden_guards

    def prove(self, tid: int, sp: int, tcb: int) -> Optional[Stack]:
        """The stack that a stopped thread is on.

        :param sp: its stack pointer
        :param tcb: see :func:`thread_pointer`
        :returns: None: nothing is proven
        """
        stack = self.guess(tid, sp)
        if stack is None or tid == self.pid:
            return stack
        stack = self._between_hidden_guards(tid, stack, sp)
        return stack if sp < tcb < stack.high else None

    def guess(self, tid: int, sp: int) -> Optional[Stack]:
        """:meth:`prove` for a thread that is not stopped, whose control block is not known."""
        index = bisect_right(self._starts, sp) - 1
        if index < 0:
            return None
        mapping = self._mappings[index]
        if sp >= mapping.end or not (mapping.readable and mapping.writable and mapping.private):
            return None
        if tid == self.pid:
            return Stack(mapping.start, mapping.end) if mapping.path == "[stack]" else None
        if mapping.inode or (mapping.path and not mapping.path.startswith(("[anon:", "[stack:"))):
            return None
        stack = Stack(mapping.start, mapping.end)
        guard = self._mappings[index - 1] if index else None
        if guard is not None and guard.end == mapping.start and guard.permissions[:3] == "---":
            return stack
        inner = self._between_hidden_guards(tid, stack, sp)
        return inner if inner.low > stack.low else None

    def _between_hidden_guards(self, tid: int, stack: Stack, sp: int) -> Stack:
        """The part of a mapping around the stack pointer that has no guard page inside."""
        pages = self._hidden_guards(self.pid, tid, stack.low, stack.high)
        below = bisect_right(pages, sp)
        low = pages[below - 1] + PAGE if below else stack.low
        return Stack(low, pages[below] if below < len(pages) else stack.high)


def of_threads(threads: Iterable[StoppedThread], stacks: StackMap) -> Iterator[Tuple[StoppedThread, Stack]]:
    """Stopped threads that are on stacks of their own, with these: up to the control block, above which
    another mapping may follow without a seam."""
    for thread in threads:
        try:
            block = thread_pointer(thread.tid, thread.cpu, thread.registers)
        except OSError:  # it has none
            continue
        stack = stacks.prove(thread.tid, thread.registers[thread.cpu.sp], block)
        if stack is not None:
            yield thread, stack if thread.tid == stacks.pid else Stack(stack.low, block)


def above_an_interrupted(
    words: bytes, sp: int, low: int, cpu: Cpu, restorers: Mapping[int, bool]
) -> bool:
    """Whether a stack is in use further down, too: beneath an alternate signal stack that is a local array.

    The kernel puts a handler's frame below what it interrupts, but for one on an alternate stack.

    :param words: the stack from ``sp`` on
    :param low: where the stack begins
    :param restorers: see ``gadgets.restorers``
    """
    for address, through_rt in restorers.items():
        wanted = address.to_bytes(cpu.word, "little")
        at = words.find(wanted)
        while at >= 0:
            place = at + interrupted_sp(cpu.name, through_rt)
            interrupted = int.from_bytes(words[place : place + cpu.word], "little")
            if (sp + at) % cpu.word == 0 and low <= interrupted < sp + at:
                return True
            at = words.find(wanted, at + 1)
    return False


def candidates(
    threads: Iterable[Tuple[int, Optional[Syscall]]], stacks: StackMap, cpu: Cpu, needed: int
) -> List[int]:
    """Threads that may make calls for us, best first, judged while they run.

    Best is one that waits in a system call: its stop is not felt.  Next come those whose call changes the
    signal mask, those that wait in restart_syscall (if we die, they see EINTR), and those that run: nothing
    is known of their stack yet.

    :param threads: (tid, what it waits in or None)
    :param needed: bytes below the stack pointer, see ``remote.room_needed``
    :raises Refused: ``no_stack_room``
    """
    ranked: List[Tuple[int, int]] = []
    tried: List[str] = []
    for tid, waits in threads:
        if waits is None or waits.number < 0:
            ranked.append((3, tid))
            continue
        stack = stacks.guess(tid, waits.sp)
        if stack is None:
            tried.append(f"thread {tid} is at {waits.sp:#x}, which is no stack that we know")
        elif waits.sp - stack.low < needed:
            tried.append(f"thread {tid} has {waits.sp - stack.low} bytes of stack left, {needed} are needed")
        elif is_restart_syscall(waits.number, cpu):
            ranked.append((2, tid))
        else:
            ranked.append((1 if cpu.syscall_name(waits.number) in _CHANGES_MASK else 0, tid))
    if not ranked:
        raise Refused("no_stack_room", "; ".join(tried[:4]) or "the process has no thread")
    return [tid for _, tid in sorted(ranked)]
