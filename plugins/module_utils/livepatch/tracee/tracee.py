# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A process that we hold.

One thread, the *anchor*, is seized from the first hold to the end; the others are
seized for each attempt to stop the process.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Type

from ..errors import Busy, Gone, LivepatchError, Refused
from ..kernel import procfs, ptrace
from ..process import coroutines
from ..process.snapshot import Snapshot
from . import gadgets, late, references, safe_point, stacks, tables
from .anchor import Anchor
from .check import StackCheck, Watched
from .orphan import Orphans
from .references import Wanted
from .remote import Hold, room_needed
from .safe_point import Patience
from .seccomp import Call
from .stacks import StackMap
from .stop import Look, Outcome, Stop, StoppedThread
from .suspended import Search
from .unwind import Code, Unwinder
from .waiting import Waiting

__all__ = ["Patience", "Tracee", "Watched"]

_HOLD_S = 1.0  # for one thread to stop
_MOST_CANDIDATES = 16
# Stacks of sleeping threads that are looked through beforehand, so that unwinding them is fast in the stop.
_MOST_SAMPLED = 32
_SAMPLE = 16 << 10


class Tracee:
    """As a context manager: nothing of ours is in the process's way after the end.

    :param snapshot: the process as it was looked at
    :raises Refused: ``not_permitted``, ``no_gadget``
    :raises ProcessLookupError: it is gone
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.pid = snapshot.pid
        self._patches: List[Tuple[int, int, str, int, int]] = []  # start, end, name, eh_frame: address, size
        self.task = snapshot.task
        self._filtered = snapshot.seccomp != 0
        assert snapshot.cpu is not None, "fitness.check looks at that"
        self.cpu = snapshot.cpu
        self.memory = snapshot.memory  # of the very address space that was looked at
        try:
            self.memory.open_writable()
            self._exe = procfs.exe(self.task)
            self._gadgets = gadgets.find(self.cpu, self.mappings(), self._exe, self.memory.read)
            self._handler_returns: Optional[Dict[int, bool]] = None
            orphans = Orphans(self.pid, self.cpu, self._gadgets, self.memory)
            self._anchor = Anchor(self.pid, self.living, self._filtered, orphans)
        except PermissionError as error:
            raise Refused("not_permitted", f"the memory of process {self.pid} may not be written") from error
        except BaseException:
            self.memory.close_writable()
            raise

    def __enter__(self) -> Tracee:
        ptrace.prepare_waiting()
        late.let_go()
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._anchor.release()
        late.let_go()
        self.memory.close_writable()

    def mappings(self) -> List[procfs.Mapping]:
        """The memory map as it is now."""
        return procfs.maps(self.task)

    def add_patch(self, start: int, end: int, name: str, eh_frame: int, size: int) -> None:
        """Code that came into the process after the snapshot, for the unwinder."""
        self._patches.append((start, end, name, eh_frame, size))

    def forget_patch(self, start: int) -> None:
        """Code that was unmapped."""
        self._patches = [patch for patch in self._patches if patch[0] != start]

    # -- one thread ----------------------------------------------------------------

    @contextmanager
    def hold(self, calls: Sequence[Call], scratch: bytes = b"") -> Iterator[Hold]:
        """A thread that can make these calls for us; see ``remote.Hold``.

        :raises Refused: ``no_stack_room``, ``seccomp``, ...: no thread can
        :raises Busy: ``stop_timeout``
        :raises Gone: the process has ended
        """
        problem: Optional[LivepatchError] = None
        with ExitStack() as stack:
            for tid in self._candidates(len(scratch)):
                if tid != self._anchor.tid and not self._anchor.take(tid):
                    continue
                hold = Hold(
                    tid, self.cpu, self._gadgets, self.memory, self._stack_map(),
                    time.monotonic() + _HOLD_S, scratch=scratch, calls=calls, restorers=self._restorers(),
                )  # fmt: skip
                try:
                    stack.enter_context(hold)
                except (Refused, Busy) as error:
                    problem = problem or error
                except Gone:
                    self._anchor.tid = None
                else:
                    yield hold
                    return
        if problem is not None:
            raise problem
        raise Gone(self.pid)

    def _candidates(self, scratch: int) -> List[int]:
        """Threads to try, the best first; the anchor before others that are as good."""
        threads = []
        for tid in self.living():
            try:
                threads.append((tid, procfs.syscall(self.pid, tid)))
            except ProcessLookupError:
                continue
        found = stacks.candidates(threads, self._stack_map(), self.cpu, room_needed(self.cpu, scratch))
        if self._anchor.tid in found:
            found.remove(self._anchor.tid)
            found.insert(0, self._anchor.tid)
        return found[:_MOST_CANDIDATES]

    def living(self) -> List[int]:
        """Threads that have not exited; the leader may have."""
        return [tid for tid in procfs.tids(self.pid) if tid != self.pid or not self.snapshot.leader_exited]

    def _restorers(self) -> Dict[int, bool]:
        """They stand in code that stays as long as the process does."""
        if self._handler_returns is None:
            self._handler_returns = gadgets.restorers(self.cpu, self.mappings(), self._exe, self.memory.read)
        return self._handler_returns

    def _stack_map(self) -> StackMap:
        return StackMap(self.mappings(), self.pid)

    # -- all threads ---------------------------------------------------------------

    @contextmanager
    def stop(self) -> Iterator[Stop]:
        """For attempts that are made one by one."""
        stop = Stop(self.pid, self.claim(), self._filtered)
        try:
            yield stop
        finally:
            if not stop.holds_anchor:
                self._anchor.tid = None
            stop.close()

    def at_safe_point(
        self,
        watched: Sequence[Watched],
        still: Look,
        commit: Callable[[], None],
        patience: Patience,
        between: Callable[[], None],
    ) -> Tuple[Outcome, int]:
        """Commit while everybody stands still and nobody is in the watched code.

        :param between: called before each attempt; may raise to give up
        :returns: the stop in which it was committed, and the number of attempts
        :raises Busy: there was no such moment in time
        :raises Refused: the process can not be stopped
        :raises Gone: it has ended
        """
        waiting = Waiting(self, patience.stop)
        try:
            with self.stop() as stop:
                try:
                    return safe_point.find(self, stop, waiting, watched, still, commit, patience, between)
                finally:
                    waiting.empty(stop)
        finally:
            waiting.remove()

    def attempt(
        self, stop: Stop, limit: float, check: Look, still: Look, commit: Callable[[], None]
    ) -> Outcome:
        """One attempt with everybody; see :meth:`Stop.attempt`."""
        if not stop.holds_anchor:
            self._anchor.tid = None
            stop.adopt(self.claim())
        try:
            stop.gather()
        except Busy as blocker:
            return Outcome.nothing(blocker)
        return stop.attempt(self._sleepers(stop.tids), limit, check, still, commit)

    def claim(self) -> int:
        """Have an anchor: from here on a second livepatch sees us.

        :raises Refused: ``being_traced``, ``in_use_by``, ``not_permitted``
        :raises Gone: the process has ended
        """
        for tid in self._by_rank() if self._anchor.tid is None else ():
            if self._anchor.take(tid):
                break
        if self._anchor.tid is None:
            raise Gone(self.pid)
        return self._anchor.tid

    def _by_rank(self) -> List[int]:
        """All threads, those first that calls can be made in without anybody feeling it: the anchor makes them."""
        found: List[int] = []
        with suppress(Refused):
            found = self._candidates(0)
        return [*found, *(tid for tid in self.living() if tid not in found)]

    def _sleepers(self, tids: Sequence[int]) -> List[int]:
        """Threads that wait in a system call right now."""
        result = []
        for tid in tids:
            try:
                if procfs.syscall(self.pid, tid) is not None:
                    result.append(tid)
            except ProcessLookupError:
                continue
        return result

    def search(self, watched: Sequence[Watched], patience: Patience) -> Optional[Search]:
        """The search for suspended coroutines, if there shall be one."""
        why = coroutines.why_search(self.snapshot, patience.coroutines)
        if why is None:
            return None
        begins = {each.start for each in watched}
        frames = [tables for low, high, _, *tables in self._patches if any(low <= each < high for each in begins)]
        found = [references.bodies(self.cpu, at, size, self.memory.read) for at, size in frames if size]
        entries = begins.union(start for each in found for start, _ in each)
        tid_at = coroutines.tid_offset(self.snapshot)
        return Search(self.pid, self.task, self.memory, self.cpu.word, watched, entries, tid_at, why, patience.stop)

    def stack_check(
        self,
        watched: Sequence[Watched],
        limit: float,
        stubs: Sequence[Tuple[int, int]] = (),
        searched: bool = False,
    ) -> StackCheck:
        """For ``stubs`` and ``searched`` see :class:`StackCheck`."""
        mappings = self.mappings()
        stack_map = StackMap(mappings, self.pid)
        unwinder = Unwinder(self.cpu, self._code(mappings), self.memory.read)
        self._warm(unwinder, stack_map)
        sp = self.cpu.sp
        return StackCheck(
            self.task,
            self.cpu,
            watched,
            unwinder,
            lambda thread: stack_map.guess(thread.tid, thread.registers[sp]),
            self._restorers(),
            self._describe,
            limit,
            stubs,
            searched,
        )

    def _code(self, mappings: Sequence[procfs.Mapping]) -> List[Code]:
        """The process's code; patches stand before what /proc/PID/maps calls them."""
        patches = [tables.of_patch(self.cpu, *patch, self.memory.read) for patch in self._patches]
        starts = {patch.start for patch in patches}
        code = tables.of_process(self.cpu, self.snapshot.images, mappings)
        return [each for each in code if each.start not in starts] + patches

    def _warm(self, unwinder: Unwinder, stack_map: StackMap) -> None:
        """Read the unwind rules that sleeping threads will need, while everybody runs."""
        for tid in self.living()[:_MOST_SAMPLED]:
            try:
                waits = procfs.syscall(self.pid, tid)
                stack = None if waits is None else stack_map.guess(tid, waits.sp)
                if waits is not None and stack is not None:
                    unwinder.prefetch([waits.pc])
                    unwinder.prefetch_stack(self.memory.read(waits.sp, min(_SAMPLE, stack.high - waits.sp)))
            except OSError:  # it has gone on
                continue

    def _describe(self, tid: int) -> str:
        try:
            return f"thread {tid} ({procfs.stat(self.pid, tid).comm})"
        except ProcessLookupError:
            return f"thread {tid}"

    # -- memory --------------------------------------------------------------------

    def touch_code(self, address: int) -> None:
        """Have the page copied on write now, so that it does not happen in the stop; changes nothing."""
        try:
            self.memory.write(address, self.memory.read(address, 1))
        except ProcessLookupError:
            raise
        except OSError:  # write_code knows another way
            pass

    def write_code(self, address: int, data: bytes) -> None:
        """Write at most eight bytes of code, all of them or none.

        The kernel copies them in one go (fs/proc/base.c, mem_rw).  Where
        proc_mem.force_override forbids that, the anchor must be stopped, and
        they are poked as one word together with their neighbours.

        :raises OSError: not even that is allowed
        """
        try:
            self.memory.write(address, data)
        except ProcessLookupError:
            raise
        except OSError:
            if self._anchor.tid is None:
                raise
            room = procfs.PAGE - address % procfs.PAGE
            start = address if room >= 8 else address + room - 8
            word = bytearray(self.memory.read(start, 8))
            word[address - start : address - start + len(data)] = data
            ptrace.poke_text(self._anchor.tid, start, bytes(word))

    def wanted(self, text: Tuple[int, int], data: Tuple[int, int], eh_frame: Tuple[int, int]) -> Wanted:
        """A patch's memory as :meth:`find_reference` needs it; all as (address, size)."""
        whole = [(address, address + size) for address, size in (text, data)]
        bodies = references.bodies(self.cpu, *eh_frame, self.memory.read) if eh_frame[1] else []
        return Wanted(whole, bodies)

    def find_reference(self, wanted: Wanted, threads: Sequence[StoppedThread] = ()) -> Optional[str]:
        """What leads into ``wanted`` from outside, in words.

        :param threads: all of them, stopped; without them the answer is only a hint
        :raises references.TooLarge: there is too much to look through
        """
        sp, below = self.cpu.sp, self.cpu.red_zone
        for thread in threads:
            for name, value in zip(self.cpu.register_names, thread.registers):
                if wanted.leads(value):
                    return f"{name} of {self._describe(thread.tid)} is {value:#x}, in the patch's memory"
        mappings = self.mappings()
        # Only below a stack of its own: a heap may hold others' (alternate stacks, pthread_attr_setstack).
        unused = [
            (stack.low, max(stack.low, thread.registers[sp] - below))
            for thread, stack in stacks.of_threads(threads, StackMap(mappings, self.pid))
        ]
        return references.first(self.pid, self.task, self.memory, self.cpu.word, wanted, mappings, unused)
