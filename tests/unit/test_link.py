# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Laying out and linking objects that gcc made, and objects that were tampered with afterwards."""

from __future__ import annotations

import random
import struct

import pytest

from livepatch.cpu import I386, X86_64
from livepatch.elf import Malformed
from livepatch.elf.file import ElfFile
from livepatch.errors import Refused
from livepatch.loading.layout import PAGE, Part, lay_out
from livepatch.loading.link import link

DATA = 0x10000000
FAR = 0x7FFFF7C12340
LEDGER = 1024

SOURCE = """
extern int imported(int);
extern int object;
extern int missing(int) __attribute__((weak));
static int counter = 3;
int zeros[100];
int common_block[4];
static const char text[] = "constant";
int fixed(int x) { return imported(x) + counter++ + text[x & 7]; }
int other(int x) { return fixed(x) + zeros[x & 15] + common_block[1]; }
int look(void) { return object; }
int perhaps(int x) { return missing ? missing(x) : -1; }
"""


@pytest.fixture
def build(compile, tmp_path):
    """``build(source, *flags) -> ElfFile`` of the object."""

    def built(source=SOURCE, *flags):
        path = tmp_path / ("source.s" if source.lstrip().startswith(".") else "source.c")
        path.write_text(source)
        return ElfFile(compile(path, "-c", "-g0", "-O1", "-w", *flags).read_bytes())

    return built


def linked(elf, cpu, symbols=None, functions=("fixed",), data=DATA):
    layout = lay_out(elf, cpu, LEDGER, functions)
    near = {"imported": data + 0x800000, "object": data + 0x900000}
    return layout, link(layout, data + layout.data_span, data, near if symbols is None else symbols)


def reason(elf, cpu, **options):
    with pytest.raises(Refused) as refusal:
        linked(elf, cpu, **options)
    return refusal.value


def test_no_section_of_one_part_is_in_the_other(cpu, build):
    elf = build()
    layout, result = linked(elf, cpu)
    for index, place in layout.sections.items():
        section = elf.sections[index]
        writable = bool(section.flags & 1)
        assert place.part is (Part.DATA if writable else Part.TEXT), section.name
        size = layout.data_size if writable else layout.text_size
        assert place.offset + section.size <= size
        assert place.offset % (section.align or 1) == 0
    assert len(result.text) == layout.text_size
    assert len(result.data) == layout.data_file_size


def test_nothing_overlaps(cpu, build):
    elf = build(SOURCE, "-fPIC", "-ffunction-sections", "-fdata-sections", "-fcommon")
    layout, _ = linked(elf, cpu)
    areas = [(place, elf.sections[index].size) for index, place in layout.sections.items()]
    areas += [(place, cpu.word) for place in layout.slots.values()]
    areas += [(place, 8) for place in layout.stubs.values()]
    areas += [
        (place, 16) for index, place in layout.places.items() if layout.symbols[index].section_index == 0xFFF2
    ]
    for part in Part:
        ordered = sorted(
            (place.offset, place.offset + size) for place, size in areas if place.part is part and size
        )
        assert all(before[1] <= after[0] for before, after in zip(ordered, ordered[1:]))


def test_the_ledger_has_its_room_at_the_start_of_the_data(cpu, build):
    layout, result = linked(build(), cpu)
    assert result.data[:LEDGER] == bytes(LEDGER)
    assert all(place.offset >= LEDGER for place in layout.sections.values() if place.part is Part.DATA)
    assert layout.got.offset >= LEDGER


def test_zeros_take_memory_and_no_bytes(cpu, build):
    layout, result = linked(build(SOURCE, "-fcommon"), cpu)
    assert layout.data_size - len(result.data) >= 400


def test_spans_are_whole_pages(cpu, build):
    layout, _ = linked(build(), cpu)
    assert layout.data_span % PAGE == 0 == layout.text_span % PAGE
    assert 0 <= layout.data_span - layout.data_size < PAGE
    assert 0 <= layout.text_span - layout.text_size < PAGE


def test_the_new_function_is_where_its_symbol_says(cpu, build):
    elf = build()
    layout, result = linked(elf, cpu, functions=("fixed", "other"))
    assert set(result.functions) == {"fixed", "other"}
    for name, address in result.functions.items():
        symbol = next(each for each in elf.symbols() if each.name == name)
        content = elf.content(elf.sections[symbol.section_index])
        assert result.text_address <= address < result.text_address + len(result.text)
        assert result.text[address - result.text_address] == content[symbol.value]


def test_frames_are_contiguous_and_terminated(cpu, build):
    elf = build(SOURCE, "-fasynchronous-unwind-tables")
    layout, result = linked(elf, cpu)
    address, size = result.eh_frame
    frames = result.text[address - result.text_address :][:size]
    assert size == elf.section(".eh_frame").size + 4
    assert frames.endswith(bytes(4))
    position = 0
    while position < size - 4:
        length = struct.unpack_from("<I", frames, position)[0]
        assert length
        position += 4 + length
    assert position == size - 4


def test_a_patch_without_frames_has_none(cpu, build):
    _, result = linked(build(SOURCE, "-fno-asynchronous-unwind-tables"), cpu)
    assert result.eh_frame[1] == 0


def test_a_far_call_of_64_bit_code_goes_through_a_stub(build):
    elf = build(SOURCE, "-fPIE")
    layout, result = linked(elf, X86_64, symbols={"imported": FAR, "object": DATA})
    field = next(each for each in layout.fields if each.symbol.name == "imported")
    offset = layout.sections[field.section.index].offset + field.offset
    displacement = struct.unpack_from("<i", result.text, offset)[0]
    stub = offset + 4 + displacement
    assert result.text[stub : stub + 2] == b"\xff\x25"
    slot = result.text_address + stub + 6 + struct.unpack_from("<i", result.text, stub + 2)[0]
    assert struct.unpack_from("<Q", result.data, slot - DATA)[0] == FAR


def test_a_far_call_of_32_bit_code_wraps_and_goes_straight(build):
    elf = build(SOURCE, "-fPIE", "-m32")
    layout, result = linked(elf, I386, symbols={"imported": 0xF7C12340, "object": DATA})
    assert not layout.stubs
    field = next(each for each in layout.fields if each.symbol.name == "imported")
    place = layout.sections[field.section.index].offset + field.offset
    value = struct.unpack_from("<I", result.text, place)[0]
    assert result.text_address + place + 4 + value & 0xFFFFFFFF == 0xF7C12340


def test_a_near_call_goes_straight_though_there_is_a_stub(build):
    layout, result = linked(build(SOURCE, "-fPIE"), X86_64)
    place = layout.stubs[next(each.symbol.index for each in layout.fields if each.symbol.name == "imported")]
    assert result.text[place.offset : place.offset + 8] == bytes(8)


@pytest.mark.parametrize("instruction", ["call imported", "jmp imported", "jne imported"])
def test_an_old_assemblers_pc32_call_gets_a_stub_too(build, instruction):
    opcode = {"call": "0xe8", "jmp": "0xe9", "jne": "0x0f, 0x85"}[instruction.split()[0]]
    source = (
        f".text\n.globl fixed\nfixed: .byte {opcode}\n.reloc ., R_X86_64_PC32, imported - 4\n.long 0\nret\n"
    )
    layout, result = linked(build(source), X86_64, symbols={"imported": FAR})
    stub = layout.stubs[layout.fields[0].symbol.index]
    assert result.text[stub.offset : stub.offset + 2] == b"\xff\x25"


def test_a_far_data_reference_is_refused(build):
    refusal = reason(build(SOURCE, "-fno-pic"), X86_64, symbols={"imported": DATA, "object": FAR})
    assert refusal.reason == "relocation_overflow"
    assert "object" in refusal.what and "R_X86_64_PC32" in refusal.what


def test_non_pic_code_wants_low_addresses_and_is_refused_elsewhere(build):
    elf = build("static int table[4] = {1, 2, 3, 4}; int fixed(int x) { return table[x]++; }", "-fno-pic")
    assert lay_out(elf, X86_64, LEDGER, ["fixed"]).needs_low_addresses
    assert reason(elf, X86_64, data=0x555555000000).reason == "relocation_overflow"


def test_pic_code_goes_anywhere(cpu, build):
    elf = build(SOURCE, "-fPIC")
    assert not lay_out(elf, cpu, LEDGER, ["fixed"]).needs_low_addresses
    linked(elf, cpu, data=0x555555000000 & cpu.mask & ~0xFFF)


def test_i386_code_never_wants_low_addresses(build):
    assert not lay_out(build(SOURCE, "-fno-pic", "-m32"), I386, LEDGER, ["fixed"]).needs_low_addresses


def test_a_weak_symbol_may_be_missing_and_any_other_may_not(cpu, build):
    linked(build(SOURCE, "-fPIC"), cpu)
    refusal = reason(build(SOURCE, "-fPIC"), cpu, symbols={"object": DATA})
    assert refusal.reason == "symbol_not_found" and "imported" in refusal.what


def test_the_same_object_gives_the_same_bytes(cpu, build):
    elf = build(SOURCE, "-fPIC")
    assert linked(elf, cpu)[1] == linked(elf, cpu)[1]


@pytest.mark.parametrize(
    ("source", "flags"),
    [
        ("__thread int slot; int fixed(int x) { return slot += x; }", ()),
        ("extern __thread int slot; int fixed(int x) { return slot += x; }", ()),
        ("extern __thread int slot; int fixed(int x) { return slot += x; }", ("-fPIC",)),
        ("static int a(int x) { return x; } static void *pick(void) { return a; }"
         "int resolved(int) __attribute__((ifunc(\"pick\"))); int fixed(int x) { return resolved(x); }", ()),
    ],
)  # fmt: skip
def test_thread_local_and_indirect_symbols_are_refused_by_name(cpu, build, source, flags):
    refusal = reason(build(source, *flags), cpu)
    assert refusal.reason in ("unsupported_relocation", "not_supported_yet")


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("int n; void fixed(void) {} __attribute__((constructor)) void start(void) { n++; }", "constructors"),
        ("void fixed(void) {} __attribute__((aligned(8192))) int wide = 1;", "8192"),
        ('void fixed(void) {} __asm__(".section .both,\\"awx\\"\\n nop\\n");', "writable and executable"),
    ],
)
def test_what_memory_can_not_give_is_refused_by_name(cpu, build, source, word):
    refusal = reason(build(source), cpu)
    assert refusal.reason == "not_supported_yet" and word in refusal.what


def test_a_size_of_what_is_elsewhere_is_refused(build):
    source = ".text\n.globl fixed\nfixed: ret\n.data\n.long imported@SIZE\n"
    assert reason(build(source), X86_64).reason == "unsupported_relocation"


def test_an_object_of_the_other_architecture_is_refused(cpu, build):
    other = I386 if cpu is X86_64 else X86_64
    assert reason(build(), other).reason == "wrong_architecture"


def test_a_new_function_must_be_defined_once_in_code(cpu, build):
    assert reason(build(), cpu, functions=("nowhere",)).reason == "artifact_malformed"
    assert reason(build(), cpu, functions=("zeros",)).reason == "artifact_malformed"


class Tampered(ElfFile):
    """An object whose relocations, symbols or sections have been replaced one by one."""

    edits = {}

    def relocations(self, section):
        return [entry._replace(**self.edits.get("relocation", {})) for entry in super().relocations(section)]

    def symbols(self, section=None):
        edits = self.edits.get("symbol", {})
        return [
            each._replace(**edits) if each.defined and each.type != 3 else each
            for each in super().symbols(section)
        ]

    @property
    def sections(self):
        edits = self.edits.get("section", {})
        return [each._replace(**edits) if each.flags & 2 else each for each in super().sections]


@pytest.mark.parametrize(
    "edits",
    [
        {"relocation": {"offset": 1 << 20}},
        {"relocation": {"offset": (1 << 64) - 2}},
        {"relocation": {"symbol_index": 1 << 20}},
        {"relocation": {"type": 200}},
        {"relocation": {"type": 5}},
        {"relocation": {"type": 251}},
        {"symbol": {"value": 1 << 40}},
        {"symbol": {"section_index": 0xFFF2, "value": 3}},
        {"symbol": {"section_index": 0xFFF2, "value": 0}},
        {"symbol": {"section_index": 0xFE00}},
        {"symbol": {"type": 6}},
        {"symbol": {"type": 10}},
        {"section": {"align": 3}},
        {"section": {"align": 1 << 40}},
        {"section": {"flags": 7}},
        {"section": {"flags": 0x402}},
        {"section": {"type": 14}},
        {"section": {"type": 0x12345}},
        {"section": {"size": 1 << 50}},
    ],
    ids=str,
)
def test_a_tampered_object_is_refused(cpu, compile, tmp_path, edits):
    path = tmp_path / "source.c"
    path.write_text(SOURCE)
    elf = Tampered(compile(path, "-c", "-g0", "-O1").read_bytes())
    elf.edits = edits
    assert reason(elf, cpu).reason in ("artifact_malformed", "unsupported_relocation", "not_supported_yet")


def test_random_damage_is_refused_or_harmless(cpu, compile, tmp_path):
    path = tmp_path / "source.c"
    path.write_text(SOURCE)
    sound = compile(path, "-c", "-g0", "-O1", "-ffunction-sections").read_bytes()
    dice = random.Random(cpu.name)
    refused = 0
    for _ in range(1500):
        damaged = bytearray(sound)
        for _ in range(dice.choice((1, 1, 2, 4))):
            damaged[dice.randrange(len(damaged))] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        try:
            layout = lay_out(ElfFile(bytes(damaged)), cpu, LEDGER, ["fixed"])
            if layout.data_span + layout.text_span < 1 << 30:
                names = {each.name: DATA for each in layout.symbols if not each.defined}
                link(layout, DATA + layout.data_span, DATA, names)
        except (Malformed, Refused):
            refused += 1
    assert refused > 100
