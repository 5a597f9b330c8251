# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""Code without an unwind rule that is about to return, and so tells where to.

Two kinds matter: the thunks by which 32-bit code learns its own address, of which the C library's
start files bring one without a rule into every program, and the last instructions of the 32-bit
vdso's functions::

    __x86.get_pc_thunk.bx:                      __vdso_time: ...
        mov  (%esp),%ebx     8b 1c 24               pop  %ebp           5d
        ret                  c3                     xor  %edx,%edx      31 d2
                                                    ret                 c3

x86_64 has the same encodings.
"""

from __future__ import annotations

LONGEST = 16  # bytes that need to be seen
_RET = 0xC3
_XOR, _REGISTERS_ONLY = 0x31, 0xC0  # opcode; ModRM from here on: register, register
_SP = 4  # as the destination it would be another stack
_MOV, _FROM_SP = 0x8B, 0x24  # opcode; SIB: (%esp)


def about_to_return(code: bytes) -> bool:
    """Whether a thread at the first byte of ``code`` returns before it touches stack pointer or stack.

    Then the return address is where the stack pointer points.  No: it does something else, or we do
    not know these instructions.
    """
    while code:
        if code[0] == _RET:
            return True
        if len(code) >= 2 and code[0] == _XOR and code[1] >= _REGISTERS_ONLY and code[1] & 7 != _SP:
            code = code[2:]
        elif len(code) >= 3 and code[0] == _MOV and code[1] & 0xC7 == _SP and code[2] == _FROM_SP:
            if code[1] >> 3 & 7 == _SP:
                return False
            code = code[3:]
        else:
            return False
    return False
