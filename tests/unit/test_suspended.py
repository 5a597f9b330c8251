# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which words tell of a suspended coroutine inside a function, and where they are looked for."""

from __future__ import annotations

import ctypes
import mmap
import os

import pytest

from livepatch.kernel import procfs
from livepatch.kernel.memory import Memory
from livepatch.loading import load
from livepatch.process import coroutines, snapshot, written
from livepatch.tracee import suspended
from livepatch.tracee.references import Finder
from livepatch.tracee.suspended import EndedStacks, Inside, may_be_call

CALLS = {
    "relative": "e8 10 00 00 00",
    "rax": "ff d0",
    "r8": "41 ff d0",
    "through rax": "ff 10",
    "through rsp": "ff 14 24",
    "through rip": "ff 15 44 33 22 11",
    "through 0x11223344": "ff 14 25 44 33 22 11",
    "through rbx+8": "ff 53 08",
    "through rsp+8": "ff 54 24 08",
    "through rbx+0x11223344": "ff 93 44 33 22 11",
    "through rbx+rcx*8+0x11223344": "ff 94 cb 44 33 22 11",
}
OTHERS = {
    "ret": "c3",
    "jump": "e9 10 00 00 00",
    "jump through rip": "ff 25 44 33 22 11",
    "nop": "66 0f 1f 44 00 00",
    "inc": "ff c0",
}


@pytest.mark.parametrize("name", CALLS)
def test_what_stands_before_a_return_address_is_known(name):
    assert may_be_call((b"\x90" * 7 + bytes.fromhex(CALLS[name]))[-7:])


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_call_is_known(name):
    assert not may_be_call((b"\x90" * 7 + bytes.fromhex(OTHERS[name]))[-7:])


@pytest.mark.parametrize(("before_end", "counts"), [(b"\xe8\0\0\0\0", True), (b"\x90" * 4 + b"\xc3", False)])
def test_the_first_byte_is_an_entry_and_the_end_one_behind_a_call_only(before_end, counts):
    code = {0x1100: b"\x90\x90" + before_end}

    def read(address, size):
        return code.get(address + size, b"\xc3" * size)

    inside = Inside([(0x1000, 0x1100)], frozenset({0x1000, 0x1080}), read)
    assert not inside.leads(0x1000)
    assert inside.leads(0x1001)
    assert inside.leads(0x107F)
    assert not inside.leads(0x1080)
    assert inside.leads(0x10FF)
    assert inside.leads(0x1100) is counts
    assert not inside.leads(0x1101)


@pytest.fixture
def memory():
    with Memory(os.getpid()) as opened:
        yield opened


def test_words_are_found_wherever_they_were_written(memory):
    """In many small areas, at the ends of large ones, and around a page that can not be read."""
    pages = mmap.mmap(-1, 3 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    sought = Inside([(0x123456780000, 0x123456780100)], frozenset(), lambda address, size: b"\xe8" * size)
    offsets = [8, 4096, (1 << 20) - 8, 1 << 20, (1 << 20) + 4096 * 7 + 8, (3 << 20) - 8]
    for offset in offsets:
        pages[offset : offset + 8] = 0x123456780044.to_bytes(8, "little")
    libc = ctypes.CDLL(None)
    libc.mprotect(ctypes.c_void_p(start + (1 << 20) + 4096 * 5), ctypes.c_size_t(4096), 0)
    finder = Finder(os.getpid(), memory, sought, 8)
    expected = [(start + offset, 0x123456780044) for offset in offsets]
    assert list(finder.find([(start, start + (3 << 20))])) == expected
    small = [(start + at, start + at + 64) for at in range(0, 1 << 20, 128)]
    assert list(finder.find(small)) == [expected[index] for index in (0, 1)]
    libc.mprotect(ctypes.c_void_p(start + (1 << 20) + 4096 * 5), ctypes.c_size_t(4096), 3)


def test_what_is_left_out_is_not_looked_through_and_does_not_count():
    pid = os.getpid()
    pages = mmap.mmap(-1, 64 << 12, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    pages[:] = b"x" * len(pages)
    end = start + len(pages)
    mapping = procfs.Mapping(start, end, "rw-p", 0, "00:00", 0, "")
    hole = (start + 4096, start + 8192 + 24)
    assert written.areas(pid, pid, [mapping], [hole], 50) == [(start, hole[0]), (hole[1], end)]
    assert written.areas(pid, pid, [mapping._replace(permissions="r--p")], [], 50) == []
    with pytest.raises(written.TooLarge):
        written.areas(pid, pid, [mapping], [], 0.2)
    assert sum(b - a for a, b in written.areas(pid, pid, [mapping], [(start, end - 4096)], 0.2)) == 4096


def test_the_stack_of_a_living_thread_is_no_ended_one(cpu, compile, start):
    program = start(compile("process_shapes.c"), "threads")
    with snapshot.take(program.pid) as seen:
        tid_at = coroutines.tid_offset(seen)
        assert tid_at is not None
        ended = EndedStacks(seen.pid, seen.task, seen.memory, seen.mappings, tid_at, cpu.word)
        others = [thread.syscall.sp for thread in seen.threads if thread.tid != seen.pid and thread.syscall]
        assert others and not any(map(ended.hold, others))
        heap = next(each for each in seen.mappings if each.path == "[heap]")
        assert not ended.hold(heap.start) and not ended.hold(0)


def test_a_patch_s_own_memory_is_known_by_the_name_that_it_gets():
    assert suspended.PATCH_MEMORY == load._LINK
