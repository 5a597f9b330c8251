# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A waiting room's bytes: its code against a disassembler, its unwind tables against pyelftools, and both together."""

from __future__ import annotations

import io

import capstone
import pytest
from elftools.dwarf.callframe import FDE, CallFrameInfo
from elftools.dwarf.structs import DWARFStructs

from livepatch.cpu.waiting_stub import ENTRY
from livepatch.elf.frames import FrameTable
from livepatch.tracee import waiting_code
from livepatch.tracee.steps import Code, Located
from livepatch.tracee.unwind import Unwinder
from livepatch.tracee.waiting_code import Plan, Slot, Unsound

SLOTS = 3
CALLER, CALLER_SP = 0x5000, 0x9000  # the function that is returned to, and its stack pointer then


@pytest.fixture
def plan(cpu):
    return Plan(cpu, 0x7F00_0000 if cpu.word == 4 else 0x7F00_1234_5000, SLOTS, 50_000)


def instructions(plan, index):
    """The stub's code as capstone reads it: (address, text, operand bytes read so far do not matter)."""
    mode = capstone.CS_MODE_64 if plan.cpu.word == 8 else capstone.CS_MODE_32
    start = plan.entry(index) - ENTRY
    code = plan.text_bytes()[start - plan.text :]
    found = []
    for each in capstone.Cs(capstone.CS_ARCH_X86, mode).disasm(code, start):
        found.append(each)
        if each.mnemonic == "ret":
            return found
    raise AssertionError("no ret")


def test_the_parts_are_whole_pages_and_do_not_overlap(plan):
    assert plan.text == plan.data + plan.data_span
    assert plan.data_span % 4096 == plan.text_span % 4096 == 0
    assert plan.table + plan.table_size <= plan.text
    assert len(plan.text_bytes()) <= plan.text_span
    address, size = plan.eh_frame
    assert address + size <= plan.text + plan.text_span
    assert plan.entry(SLOTS - 1) < address


@pytest.mark.parametrize("index", range(SLOTS))
def test_a_stub_keeps_what_it_changes(plan, index):
    found = instructions(plan, index)
    pushes = [each.op_str for each in found if each.mnemonic == "push"][1:]
    pops = [each.op_str for each in found if each.mnemonic == "pop"]
    assert pops == pushes[::-1] and len(pops) == len(set(pops))
    flags = [each.mnemonic[:5] for each in found if each.mnemonic.startswith(("pushf", "popf"))]
    assert [each[:4] for each in flags] == ["push", "popf"]
    kept = {"r" + each.lstrip("re") if each[1:] in ("ax", "bx", "cx", "dx", "si", "di") else each for each in pops}
    changed = set()
    for each in found:
        if each.mnemonic in ("mov", "lea", "xor") and "[" not in each.op_str.split(",")[0]:
            register = each.op_str.split(",")[0]
            changed.add("r" + register[1:] if register[1:] in ("ax", "bx", "cx", "dx", "si", "di") else register)
    if plan.cpu.word == 8:
        changed |= {"rcx", "r11"}  # by the instruction syscall
    assert changed <= kept, (changed, kept)


def test_a_stub_uses_its_own_slot_only(plan):
    for index in range(SLOTS):
        slot, size = plan.slot_at(index), waiting_code.SLOT.size
        first = instructions(plan, index)[1]
        assert first.mnemonic == "push"
        word = plan.cpu.word
        end = first.address + first.size
        place = int.from_bytes(first.bytes[2:6], "little", signed=word == 8) + (end if word == 8 else 0)
        assert slot <= place <= slot + size - word
        table = bytearray(plan.table_size)
        table[place - plan.table : place - plan.table + word] = (0x1234).to_bytes(word, "little")
        assert plan.slots_of(bytes(table))[index].leads_to == 0x1234


def test_the_tables_say_what_pyelftools_reads_in_them(plan):
    address, size = plan.eh_frame
    section = plan.text_bytes()[address - plan.text :][:size]
    structs = DWARFStructs(little_endian=True, dwarf_format=32, address_size=plan.cpu.word)
    entries = CallFrameInfo(io.BytesIO(section), size, address, structs, for_eh_frame=True).get_entries()
    fdes = [entry for entry in entries if isinstance(entry, FDE)]
    assert len(fdes) == 2 * SLOTS
    for index in range(SLOTS):
        nop, code = fdes[2 * index : 2 * index + 2]
        found = instructions(plan, index)
        assert nop.header["initial_location"] == found[0].address == plan.entry(index) - ENTRY
        assert nop.header["address_range"] == ENTRY and b"S" not in nop.cie.header["augmentation"]
        assert code.header["initial_location"] == plan.entry(index)
        assert code.header["address_range"] == found[-1].address + found[-1].size - plan.entry(index)
        assert b"S" in code.cie.header["augmentation"]
        lines = code.get_decoded().table
        depth = 0
        for each in found[1:]:
            row = [line for line in lines if line["pc"] <= each.address][-1]
            assert (row["cfa"].reg, row["cfa"].offset) == (plan.cpu.dwarf_sp, depth * plan.cpu.word), each
            rule = row[plan.cpu.dwarf_pc]
            assert rule.type == ("OFFSET" if depth else "EXPRESSION"), each
            if depth:
                assert rule.arg == -plan.cpu.word
            depth += each.mnemonic.startswith("push") - each.mnemonic.startswith("pop")
        assert depth == 1


class Machine:
    """Just enough of a process for the unwinder: the room, a caller that is the last frame, a stack."""

    def __init__(self, plan):
        self.plan = plan
        self.memory = {}
        self.put(plan.data, plan.data_bytes().ljust(plan.data_span, b"\0"))
        self.put(plan.text, plan.text_bytes())
        self.put(CALLER_SP - 256, bytes(512))

    def put(self, address, data):
        self.memory.update({address + offset: byte for offset, byte in enumerate(data)})

    def read(self, address, size):
        return bytes(self.memory.get(address + offset, 0) for offset in range(size))

    def frames(self, pc, sp):
        plan, cpu = self.plan, self.plan.cpu

        class Last:
            def row(self, pc):
                from livepatch.elf import cfi

                rules = {cpu.dwarf_pc: cfi.Rule(cfi.UNDEFINED)}
                return cfi.Row(pc, pc + 1, cfi.Rule(cfi.REGISTER, 0, cpu.dwarf_sp), rules, cpu.dwarf_pc, False)

        address, size = plan.eh_frame
        code = [
            Code(CALLER, CALLER + 64, "caller", lambda: Located(Last(), 0)),
            Code(
                plan.text, plan.text + plan.text_span, "room",
                lambda: Located(FrameTable.from_section(self.read(address, size), address, cpu.word), 0),
            ),
        ]  # fmt: skip
        registers = [0] * len(cpu.register_names)
        registers[cpu.pc], registers[cpu.sp] = pc, sp
        return Unwinder(cpu, code, self.read).unwind(registers)


def test_a_thread_is_unwound_at_every_instruction_of_its_stub(plan):
    machine = Machine(plan)
    index, word = 1, plan.cpu.word
    machine.put(plan.slot_at(index), Slot(CALLER_SP - word, CALLER + 8, 4, 0, 0).packed())
    depth = 0
    for each in instructions(plan, index)[1:]:
        if depth == 1:
            machine.put(CALLER_SP - word, (CALLER + 8).to_bytes(word, "little"))
        found = machine.frames(each.address, CALLER_SP - depth * word)
        assert found.complete, (each, found)
        assert [(pc, signal) for pc, _, signal in found.frames] == [(each.address, True), (CALLER + 8, False)], each
        assert found.frames[0][1] == CALLER_SP
        depth += each.mnemonic.startswith("push") - each.mnemonic.startswith("pop")


def test_a_header_is_read_as_it_was_written(plan, cpu):
    assert waiting_code.read_header(cpu, plan.data, plan.data_bytes()) == plan
    assert waiting_code.read_header(cpu, plan.data, bytes(64)) is None


@pytest.mark.parametrize("offset", range(waiting_code.HEADER.size - 8))
def test_a_header_with_a_wrong_byte_is_none(plan, cpu, offset):
    data = bytearray(plan.data_bytes())
    data[offset] ^= 0x80
    try:
        found = waiting_code.read_header(cpu, plan.data, bytes(data))
    except Unsound:
        return
    assert found != plan  # another number of slots, which its text will not bear out
