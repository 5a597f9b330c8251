# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signal frames where this machine has no example: other machines, other gadgets, other states.

That the bytes are the kernel's is shown in tests/integration/test_signal_frame_oracle.py.
"""

from __future__ import annotations

import struct

import pytest

from livepatch.cpu import X86_64
from livepatch.cpu.signal_frame import FXSAVE_SIZE, FloatingPoint, UnknownState, XstateLayout, is_ours
from livepatch.kernel.xstate import find_layout

TOP = 0x7FFF1237
LAYOUT = XstateLayout(features=7, size=832)  # x87, SSE and AVX
RESTORER = 0x12345678


def registers(cpu):
    return tuple(0x1000 + index for index, _ in enumerate(cpu.register_names))


def state(cpu, used=7, layout=LAYOUT, length=1088):
    regset = bytearray(range(256)) * (length // 256 + 1)
    regset[512:576] = struct.pack("<Q56x", used)
    legacy = bytes(108) if cpu.word == 4 else bytes(FXSAVE_SIZE)
    return FloatingPoint(legacy, bytes(regset[:length]), layout)


def area_of(cpu, frame):
    """The xsave area, found as the kernel finds it: through fpstate in the context."""
    at = 8 + 40 + 184 if cpu is X86_64 else 144 + 20 + 76
    fpstate = int.from_bytes(frame.image[at : at + cpu.word], "little")
    return fpstate + (0 if cpu is X86_64 else 112)


def test_the_frame_lies_below_the_top_and_is_aligned(cpu):
    for top in range(TOP, TOP + 64):
        frame = cpu.signal_frame(registers(cpu), 0, state(cpu), top, RESTORER, 0)
        assert frame.address + len(frame.image) <= top
        assert (frame.address + cpu.word) % 16 == 0
        assert area_of(cpu, frame) % 64 == 0


def test_it_is_as_long_as_the_process_s_own_frames_not_as_the_regset(cpu):
    frame = cpu.signal_frame(registers(cpu), 0, state(cpu, length=11008), TOP, RESTORER, 0)
    at = area_of(cpu, frame) - frame.address
    before = 0 if cpu is X86_64 else 112
    assert struct.unpack_from("<IIQI", frame.image, at + 464) == (0x46505853, before + 836, 7, 832)
    assert frame.image[at + 832 :] == struct.pack("<I", 0x46505845)


def test_words_that_the_gadget_pops_come_before_the_return_address(cpu):
    plain = cpu.signal_frame(registers(cpu), 0, state(cpu), TOP, RESTORER, 0)
    popping = cpu.signal_frame(registers(cpu), 0, state(cpu), TOP, RESTORER, 3)
    assert popping.address == plain.address - 3 * cpu.word
    assert popping.image[3 * cpu.word :] == plain.image
    assert int.from_bytes(plain.image[: cpu.word], "little") == RESTORER


def test_the_alternate_stack_is_invalid_on_purpose(cpu):
    frame = cpu.signal_frame(registers(cpu), 0, state(cpu), TOP, RESTORER, 0)
    flags_at = 8 + 16 + 8 if cpu is X86_64 else 144 + 8 + 4
    assert struct.unpack_from("<I", frame.image, flags_at) == (4,)
    assert is_ours(cpu.name, lambda offset, size: frame.image[offset : offset + size])


def test_without_xsave_the_frame_ends_with_fxsave_and_no_magic(cpu):
    fxsave = bytes(range(256)) * 2
    sets = (fxsave, None) if cpu is X86_64 else (b"\x11" * 108, fxsave)
    floating = FloatingPoint(*sets, layout=None)
    frame = cpu.signal_frame(registers(cpu), 0, floating, TOP, RESTORER, 0)
    at = area_of(cpu, frame) - frame.address
    assert frame.image[at:] == fxsave[:464] + bytes(48)
    uc_flags = struct.unpack_from("<I", frame.image, 8 if cpu is X86_64 else 144)[0]
    assert not uc_flags & 1  # UC_FP_XSTATE
    if cpu is not X86_64:
        assert frame.image[at - 112 : at] == b"\x11" * 108 + bytes(4)


def test_tiles_in_use_take_the_whole_regset(cpu):
    frame = cpu.signal_frame(registers(cpu), 0, state(cpu, 7 | 1 << 18, length=11008), TOP, RESTORER, 0)
    at = area_of(cpu, frame) - frame.address
    assert struct.unpack_from("<QI", frame.image, at + 472) == (7 | 1 << 18, 11008)


def test_a_component_that_nobody_knows_is_refused(cpu):
    with pytest.raises(UnknownState, match="0x80007"):
        cpu.signal_frame(registers(cpu), 0, state(cpu, 7 | 1 << 19), TOP, RESTORER, 0)


def test_the_whole_signal_mask_is_kept(cpu):
    mask = 0x8000000180000001
    frame = cpu.signal_frame(registers(cpu), mask, state(cpu), TOP, RESTORER, 0)
    at = 8 + 296 if cpu is X86_64 else 144 + 20 + 88
    assert struct.unpack_from("<Q", frame.image, at) == (mask,)


def test_a_layout_needs_both_magic_words():
    area = bytearray(1024)
    struct.pack_into("<IIQI", area, 464, 0x46505853, 836, 7, 832)
    struct.pack_into("<I", area, 832, 0x46505845)
    assert find_layout(b"junk" + struct.pack("<I", 0x46505853) + bytes(area)) == (7, 832)
    assert find_layout(bytes(area[:832])) is None
    assert find_layout(bytes(2048)) is None
    assert find_layout(struct.pack("<I", 0x46505853)) is None
