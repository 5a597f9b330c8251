# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our signal frames against those that the kernel writes: the same state gives the same bytes."""

from __future__ import annotations

import struct

from livepatch.cpu import X86_64
from livepatch.cpu.signal_frame import FloatingPoint, XstateLayout
from livepatch.kernel import xstate

NAMES_64 = ("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx")
NAMES_64 += ("rdx", "rax", "rcx", "rsp", "rip", "eflags")


class Frame:
    """A signal frame taken apart: what our builder is given, and where the pieces are."""

    def __init__(self, cpu, line):
        address, digits = line.split()
        self.cpu, self.address, self.image = cpu, int(address, 16), bytes.fromhex(digits)
        if cpu is X86_64:
            context, self.siginfo, stack, fpstate_at, mask_at = 8 + 40, 8 + 304, 8 + 16, 184, 8 + 296
        else:
            self.siginfo, context, stack, fpstate_at, mask_at = 16, 144 + 20, 144 + 8, 76, 144 + 20 + 88
        self.stack = (stack, cpu.word * 3)
        self.context = context
        self.fpstate = self.word(context + fpstate_at) - self.address
        self.sigmask = int.from_bytes(self.image[mask_at : mask_at + 8], "little")
        self.restorer = self.word(0)

    def word(self, at):
        return int.from_bytes(self.image[at : at + self.cpu.word], "little")

    def registers(self):
        values = dict.fromkeys(self.cpu.register_names, 0)
        if self.cpu is X86_64:
            values.update(zip(NAMES_64, struct.unpack_from("<18Q", self.image, self.context)))
            values["cs"], values["gs"], values["fs"], values["ss"] = struct.unpack_from(
                "<4H", self.image, self.context + 144
            )
        else:
            names = "gs fs es ds edi esi ebp esp ebx edx ecx eax trapno err eip cs eflags at_signal ss"
            values.update(zip(names.split(), struct.unpack_from("<19I", self.image, self.context)))
            values = {name: values[name] for name in self.cpu.register_names}
        return tuple(values[name] for name in self.cpu.register_names)

    def rebuilt(self):
        """The same state through our builder, ending where the kernel's frame ends."""
        before = 0 if self.cpu is X86_64 else 112
        area = self.image[self.fpstate + before :]
        magic, _, features, size = struct.unpack_from("<IIQI", area, 464)
        assert magic == 0x46505853
        regset = area[:464] + b"\xaa" * 48 + area[512:size]
        legacy = self.image[self.fpstate : self.fpstate + 108]
        layout = XstateLayout(*xstate.signal_frame_layout())
        state = FloatingPoint(legacy, regset, layout)
        top = self.address + len(self.image)
        return self.cpu.signal_frame(self.registers(), self.sigmask, state, top, self.restorer, 0), features

    def comparable(self, image):
        """Without what we leave out on purpose, or nobody reads back."""
        image = bytearray(image)
        for at, size in [(self.siginfo, 128), self.stack]:
            image[at : at + size] = bytes(size)
        if self.cpu is X86_64:
            at = self.context + 152  # err, trapno, oldmask, cr2
            image[at : at + 32] = bytes(32)
            at = self.context + 192  # reserved1, which the kernel does not write
            image[at : at + 64] = bytes(64)
            end = self.siginfo + 128
        else:
            image[4:8] = bytes(4)  # sig
            for at in (self.context + 48, self.context + 52, self.context + 84):  # trapno, err, cr2
                image[at : at + 4] = bytes(4)
            end = self.context + 96
            # The last word of struct fregs_state is software's, and ours is 0.
            image[self.fpstate + 108 : self.fpstate + 112] = bytes(4)
        image[end : self.fpstate] = bytes(self.fpstate - end)  # not written either
        return bytes(image)


def test_the_same_state_gives_the_kernels_bytes(cpu, compile, start):
    process = start(compile("remote_frame.c"))
    frame = Frame(cpu, process.read_line())
    ours, features = frame.rebuilt()
    assert features == xstate.signal_frame_layout()[0]
    assert ours.address == frame.address
    assert frame.comparable(ours.image) == frame.comparable(frame.image)


def test_tile_registers_are_kept_where_a_thread_uses_them(compile, start):
    process = start(compile("remote_frame.c", "-m64"), "tiles")
    line = process.read_line()
    if line == "none":  # a machine without AMX has no such frame to get wrong
        return
    frame = Frame(X86_64, line)
    ours, features = frame.rebuilt()
    assert features & 1 << 18
    assert ours.address == frame.address
    assert frame.comparable(ours.image) == frame.comparable(frame.image)


def test_the_layout_is_read_from_a_frame_of_our_own():
    features, size = xstate.signal_frame_layout()
    assert features & 3 == 3  # x87 and SSE
    assert size >= 576  # the legacy area and the header
