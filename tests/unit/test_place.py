# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a patch goes, over memory maps as they are on real machines."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from livepatch.cpu import I386, X86_64
from livepatch.errors import Refused
from livepatch.kernel import procfs
from livepatch.kernel.procfs import Mapping
from livepatch.loading import place
from livepatch.loading.place import LOWEST, PAGE, ROOM, STACK_GUARD, find_gap

PIE_64 = """
    555555554000-555555556000 r-xp daemon
    555555556000-555555557000 rw-p daemon
    555555800000-555555821000 rw-p [heap]
    7ffff7c00000-7ffff7dbb000 r-xp libc.so.6
    7ffff7dbb000-7ffff7dbf000 rw-p libc.so.6
    7ffff7fc5000-7ffff7ffb000 r-xp ld.so
    7ffffffde000-7ffffffff000 rw-p [stack]
    ffffffffff600000-ffffffffff601000 --xp [vsyscall]
"""
EXEC_64 = """
    000000400000-000000402000 r-xp daemon
    000000402000-000000403000 rw-p daemon
    000001a00000-000001a21000 rw-p [heap]
    7ffff7c00000-7ffff7dbb000 r-xp libc.so.6
    7ffffffde000-7ffffffff000 rw-p [stack]
"""
EXEC_32 = """
    08048000-0804a000 r-xp daemon
    0804a000-0804b000 rw-p daemon
    09000000-09021000 rw-p [heap]
    f7c00000-f7e00000 r-xp libc.so.6
    f7fc5000-f7ffb000 r-xp ld.so
    fffdd000-ffffe000 rw-p [stack]
"""
STATIC_64 = """
    000000400000-0000004b0000 r-xp daemon
    0000004b0000-0000004b4000 rw-p daemon
    7ffffffde000-7ffffffff000 rw-p [stack]
"""
FULL_LOW = """
    000000010000-000000400000 rw-p reserved
    000000400000-000000402000 r-xp daemon
    000001a00000-000001a21000 rw-p [heap]
    7ffff7c00000-7ffff7dbb000 r-xp libc.so.6
"""


def maps(text):
    result = []
    for line in text.split("\n"):
        if line.strip():
            area, permissions, path = line.split(None, 2)
            start, end = (int(part, 16) for part in area.split("-"))
            result.append(Mapping(start, end, permissions, 0, "00:00", 0, path.replace("anonymous", "")))
    return result


def layout(cpu, data=PAGE, text=PAGE, low=False):
    return SimpleNamespace(cpu=cpu, data_span=data, text_span=text, needs_low_addresses=low)


def image(mappings, path):
    own = [each for each in mappings if each.path == path]
    return own[0].start, own[-1].end


def placed(listing, path="daemon", cpu=X86_64, **sizes):
    mappings = maps(listing)
    shape = layout(cpu, **sizes)
    target = image(mappings, path)
    text_address, data_address = find_gap(shape, mappings, target, image(mappings, "daemon")[1])
    start, end = data_address, text_address + shape.text_span
    assert text_address == data_address + shape.data_span
    assert start % PAGE == 0 and start >= LOWEST
    assert all(end <= each.start or each.end <= start for each in mappings)
    if cpu is X86_64:
        assert max(end, target[1]) - min(start, target[0]) < 1 << 31
    return start, end


def test_a_pie_is_patched_right_below_where_nothing_grows():
    assert placed(PIE_64) == (0x555555551000, 0x555555553000)


def test_a_library_is_patched_in_the_nearest_gap_among_the_libraries():
    start, end = placed(PIE_64, path="libc.so.6")
    assert (start, end) == (0x7FFFF7BFD000, 0x7FFFF7BFF000)


def test_what_is_too_big_for_a_gap_goes_to_the_next_one():
    below_is_full = "7ffff0000000-7ffff7bff000 r--p reserved\n".join(PIE_64.split("    7ffff7c", 1))
    below_is_full = below_is_full.replace("reserved\n", "reserved\n    7ffff7c")
    start, _ = placed(below_is_full, path="libc.so.6")
    assert start == 0x7FFFF7DC0000
    start, _ = placed(below_is_full, path="libc.so.6", text=16 << 20)
    assert start < 0x7FFFF0000000


def test_a_fixed_executable_is_patched_between_the_lowest_address_and_itself():
    start, end = placed(EXEC_64, low=True)
    assert start >= LOWEST and end == 0x400000 - PAGE


def test_a_big_patch_of_a_fixed_executable_fits_between_it_and_the_heap():
    _, end = placed(EXEC_64, low=True, text=8 << 20)
    assert end < 0x1A00000


def test_the_heap_keeps_its_room_where_there_is_no_gap_but_its_own():
    start, _ = placed(FULL_LOW, text=32 << 20)
    assert start >= 0x1A21000 + ROOM


def test_low_addresses_are_below_2_gib_though_more_is_in_reach():
    _, end = placed(FULL_LOW, text=32 << 20, low=True)
    assert end <= 1 << 31


def test_a_heap_that_does_not_exist_yet_will_begin_behind_the_executable():
    start, _ = placed(STATIC_64, text=8 << 20)
    assert start >= 0x4B4000 + ROOM


def test_an_i386_executable_is_patched_below_itself():
    _, end = placed(EXEC_32, cpu=I386)
    assert end == 0x08048000 - PAGE


def test_an_i386_library_may_be_patched_anywhere_because_addresses_wrap():
    start, _ = placed(EXEC_32, path="libc.so.6", cpu=I386, text=0x60000000)
    assert start < 0xF7C00000


def test_an_i386_process_is_never_given_addresses_above_its_stack():
    text = "08048000-fff00000 r-xp daemon\n fffdd000-ffffe000 rw-p [stack]\n"
    with pytest.raises(Refused) as refusal:
        placed(text, cpu=I386, text=129 << 20)
    assert refusal.value.reason == "no_memory_in_reach"


def test_the_room_below_the_stack_is_the_last_choice_and_its_far_end_is_taken():
    beside = """
        7fff40000000-7fff40002000 r-xp daemon
        7ffff0000000-7ffff0021000 rw-p [stack]
    """
    full = "00010000-7fff3fffe000 rw-p [heap]\n" + beside
    start, end = placed(full)
    assert start == 0x7FFF40003000
    assert 0x7FFFF0000000 - end >= ROOM


def test_no_gap_is_taken_that_would_leave_the_stack_less_than_it_must_have():
    text = """
        00010000-7fff3fffe000 rw-p reserved
        7fff40000000-7fff40002000 r-xp daemon
        7fff41000000-7fff41021000 rw-p [stack]
        7fff41021000-7ffffffff000 rw-p reserved
    """
    with pytest.raises(Refused) as refusal:
        placed(text)
    assert refusal.value.reason == "no_memory_in_reach"


def test_a_mapping_that_may_be_a_stack_keeps_its_guard():
    text = """
        00010000-7fff3ff00000 r--p reserved
        7fff40000000-7fff40002000 r-xp daemon
        7fff40300000-7fff40400000 rw-p anonymous
        7fff40400000-7ffffffff000 rw-p [heap]
    """
    size = 0x300000 - 0x2000 - PAGE - STACK_GUARD
    _, end = placed(text, text=size - PAGE)
    assert end <= 0x7FFF40300000 - STACK_GUARD
    with pytest.raises(Refused):
        placed(text, text=size)


def test_holes_inside_of_the_target_stay_free():
    text = "555555554000-555555556000 r-xp daemon\n555555600000-555555601000 rw-p daemon\n"
    start, end = placed(text)
    assert end <= 0x555555554000


def test_a_full_address_space_is_refused_with_numbers():
    with pytest.raises(Refused) as refusal:
        placed("00010000-7ffffffff000 r-xp daemon\n")
    assert refusal.value.reason == "no_memory_in_reach"
    assert "8192 bytes" in refusal.value.what


def test_what_the_map_of_a_real_process_says_is_enough():
    mappings = procfs.maps(os.getpid())
    first = mappings[0]
    own = [each for each in mappings if each.path == first.path]
    text, data = find_gap(layout(X86_64), mappings, (own[0].start, own[-1].end), own[-1].end)
    assert all(text + PAGE <= each.start or each.end <= data for each in mappings)


def test_the_limits_are_those_of_the_kernel():
    assert place.LOWEST == 65536
    assert place.STACK_GUARD == 1 << 20
