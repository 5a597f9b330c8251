# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Thunks as assembly: from one calling convention to another, with everything in its place when they return.

::

    old caller --call--> old f: jmp --> thunk --call--> new f        (entering)
    new code   --call--> thunk --call--> old local function          (leaving)

    higher   [ arguments on the stack  ]
             [ return address          ]
             [ saved frame pointer     ] <- frame pointer
             [ saved registers         ]
             [ padding: 16-byte bound  ]
    lower    [ arguments, copied       ] <- stack pointer at the call

The frame pointer makes both the unwind table and the way back independent of how far the stack pointer was
moved. Callers that saw a callee without calls need not align the stack for it (gcc: preferred_incoming_stack_boundary
in expand_call), so the thunk does it.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple, Sequence, Union

from ..cpu import Cpu

#: A word that the callee takes: a register's name, or an offset in the caller's arguments on the stack.
Word = Union[str, int]

MOST_COPIED = 512  # bytes of arguments on the stack


class Thunk(NamedTuple):
    """One thunk.

    :ivar name: its symbol
    :ivar calls: the symbol that it calls
    :ivar saved: registers that are as before when it returns
    :ivar stack: what the callee takes on the stack, first word first
    :ivar registers: (register, what it is loaded with) at the call
    :ivar moved: instructions that move a result from where the callee left it, by way of the top of the stack
    """

    name: str
    calls: str
    saved: Sequence[str]
    stack: Sequence[Word]
    registers: Sequence[tuple[str, Word]] = ()
    moved: Sequence[str] = ()


def moved_result(size: int, to_vector: bool) -> tuple[str, ...]:
    """i386: a float or double from st(0), where the psABI has it, to xmm0; or back."""
    width, suffix = {4: ("s", "ss"), 8: ("l", "sd")}[size]
    if to_vector:
        return f"fstp{width} (%esp)", f"mov{suffix} (%esp), %xmm0"
    return f"mov{suffix} %xmm0, (%esp)", f"fld{width} (%esp)"


def text(cpu: Cpu, thunks: Sequence[Thunk]) -> str:
    """The source of an object with these thunks."""
    lines = [line for each in thunks for line in _lines(cpu, each)]
    return "\n".join([*lines, '\t.section .note.GNU-stack,"",@progbits', ""])


def _lines(cpu: Cpu, thunk: Thunk) -> Iterator[str]:
    word = cpu.word
    frame, stack = ("%rbp", "%rsp") if word == 8 else ("%ebp", "%esp")
    general = [each for each in thunk.saved if not each.startswith("xmm")]
    vectors = [each for each in thunk.saved if each.startswith("xmm")]
    places = {each: -word * number for number, each in enumerate(general, 1)}
    bottom = -word * len(general)
    for each in vectors:
        bottom -= 16
        places[each] = bottom
    name = _quoted(thunk.name)
    yield f'\t.section ".text.{thunk.name}","ax",@progbits'
    yield "\t.p2align 4"
    yield f"\t.globl {name}"
    yield f"\t.type {name}, @function"
    yield f"{name}:"
    yield "\t.cfi_startproc"
    yield f"\tpush {frame}"
    yield f"\t.cfi_def_cfa_offset {2 * word}"
    yield f"\t.cfi_offset {frame}, {-2 * word}"
    yield f"\tmov {stack}, {frame}"
    yield f"\t.cfi_def_cfa_register {frame}"
    for each in general:
        yield f"\tpush %{each}"
    if vectors:
        yield f"\tlea {bottom}({frame}), {stack}"
    for each in vectors:
        yield f"\tmovups %{each}, {places[each]}({frame})"
    yield f"\tand $-16, {stack}"
    padding = -len(thunk.stack) * word % 16
    if padding:
        yield f"\tlea {-padding}({stack}), {stack}"
    for source in reversed(thunk.stack):
        yield f"\tpush{'q' if word == 8 else 'l'} {_operand(source, word, frame)}"
    for register, source in thunk.registers:
        yield f"\tmov {_operand(source, word, frame)}, %{register}"
    yield f"\tcall {_quoted(thunk.calls)}"
    if thunk.moved:
        yield f"\tlea -16({stack}), {stack}"
    for each in thunk.moved:
        yield f"\t{each}"
    for each in vectors:
        yield f"\tmovups {places[each]}({frame}), %{each}"
    for each in general:
        yield f"\tmov {places[each]}({frame}), %{each}"
    yield "\tleave"
    yield f"\t.cfi_def_cfa {stack}, {word}"
    yield "\tret"
    yield "\t.cfi_endproc"
    yield f"\t.size {name}, .-{name}"


def _operand(word: Word, size: int, frame: str) -> str:
    return f"%{word}" if isinstance(word, str) else f"{2 * size + word}({frame})"


def _quoted(name: str) -> str:
    return f'"{name}"'
