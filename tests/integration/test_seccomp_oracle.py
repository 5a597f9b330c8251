# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our judgement of seccomp filters against the kernel's, over programs made at random."""

from __future__ import annotations

import random
import struct

from livepatch.tracee import seccomp
from livepatch.tracee.seccomp import Call

PROGRAMS = 150
ALLOW, ERRNO, TRAP = 0x7FFF0000, 0x50000, 0x30000
ALU = (0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0xA4, 0x64, 0x74, 0x84)
JUMPS = (0x15, 0x25, 0x35, 0x45)
WORDS = (0, 1, 2, 7, 31, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def instruction(random, left):
    """One that seccomp permits, with ``left`` more behind it."""
    k = random.choice(WORDS)
    kind = random.randrange(8)
    if kind == 0:
        return (0x20, 0, 0, random.choice([16, 20, 24, 28, 32, 36]))
    if kind == 1:
        return (random.choice([0x00, 0x01]), 0, 0, k)
    if kind == 2:
        return (random.choice([0x07, 0x87, 0x80, 0x81]), 0, 0, 0)
    if kind == 3:
        return (random.choice([0x02, 0x03]), 0, 0, random.randrange(16))
    if kind == 4:
        return (random.choice([0x60, 0x61]), 0, 0, random.randrange(4))  # written at the start
    if kind == 5 and left:
        ways = (min(left, random.randrange(6)), min(left, random.randrange(6)))
        return (random.choice(JUMPS) | random.choice([0, 8]), *ways, k)
    code = random.choice(ALU)
    if code in (0x64, 0x74):
        return (code, 0, 0, random.randrange(32))
    if code == 0x34:
        return (code, 0, 0, k or 3)
    return (code | (0 if code == 0x84 else random.choice([0, 8])), 0, 0, k)


def made_up(random, number):
    """A filter that answers getppid with an error made from all it has computed."""
    body = [(0x02, 0, 0, word) for word in range(4)]
    length = random.randrange(5, 40)
    body += [instruction(random, length - index - 1) for index in range(length)]
    body += [(0x54, 0, 0, 0x0FFF), (0x44, 0, 0, ERRNO), (0x16, 0, 0, 0)]
    return [(0x20, 0, 0, 0), (0x15, 1, 0, number), (0x06, 0, 0, ALLOW), *body]


def test_the_kernel_judges_the_same(cpu, compile, start):
    process = start(compile("remote_filter.c"))
    generator = random.Random(2)
    for _ in range(PROGRAMS):
        program = made_up(generator, cpu.syscall_number("getppid"))
        arguments = tuple(
            generator.choice(WORDS) << generator.choice([0, 0, 32]) & cpu.mask for _ in range(6)
        )
        code = b"".join(struct.pack("<HBBI", *each) for each in program).hex()
        answer = int(process.ask(" ".join([code, *map(hex, arguments)])))
        value = seccomp.evaluate(program, seccomp.data_of(cpu, Call("getppid", arguments), 0))
        assert (answer, value & 0xFFFF0000) == (value & 0xFFF, ERRNO), program


def test_actions_rank_as_in_the_kernel(cpu, compile, start):
    """One program returns several actions; each is what we say it is."""
    process = start(compile("remote_filter.c"))
    number = cpu.syscall_number("getppid")
    outcomes = {
        ALLOW: 0,
        0x7FFC0000: 0,
        ERRNO | 7: 7,
        TRAP: 1031,
        0: 1031,
        0x80000000: 1031,
        0x00070000: 1031,
    }
    for action, wanted in outcomes.items():
        program = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, action), (0x06, 0, 0, ALLOW)]
        code = b"".join(struct.pack("<HBBI", *each) for each in program).hex()
        assert int(process.ask(code + " 0 0 0 0 0 0")) == wanted, hex(action)
        assert (seccomp.allows([program], cpu, Call("getppid"), 0) is None) is (wanted == 0)
