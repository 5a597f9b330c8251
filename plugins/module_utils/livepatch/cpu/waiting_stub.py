# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The code that a thread returns into when it has left a function that we wait for (tracee/waiting_room.py).

In words::

        nop                         unwinders look a return address up at the byte before it
    in: push *return_address        where the function should have returned to
        push flags and registers    all that the call below changes: a caller may know what its callee kept
        *flag = 1
        futex(go, FUTEX_WAIT_PRIVATE, 0, timeout)
        *flag = 2
        pop them
        ret

The thread waits for itself: nobody need be there to let it go on.  The registers that hold the function's
result are among those that are kept; the vector registers and the FPU's are nowhere touched.
"""

from __future__ import annotations

import struct
from typing import List, NamedTuple, Sequence, Tuple

ENTRY = 1  # offset of ``in``
WAITS, PASSED = 1, 2  # values of the flag

_FUTEX_WAIT_PRIVATE = 128  # <linux/futex.h>
_FUTEX_64, _FUTEX_32 = 202, 240  # arch/x86/entry/syscalls/syscall_{64,32}.tbl


class Words(NamedTuple):
    """Addresses that a stub uses."""

    return_address: int  # a word
    flag: int  # 4 bytes
    go: int  # 4 bytes: it waits as long as they are 0, and
    timeout: int  # no longer than that: struct timespec


class Stub(NamedTuple):
    """Code, and what the unwinder must know of it.

    :ivar pushes: (offset of the first instruction behind it, DWARF number of the register or -1 for one that has none)
    :ivar pops: the same, in the order of the pops
    """

    code: bytes
    pushes: Sequence[Tuple[int, int]]
    pops: Sequence[Tuple[int, int]]
    behind_call: int  # offset behind the system-call instruction


class _Writer:
    """Instructions, one after the other."""

    def __init__(self) -> None:
        self.code = bytearray(b"\x90")  # nop
        self.pushes: List[Tuple[int, int]] = []
        self.pops: List[Tuple[int, int]] = []
        self.behind_call = 0

    def push(self, code: bytes, register: int) -> None:
        self.code += code
        self.pushes.append((len(self.code), register))

    def pop(self, code: bytes, register: int) -> None:
        self.code += code
        self.pops.append((len(self.code), register))

    def stub(self) -> Stub:
        return Stub(bytes(self.code), self.pushes, self.pops, self.behind_call)


_FLAGS = -1
# (push, pop, DWARF number): psABI figure 3.36, table 2.14
_SAVED_64 = (
    (b"\x9c", b"\x9d", _FLAGS),
    (b"\x50", b"\x58", 0),  # rax
    (b"\x52", b"\x5a", 1),  # rdx
    (b"\x51", b"\x59", 2),  # rcx
    (b"\x56", b"\x5e", 4),  # rsi
    (b"\x57", b"\x5f", 5),  # rdi
    (b"\x41\x52", b"\x41\x5a", 10),  # r10
    (b"\x41\x53", b"\x41\x5b", 11),  # r11
)
_SAVED_32 = (
    (b"\x9c", b"\x9d", _FLAGS),
    (b"\x50", b"\x58", 0),  # eax
    (b"\x51", b"\x59", 1),  # ecx
    (b"\x52", b"\x5a", 2),  # edx
    (b"\x53", b"\x5b", 3),  # ebx
    (b"\x56", b"\x5e", 6),  # esi
)


def build_x86_64(address: int, words: Words) -> Stub:
    """The stub that stands at ``address``; it takes the same bytes wherever it stands.

    :raises struct.error: the words are out of reach
    """
    out = _Writer()

    def near(opcode: bytes, target: int, behind: bytes = b"") -> bytes:
        """An instruction with a displacement that counts from its end."""
        end = address + len(out.code) + len(opcode) + 4 + len(behind)
        return opcode + struct.pack("<i", target - end) + behind

    out.push(near(b"\xff\x35", words.return_address), 16)  # push disp(%rip)
    for push, _, register in _SAVED_64:
        out.push(push, register)
    out.code += near(b"\xc7\x05", words.flag, struct.pack("<I", WAITS))  # movl $, disp(%rip)
    out.code += near(b"\x48\x8d\x3d", words.go)  # lea disp(%rip), %rdi
    out.code += b"\xbe" + struct.pack("<I", _FUTEX_WAIT_PRIVATE)  # mov $, %esi
    out.code += b"\x31\xd2"  # xor %edx, %edx
    out.code += near(b"\x4c\x8d\x15", words.timeout)  # lea disp(%rip), %r10
    out.code += b"\xb8" + struct.pack("<I", _FUTEX_64) + b"\x0f\x05"  # mov $, %eax; syscall
    out.behind_call = len(out.code)
    out.code += near(b"\xc7\x05", words.flag, struct.pack("<I", PASSED))
    for _, pop, register in reversed(_SAVED_64):
        out.pop(pop, register)
    out.code += b"\xc3"  # ret
    return out.stub()


def build_i386(address: int, words: Words) -> Stub:
    """The stub that stands at ``address``; it takes the same bytes wherever it stands."""
    out = _Writer()
    out.push(b"\xff\x35" + struct.pack("<I", words.return_address), 8)  # push address
    for push, _, register in _SAVED_32:
        out.push(push, register)
    out.code += b"\xc7\x05" + struct.pack("<II", words.flag, WAITS)  # movl $, address
    out.code += b"\xbb" + struct.pack("<I", words.go)  # mov $, %ebx
    out.code += b"\xb9" + struct.pack("<I", _FUTEX_WAIT_PRIVATE)  # mov $, %ecx
    out.code += b"\x31\xd2"  # xor %edx, %edx
    out.code += b"\xbe" + struct.pack("<I", words.timeout)  # mov $, %esi
    out.code += b"\xb8" + struct.pack("<I", _FUTEX_32) + b"\xcd\x80"  # mov $, %eax; int $0x80
    out.behind_call = len(out.code)
    out.code += b"\xc7\x05" + struct.pack("<II", words.flag, PASSED)
    for _, pop, register in reversed(_SAVED_32):
        out.pop(pop, register)
    out.code += b"\xc3"  # ret
    return out.stub()

