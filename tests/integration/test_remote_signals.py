# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that arrive while a thread makes our system calls: each is handled once, in order, and later."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

import pytest

from livepatch.errors import Gone
from livepatch.kernel import ptrace
from livepatch.tracee import remote
from tests.borrowing import Lender, wait_until_blocked, wait_until_stopped


@pytest.fixture
def program(compile, start):
    return start(compile("remote_signals.c"))


def queue(pid, number, value):
    result = ctypes.CDLL(None, use_errno=True).sigqueue(pid, number, ctypes.c_void_p(value))
    assert result == 0, os.strerror(ctypes.get_errno())


def test_each_that_arrives_meanwhile_is_handled_once_and_in_order(cpu, program):
    first = int(signal.SIGRTMIN)
    lender = Lender(program, cpu)
    sent = 0
    for _ in range(10):
        queue(program.pid, first, sent := sent + 1)
        with lender.hold(program.pid) as hold:
            queue(program.pid, first, sent := sent + 1)
            for _ in range(3):
                hold.call("getpid")
                queue(program.pid, first, sent := sent + 1)
    wait_until_blocked(program.pid, program.pid)
    expected = [f"{first}:{value}" for value in range(1, sent + 1)]
    assert program.ask("signals").split() == [*expected, "."]


def test_a_storm_of_signals_keeps_no_hold_waiting(cpu, program):
    """A signal's delivery is a stop, too, and takes the request for ours away."""
    lender = Lender(program, cpu)
    flood = f"import os\nfor _ in range(30000): os.kill({program.pid}, {int(signal.SIGUSR1)})"
    ptrace.seize(program.pid, remote.OPTIONS)
    with subprocess.Popen([sys.executable, "-c", flood]) as sender:
        holds = 0
        while sender.poll() is None:
            with lender.hold(program.pid, seize=False, deadline=time.monotonic() + 5) as hold:
                hold.call("getpid")
            holds += 1
    with lender.hold(program.pid, seize=False, keep_stopped=True):
        pass
    ptrace.detach(program.pid)
    assert holds
    assert program.ask("signals").split()[-1] == "."


def test_the_mask_is_what_it_was(cpu, program):
    before = program.ask("mask")
    assert before != "0"
    with Lender(program, cpu).hold(program.pid) as hold:
        hold.call("getpid")
    assert program.ask("mask") == before


def test_a_stopped_process_makes_calls_stays_stopped_and_gets_its_signals_afterwards(cpu, program):
    first = int(signal.SIGRTMIN)
    lender = Lender(program, cpu)
    os.kill(program.pid, signal.SIGSTOP)
    os.waitpid(program.pid, os.WUNTRACED)
    for value in range(1, 4):
        with lender.hold(program.pid) as hold:
            queue(program.pid, first, value)
            assert hold.call("getpid") == program.pid
        wait_until_stopped(program.pid)
    os.kill(program.pid, signal.SIGCONT)
    handled = program.ask("signals").split()
    handled.remove(f"{int(signal.SIGCONT)}:0")  # its handler may be interrupted by those of the others
    assert handled == [f"{first}:1", f"{first}:2", f"{first}:3", "."]


def test_sigstop_in_the_middle_stops_the_process_in_the_end(cpu, program):
    with Lender(program, cpu).hold(program.pid) as hold:
        hold.call("getpid")
        os.kill(program.pid, signal.SIGSTOP)
        assert hold.call("getpid") == program.pid
    os.waitpid(program.pid, os.WUNTRACED)
    wait_until_stopped(program.pid)
    os.kill(program.pid, signal.SIGCONT)
    assert program.ask("signals").split()[-1] == "."


def test_sigcont_in_the_middle_changes_nothing(cpu, program):
    with Lender(program, cpu).hold(program.pid) as hold:
        for number in (signal.SIGSTOP, signal.SIGCONT) * 3:
            os.kill(program.pid, number)
            assert hold.call("getpid") == program.pid
    wait_until_blocked(program.pid, program.pid)
    assert program.ask("signals").split()[-1] == "."


@pytest.mark.parametrize("moment", ["before the first call", "between calls", "before the end"])
def test_a_process_that_is_killed_is_gone_and_reaped(cpu, program, moment):
    program.may_exit = True
    lender = Lender(program, cpu)
    with pytest.raises(Gone):
        with lender.hold(program.pid) as hold:
            if moment != "before the first call":
                hold.call("getpid")
            os.kill(program.pid, signal.SIGKILL)
            os.waitid(os.P_PID, program.pid, os.WEXITED | os.WNOWAIT)
            if moment != "before the end":
                hold.call("getpid")
    assert not os.path.exists(f"/proc/{program.pid}")  # our child, so it was ours to reap
