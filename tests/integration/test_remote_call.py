# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""System calls made by threads of real processes, which notice nothing of it."""

from __future__ import annotations

import errno
import mmap
import os

import pytest

from livepatch.cpu.signal_frame import UnknownState
from livepatch.errors import Busy, Refused
from livepatch.kernel import procfs, ptrace
from livepatch.tracee import remote, seccomp, stacks
from livepatch.tracee.remote import Arena
from livepatch.tracee.seccomp import Call
from tests.borrowing import Lender, come_to_event_stop, wait_until_blocked
from tests.harness import traces

NAME = b"livepatch test\0"
ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def named(program):
    """Thread name -> thread id."""
    return {procfs.stat(program.pid, tid).comm: tid for tid in procfs.tids(program.pid)}


@pytest.fixture
def worker(compile, start):
    """All registers of one of its threads are checked all the time; others sit in different calls."""
    return start(compile("killtarget.c", "pairwise.c", "registers.S"))


def assert_undisturbed(program):
    words = program.ask("beat").split()
    assert words[4:10] == ["wrong", "0", "interrupted", "0", "errors", "0"]


class TestOneHold:
    def test_results_and_errors_come_back(self, cpu, worker):
        lender = Lender(worker, cpu)
        with lender.hold(worker.pid, scratch=NAME) as hold:
            descriptor = hold.call("memfd_create", hold.scratch, 0)
            assert os.readlink(f"/proc/{worker.pid}/fd/{descriptor}") == "/memfd:livepatch test (deleted)"
            assert hold.call("ftruncate", descriptor, 3 * 4096) == 0
            os.pwrite(opened := os.open(f"/proc/{worker.pid}/fd/{descriptor}", os.O_RDWR), b"third", 8192)
            os.close(opened)
            address = hold.call("mmap", 0, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE, descriptor, 8192)
            assert lender.memory.read(address, 5) == b"third"
            assert hold.call("munmap", address, 4096) == 0
            assert hold.call("close", descriptor) == 0
            with pytest.raises(OSError, match="close in process") as failure:
                hold.call("close", descriptor)
            assert failure.value.errno == errno.EBADF
            assert hold.call("getpid") == worker.pid
        assert not traces.our_descriptors(worker.pid)
        assert_undisturbed(worker)
        traces.assert_released(worker.pid)

    def test_high_addresses_are_no_errors(self, cpu, worker):
        """i386 maps above 2 GiB: a negative number, but no error."""
        lender = Lender(worker, cpu)
        with lender.hold(worker.pid) as hold:
            address = hold.call("mmap", 0, 4096, mmap.PROT_READ, ANONYMOUS, -1, 0)
            assert address > 1 << 31
            hold.call("munmap", address, 4096)

    @pytest.mark.parametrize("thread", ["killtarget", "registers", "sleeper", "futex", "poller"])
    def test_a_thread_notices_nothing(self, cpu, worker, thread):
        lender = Lender(worker, cpu)
        for _ in range(20):
            with lender.hold(named(worker)[thread], calls=[Call("mmap"), Call("munmap")]) as hold:
                address = hold.call("mmap", 0, 4096, mmap.PROT_READ, ANONYMOUS, -1, 0)
                hold.call("munmap", address, 4096)
        assert_undisturbed(worker)

    def test_nothing_is_written_before_the_first_call(self, cpu, worker):
        lender = Lender(worker, cpu)
        with lender.hold(worker.pid) as hold:
            sp = hold.registers[cpu.sp]
            before = lender.memory.read(sp - 4096, 4096)
        assert lender.memory.read(sp - 4096, 4096) == before

    def test_what_is_raised_inside_comes_out_and_the_thread_goes_on(self, cpu, worker):
        with pytest.raises(ZeroDivisionError):
            with Lender(worker, cpu).hold(worker.pid) as hold:
                hold.call("getpid")
                raise ZeroDivisionError
        assert_undisturbed(worker)
        traces.assert_released(worker.pid)

    def test_a_thread_can_be_kept_stopped_and_borrowed_again(self, cpu, worker):
        lender = Lender(worker, cpu)
        ptrace.seize(worker.pid, remote.OPTIONS)
        with lender.hold(worker.pid, seize=False, keep_stopped=True) as hold:
            hold.call("getpid")
        assert traces.states(worker.pid)[worker.pid] == "t"
        assert cpu.unpack(ptrace.get_registers(worker.pid)) == hold.registers
        ptrace.resume(worker.pid)
        with lender.hold(worker.pid, seize=False) as hold:
            hold.call("getpid")
        come_to_event_stop(worker.pid)
        ptrace.detach(worker.pid)
        assert_undisturbed(worker)

    def test_a_frame_may_lie_in_memory_of_our_own(self, cpu, worker):
        lender = Lender(worker, cpu)
        with lender.hold(worker.pid) as hold:
            low = hold.call("mmap", 0, 65536, mmap.PROT_READ | mmap.PROT_WRITE, ANONYMOUS, -1, 0)
        with lender.hold(named(worker)["registers"], place=Arena(low, low + 65536), scratch=NAME) as hold:
            assert low < hold.scratch < low + 65536
            hold.call("close", hold.call("memfd_create", hold.scratch, 0))
        assert_undisturbed(worker)
        with pytest.raises(Refused, match="lacks"):
            lender.hold(worker.pid, place=Arena(low, low + 6000)).__enter__()

    def test_a_wrong_offset_calls_nothing(self, compile, start):
        from livepatch.cpu import I386

        worker = start(compile("worker.c", "work.c", "-m32"))
        with Lender(worker, I386).hold(worker.pid) as hold:
            with pytest.raises(ValueError, match="0x1001"):
                hold.call("mmap", 0, 4096, mmap.PROT_READ, ANONYMOUS, -1, 0x1001)

    def test_static_programs_have_instructions_of_their_own(self, cpu, compile, start):
        for flags in (("-static",), ("-static-pie", "-fPIE")):
            worker = start(compile("worker.c", "work.c", *flags))
            with Lender(worker, cpu).hold(worker.pid) as hold:
                assert hold.call("getpid") == worker.pid

    def test_a_state_that_no_frame_holds_is_refused(self, cpu, worker, monkeypatch):
        def unknown(*arguments):
            raise UnknownState("component 40")

        monkeypatch.setattr(remote, "_floating_point", unknown)
        with pytest.raises(Refused) as refusal:
            Lender(worker, cpu).hold(worker.pid).__enter__()
        assert refusal.value.reason == "no_stack_room"
        assert_undisturbed(worker)


@pytest.mark.parametrize(
    "call", ["nanosleep", "poll", "futex_timeout", "read", "epoll_wait", "sigsuspend", "pause"]
)
def test_a_blocked_call_goes_on_after_one_and_after_many_holds(cpu, compile, start, call):
    """After the first stop, those with a time-out sit in restart_syscall."""
    process = start(compile("remote_blocked.c"), call)
    tid = int(process.ready.split()[1])
    lender = Lender(process, cpu)
    for _ in range(4):
        wait_until_blocked(process.pid, tid)
        with lender.hold(tid) as hold:
            hold.call("getpid")
    found = wait_until_blocked(process.pid, tid)
    if call in ("nanosleep", "poll", "futex_timeout"):
        assert cpu.syscall_name(found.number) == "restart_syscall"
    assert process.ask("counts") == "returned 0 eintr 0 errno 0"


class TestStacks:
    def hold(self, cpu, process):
        lender = Lender(process, cpu)
        tid = (
            int(process.read_line().split()[1]) if process.ready == "ready" else int(process.ready.split()[1])
        )
        wait_until_blocked(process.pid, tid)
        return lender.hold(tid)

    def test_a_thread_s_own_stack_is_used(self, cpu, compile, start):
        process = start(compile("remote_stacks.c"), "thread")
        with self.hold(cpu, process) as hold:
            assert hold.call("getpid") == process.pid
        assert process.ask("check") == "intact"

    def test_a_guard_that_no_map_shows_is_a_guard(self, cpu, compile, start):
        process = start(compile("remote_stacks.c"), "hidden", wait=False)
        process.ready = process.read_line()
        if process.ready == "none":  # Linux before 6.13 has no such guards
            process.may_exit = True
            return
        with self.hold(cpu, process) as hold:
            assert hold.call("getpid") == process.pid
            low = hold._room()[0] - stacks.MARGIN
        with pytest.raises(OSError):
            hold._memory.read(low - 1, 1)

    @pytest.mark.parametrize("kind", ["given", "unguarded", "full", "alternate", "coroutine"])
    def test_another_is_refused_before_anything_is_written(self, cpu, compile, start, kind):
        process = start(compile("remote_stacks.c"), kind)
        hold = self.hold(cpu, process)
        with pytest.raises(Refused) as refusal:
            hold.__enter__()
        assert refusal.value.reason == "no_stack_room"
        assert ("lacks" if kind == "full" else "not proven") in str(refusal.value)
        assert process.ask("check") == "intact"
        traces.assert_released(process.pid)

    @pytest.mark.parametrize("kind", ["given", "unguarded", "full", "alternate", "coroutine"])
    def test_it_is_left_out_before_any_stop(self, cpu, compile, start, kind):
        process = start(compile("remote_stacks.c"), kind)
        lender = Lender(process, cpu)
        tid = int(process.ready.split()[1])
        waits = [(each, wait_until_blocked(process.pid, each)) for each in (process.pid, tid)]
        needed = remote.room_needed(cpu)
        assert stacks.candidates(waits, lender.stacks, cpu, needed) == [process.pid]

    def test_the_room_that_is_said_to_be_needed_is_enough(self, cpu, compile, start):
        process = start(compile("remote_stacks.c"), "thread")
        with self.hold(cpu, process) as hold:
            taken = hold.registers[cpu.sp] - hold._frame.address + stacks.MARGIN
            assert taken <= remote.room_needed(cpu) < taken + 2048


class TestFilters:
    CALLS = (Call("memfd_create"), Call("mmap", (0, 4096, 1, 2, None, 0)), Call("munmap"), Call("close"))

    def use(self, lender, pid, calls=CALLS):
        with lender.hold(pid, scratch=NAME, calls=calls) as hold:
            descriptor = hold.call("memfd_create", hold.scratch, 0)
            address = hold.call("mmap", 0, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE, descriptor, 0)
            hold.call("munmap", address, 4096)
            hold.call("close", descriptor)

    @pytest.fixture
    def filtered(self, compile, start):
        def started(name):
            process = start(compile("remote_filtered.c"), name)
            wait_until_blocked(process.pid, process.pid)
            while procfs.status(process.pid)["Seccomp"] != "2":
                os.sched_yield()
            wait_until_blocked(process.pid, process.pid)
            return process

        return started

    @pytest.mark.parametrize("name", ["needed", "executable"])
    def test_what_is_allowed_is_done(self, cpu, filtered, name):
        process = filtered(name)
        self.use(Lender(process, cpu), process.pid)
        assert process.ask("hello") == "you said hello"

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("mmap", "may not call mmap"),
            ("two", "kills the process"),
            ("sigreturn", "may not call rt_sigreturn"),
            ("memfd", "may not call memfd_create"),
            ("error", "fails it with an error"),
        ],
    )
    def test_what_is_not_is_refused_and_the_process_lives(self, cpu, filtered, name, words):
        process = filtered(name)
        with pytest.raises(Refused, match=words) as refusal:
            self.use(Lender(process, cpu), process.pid)
        assert refusal.value.reason == "seccomp"
        assert process.ask("hello") == "you said hello"
        traces.assert_released(process.pid)

    def test_arguments_count(self, cpu, filtered):
        process = filtered("executable")
        executable = Call("mmap", (0, 4096, 5, 2, None, 0))
        with pytest.raises(Refused, match="may not call mmap"):
            self.use(Lender(process, cpu), process.pid, (executable,))
        assert process.ask("hello") == "you said hello"

    def test_a_call_that_was_not_announced_is_refused_before_it_is_made(self, cpu, filtered):
        process = filtered("mmap")
        with pytest.raises(Refused, match="may not call mmap"):
            self.use(Lender(process, cpu), process.pid, ())
        assert process.ask("hello") == "you said hello"

    def test_a_program_that_may_not_call_restart_syscall_survives_the_stop(self, cpu, filtered):
        """Any other stop kills it: its poll has a time-out."""
        process = filtered("restart")
        self.use(Lender(process, cpu), process.pid)
        wait_until_blocked(process.pid, process.pid)
        assert process.ask("hello") == "you said hello"

    def test_filters_that_can_not_be_read_are_refused(self, cpu, filtered, monkeypatch):
        def denied(tid, index):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(seccomp.ptrace, "get_seccomp_filter", denied)
        process = filtered("executable")
        with pytest.raises(Refused, match="can not be read: Permission denied"):
            self.use(Lender(process, cpu), process.pid)
        assert process.ask("hello") == "you said hello"


def test_a_thread_that_does_not_stop_in_time_is_let_go(cpu, worker, monkeypatch):
    lender = Lender(worker, cpu)
    wait = ptrace.wait
    monkeypatch.setattr(ptrace, "wait", lambda tid, deadline: wait(tid, deadline) if deadline else None)
    with pytest.raises(Busy) as busy:
        lender.hold(named(worker)["registers"], deadline=0).__enter__()
    assert busy.value.reason == "stop_timeout"
    assert_undisturbed(worker)
    traces.assert_released(worker.pid)


def test_threads_that_were_seized_with_their_parent_are_let_go(cpu, compile, start):
    """A stop seizes with O_CLONE; a clone that is on its way when a hold begins must not be lost."""
    process = start(compile("remote_clones.c"))
    tid = int(process.ready.split()[1])
    lender = Lender(process, cpu)
    ptrace.seize(tid, remote.OPTIONS | ptrace.O_CLONE)
    for _ in range(20):
        with lender.hold(tid, seize=False) as hold:
            hold.call("getpid")
    with lender.hold(tid, seize=False, keep_stopped=True):
        pass
    ptrace.detach(tid)
    process.ask("more")
    traces.assert_released(process.pid)
