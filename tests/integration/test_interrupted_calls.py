# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an application notices of a stop: no EINTR from any call that a stop breaks off."""

from __future__ import annotations

import os
import signal

import pytest

from livepatch.kernel import ptrace
from livepatch.tracee.restart import fix_interrupted
from livepatch.tracee.thread import OPTIONS, Thread
from tests.borrowing import come_to_event_stop, soon, wait_until_blocked
from tests.harness import traces

STOPS = 5

# The kernel ends these with EINTR; we have them repeated.
GIVE_UP = (
    "epoll_wait",
    "epoll_wait_timeout",
    "epoll_pwait",
    "epoll_pwait2",
    "sigtimedwait",
    "sigwaitinfo",
    "semop",
    "semtimedop",
    "recv_timeout",
    "recvmsg_timeout",
    "recvmmsg_timeout",
    "read_timeout",
    "readv_timeout",
    "accept_timeout",
    "accept4_timeout",
    "io_getevents",
    "io_uring_enter",
)
MULTIPLEXED = ("socketcall_recv_timeout", "socketcall_accept_timeout", "ipc_semop")
# The kernel restarts these by itself.
RESTARTED = (
    "recv",
    "accept",
    "read",
    "poll",
    "ppoll",
    "select",
    "nanosleep",
    "futex",
    "futex_timeout",
    "pause",
    "sigsuspend",
    "msgrcv",
    "waitpid",
)


@pytest.fixture
def program(compile):
    ptrace.prepare_waiting()
    return compile("remote_blocked.c")


def stop(tid, cpu, fix=True):
    """Stop a blocked thread, as tracee/stop.py does."""
    assert come_to_event_stop(tid).interrupted
    fixed = fix_interrupted(cpu.unpack(ptrace.get_registers(tid)), cpu) if fix else None
    if fixed:
        ptrace.set_registers(tid, cpu.pack(fixed))


def stop_often(process, cpu, fix):
    """Stop a blocked thread again and again; how often its call came back, and how often with EINTR."""
    tid = int(process.ready.split()[1])
    ptrace.seize(tid, 0)
    for _ in range(STOPS - 1):
        wait_until_blocked(process.pid, tid)
        stop(tid, cpu, fix)
        ptrace.resume(tid)
    wait_until_blocked(process.pid, tid)
    stop(tid, cpu, fix)
    ptrace.detach(tid)
    wait_until_blocked(process.pid, tid)
    words = process.ask("counts").split()
    return int(words[1]), int(words[3])


def calls(cpu):
    return GIVE_UP + (MULTIPLEXED if cpu.name == "i386" else ())


def test_calls_that_give_up_when_stopped_go_on_instead(cpu, program, start):
    """Each of them does show EINTR without us: the list holds nothing that it need not."""
    noticed = {}
    for call in calls(cpu):
        left_alone = stop_often(start(program, call), cpu, fix=False)
        fixed = stop_often(start(program, call), cpu, fix=True)
        noticed[call] = (left_alone[1] > 0, fixed)
    assert noticed == dict.fromkeys(calls(cpu), (True, (0, 0)))


def test_calls_that_the_kernel_restarts_are_left_to_it(cpu, program, start):
    noticed = {call: stop_often(start(program, call), cpu, fix=True) for call in RESTARTED}
    assert noticed == dict.fromkeys(RESTARTED, (0, 0))


def test_a_send_is_not_repeated(cpu, program, start):
    """With TCP_FASTOPEN_CONNECT it may have begun to connect: the application decides."""
    returned, interrupted = stop_often(start(program, "send_timeout"), cpu, fix=True)
    assert returned == interrupted == STOPS


@pytest.mark.parametrize("call", ["epoll_wait", "recv_timeout", "semop"])
def test_a_handler_that_runs_still_ends_the_call(cpu, program, start, call):
    process = start(program, call)
    tid = int(process.ready.split()[1])
    ptrace.seize(tid, 0)
    wait_until_blocked(process.pid, tid)
    stop(tid, cpu)
    process.ask("signal")  # pending now
    ptrace.resume(tid)
    status = ptrace.wait(tid, soon())
    assert status.event == 0
    ptrace.resume(tid, status.signal)
    wait_until_blocked(process.pid, tid)
    stop(tid, cpu)
    ptrace.detach(tid)
    assert process.ask("handled") == "1"
    assert process.ask("counts") == "returned 1 eintr 1 errno 0"


def test_letting_go_of_a_thread_is_not_noticed_either(cpu, program, start):
    process = start(program, "epoll_wait")
    tid = int(process.ready.split()[1])
    ptrace.seize(tid, OPTIONS)
    wait_until_blocked(process.pid, tid)
    Thread(tid, process.pid).release(soon(), filtered=False)
    wait_until_blocked(process.pid, tid)
    assert process.ask("counts") == "returned 0 eintr 0 errno 0"
    traces.assert_released(process.pid)


def test_calls_that_sigstop_breaks_off_go_on_at_sigcont_if_we_came_in_between(cpu, program, start):
    """Without us those that give up would say EINTR then; with us at work it must not be worse."""
    for call in (*calls(cpu), *RESTARTED):
        process = start(program, call)
        tid = int(process.ready.split()[1])
        wait_until_blocked(process.pid, tid)
        os.kill(process.pid, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        ptrace.seize(tid, OPTIONS)
        Thread(tid, process.pid).release(soon(), filtered=False)
        traces.wait_until_stopped(process.pid)
        os.kill(process.pid, signal.SIGCONT)
        wait_until_blocked(process.pid, tid)
        assert process.ask("counts") == "returned 0 eintr 0 errno 0", call
