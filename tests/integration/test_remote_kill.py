# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The borrower of a thread dies, at every boundary of what it does, and the thread restores itself.

The borrower is a child of the test that kills itself behind its N-th act on the process; what is counted
is wrapped around the product's functions in the child, and nowhere else. (Killed from outside, at each
system call of the whole injector: tests/soak.)
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import traceback

import pytest

from livepatch.cpu import X86_64
from livepatch.kernel import procfs, ptrace
from livepatch.kernel.memory import Memory
from tests.borrowing import Lender, wait_until_blocked
from tests.harness import traces

SEAM = (
    "seize",
    "interrupt",
    "wait",
    "get_registers",
    "get_sigmask",
    "get_regset",
    "get_thread_area",
    "set_registers",
    "set_sigmask",
    "resume",
    "resume_to_syscall",
    "detach",
)
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
THREADS = ("killtarget", "registers", "sleeper", "futex", "poller")


class Fuse:
    """Ends this process behind the N-th act; 0: never. The names of all acts go to a pipe, each in a line."""

    def __init__(self, length, pipe):
        self.left, self.pipe = length, pipe

    def burn(self, name):
        os.write(self.pipe, name.encode() + b"\n")
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, name, function):
        def act(*arguments):
            result = function(*arguments)
            self.burn(name)
            return result

        return act


def borrow_and_die(lender, tid, length, holds=1, signal_number=0):
    """Borrow a thread in a child, which dies behind so many acts (0: lives).

    :param signal_number: sent to the process in each hold, before its calls; the act is called ``signal``
    :returns: the names of the acts; the last one is ``done`` where the child came to its end
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            fuse = Fuse(length, writing)
            for name in SEAM:
                setattr(ptrace, name, fuse.around(name, getattr(ptrace, name)))
            Memory.write = fuse.around("write", Memory.write)
            for _ in range(holds):
                with lender.hold(tid, scratch=b"scratch") as hold:
                    if signal_number:
                        os.kill(lender.pid, signal_number)
                        fuse.burn("signal")
                    address = hold.call("mmap", 0, 4096, mmap.PROT_READ, ANONYMOUS, -1, 0)
                    hold.call("munmap", address, 4096)
            os.write(writing, b"done\n")
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as file:
        acts = file.read().split()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (0 if acts[-1] == "done" else -signal.SIGKILL)
    return acts


@pytest.fixture
def worker(compile, start):
    return start(compile("killtarget.c", "pairwise.c", "registers.S"))


def thread_of(program, name):
    return next(tid for tid in procfs.tids(program.pid) if procfs.stat(program.pid, tid).comm == name)


def assert_undisturbed(program, acts, may_see_eintr):
    words = program.ask("beat").split(maxsplit=10)
    counts = dict(zip(words[:10:2], words[1:10:2]))
    assert (counts["wrong"], counts["errors"]) == ("0", "0"), (acts, words[10:])
    assert may_see_eintr or counts["interrupted"] == "0", acts
    traces.assert_released(program.pid)


def too_early(acts):
    """Whether death came between the stop and the moment when we could make good for what it did."""
    last = acts[len(acts) - acts[::-1].index("seize") :]
    return "interrupt" in last and "set_registers" not in last


def shoot(worker, cpu, thread, lengths, holds):
    """Kill the borrower at each of these acts; the target says now and then how it is."""
    lender = Lender(worker, cpu)
    tid = thread_of(worker, thread)
    # Sleeping, it may have been in restart_syscall, of which a frame can not bring back what it stood for.
    may_see_eintr = thread == "sleeper"
    for number, length in enumerate(lengths, 1):
        acts = borrow_and_die(lender, tid, length, holds)
        may_see_eintr |= thread == "poller" and too_early(acts)
        if number % 6 == 0 or number == len(lengths):
            assert_undisturbed(worker, acts, may_see_eintr)


@pytest.mark.parametrize("thread", THREADS)
def test_death_at_every_boundary_leaves_the_thread_as_it_was(cpu, worker, thread):
    acts = borrow_and_die(Lender(worker, cpu), thread_of(worker, thread), 0)
    assert acts[-1] == "done" and {"write", "set_registers", "resume_to_syscall"} < set(acts)
    shoot(worker, cpu, thread, range(1, len(acts)), holds=1)


@pytest.mark.parametrize("thread", THREADS)
def test_death_after_many_holds_does(cpu, worker, thread):
    generator = random.Random(cpu.name + thread)
    shoot(worker, cpu, thread, [generator.randrange(30, 300) for _ in range(12)], holds=20)


@pytest.mark.parametrize(
    "call", ["nanosleep", "poll", "futex_timeout", "epoll_wait", "recv_timeout", "read", "pause"]
)
def test_a_call_under_way_goes_on_without_eintr(cpu, compile, start, call):
    """Each time it is the first stop of the call: only restart_syscall can not be repeated."""
    program = compile("remote_blocked.c")
    length, acts = 0, []
    while "done" not in acts:
        length += 2
        process = start(program, call)
        tid = int(process.ready.split()[1])
        before = wait_until_blocked(process.pid, tid)
        acts = borrow_and_die(Lender(process, cpu), tid, length)
        assert wait_until_blocked(process.pid, tid, sp=before.sp)  # and not in the call that it lent us
        if call not in ("epoll_wait", "recv_timeout") or not too_early(acts):
            assert process.ask("counts") == "returned 0 eintr 0 errno 0", acts


def test_tile_registers_are_restored_too(compile, start):
    process = start(compile("remote_tiles.c", "-m64"), wait=False)
    if process.read_line() == "none":  # a machine without AMX has nothing to lose
        process.may_exit = True
        return
    lender = Lender(process, X86_64)
    acts = borrow_and_die(lender, process.pid, 0)
    assert process.ask("tile") == "kept"
    for length in range(acts.index("write"), len(acts)):
        wait_until_blocked(process.pid, process.pid)
        borrow_and_die(lender, process.pid, length)
        assert process.ask("tile") == "kept", length


def test_a_thread_in_restart_syscall_shows_eintr_only_after_a_death(cpu, compile, start):
    process = start(compile("remote_blocked.c"), "nanosleep")
    tid = int(process.ready.split()[1])
    lender = Lender(process, cpu)
    for _ in range(2):
        wait_until_blocked(process.pid, tid)
        assert borrow_and_die(lender, tid, 0)[-1] == "done"
    wait_until_blocked(process.pid, tid)
    assert process.ask("counts") == "returned 0 eintr 0 errno 0"
    acts = borrow_and_die(lender, tid, 0)
    wait_until_blocked(process.pid, tid)
    borrow_and_die(lender, tid, acts.index("resume_to_syscall"))
    wait_until_blocked(process.pid, tid)
    assert process.ask("counts") == "returned 1 eintr 1 errno 0"


def test_a_signal_that_waits_when_the_borrower_dies_is_handled_once(cpu, compile, start):
    process = start(compile("remote_signals.c"))
    lender = Lender(process, cpu)
    mask = process.ask("mask")
    word = f"{int(signal.SIGUSR1)}:0"
    length, sent, acts = 0, 0, []
    while "done" not in acts:
        length += 1
        wait_until_blocked(process.pid, process.pid)
        acts = borrow_and_die(lender, process.pid, length, signal_number=signal.SIGUSR1)
        sent += "signal" in acts
        assert process.ask("signals").split().count(word) == sent, acts
        assert process.ask("mask") == mask, acts
