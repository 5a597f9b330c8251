# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a thread leaves the watched functions, when nobody may touch that; what is believed of a room that is found."""

from __future__ import annotations

import errno

import pytest

from livepatch.cpu import X86_64
from livepatch.elf import cfi
from livepatch.errors import Busy, Refused
from livepatch.tracee import tables, waiting_room
from livepatch.tracee.check import Blocker
from livepatch.tracee.steps import Code, Located
from livepatch.tracee.unwind import Unwinder
from livepatch.tracee.waiting import Exit, Waiting, way_out
from livepatch.tracee.waiting_code import Plan, Slot

WATCHED = [(0x1000, 0x1100), (0x2000, 0x2040)]
MAIN = (0x5000, 0, False)


def exit_of(*frames, handlers=()):
    return way_out([*frames, MAIN], WATCHED, X86_64, lambda pc: pc in handlers)


def test_the_outermost_watched_frame_counts():
    recursive = [(0x900, 0x7000, False), (0x1020, 0x7040, False), (0x2010, 0x7080, False), (0x1030, 0x70C0, False)]
    assert exit_of(*recursive, (0x4000, 0x7100, False)) == Exit(0x70C0 - 8, 0x4000)


def test_code_that_handles_exceptions_is_an_obstacle_outwards_only():
    frames = [(0x900, 0x7000, False), (0x1020, 0x7040, False), (0x4000, 0x7080, False)]
    assert exit_of(*frames, handlers=(0x900, 0x1020 - 1)) == Exit(0x7040 - 8, 0x4000)
    for outwards in (0x4000 - 1, 0x5000 - 1):
        assert "exceptions" in exit_of(*frames, handlers=(outwards,))


def test_a_frame_that_a_signal_interrupted_is_looked_up_where_it_is():
    frames = [(0x1020, 0x7040, False), (0x4000, 0x7080, False), (0x900, 0x70C0, True), (0x4400, 0x7900, False)]
    assert "exceptions" in exit_of(*frames, handlers=(0x4400,))
    assert exit_of(*frames, handlers=(0x4400 - 1,)) == Exit(0x7040 - 8, 0x4000)


def test_a_signal_handler_is_left_alone():
    assert "signal handler" in exit_of((0x1020, 0x7040, False), (0x900, 0x7080, True), (0x4000, 0x7900, False))


def test_the_first_function_of_a_stack_has_no_way_out():
    assert "no caller" in way_out([(0x1020, 0, False)], WATCHED, X86_64, lambda pc: False)


# -- a room that is found ----------------------------------------------------------

PLAN = Plan(X86_64, 0x7F00_0000_0000, 4, 50_000)
STACK = 0x7000_0000


class Memory:
    """The process: the room, and one word on a stack."""

    def __init__(self):
        self.parts = {
            PLAN.data: bytearray(PLAN.data_bytes().ljust(PLAN.data_span, b"\0")),
            PLAN.text: bytearray(PLAN.text_bytes().ljust(PLAN.text_span, b"\0")),
            STACK: bytearray(4096),
        }

    def read(self, address, size):
        for start, part in self.parts.items():
            if start <= address and address + size <= start + len(part):
                return bytes(part[address - start :][:size])
        raise OSError(errno.EIO, "nothing there")

    def write(self, address, data):
        assert len(self.read(address, len(data))) == len(data)
        start = max(each for each in self.parts if each <= address)
        self.parts[start][address - start : address - start + len(data)] = data

    def word(self, address):
        return int.from_bytes(self.read(address, 8), "little")


@pytest.fixture
def memory():
    return Memory()


def found(memory, size=None):
    return waiting_room.read(X86_64, (PLAN.data, size or PLAN.data_span), lambda address: address == 0x4000, memory)


def swapped(memory, leads_to=0x4000):
    memory.write(STACK, (0x4000).to_bytes(8, "little"))
    room = waiting_room.Room(PLAN, memory)
    assert room.swap(2, Slot(STACK, 0x4000, 7, 0, 0))
    memory.write(PLAN.slot_at(2), Slot(STACK, leads_to, 7, 0, 0).packed())
    return room


def test_a_room_that_was_never_filled_leads_nowhere(memory):
    memory.parts[PLAN.data][:] = bytes(PLAN.data_span)
    assert found(memory) == (None, False)
    del memory.parts[PLAN.data]  # beyond the end of the file
    assert found(memory) == (None, False)


def test_a_room_without_text_that_was_not_used_leads_nowhere(memory):
    del memory.parts[PLAN.text]
    assert found(memory) == (None, False)
    memory.parts[PLAN.text] = bytearray(PLAN.text_span)  # it never came; something else did
    assert found(memory) == (None, False)


def test_a_room_that_was_not_used_goes_with_its_text(memory):
    assert found(memory) == (PLAN, False)


def test_a_room_that_is_used_is_emptied_from_its_table(memory):
    swapped(memory)
    assert memory.word(STACK) == PLAN.entry(2)
    assert found(memory) == (PLAN, True)
    waiting_room.Room(PLAN, memory).end()
    assert memory.word(STACK) == 0x4000
    assert waiting_room.Room(PLAN, memory).table()[2].go == 1


def test_a_word_that_is_somebody_elses_by_now_stays(memory):
    room = swapped(memory)
    memory.write(STACK, (0x1234).to_bytes(8, "little"))
    room.end()
    assert memory.word(STACK) == 0x1234


def test_a_word_that_is_not_the_return_address_is_not_swapped(memory):
    room = waiting_room.Room(PLAN, memory)
    assert not room.swap(0, Slot(STACK, 0x4000, 7, 0, 0))
    assert memory.word(STACK) == 0
    assert not room.swap(0, Slot(STACK + (1 << 20), 0x4000, 7, 0, 0))
    assert not any(slot.address for slot in room.table())


@pytest.mark.parametrize("offset", [0, 8, 12, 16, 20])
def test_a_header_that_makes_no_sense_is_refused(memory, offset):
    swapped(memory)
    memory.parts[PLAN.data][offset] ^= 0x80
    with pytest.raises(Refused, match="waiting room"):
        found(memory)


def test_code_that_was_changed_is_refused(memory):
    swapped(memory)
    memory.parts[PLAN.text][10] ^= 1
    with pytest.raises(Refused, match="code"):
        found(memory)


def test_a_slot_that_leads_to_no_code_is_refused(memory):
    swapped(memory, leads_to=0x6000)
    with pytest.raises(Refused, match="0x6000"):
        found(memory)


def test_what_a_thread_has_come_through_already_may_have_led_to_code_that_was_unloaded_since(memory):
    room = swapped(memory, leads_to=0x6000)
    memory.write(STACK, (0x1234).to_bytes(8, "little"))
    assert found(memory) == (PLAN, True)
    room.end()
    assert memory.word(STACK) == 0x1234


# -- unwinding through a swapped address --------------------------------------------


class Rows:
    """One row for all of a piece of code."""

    def __init__(self, cfa, rules):
        self._row = cfi.Row(0, 1 << 40, cfa, rules, X86_64.dwarf_pc, False)

    def row(self, pc):
        return self._row


def test_a_thread_that_is_still_inside_is_unwound_through_its_stub(memory):
    swapped(memory)
    sp, pc = X86_64.dwarf_sp, X86_64.dwarf_pc
    plain = Rows(cfi.Rule(cfi.REGISTER, 8, sp), {pc: cfi.Rule(cfi.AT_OFFSET, -8)})
    last = Rows(cfi.Rule(cfi.REGISTER, 0, sp), {pc: cfi.Rule(cfi.UNDEFINED)})
    start, end, name, *eh_frame = PLAN.as_patch
    unwinder = Unwinder(
        X86_64,
        [
            Code(0x1000, 0x1100, "watched", lambda: Located(plain, 0)),
            Code(0x3F00, 0x4100, "caller", lambda: Located(last, 0)),
            tables.of_patch(X86_64, start, end, name, *eh_frame, memory.read),
        ],
        memory.read,
    )
    registers = [0] * len(X86_64.register_names)
    registers[X86_64.pc], registers[X86_64.sp] = 0x1010, STACK
    frames, complete, reason = unwinder.unwind(registers)
    assert complete, reason
    assert [frame[0] for frame in frames] == [0x1010, PLAN.entry(2), 0x4000]
    assert frames[0][1] == frames[1][1] == STACK + 8  # the stub has no place of its own on the stack
    way = way_out(frames, WATCHED, X86_64, unwinder.handles_exceptions)
    assert isinstance(way, Exit) and PLAN.index_of(way.leads_to) == 2  # it has a slot already


def test_what_an_attempt_saw_that_ended_early_is_forgotten(memory):
    waiting = Waiting(None, 0.05)
    seen = []
    waiting._check = type("Check", (), {"blockers": lambda self, threads: iter(threads)})()
    waiting._swap = lambda found: seen.append(found) or ""
    blocker = Blocker(None, Busy("function_on_stack", "inside"), None)
    waiting.still(lambda threads: None)
    assert waiting.look([blocker]) is None  # and then a thread does not stop in time
    look = waiting.still(lambda threads: None)
    waiting.look([blocker])
    assert look([]) is blocker.busy
    assert seen == [[blocker]]
    assert waiting.still(lambda threads: None)([]) is None
