# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a thread's seccomp filters say about calls that we are about to make in its name.

A filter is a classic BPF program over ``struct seccomp_data`` (include/uapi/linux/seccomp.h)::

     0  nr                    number of the call
     4  arch                  AUDIT_ARCH_*
     8  instruction_pointer   behind the system-call instruction
    16  args[6]               8 bytes each

It may use the instructions that seccomp_check_filter (kernel/seccomp.c) lets through and
no others; meeting another one means that we can not tell.  All filters run; the lowest action
counts (seccomp_run_filters).  Words of the data may be unknown, because an argument is the
result of a call that has not been made: then every branch counts that they could lead to.
"""

from __future__ import annotations

import operator
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ..cpu import Cpu
from ..errors import Refused
from ..kernel import ptrace

Instruction = Tuple[int, int, int, int]  # struct sock_filter: code, jt, jf, k
Program = Sequence[Instruction]
Data = Sequence[Optional[int]]  # struct seccomp_data as 16 words of 32 bits; None: unknown

# include/uapi/linux/seccomp.h
_ACTION = 0xFFFF0000  # SECCOMP_RET_ACTION_FULL
_ALLOW = 0x7FFF0000
_LOG = 0x7FFC0000
_ACTIONS = {
    0x80000000: "kills the process",
    0x00000000: "kills the thread",
    0x00030000: "sends SIGSYS",
    0x00050000: "fails it with an error",
    0x7FC00000: "asks a supervisor",
    0x7FF00000: "asks a tracer",
    _LOG: "logs it",
    _ALLOW: "allows it",
}
_ARCHITECTURES = {"x86_64": 0xC000003E, "i386": 0x40000003}  # include/uapi/linux/audit.h
_WORDS = 16
_ONES = 0xFFFFFFFF
# A program has at most 4096 instructions, and only jumps forward; unknown words multiply the ways through it.
_MOST_STEPS = 1 << 15


class Unclear(ValueError):
    """A program that can not be judged: no kernel would have taken it, or it branches too often."""


class Call(NamedTuple):
    """A system call that will be made; ``None`` among the arguments: not known yet."""

    name: str
    arguments: Tuple[Optional[int], ...] = ()


# <linux/bpf_common.h>: operations of the ALU class, by BPF_OP(code)
_ALU: Dict[int, Callable[[int, int], int]] = {
    0x00: operator.add,
    0x10: operator.sub,
    0x20: operator.mul,
    0x30: operator.floordiv,
    0x40: operator.or_,
    0x50: operator.and_,
    0x60: lambda left, right: left << (right & 31),
    0x70: lambda left, right: left >> (right & 31),
    0xA0: operator.xor,
}
_DIVIDE = 0x30
_JUMPS: Dict[int, Callable[[int, int], bool]] = {
    0x10: operator.eq,
    0x20: operator.gt,
    0x30: operator.ge,
    0x40: lambda left, right: bool(left & right),
}


class _State(NamedTuple):
    """Where one way through a program has come to."""

    at: int
    a: Optional[int]
    x: Optional[int]
    memory: Tuple[Optional[int], ...]


def evaluate(program: Program, data: Data) -> int:
    """Run a filter.

    :param data: 16 words; None: unknown
    :returns: the return value (action and 16 bits of data), the lowest one where several are possible
    :raises Unclear: see there
    """
    # BPF_MEMWORDS; seccomp_check_filter does not let a word be read that was not written.
    ways: List[_State] = [_State(0, 0, 0, (0,) * 16)]
    lowest: Optional[int] = None
    left = _MOST_STEPS
    while ways:
        state = ways.pop()
        while True:
            left -= 1
            if not left:
                raise Unclear("the filter has too many ways through it")
            if state.at >= len(program):
                raise Unclear("the filter runs past its end")
            code, if_true, if_false, k = program[state.at]
            if code & 7 == 6:  # BPF_RET
                value = _returned(code, k, state.a)
                lowest = value if lowest is None else _lower(lowest, value)
                break
            if code & 7 == 5:  # BPF_JMP
                first, *others = _jump(code, if_true, if_false, k, state)
                ways.extend(others)
                state = first
            else:
                state = _step(code, k, state, data)
    assert lowest is not None
    return lowest


def _lower(one: int, other: int) -> int:
    """Of two return values the one with the lower action, as a signed number (ACTION_ONLY)."""

    def rank(value: int) -> int:
        action = value & _ACTION
        return action - (1 << 32) if action >> 31 else action

    return one if rank(one) <= rank(other) else other


def _returned(code: int, k: int, a: Optional[int]) -> int:
    if code == 0x06:
        return k
    if code == 0x16 and a is not None:
        return a
    raise Unclear(f"the filter returns what can not be known (instruction {code:#04x})")


def _jump(code: int, if_true: int, if_false: int, k: int, state: _State) -> List[_State]:
    behind = state.at + 1
    if code == 0x05:  # BPF_JA
        return [state._replace(at=behind + k)]
    test = _JUMPS.get(code & 0xF0)
    if test is None or code & 0x07 != 5:
        raise Unclear(f"unknown jump {code:#04x}")
    right = state.x if code & 8 else k
    if state.a is None or right is None:
        return [state._replace(at=behind + distance) for distance in {if_true, if_false}]
    return [state._replace(at=behind + (if_true if test(state.a, right) else if_false))]


def _step(code: int, k: int, state: _State, data: Data) -> _State:
    """One instruction that neither jumps nor returns; codes as in seccomp_check_filter."""
    at = state.at + 1
    if code == 0x20:  # ld [k]
        if k % 4 or k // 4 >= _WORDS:
            raise Unclear(f"the filter reads at {k}, outside of struct seccomp_data")
        return state._replace(at=at, a=data[k // 4])
    if code == 0x80:  # ld #len
        return state._replace(at=at, a=4 * _WORDS)
    if code == 0x81:  # ldx #len
        return state._replace(at=at, x=4 * _WORDS)
    if code == 0x00:  # ld #k
        return state._replace(at=at, a=k)
    if code == 0x01:  # ldx #k
        return state._replace(at=at, x=k)
    if code == 0x07:  # tax
        return state._replace(at=at, x=state.a)
    if code == 0x87:  # txa
        return state._replace(at=at, a=state.x)
    if code == 0x84:  # neg
        return state._replace(at=at, a=None if state.a is None else -state.a & _ONES)
    if code in (0x60, 0x61, 0x02, 0x03):
        return _scratch(code, k, state._replace(at=at))
    if code & 7 == 4 and code & 0xF0 in _ALU:
        return state._replace(at=at, a=_computed(code & 0xF0, state.a, state.x if code & 8 else k))
    raise Unclear(f"the filter has instruction {code:#04x}, which no filter may have")


def _scratch(code: int, k: int, state: _State) -> _State:
    memory = state.memory
    if k >= len(memory):
        raise Unclear(f"the filter uses scratch word {k}")
    if code == 0x60:  # ld M[k]
        return state._replace(a=memory[k])
    if code == 0x61:  # ldx M[k]
        return state._replace(x=memory[k])
    stored = state.a if code == 0x02 else state.x  # st, stx
    return state._replace(memory=memory[:k] + (stored,) + memory[k + 1 :])


def _computed(operation: int, left: Optional[int], right: Optional[int]) -> Optional[int]:
    if left is None or right is None:
        return None
    if operation == _DIVIDE and right == 0:
        raise Unclear("the filter divides by zero")
    return _ALU[operation](left, right) & _ONES


def data_of(cpu: Cpu, call: Call, pc: int) -> Data:
    """``struct seccomp_data`` of a call.

    :param pc: address behind the system-call instruction
    """
    number = cpu.syscall_number(call.name)
    words: List[Optional[int]] = [number, _ARCHITECTURES[cpu.name], pc & _ONES, pc >> 32]
    for argument in (*call.arguments, *(None,) * (6 - len(call.arguments))):
        if argument is None:
            words += [None, None if cpu.word == 8 else 0]
        else:
            value = argument & cpu.mask
            words += [value & _ONES, value >> 32]
    return words


def allows(filters: Sequence[Program], cpu: Cpu, call: Call, pc: int) -> Optional[str]:
    """Whether all filters let a call pass.

    :param pc: address behind the system-call instruction
    :returns: None: yes; else what they do instead, as words that follow "the filter"
    """
    data = data_of(cpu, call, pc)
    result = _ALLOW
    for program in filters:
        try:
            result = _lower(result, evaluate(program, data))
        except Unclear as error:
            return f"can not be judged ({error})"
    action = result & _ACTION
    if action in (_ALLOW, _LOG):
        return None
    return _ACTIONS.get(action, f"has an action {action:#x} that no kernel knew, which kills the process")


def read_filters(tid: int) -> List[Program]:
    """All filters of a stopped thread, the newest first.

    :raises Refused: ``seccomp``: they can not be read
    """
    programs: List[Program] = []
    while True:
        try:
            programs.append(ptrace.get_seccomp_filter(tid, len(programs)))
        except FileNotFoundError:
            return programs
        except ProcessLookupError:
            raise
        except OSError as error:
            # EACCES: CAP_SYS_ADMIN is missing, or we are under a filter ourselves; EINVAL: strict mode, or a
            # kernel without CONFIG_CHECKPOINT_RESTORE; EMEDIUMTYPE: a filter that is no classic BPF.
            what = f"the seccomp filters of thread {tid} can not be read: {error.strerror}"
            raise Refused("seccomp", what) from error


def require(tid: int, filters: Sequence[Program], cpu: Cpu, calls: Iterable[Tuple[Call, int]]) -> None:
    """Refuse where the filters do not let every one of the calls pass.

    :param calls: (call, address behind its system-call instruction)
    :raises Refused: ``seccomp``, naming call and action
    """
    for call, pc in calls:
        objection = allows(filters, cpu, call, pc)
        if objection is not None:
            raise Refused("seccomp", f"thread {tid} may not call {call.name}: its seccomp filter {objection}")
