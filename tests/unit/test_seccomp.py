# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters judged without a process; against the kernel's judgement: tests/integration/test_seccomp_oracle.py."""

from __future__ import annotations

import pytest

from livepatch.cpu import I386, X86_64
from livepatch.errors import Refused
from livepatch.tracee import seccomp
from livepatch.tracee.seccomp import Call, Unclear, evaluate

ALLOW, LOG, KILL, TRAP, ERRNO, NOTIFY, TRACE = (
    0x7FFF0000, 0x7FFC0000, 0x80000000, 0x30000, 0x50000, 0x7FC00000, 0x7FF00000,
)  # fmt: skip
NOTHING = (0,) * 16


def load(offset):
    return (0x20, 0, 0, offset)


def give(value):
    return (0x06, 0, 0, value)


GIVE_A = (0x16, 0, 0, 0)


def unless(cpu, name, action):
    """A filter that lets everything pass but one call."""
    return [load(0), (0x15, 0, 1, cpu.syscall_number(name)), give(action), give(ALLOW)]


@pytest.mark.parametrize(
    ("code", "k", "expected"),
    [
        (0x04, 5, 12),  # add
        (0x14, 8, 0xFFFFFFFF),  # sub
        (0x24, 0x40000001, 0xC0000007),  # mul
        (0x34, 2, 3),  # div
        (0x44, 8, 15),  # or
        (0x54, 6, 6),  # and
        (0xA4, 5, 2),  # xor
        (0x64, 30, 0xC0000000),  # lsh
        (0x74, 1, 3),  # rsh
        (0x84, 0, 0xFFFFFFF9),  # neg
    ],
)
def test_arithmetic(code, k, expected):
    assert evaluate([(0x00, 0, 0, 7), (code, 0, 0, k), GIVE_A], NOTHING) == expected
    if code != 0x84:
        with_x = [(0x01, 0, 0, k), (0x00, 0, 0, 7), (code | 8, 0, 0, 0), GIVE_A]
        assert evaluate(with_x, NOTHING) == expected


@pytest.mark.parametrize(
    ("code", "k", "taken"),
    [
        (0x15, 7, True),
        (0x15, 8, False),
        (0x25, 6, True),
        (0x25, 7, False),
        (0x35, 7, True),
        (0x35, 8, False),
        (0x45, 4, True),
        (0x45, 8, False),
    ],
)
def test_jumps(code, k, taken):
    branches = [give(ERRNO), give(ALLOW)]
    wanted = ERRNO if taken else ALLOW
    assert evaluate([(0x00, 0, 0, 7), (code, 0, 1, k), *branches], NOTHING) == wanted
    assert evaluate([(0x01, 0, 0, k), (0x00, 0, 0, 7), (code | 8, 0, 1, 0), *branches], NOTHING) == wanted


def test_moves_scratch_words_and_lengths():
    program = [
        (0x80, 0, 0, 0),  # ld #len
        (0x02, 0, 0, 3),  # st M[3]
        (0x81, 0, 0, 0),  # ldx #len
        (0x03, 0, 0, 4),  # stx M[4]
        (0x00, 0, 0, 1),
        (0x61, 0, 0, 3),  # ldx M[3]
        (0x0C, 0, 0, 0),  # add x
        (0x07, 0, 0, 0),  # tax
        (0x60, 0, 0, 4),  # ld M[4]
        (0x0C, 0, 0, 0),
        (0x07, 0, 0, 0),
        (0x00, 0, 0, 0),
        (0x87, 0, 0, 0),  # txa
        (0x05, 0, 0, 1),  # ja
        give(0),
        GIVE_A,
    ]
    assert evaluate(program, NOTHING) == 64 + 1 + 64


@pytest.mark.parametrize(
    "program",
    [
        [],
        [load(0)],
        [load(2), give(ALLOW)],
        [load(64), give(ALLOW)],
        [(0x28, 0, 0, 0), give(ALLOW)],  # ldh
        [(0x94, 0, 0, 3), give(ALLOW)],  # mod: not for seccomp
        [(0x34, 0, 0, 0), give(ALLOW)],  # by zero
        [(0x60, 0, 0, 16), give(ALLOW)],
        [(0x75, 0, 0, 0), give(ALLOW)],
        [(0x0E, 0, 0, 0)],  # ret x
        [(0x05, 0, 0, 7), give(ALLOW)],
    ],
)
def test_what_no_kernel_takes_is_unclear(program):
    with pytest.raises(Unclear):
        evaluate(program, NOTHING)


def test_an_unknown_word_counts_with_all_it_could_be():
    program = [load(16), (0x15, 0, 1, 5), give(KILL), give(ALLOW)]
    data = list(NOTHING)
    assert evaluate(program, data) == ALLOW
    data[4] = None
    assert evaluate(program, data) == KILL


def test_what_is_computed_from_an_unknown_word_is_unknown():
    program = [
        load(16),
        (0x04, 0, 0, 1),
        (0x02, 0, 0, 0),
        (0x60, 0, 0, 0),
        (0x15, 0, 1, 5),
        give(ERRNO),
        give(LOG),
    ]
    data = list(NOTHING)
    data[4] = None
    assert evaluate(program, data) == ERRNO


def test_an_unknown_action_is_unclear():
    data = list(NOTHING)
    data[4] = None
    with pytest.raises(Unclear):
        evaluate([load(16), GIVE_A], data)


def test_a_filter_with_too_many_ways_is_unclear():
    program = []
    for _ in range(20):
        program += [load(16), (0x15, 0, 1, 5), (0x00, 0, 0, 1), (0x02, 0, 0, 0)]
    data = list(NOTHING)
    data[4] = None
    with pytest.raises(Unclear, match="too many"):
        evaluate([*program, give(ALLOW)], data)


def test_data_is_laid_out_as_the_kernel_does():
    call = Call("mmap", (0x1122334455667788, 2, None))
    data = seccomp.data_of(X86_64, call, 0x7FFF00000002)
    assert data[:4] == [9, 0xC000003E, 0x2, 0x7FFF]
    assert data[4:10] == [0x55667788, 0x11223344, 2, 0, None, None]
    assert data[10:] == [None] * 6
    data = seccomp.data_of(I386, Call("mmap2", (-1, None)), 0xF7F00002)
    assert data[:4] == [192, 0x40000003, 0xF7F00002, 0]
    assert data[4:8] == [0xFFFFFFFF, 0, None, 0]


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (KILL, "kills the process"),
        (0, "kills the thread"),
        (TRAP, "SIGSYS"),
        (ERRNO | 1, "error"),
        (NOTIFY, "supervisor"),
        (TRACE, "tracer"),
        (0x12340000, "no kernel knew"),
    ],
)
def test_every_action_but_allow_and_log_is_an_objection(cpu, action, words):
    objection = seccomp.allows([unless(cpu, "munmap", action)], cpu, Call("munmap", (0, 4096)), 0)
    assert words in objection
    assert seccomp.allows([unless(cpu, "munmap", action)], cpu, Call("close", (1,)), 0) is None


def test_log_lets_pass(cpu):
    assert seccomp.allows([unless(cpu, "munmap", LOG)], cpu, Call("munmap"), 0) is None


def test_no_filter_lets_everything_pass(cpu):
    assert seccomp.allows([], cpu, Call("munmap"), 0) is None


def test_the_lowest_action_of_all_filters_counts(cpu):
    filters = [[give(ALLOW)], [give(ERRNO)], [give(KILL)], [give(TRAP)]]
    for order in (filters, filters[::-1]):
        assert "kills the process" in seccomp.allows(order, cpu, Call("close"), 0)
    assert "SIGSYS" in seccomp.allows([[give(TRAP)], [give(ERRNO)]], cpu, Call("close"), 0)


def test_a_filter_that_can_not_be_judged_is_an_objection(cpu):
    assert "can not be judged" in seccomp.allows([[(0xFF, 0, 0, 0)]], cpu, Call("close"), 0)


def test_a_refusal_names_thread_call_and_action(cpu):
    calls = [(Call("close"), 0), (Call("rt_sigreturn"), 0)]
    with pytest.raises(Refused) as refusal:
        seccomp.require(77, [unless(cpu, "rt_sigreturn", KILL)], cpu, calls)
    assert refusal.value.reason == "seccomp"
    assert str(refusal.value).startswith(
        "thread 77 may not call rt_sigreturn: its seccomp filter kills the process"
    )
