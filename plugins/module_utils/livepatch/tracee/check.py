# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Is a stopped thread inside code that is about to change?

Two steps.  First one read of all stacks and a search for words that could be
return addresses into that code: without such a word on its stack and in its
registers, a thread is not inside.  Where there is one, or where the stack is not
all there is (an alternate signal stack, too much to read), the unwinder decides;
what it can not unwind is in the way.
"""

from __future__ import annotations

import time
from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..cpu import Cpu
from ..errors import Busy
from ..kernel.memory import BulkReader
from .scan import Scanner, extent
from .stop import StoppedThread
from .unwind import Unwinder, Unwound, inside

# More of one stack than this goes to the unwinder, which reads only what it needs.
_MOST_OF_ONE = 64 << 10
_MOST_TOGETHER = 4 << 20

# A thread that must be unwound, with (offset in the buffer, size) of its stack where that was read.
Suspect = Tuple[StoppedThread, Optional[Tuple[int, int]]]
Extent = Tuple[StoppedThread, int, int]  # address and size of the stack that is in use


class Watched(NamedTuple):
    """Code [start, end) that nobody may be in, and whose it is."""

    start: int
    end: int
    name: str


class Blocker(NamedTuple):
    """A thread that is in the way."""

    thread: StoppedThread
    busy: Busy  # why, in words
    unwound: Optional[Unwound]  # its frames, where it was unwound


class StackCheck:
    """Built before the stop, called in it.

    :param pid: any living thread of the process
    :param own_stack: (tid, registers) -> [low, high) of the thread's own stack, None if that is not where it is
    :param restorers: addresses that a signal handler returns to; one on a stack means that another
        stack may lie beneath
    :param describe: tid -> "thread 123 (name)"
    :param limit: seconds that unwinding may take at each call; what is not known by then is in the way
    :param stubs: ranges of code that return addresses were swapped for: a word on a stack that leads there
        is followed, too
    :param searched: all memory but the stacks of threads will be looked through for return addresses
        (:mod:`suspended`): a thread that is on none of them, but on a coroutine's, need not be unwound
    """

    def __init__(
        self,
        pid: int,
        cpu: Cpu,
        watched: Sequence[Watched],
        unwinder: Unwinder,
        own_stack: Callable[[StoppedThread], Optional[Tuple[int, int]]],
        restorers: Iterable[int],
        describe: Callable[[int], str],
        limit: float,
        stubs: Sequence[Tuple[int, int]] = (),
        searched: bool = False,
    ) -> None:
        self.pid = pid
        self._searched = searched
        self.cpu = cpu
        self.watched = watched
        self._ranges = [(each.start, each.end) for each in watched]
        self.unwinder = unwinder
        self._own_stack = own_stack
        self._describe = describe
        self._limit = limit
        self._pointers = Scanner(cpu.word, self._ranges)
        self._triggers = Scanner(cpu.word, [*self._ranges, *stubs, *((address, address) for address in restorers)])
        self._reader = BulkReader(pid, _MOST_TOGETHER)

    def __call__(self, threads: Sequence[StoppedThread]) -> Optional[Busy]:
        """The first thread that is in the way, if any."""
        for blocker in self.blockers(threads):
            return blocker.busy
        return None

    def blockers(self, threads: Sequence[StoppedThread]) -> Iterator[Blocker]:
        """The threads that are in the way, each found when it is asked for."""
        extents, stray = self._extents(threads)
        if self._searched:  # what is on none of the threads' stacks will be found, or not, as a word in memory
            stray = [each for each in stray if not self._elsewhere(each[0])]
        suspects = stray + self._hits(extents)
        looked: Set[int] = set()
        for thread in threads:
            if thread.cpu is not self.cpu:
                looked.add(thread.tid)
                yield self._unknown(thread, f"it runs {thread.cpu.name} code right now")
            elif self._pointers.contains(thread.registers):
                pc = thread.registers[self.cpu.pc]
                if any(start <= pc < end for start, end in self._ranges):
                    looked.add(thread.tid)
                    yield self._in_the_way(thread, pc)
                else:
                    suspects.append((thread, None))
        deadline = time.monotonic() + self._limit
        for thread, span in suspects:
            if thread.tid not in looked:
                looked.add(thread.tid)
                blocker = self._unwind(thread, span, deadline)
                if blocker is not None:
                    yield blocker

    def frames(self, blocker: Blocker) -> Unwound:
        """All frames of a thread that was found to be in the way, and is still stopped."""
        if blocker.unwound is not None:
            return blocker.unwound
        return self.unwinder.unwind(blocker.thread.registers, deadline=time.monotonic() + self._limit)

    def _extents(self, threads: Sequence[StoppedThread]) -> Tuple[List[Extent], List[Suspect]]:
        """The stacks that can be read together, and the threads that must be unwound."""
        extents: List[Extent] = []
        stray: List[Suspect] = []
        total = 0
        for thread in threads:
            own = self._own_stack(thread)
            span = None if own is None else extent(thread.registers[self.cpu.sp], *own, self.cpu.word, _MOST_OF_ONE)
            if span is None or total + span[1] > _MOST_TOGETHER:
                stray.append((thread, None))
            else:
                total += span[1]
                extents.append((thread, *span))
        return extents, stray

    def _elsewhere(self, thread: StoppedThread) -> bool:
        """Whether a thread is on a stack that is not its own: a coroutine's, or an alternate one."""
        return self._own_stack(thread) is None and not thread.registers[self.cpu.sp] % self.cpu.word

    def _hits(self, extents: Sequence[Extent]) -> List[Suspect]:
        """Threads on whose stacks a trigger stands."""
        try:
            size = self._reader.read([(address, length) for _, address, length in extents])
        except ProcessLookupError:
            raise
        except OSError:  # one of them is not readable whole
            return [(thread, None) for thread, _, _ in extents]
        found = self._triggers.find(self._reader.buffer, size)
        result: List[Suspect] = []
        begin = index = 0
        for thread, _, length in extents:
            end = begin + length
            if index < len(found) and found[index] < end:
                result.append((thread, (begin, length)))
                while index < len(found) and found[index] < end:
                    index += 1
            begin = end
        return result

    def _unwind(
        self, thread: StoppedThread, span: Optional[Tuple[int, int]], deadline: float
    ) -> Optional[Blocker]:
        registers = thread.registers
        if span is None:
            unwound = self.unwinder.unwind(registers, deadline=deadline)
        else:
            begin, length = span
            stack = memoryview(self._reader.buffer)[begin : begin + length]
            unwound = self.unwinder.unwind(registers, stack, registers[self.cpu.sp], deadline)
        hits = inside(unwound.frames, self._ranges)
        if hits:
            return self._in_the_way(thread, hits[0][0], unwound)
        return None if unwound.complete else self._unknown(thread, unwound.reason)

    def _in_the_way(self, thread: StoppedThread, pc: int, unwound: Optional[Unwound] = None) -> Blocker:
        names = [each.name for each in self.watched if each.start <= pc <= each.end]
        what = f"{self._describe(thread.tid)} is inside {names[0]}{self._call(thread)}"
        return Blocker(thread, Busy("function_on_stack", what), unwound)

    def _unknown(self, thread: StoppedThread, reason: str) -> Blocker:
        busy = Busy("cannot_unwind", f"{self._describe(thread.tid)}{self._call(thread)}: {reason}")
        return Blocker(thread, busy, None)

    def _call(self, thread: StoppedThread) -> str:
        """The system call that the thread sits in, in words."""
        number = thread.registers[thread.cpu.syscall]
        if number >= 1 << 8 * thread.cpu.word - 1:  # -1
            return ""
        return f", in the system call {thread.cpu.syscall_name(number)}"
