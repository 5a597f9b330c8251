# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of an interrupted call; with real calls: tests/integration/test_interrupted_calls.py."""

from __future__ import annotations

import pytest

from livepatch.tracee import restart

NEVER = (
    "close",
    "ioctl",
    "connect",
    "open",
    "openat",
    "write",
    "sendto",
    "sendmsg",
    "fcntl",
    "futex",
    "wait4",
    "nanosleep",
)
PC = 0x401002


def thread(cpu, number, result, first=0):
    """Registers of a thread that a stop has found in a call."""
    values = list(range(0x100, 0x100 + len(cpu.register_names)))
    values[cpu.syscall], values[cpu.result] = number & cpu.mask, result & cpu.mask
    values[cpu.arguments[0]], values[cpu.pc] = first, PC
    return tuple(values)


def changed(before, after):
    return {index: value for index, value in enumerate(after) if before[index] != value}


def test_the_numbers_are_those_of_the_calls_they_are_said_to_be(cpu):
    names = {cpu.syscall_name(number) for number in restart._NOTHING_HAPPENED[cpu.name]}
    common = {"read", "readv", "recvfrom", "recvmsg", "recvmmsg", "accept4", "epoll_wait", "epoll_pwait"}
    common |= {"epoll_pwait2", "rt_sigtimedwait", "io_getevents", "io_uring_enter"}
    times = {"recvmmsg_time64", "semtimedop_time64", "rt_sigtimedwait_time64"}
    assert names == common | (times if cpu.name == "i386" else {"accept", "semop", "semtimedop"})
    if cpu.name == "i386":
        assert {cpu.syscall_name(number) for number in restart._MULTIPLEXED["i386"]} == {"socketcall", "ipc"}


def test_a_call_on_the_list_is_repeated(cpu):
    before = thread(cpu, cpu.syscall_number("epoll_wait"), -4)
    after = restart.fix_interrupted(before, cpu)
    assert changed(before, after) == {cpu.result: -514 & cpu.mask}


@pytest.mark.parametrize("result", [0, 5, -1, -11, -512, -514, -516])
def test_only_eintr_is_touched(cpu, result):
    assert restart.fix_interrupted(thread(cpu, cpu.syscall_number("epoll_wait"), result), cpu) is None


@pytest.mark.parametrize("name", NEVER)
def test_other_calls_are_not_touched(cpu, name):
    number = (
        102 if cpu.name == "i386" and name in ("sendto", "sendmsg", "connect") else cpu.syscall_number(name)
    )
    which = {"connect": 3, "sendto": 11, "sendmsg": 16}.get(name, 0)
    assert restart.fix_interrupted(thread(cpu, number, -4, which), cpu) is None


def test_a_thread_in_no_call_is_not_touched(cpu):
    assert restart.fix_interrupted(thread(cpu, -1, -4), cpu) is None


def test_the_first_argument_says_what_a_multiplexed_call_is():
    from livepatch.cpu import I386

    socketcall, ipc = 102, 117
    for number, good, bad in ((socketcall, (5, 10, 12, 17, 18, 19), (1, 2, 3, 4, 9, 11, 13, 16, 20)),
                              (ipc, (1, 4, 1 << 16 | 4), (2, 3, 11, 12, 13))):  # fmt: skip
        for which in good:
            assert restart.fix_interrupted(thread(I386, number, -4, which), I386) is not None
        for which in bad:
            assert restart.fix_interrupted(thread(I386, number, -4, which), I386) is None


@pytest.mark.parametrize("code", [-512, -513, -514, -516])
def test_a_thread_that_restores_itself_repeats_its_call(cpu, code):
    number = cpu.syscall_number("nanosleep")
    before = thread(cpu, number, code)
    assert changed(before, restart.replayed(before, cpu)) == {cpu.pc: PC - 2, cpu.result: number}


def test_restart_syscall_can_not_be_repeated_and_shows_eintr(cpu):
    before = thread(cpu, cpu.syscall_number("restart_syscall"), -516)
    assert changed(before, restart.replayed(before, cpu)) == {cpu.result: -4 & cpu.mask}


def test_a_thread_that_was_not_interrupted_keeps_all_it_has(cpu):
    for number, result in ((-1, -514), (-1, 7), (cpu.syscall_number("read"), 7), (3, -4)):
        before = thread(cpu, number, result)
        assert restart.replayed(before, cpu) == before


def test_a_filter_that_knows_no_restart_syscall_gets_the_call_itself(cpu):
    before = thread(cpu, cpu.syscall_number("poll"), -516)
    assert changed(before, restart.without_restart_block(before, cpu)) == {cpu.result: -514 & cpu.mask}
    for number, code in (("poll", -514), ("poll", 1), ("restart_syscall", -516)):
        assert restart.without_restart_block(thread(cpu, cpu.syscall_number(number), code), cpu) is None
