# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which stacks are proven; with real threads: tests/integration/test_remote_call.py."""

from __future__ import annotations

import pytest

from livepatch.errors import Refused
from livepatch.kernel.procfs import Mapping, Syscall
from livepatch.tracee.stacks import Stack, StackMap, candidates

PID, OTHER = 100, 101


def mapping(start, end, permissions="rw-p", path="", inode=0):
    return Mapping(start, end, permissions, 0, "00:00", inode, path)


GUARD = mapping(0x10000, 0x11000, "---p")
THREAD = mapping(0x11000, 0x21000)
HEAP = mapping(0x30000, 0x60000, path="[heap]")
BEHIND_GAP = mapping(0x70000, 0x80000)
LEADER = mapping(0x90000, 0xB0000, path="[stack]")
TCB = 0x20900


def stack_map(*mappings, guards=()):
    return StackMap(mappings, PID, lambda pid, tid, start, end: [at for at in guards if start <= at < end])


STACKS = stack_map(GUARD, THREAD, HEAP, BEHIND_GAP, LEADER)


def test_the_leader_is_on_its_own_stack():
    assert STACKS.prove(PID, 0xA0000, 0) == Stack(0x90000, 0xB0000)
    assert STACKS.guess(PID, 0xA0000) == Stack(0x90000, 0xB0000)


def test_another_thread_on_the_leader_s_stack_proves_nothing():
    assert STACKS.prove(OTHER, 0xA0000, 0xA8000) is None


def test_a_thread_s_stack_ends_at_the_guard_below_its_control_block():
    assert STACKS.prove(OTHER, 0x18000, TCB) == Stack(0x11000, 0x21000)
    assert STACKS.guess(OTHER, 0x18000) == Stack(0x11000, 0x21000)


@pytest.mark.parametrize(
    ("sp", "tcb"),
    [
        (0x18000, 0),  # no control block
        (0x18000, 0x18000),  # at it
        (0x20A00, TCB),  # above it: something that was mapped next to it
        (0x18000, 0x75000),  # the control block is elsewhere: this is no stack, or another's
        (0x75000, 0x7F000),  # no guard below
        (0x40000, 0x50000),  # the heap
        (0x10800, TCB),  # the guard
        (0x28000, TCB),  # nothing
        (0x800, TCB),
        (0xC0000, TCB),
    ],
)
def test_everything_else_proves_nothing(sp, tcb):
    assert STACKS.prove(OTHER, sp, tcb) is None


def test_the_leader_is_never_on_a_thread_s_stack():
    assert STACKS.prove(PID, 0x18000, TCB) is None


@pytest.mark.parametrize(
    "other",
    [
        THREAD._replace(inode=7, path="/dev/shm/x"),
        THREAD._replace(permissions="rw-s"),
        THREAD._replace(permissions="r--p"),
        THREAD._replace(path="[heap]"),
    ],
)
def test_only_private_anonymous_memory_is_a_thread_s_stack(other):
    assert stack_map(GUARD, other).prove(OTHER, 0x18000, TCB) is None


def test_a_guard_that_may_be_read_is_none():
    assert stack_map(GUARD._replace(permissions="r--p"), THREAD).prove(OTHER, 0x18000, TCB) is None


def test_named_anonymous_memory_may_be_a_stack():
    named = THREAD._replace(path="[anon:stack of T1]")
    assert stack_map(GUARD, named).prove(OTHER, 0x18000, TCB) is not None


def test_guards_that_the_map_does_not_show_bound_the_stack():
    """As glibc 2.42 makes them: neighbouring stacks are one mapping."""
    for mappings in ([THREAD], [GUARD, THREAD]):
        hidden = stack_map(*mappings, guards=(0x14000, 0x1C000))
        assert hidden.prove(OTHER, 0x18000, 0x1B000) == Stack(0x15000, 0x1C000)
        assert hidden.prove(OTHER, 0x18000, TCB) is None  # a guard between stack pointer and control block
    assert stack_map(THREAD, guards=(0x14000,)).prove(OTHER, 0x12000, 0x13000) is None  # no guard below


def waits(cpu, name, sp):
    return Syscall(cpu.syscall_number(name), (0,) * 6, sp, 0x400000)


def test_a_blocked_thread_is_better_than_one_in_restart_syscall_than_one_that_runs(cpu):
    threads = [
        (104, None),
        (103, waits(cpu, "restart_syscall", 0x1A000)),
        (102, waits(cpu, "ppoll", 0x1A000)),
        (101, waits(cpu, "read", 0x1A000)),
        (PID, waits(cpu, "read", 0xA0000)),
    ]
    assert candidates(threads, STACKS, cpu, 0x2000) == [PID, 101, 102, 103, 104]


def test_threads_without_room_are_left_out(cpu):
    threads = [(101, waits(cpu, "read", 0x11000 + 0x1FFF)), (102, waits(cpu, "read", 0x11000 + 0x2000))]
    assert candidates(threads, STACKS, cpu, 0x2000) == [102]


def test_a_refusal_names_what_was_tried(cpu):
    threads = [(101, waits(cpu, "read", 0x11800)), (102, waits(cpu, "read", 0x40000))]
    with pytest.raises(Refused) as refusal:
        candidates(threads, STACKS, cpu, 0x2000)
    assert refusal.value.reason == "no_stack_room"
    assert "thread 101 has 2048 bytes" in str(refusal.value)
    assert "thread 102 is at 0x40000" in str(refusal.value)
