# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Is a suspended coroutine inside code that is about to change?

A suspended coroutine is on no thread's stack.  Wherever its own stack is (on the heap, in static memory,
mapped, copied away), the functions it is inside of have left return addresses there: words that lead behind
the first byte of a function, up to its end.  So all writable memory that was ever touched is looked through
for such words, but for the stacks of threads, which :mod:`check` has judged.

*Where they stand.*  At aligned addresses: a call pushes a word, and both psABIs keep the stack pointer at a
multiple of the word (16 at a call).  Stacks that are copied (greenlet) go to aligned memory.

*The innermost frame.*  A saved context has the exact place where the coroutine goes on: that of ucontext(3),
Boost.Context and Go as a plain word.  It is the function's first byte where the coroutine was never started:
then it will run the new code, and is not in the way.  The C library mangles it in a jmp_buf (PTR_MANGLE); but
who calls setjmp(3) and then goes elsewhere has called somebody to get there, from the same depth of the
stack, and that call's return address is still where it was pushed: nobody runs on a suspended stack.

*What does not count.*  The first byte of a function is an entry: somebody's function pointer.  A function's
end counts only if a call may stand before it, which then never returns: else it is the next one's entry.

Nor does the stack of a thread that has ended, which the C library keeps for the next one (:class:`EndedStacks`).

*What is taken for one.*  A return address of a call that is over, where a stack is not in use any more: below
the stack pointer of a suspended coroutine, on the stack of one that has ended.  A later call on this stack
overwrites it; until then the answer is busy, never wrong.

*What is not seen.*  A coroutine whose stack is a local array of a function on a thread's own stack, or memory
that is not writable at the moment; stacks in shared memory that this process has not got mapped right now.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from typing import (
    Callable,
    Collection,
    Dict,
    FrozenSet,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from ..errors import Busy, Refused
from ..kernel.memory import Memory
from ..kernel.procfs import Mapping
from ..process import written
from ..process.written import TooLarge
from .check import Watched
from .references import Finder, Range
from .scan import Scanner

PATCH_MEMORY = "/memfd:livepatch:"  # so maps shows the data of a patch; its jump tables lead into its functions


class Inside(NamedTuple):
    """Addresses that only somebody inside has.

    :ivar whole: ranges of code, both ends included
    :ivar entries: where functions in there begin
    :ivar read: read(address, size) of the code
    """

    whole: Sequence[Range]
    entries: FrozenSet[int]
    read: Callable[[int, int], bytes]

    def leads(self, value: int) -> bool:
        for start, end in self.whole:
            if start < value <= end:
                return (value != end and value not in self.entries) or self._behind_call(value)
        return False

    def _behind_call(self, address: int) -> bool:
        try:
            return may_be_call(self.read(address - 7, 7))
        except ProcessLookupError:
            raise
        except OSError:
            return True


def may_be_call(code: bytes) -> bool:
    """Whether some bytes may end with a call (Intel SDM volume 2, CALL: E8 and FF /2).

    :param code: the seven bytes before an address
    """
    if code[-5] == 0xE8:
        return True
    for length in range(2, 8):
        tail = code[-length:]
        if tail[0] == 0xFF and tail[1] >> 3 & 7 == 2 and _operand(tail[1:]) == length - 1:
            return True
    return False


def _operand(code: bytes) -> int:
    """Bytes of an operand: ModRM, SIB and displacement (Intel SDM volume 2, 2.1.5)."""
    mode, register = code[0] >> 6, code[0] & 7
    if mode == 3:
        return 1
    size = 1
    if register == 4:
        size += 1
        if mode == 0 and len(code) > 1 and code[1] & 7 == 5:
            size += 4
    elif mode == 0 and register == 5:
        size += 4
    return size + {0: 0, 1: 1, 2: 4}[mode]


class EndedStacks:
    """Stacks of threads that have ended: what stands there is of calls that are over.

    ::

                       |  anything                  |
                       +----------------------------+
                       | struct pthread: tid <= 0   | <- its first and third word: its own address
                       |  what the thread has left  |
        mapping start  +----------------------------+
                       | guard: no permissions      |

    glibc keeps them, with a tid of -1, or 0 where nobody has joined the thread yet (nptl/nptl-stack.h,
    __nptl_stack_in_use; CLONE_CHILD_CLEARTID). Where the tid stands is told to debuggers (nptl_db/structs.def).

    :param task: any living thread of the process
    :param tid_at: offset of the tid in struct pthread; None: not to be told, so there are none
    :param word: bytes in an address
    """

    def __init__(
        self, pid: int, task: int, memory: Memory, mappings: Sequence[Mapping], tid_at: Optional[int], word: int
    ) -> None:
        self._pid = pid
        self._task = task
        self._memory = memory
        self._mappings = mappings
        self._starts = [mapping.start for mapping in mappings]
        self._tid_at = tid_at
        self._word = word
        self._ends: Dict[int, int] = {}  # index of a mapping -> where its ended stack ends

    def hold(self, address: int) -> bool:
        """Whether an address is on one of them."""
        index = bisect_right(self._starts, address) - 1
        if index not in self._ends:
            self._ends[index] = self._end(self._mappings[index], self._mappings[index - 1]) if index > 0 else 0
        return address < self._ends[index]

    def _end(self, mapping: Mapping, guard: Mapping) -> int:
        """Where the stack of an ended thread that a mapping begins with ends; 0: there is none."""
        if self._tid_at is None or mapping.inode or mapping.path or not mapping.private:
            return 0
        if guard.end != mapping.start or guard.permissions[:3] != "---":
            return 0
        scanner = Scanner(self._word, [(mapping.start, mapping.end)])
        try:
            for start, end in written.areas(self._pid, self._task, [mapping], (), _ONE_STACK_MS):
                data = self._memory.read(start, end - start)
                for offset in scanner.find(data):
                    own = (start + offset).to_bytes(self._word, "little")
                    if data.startswith(own, offset) and data.startswith(own, offset + 2 * self._word):
                        tid = int.from_bytes(
                            self._memory.read(start + offset + self._tid_at, 4), "little", signed=True
                        )
                        return start + offset if tid <= 0 else 0  # the lowest: above it anything may follow
        except (TooLarge, OSError) as error:
            if isinstance(error, ProcessLookupError):
                raise
        return 0


class Search:
    """Built before the stop, called in it.

    :param task: any living thread of the process
    :param entries: where functions in the watched code begin
    :param tid_at: see :class:`EndedStacks`
    :param why: why it is searched, in words
    :param stop: the longest stop, seconds
    :raises Refused: ``coroutines_unsupported``: there is too much memory for a stop of this length
    """

    def __init__(
        self,
        pid: int,
        task: int,
        memory: Memory,
        word: int,
        watched: Sequence[Watched],
        entries: Collection[int],
        tid_at: Optional[int],
        why: str,
        stop: float,
    ) -> None:
        self._pid = pid
        self._task = task
        self._memory = memory
        self._word = word
        self._tid_at = tid_at
        self._watched = watched
        self._why = why
        self._stop = stop
        ranges = [(each.start, each.end) for each in watched]
        self._finder = Finder(task, memory, Inside(ranges, frozenset(entries), memory.read), word)

    def ahead(self, mappings: Sequence[Mapping]) -> Optional[Busy]:
        """While the process runs: read all of it once, and say so where a stop would be in vain.

        Only what can be nobody's stack counts: of a running thread's it is not known how far it is used.

        :raises Refused: ``coroutines_unsupported``
        """
        for address, value in self._finder.find(self._areas(mappings, ())):
            mapping = next((each for each in mappings if each.start <= address < each.end), None)
            if mapping is not None and (mapping.inode or mapping.path == "[heap]"):
                return self._busy(address, value)
        return None

    def look(
        self, mappings: Sequence[Mapping], stacks: Iterable[Tuple[object, Range]], deadline: float
    ) -> Optional[Busy]:
        """In the stop: the first word that leads inside.

        :param stacks: threads with (start, end) of their stacks, which are judged already
        :param deadline: when the stop must end, see ``time.monotonic``
        :raises Refused: ``coroutines_unsupported``
        """
        where = self._areas(mappings, [stack for _, stack in stacks])
        ended = EndedStacks(self._pid, self._task, self._memory, mappings, self._tid_at, self._word)
        for part in _parts(where):
            if time.monotonic() > deadline:
                return Busy("stop_timeout", f"looking through the memory of process {self._pid} took too long")
            for address, value in self._finder.find(part):
                if not ended.hold(address):
                    return self._busy(address, value)
        return None

    def _areas(self, mappings: Sequence[Mapping], stacks: Sequence[Range]) -> List[Range]:
        searched = [each for each in mappings if not each.path.startswith(PATCH_MEMORY)]
        try:
            return written.areas(self._pid, self._task, searched, stacks, self._stop * 1e3)
        except TooLarge as error:
            what = f"process {self._pid} can not be searched for suspended coroutines ({self._why})"
            raise Refused(
                "coroutines_unsupported", f"{what} in a stop of {self._stop * 1e3:.0f} ms: {error}"
            ) from error

    def _busy(self, address: int, value: int) -> Busy:
        name = next(each.name for each in self._watched if each.start <= value <= each.end)
        return Busy(
            "function_on_coroutine",
            f"the word at {address:#x} of process {self._pid} leads into {name} ({value:#x}): "
            f"a suspended coroutine may be inside of it",
        )


_ONE_STACK_MS = 2.0
_PART = 4 << 20  # bytes between two looks at the clock


def _parts(where: Sequence[Range]) -> List[List[Range]]:
    parts: List[List[Range]] = []
    room = 0
    for start, end in where:
        while start < end:
            if room <= 0:
                parts.append([])
                room = _PART
            size = min(end - start, room)
            parts[-1].append((start, start + size))
            start += size
            room -= size
    return parts
