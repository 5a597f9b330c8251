# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which registers code may write, and which the compiler must have seen it write: instruction by instruction."""

from __future__ import annotations

import pytest

from livepatch.build import clobbers
from livepatch.build.clobbers import OUTSIDE, Piece
from livepatch.cpu import ALL

X86_64 = next(each for each in ALL if each.word == 8)
I386 = next(each for each in ALL if each.word == 4)


def effects(code, cpu=X86_64, led=lambda index, instruction: "callee"):
    return clobbers.effects(cpu, [Piece(bytes.fromhex(code), 0x1000)], led)


@pytest.mark.parametrize(
    ("what", "code", "may", "sure"),
    [
        ("mov $1, %cl counts whole", "b101", "rcx", "rcx"),
        ("mov $1, %ch counts whole", "b501", "rcx", "rcx"),
        ("mov $1, %r10d", "41ba01000000", "r10", "r10"),
        ("mov $1, %ebx is the caller's", "bb01000000", "", ""),
        ("cmp %ecx, %edx reads", "39ca", "", ""),
        ("test %esi, %esi reads", "85f6", "", ""),
        ("div %ecx", "f7f1", "rax rdx", "rax rdx"),
        ("imul %ecx, %edi", "0faff9", "rdi", "rdi"),
        ("xchg %ecx, %edx", "87ca", "rcx rdx", "rcx rdx"),
        ("rep stosq", "f348ab", "rax rcx rdi rsi", "rcx rdi"),
        ("cpuid", "0fa2", "rax rcx rdx", "rax rcx rdx"),
        ("syscall", "0f05", "rax rcx rdx r11", ""),  # its asm statement says what the compiler knows
        ("cmovne %esi, %edi may write", "0f45fe", "rdi", "rdi"),
        ("addss %xmm1, %xmm0 leaves the upper half", "f30f58c1", "xmm0", "xmm0 ymm0"),
        ("vaddss %xmm1, %xmm2, %xmm3 clears it", "c5ea58d9", "xmm3 ymm3", "xmm3 ymm3"),
        ("ucomiss %xmm1, %xmm0 reads", "0f2ec1", "", ""),
        ("fld1", "d9e8", "mm", ""),
        ("nopw 0(%rax,%rax)", "66660f1f840000000000", "", ""),
    ],
)
def test_an_instruction_writes_what_the_manual_says(what, code, may, sure):
    found = effects(code)
    assert found.may == set(may.split()), what
    assert found.sure - {"mm"} == set(sure.split()), what


def test_vzeroupper_may_take_every_upper_half_and_proves_nothing():
    found = effects("c5f877")
    assert {f"ymm{number}" for number in range(16)} <= found.may
    assert not {each for each in found.may if each.startswith("x")} and not found.sure


def test_what_is_saved_and_put_back_may_be_written_for_certain_by_nobody():
    """As asm statements do that do not tell the compiler: push %rcx; mov $1, %ecx; pop %rcx."""
    found = effects("51b90100000059")
    assert found.sure == set()


def test_calls_lead_where_they_are_said_to_and_indirect_ones_out_of_sight():
    assert effects("e800000000").leads == {"callee"}
    assert effects("ffd0").leads == {OUTSIDE}
    assert effects("ff1500000000").leads == {OUTSIDE}


@pytest.mark.parametrize("code", ["48890424c3", "50c3"])
def test_a_return_to_what_was_just_stored_is_an_indirect_jump(code):
    assert OUTSIDE in effects(code).leads


def test_a_call_through_a_segment_is_the_kernels_and_not_known_to_the_compiler():
    """i386's call *%gs:0x10 in an asm statement: only eax is told to the compiler."""
    found = effects("65ff1510000000", I386)
    assert found.leads == {None}


def test_bytes_that_are_no_instruction_lead_nobody_knows_where():
    assert None in effects("b9010000000f0b06").leads


def test_sixteen_bytes_at_once_may_want_an_aligned_stack():
    assert effects("0f290424").wants_alignment  # movaps %xmm0, (%rsp)
    assert not effects("f20f110424").wants_alignment  # movsd %xmm0, (%rsp)


def test_a_sum_over_a_circle_of_calls_ends_and_what_is_not_known_counts_both_ways():
    bodies = {"a": ("b901000000e800000000", "b"), "b": ("ba01000000e800000000", "a")}
    code = {name: effects(body, led=lambda *_, to=to: to) for name, (body, to) in bodies.items()}
    for sure in (True, False):
        assert clobbers.closure(X86_64, "a", code.get, sure).registers == {"rcx", "rdx"}
    del code["b"]
    assert clobbers.closure(X86_64, "a", code.get, True).registers == {"rcx"}
    assert clobbers.closure(X86_64, "a", code.get, False).registers == clobbers.everything(X86_64)


def test_returns_that_take_arguments_from_the_stack_are_seen():
    assert effects("c20400", I386).pops == {4}
