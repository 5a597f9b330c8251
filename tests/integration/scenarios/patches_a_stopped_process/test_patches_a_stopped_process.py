# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that a signal has stopped is patched stopped and stays stopped; at SIGCONT it goes on where it was."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from tests.borrowing import wait_until_blocked
from tests.harness import traces
from tests.killing import injector
from tests.killing.stopped import disturb, go_on, news, shoot_through, stop

THREADS = 3


@pytest.fixture
def it(cpu, patient):
    """A program with threads that call the function all the time."""
    return patient("worker.c", "work.c", THREADS)


def stopped_outside(it, act):
    """Stop it and run an act; again where a thread was stopped inside the function, which it can not leave then."""
    for _ in range(50):
        stop(it.pid)
        answer = act("--patience", "0")
        if answer.reason != "function_on_stack":
            break
        traces.wait_until_stopped(it.pid)
        go_on(it.pid)
    return answer


def test_it_is_patched_and_put_back_stopped(cpu, it, livepatch):
    stop(it.pid)
    with traces.untouched(it.pid):
        assert it.check().status == "planned"
    go_on(it.pid)
    for act, status, results in ((it.apply, "applied", "new"), (it.revert, "reverted", "old")):
        answer = stopped_outside(it, act)
        assert (answer.code, answer.status) == (0, status), answer
        traces.wait_until_stopped(it.pid)
        assert traces.tracers(it.pid) == set()
        # A thread that was stopped at a bad moment has an address in the patch in a register, until it goes on.
        kept = status == "applied" or "its memory is kept" in answer.process["message"]
        assert bool(traces.our_mappings(it.pid)) is kept, answer
        assert news(it.pid) is None
        go_on(it.pid)
        counts = it.program.ask("go").split()
        assert [word for word, count in zip(counts[::2], counts[1::2]) if int(count) > 100] == [results], (
            counts
        )
    while traces.our_mappings(it.pid):
        assert livepatch("recover", "--pid", it.pid).code == 0
    traces.assert_clean(it.pid)


def test_calls_with_time_outs_come_back_by_their_time_alone(cpu, patient):
    it = patient("timeouts.c", "work.c", 3000)
    tids = [int(word) for word in it.program.ask("begin").split()[:-1]]
    for tid in tids:
        wait_until_blocked(it.pid, tid)
    stop(it.pid)
    assert it.apply().status == "applied"
    traces.wait_until_stopped(it.pid)
    go_on(it.pid)
    assert it.program.ask("work 7") == "23"
    assert it.program.ask("end").split(", ") == [
        "nanosleep 0 0",
        "poll 0 0",
        "select 0 0",
        f"futex -1 {errno.ETIMEDOUT}",
        "epoll_wait 0 0",
        f"recv -1 {errno.EAGAIN}",
        f"sigtimedwait -1 {errno.EAGAIN}",
        ".",
    ]


# ---- job control ----


class Terminal:
    """The terminal of a shell (shell.c) with one job."""

    def __init__(self) -> None:
        self.master, self._slave = os.openpty()
        self.name = os.ttyname(self._slave)
        self._reader = os.fdopen(self.master, closefd=False)

    def press(self, keys: str) -> None:
        """What somebody at the terminal types."""
        os.write(self.master, keys.encode())

    def read_line(self) -> str:
        """What the job prints."""
        return self._reader.readline().strip()

    def close(self) -> None:
        for descriptor in (self.master, self._slave):
            os.close(descriptor)


@pytest.fixture
def terminal():
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def shell(terminal, cpu, object_pair, build_patch, start, compile):
    """(shell, pid of its job, artifact)"""
    pair = object_pair()
    shell = start(compile("shell.c"), terminal.name, pair.program)
    assert terminal.read_line() == "ready"
    return shell, int(shell.ready.split()[1]), build_patch(pair)


def test_a_job_that_was_stopped_at_the_terminal_is_patched_and_comes_back_with_fg(shell, terminal, livepatch):
    shell, job, artifact = shell
    for act, status, result in (("apply", "applied", "32"), ("revert", "reverted", "31")):
        terminal.press("\x1a")
        assert shell.ask("wait") == f"stopped {int(signal.SIGTSTP)}"
        assert shell.ask("events") == ". signal:stopped"
        answer = livepatch(act, "--pid", job, artifact)
        assert answer.status == status, answer
        traces.wait_until_stopped(job)
        assert shell.ask("events") == "."
        shell.ask("fg")
        assert shell.ask("wait") == f"continued {int(signal.SIGCONT)}"
        assert shell.ask("events") == ". signal:continued"
        terminal.press("work 10\n")
        assert terminal.read_line() == result
    traces.assert_clean(job)


def test_a_job_in_the_background_that_reads_is_stopped_and_patched(shell, terminal, livepatch):
    shell, job, artifact = shell
    terminal.press("\x1a")
    assert shell.ask("wait") == f"stopped {int(signal.SIGTSTP)}"
    shell.ask("take")
    shell.ask("bg")
    while (event := shell.ask("wait")) == f"continued {int(signal.SIGCONT)}":
        pass
    assert event == f"stopped {int(signal.SIGTTIN)}"
    assert livepatch("apply", "--pid", job, artifact).status == "applied"
    traces.wait_until_stopped(job)
    assert shell.ask("events").startswith(". ")
    shell.ask("fg")
    assert shell.ask("wait") == f"continued {int(signal.SIGCONT)}"
    terminal.press("work 10\n")
    assert terminal.read_line() == "32"


# ---- signals in the middle ----


@pytest.mark.parametrize("before", ["running", "stopped"])
@pytest.mark.parametrize("act", ["apply", "revert"])
def test_signals_may_stop_and_continue_it_at_any_moment(target, act, before):
    """Every moment: tests/soak."""
    assert disturb(target, act, range(5, 500, 17), before == "stopped") >= 2


@pytest.mark.parametrize("act", ["apply", "revert"])
def test_a_killed_act_leaves_it_stopped_and_makes_no_call_later(target, act):
    """Every moment: tests/soak."""
    shots = (injector.Shot(number, after=number % 2 == 0) for number in range(5, 500, 5))
    assert shoot_through(target, act, shots) >= 5
