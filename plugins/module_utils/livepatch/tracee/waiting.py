# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Waiting for functions to be left that are always on somebody's stack.

Plain attempts need an instant at which nobody is inside.  Where a few of them have failed because somebody
was, the return addresses of those who are inside are swapped (waiting_room.py)::

    stop: everybody who is inside gets a slot      they run on, inside
    one after the other returns, and waits just outside
    all wait: stop, look at everybody again        nobody is inside: commit
    let go

Nobody waits for longer than ``stop_ms`` at once (begun anew by each stop meanwhile in a process with seccomp
filters, decision 0008).  When the first one's time is nearly up, the round is over and all that wait are let go.
In the next one they need not wait until somebody comes whom it is worth to wait for (:meth:`Waiting._next_round`).

If anybody who is inside can not be waited for (:func:`way_out`), nobody shall wait for him: what is left
are plain attempts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple, Union

from ..cpu import Cpu
from ..cpu.waiting_stub import WAITS
from ..errors import Busy, Gone, LivepatchError, Stranded
from ..kernel import procfs
from . import seccomp, waiting_code, waiting_room
from .check import Blocker, StackCheck, Watched
from .seccomp import Call
from .stop import Look, Stop, StoppedThread
from .unwind import Frame, inside
from .waiting_code import Slot
from .waiting_room import Room

if TYPE_CHECKING:
    from .tracee import Tracee

# So many attempts before: they cost less, and most functions are left by themselves.
PLAIN_ATTEMPTS = 3

_SPARE_SLOTS = 8  # threads may come
# How often the table is read, seconds: at first, when nobody has come for long, when somebody waits.
_FIRST_LOOK = 0.0002
_LAST_LOOK = 0.005
_QUICK_LOOK = 0.0005
_SWEEP = 0.250  # nobody comes: somebody may have gone in meanwhile who has no slot
_AGAIN = 0.002  # nobody is expected: those that were let go will be inside soon
_MARGIN = 0.8  # of stop_ms: the stop must come before the first one's time is up
_SLOW = 10  # times stop_ms: for that long nobody is kept back who comes often
_MOST_IN_STEP = 16  # rounds
_EMPTY_S = 2.0  # for the last one to be gone


class Exit(NamedTuple):
    """How a thread will leave the watched functions."""

    address: int  # of the word on its stack
    leads_to: int  # what stands there


def way_out(
    frames: Sequence[Frame],
    ranges: Sequence[Tuple[int, int]],
    cpu: Cpu,
    handles_exceptions: Callable[[int], bool],
) -> Union[Exit, str]:
    """The return address of the outermost frame that is watched.

    The stub is in none of the C++ runtime's tables.  Functions outwards of it that have something to do when an
    exception passes (destructors, catch clauses, cleanups) would be missed.  Where there are none, an exception,
    pthread_exit(3) and a cancellation end in the same way with and without the stub (libgcc, unwind.inc: the end
    of the stack; glibc, nptl/unwind.c, unwind_stop).

    :param frames: all of a thread's, to the last one
    :param ranges: that are watched; the thread is inside
    :param handles_exceptions: by program counter
    :returns: or why it must not be touched, in words that follow "thread N"
    """
    watched = inside(frames, ranges)[-1]
    outwards = frames[frames.index(watched) + 1 :]
    if watched[2] or not outwards:
        return "has no caller to go back to"
    if outwards[0][2]:
        return "runs it as a signal handler"
    exact = False
    for frame in outwards:
        if handles_exceptions(frame[0] if exact else frame[0] - 1):
            return "was called by code that handles exceptions"
        exact = frame[2]
    return Exit(watched[1] - cpu.word, outwards[0][0])


class Waiting:
    """The waits of one search for a safe point; before :meth:`begin` there are none.

    :param tracee: the process
    :param limit: the longest that a thread waits, and the longest stop, seconds
    """

    def __init__(self, tracee: Tracee, limit: float) -> None:
        self._tracee = tracee
        self._limit = limit
        self._room: Optional[Room] = None
        self._check: Optional[StackCheck] = None
        self._obstacle = ""  # why nobody waits, in words
        self._found: List[Blocker] = []
        self._allowed: Dict[Tuple[int, str], bool] = {}  # by thread and number of filters: what these say
        # The round: since when somebody waits; who has to be the first for the others to wait, too (None: anybody).
        self._since: Optional[float] = None
        self._awaited: Optional[Set[int]] = None
        self._came: Set[int] = set()
        self._rounds = 0
        self._began = 0.0
        self._took = 0.0  # until somebody who was awaited came

    @property
    def untried(self) -> bool:
        """Whether :meth:`begin` was not called yet."""
        return self._room is None and not self._obstacle

    @property
    def possible(self) -> bool:
        """Whether there is a room."""
        return self._check is not None

    @property
    def said(self) -> str:
        """For the message of a search that came to nothing."""
        if self._obstacle:
            return f"; it could not be waited for: {self._obstacle}"
        return ", waiting for it to be left" if self._room is not None else ""

    def begin(self, watched: Sequence[Watched], threads: int) -> None:
        """Make a room, if one can be made.

        A thread is held for that, some 2 ms: nobody but the anchor may be seized.

        :param watched: what must be left
        :param threads: how many the process has
        """
        tracee = self._tracee
        sign = tracee.snapshot.coroutine_sign
        if sign is not None:
            self._obstacle = f"there may be stacks that belong to no thread: {sign}"
            return
        slots = min(waiting_code.MOST_SLOTS, 2 * threads + _SPARE_SLOTS)
        try:
            with tracee.hold(waiting_room.CALLS, waiting_room.SCRATCH) as hold:
                plan = waiting_room.build(hold, tracee.cpu, slots, round(self._limit * 1e6))
                self._room = Room(plan, tracee.memory)
                tracee.add_patch(*plan.as_patch)
        except Stranded:
            raise
        except LivepatchError as error:
            self._obstacle = str(error)
            return
        self._check = tracee.stack_check(watched, self._limit, [plan.text_range])
        self._check.unwinder.prefetch([plan.entry(0)])

    # -- in the stop -----------------------------------------------------------------

    def look(self, threads: Sequence[StoppedThread]) -> Optional[Busy]:
        """Collect who is in the way; that ends no attempt."""
        assert self._check is not None
        self._found += self._check.blockers(threads)
        return None

    def still(self, others: Look) -> Look:
        """What to look at when all threads stand still, in the next attempt.

        :param others: must agree, too, before anything is changed
        """
        self._found = []  # an attempt that ended before everybody stood still has left what it saw

        def look(threads: Sequence[StoppedThread]) -> Optional[Busy]:
            found, self._found = self._found, []
            blocker = others(threads)
            if blocker is None and found:
                self._obstacle = self._swap(found)
                blocker = found[0].busy
            return blocker

        return look

    def committing(self, commit: Callable[[], None]) -> Callable[[], None]:
        """The commit, and the end of all waiting."""

        def done() -> None:
            commit()
            assert self._room is not None
            self._room.end()

        return done

    def _swap(self, found: Sequence[Blocker]) -> str:
        """Give everybody who is inside a slot.

        :returns: why not, in words; everybody is let go then
        """
        assert self._room is not None
        room = self._room
        table = room.table()
        if self._since is not None and time.monotonic() >= self._since + _MARGIN * self._limit:
            self._next_round(table, {blocker.thread.tid for blocker in found})
        free = [index for index, slot in enumerate(table) if room.is_free(index, slot)]
        for blocker in found:
            tid = blocker.thread.tid
            way = self._way_out(blocker)
            if not isinstance(way, str):
                there = room.plan.index_of(way.leads_to)
                go = not (self._since is not None or self._awaited is None or tid in self._awaited)
                if there is not None:
                    room.set_go(there, go)
                    continue
                index = self._take_slot(blocker, table, free)
                if index is None:
                    way = "is one too many: there are no more slots"
                elif not self._may_wait(tid, index):
                    way = "has a seccomp filter that does not let it wait"
                elif not room.swap(index, Slot(way.address, way.leads_to, tid, 0, go)):
                    way = "does not keep its return address where its unwind tables say"
            if isinstance(way, str):
                room.end()
                return f"thread {tid} {way}"
        return ""

    def _next_round(self, table: Sequence[Slot], late: Set[int]) -> None:
        """Not everybody came in time: let go those that wait, and decide whom to wait for first.

        Those that came late, if they take long: the others then run on undisturbed, until one of these is out.
        If all take about as long, but are out of step: those that have just waited together.  They are kept back
        in each round while the others are not, and so fall in with one after the other.

        :param late: threads that are inside
        """
        assert self._room is not None
        early, self._came = self._came, set()
        self._room.write([slot._replace(go=1) if slot.flag == WAITS else slot for slot in table])
        in_step = self._rounds % _MOST_IN_STEP > 0 and self._took < _SLOW * self._limit
        self._awaited = (early if in_step else late - early) or None
        self._rounds += 1
        self._since, self._began = None, time.monotonic()

    def _way_out(self, blocker: Blocker) -> Union[Exit, str]:
        assert self._check is not None
        ranges = [(each.start, each.end) for each in self._check.watched]
        if blocker.busy.reason == "function_on_stack":
            frames, complete, _ = self._check.frames(blocker)
            if complete and inside(frames, ranges):
                return way_out(frames, ranges, self._tracee.cpu, self._check.unwinder.handles_exceptions)
        return "can not be unwound to its end"

    def _take_slot(self, blocker: Blocker, table: Sequence[Slot], free: List[int]) -> Optional[int]:
        """A slot for a thread: its own of before, where it has left that by longjmp(3), else one that is free."""
        assert self._check is not None and self._room is not None
        room = self._room
        there = {room.plan.index_of(frame[0]) for frame in self._check.frames(blocker).frames}
        for index, slot in enumerate(table):
            if slot.address and slot.tid == blocker.thread.tid and index not in there:
                if index in free:
                    free.remove(index)
                elif room.leads_here(index, slot):
                    continue
                return index
        return free.pop(0) if free else None

    def _may_wait(self, tid: int, index: int) -> bool:
        """Whether a stopped thread's filters let it make the stub's call, and go on with it after a stop."""
        assert self._room is not None
        status = procfs.status(self._tracee.pid, tid)
        if status.get("Seccomp", "0") == "0":
            return True
        known = (tid, status.get("Seccomp_filters", ""))  # it may have installed one more since
        if known not in self._allowed or not known[1]:
            cpu, behind = self._tracee.cpu, self._room.plan.behind_call(index)
            try:
                filters = seccomp.read_filters(tid)
            except LivepatchError:
                self._allowed[known] = False
            else:
                calls = (Call("futex"), Call("restart_syscall"))
                self._allowed[known] = all(seccomp.allows(filters, cpu, call, behind) is None for call in calls)
        return self._allowed[known]

    # -- between stops ---------------------------------------------------------------

    def idle(self, stop: Stop, pause: float, until: float) -> bool:
        """Wait for the next moment at which an attempt may succeed, or must be made.

        :param pause: seconds between plain attempts
        :param until: ``time.monotonic()`` seconds: the end of all patience
        :returns: whether it may succeed; if not, it is only there to have threads wait that do not yet
        """
        if self._room is None or self._obstacle:
            stop.idle(pause)
            return True
        until = min(until, time.monotonic() + _SWEEP)
        look = _FIRST_LOOK
        while True:
            waiting, expected = self._room.count()
            now = time.monotonic()
            self._came |= waiting
            if self._since is None and waiting:
                self._since, self._took = now, now - self._began
                if self._awaited is not None:
                    return False  # everybody else shall wait from here on, too
            if self._since is not None:
                until = min(until, self._since + _MARGIN * self._limit)
            if now >= until:
                return True
            if not expected:
                if waiting:
                    return True
                stop.idle(_AGAIN)
                return False
            stop.idle(min(look, until - now))
            look = _QUICK_LOOK if waiting else min(2 * look, _LAST_LOOK)

    def empty(self, stop: Stop) -> None:
        """The first half of the end; what can not be removed now, ``recover`` removes."""
        if self._room is not None:
            try:
                empty(self._tracee, self._room, stop, self._limit)
            except (LivepatchError, Gone, OSError):
                self._room = None

    def remove(self) -> None:
        """The second half: the stop is over."""
        room, self._room = self._room, None
        if room is not None:
            try:
                remove(self._tracee, room)
            except (LivepatchError, Gone, OSError):
                pass


def empty(tracee: Tracee, room: Room, stop: Stop, limit: float) -> None:
    """Put back every return address that leads into a room, let everybody go, and see that nobody is in there.

    :param limit: the longest stop, seconds
    :raises Busy: somebody is
    :raises Gone: the process has ended
    """
    start, end = room.plan.text_range
    check = tracee.stack_check([Watched(start, end, "a waiting room")], limit)
    check.unwinder.prefetch([room.plan.entry(0)])
    found: List[Blocker] = []

    def collect(threads: Sequence[StoppedThread]) -> Optional[Busy]:
        found.extend(check.blockers(threads))
        return None

    def put_back(threads: Sequence[StoppedThread]) -> Optional[Busy]:
        room.end()
        return found[0].busy if found else None

    deadline = time.monotonic() + _EMPTY_S
    pause = 0.001
    while True:
        found.clear()
        outcome = tracee.attempt(stop, limit, collect, put_back, lambda: None)
        if outcome.blocker is None:
            return
        if time.monotonic() + pause > deadline:
            raise outcome.blocker
        stop.idle(pause)
        pause *= 2


def recover(tracee: Tracee, left: waiting_room.Left, limit: float) -> None:
    """Empty and remove the rooms that an injector has left behind.

    :param limit: the longest stop, seconds
    :raises Refused: ``ledger_unreadable``: not touched
    :raises Busy: somebody is in there
    """
    code = [mapping for mapping in tracee.mappings() if mapping.executable]

    def executable(address: int) -> bool:
        return any(mapping.start <= address < mapping.end for mapping in code)

    found = [waiting_room.read(tracee.cpu, data, executable, tracee.memory) for data in left.data]
    tracee.claim()
    for plan, used in found:
        if plan is not None and used:
            tracee.add_patch(*plan.as_patch)
            with tracee.stop() as stop:
                empty(tracee, Room(plan, tracee.memory), stop, limit)
            tracee.forget_patch(plan.text)
    with tracee.hold(waiting_room.CLEAN_CALLS) as hold:
        waiting_room.clean(hold, tracee.memory, left, [plan for plan, _ in found if plan is not None])


def remove(tracee: Tracee, room: Room) -> None:
    """Unmap a room that is empty.

    :raises LivepatchError, OSError: it could not be
    """
    plan = room.plan
    with tracee.hold(waiting_room.CLEAN_CALLS) as hold:
        waiting_room.clean(hold, tracee.memory, waiting_room.Left([(plan.data, plan.data_span)]), [plan])
    tracee.forget_patch(plan.text)
