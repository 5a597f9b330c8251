# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oracle for our linker: ld, with the same object at the same addresses.

Fields that have no table of their own must be equal byte for byte.  ld makes a GOT
of its own with another order and base, so what depends on it is compared by what
it means: the slot that a field leads to holds the same address, an offset from
the GOT added to the GOT's base gives the same address.
"""

from __future__ import annotations

import shutil
import subprocess

import pytest
from elftools.elf.elffile import ELFFile

from livepatch.cpu import ALL, X86_64
from livepatch.cpu import relocations as types
from livepatch.elf.file import ElfFile
from livepatch.loading.layout import Part, lay_out
from livepatch.loading.link import link
from tests.harness import toolchain

DATA = 0x10000000
THEIR_GOT = 0x11000000
LEDGER = 4096
SYMBOLS = {
    "imported_function": 0x10800010,
    "imported_object": 0x10900020,
    "imported_array": 0x10900100,
    "hidden_object": 0x10A00040,
    "maybe_missing": 0x10A01000,  # where a weak symbol is missing, ld rewrites the instruction
    "tiny": 0x21,
}
POSITIONS = {
    "pic": ("-fPIC",),
    "pic-small": ("-fpic",),
    "pic-no-plt": ("-fPIC", "-fno-plt"),
    "pie": ("-fPIE",),
    "no-pic": ("-fno-pic",),
    "no-pic-common": ("-fno-pic", "-fcommon", "-DWITH_COMMON"),
}
MODELS = {
    "medium": ("-fno-pic", "-mcmodel=medium"),
    "medium-pic": ("-fPIC", "-mcmodel=medium"),
    "medium-threshold": ("-fno-pic", "-mcmodel=medium", "-mlarge-data-threshold=4"),
    "large": ("-fno-pic", "-mcmodel=large"),
    "large-pic": ("-fPIC", "-mcmodel=large"),
}

SUPPORTED = [
    (cpu, each)
    for cpu in ALL
    for each in cpu.relocations.values()
    if each.formula not in (None, types.NOTHING)
]
EMULATION = {"x86_64": "elf_x86_64", "i386": "elf_i386"}

# Every supported type in data, where a field is only a field.
FIELD = """
    .section .data.fields, "aw"
nearby:
    .skip 24
    .reloc ., {name}, {symbol} + {addend}
    .skip {width}
    .skip 8
    .size nearby, 24
"""

INSTRUCTIONS = {
    "x86_64": """
        .text
        .globl code
    code:
        call imported_function
        call imported_function@PLT
        jmp imported_function
        jne imported_function@PLT
        call *imported_function@GOTPCREL(%rip)
        movq imported_object@GOTPCREL(%rip), %rax
        addl imported_object@GOTPCREL(%rip), %eax
        leaq imported_array+4(%rip), %rax
        movl $77, imported_array+8(%rip)
        movb $7, imported_array+2(%rip)
        movl $imported_object, %eax
        movq $imported_object+3, %rax
        movabsq $imported_object, %rax
        leaq _GLOBAL_OFFSET_TABLE_(%rip), %rbx
        movabsq $imported_object@GOTOFF, %rcx
        movabsq $imported_object@GOT, %rcx
        movabsq $imported_function@PLTOFF, %rcx
        movl imported_array(,%rcx,4), %eax
        movb $tiny, %al
        movw $tiny, %ax
    near:
        loop near
    """,
    "i386": """
        .text
        .globl code
    code:
        call imported_function
        call imported_function@PLT
        jmp imported_function
        jne imported_function
        call *imported_function@GOT(%ebx)
        call *imported_function@GOT
        movl imported_object@GOT(%ebx), %eax
        movl imported_object@GOT, %eax
        movl imported_object@GOT, %ecx
        addl imported_object@GOT(%esi), %eax
        leal imported_array@GOTOFF+4(%ebx), %eax
        movl $77, imported_array+8
        movl $imported_object, %eax
        movl imported_array(,%ecx,4), %eax
        addl $_GLOBAL_OFFSET_TABLE_, %ebx
        movb $tiny, %al
        movw $tiny, %ax
    near:
        loop near
    """,
}


def assert_ld_agrees(cpu, path, tmp_path):
    """Link one object with both linkers and compare every loaded byte."""
    elf = ElfFile(path.read_bytes())
    layout = lay_out(elf, cpu, LEDGER, [])
    text = DATA + layout.data_span
    addresses = {Part.DATA: DATA, Part.TEXT: text}
    ours = link(layout, text, DATA, SYMBOLS)
    parts = {Part.DATA: (DATA, ours.data + bytes(layout.data_size)), Part.TEXT: (text, ours.text)}
    theirs = Linked(run_ld(cpu, path, elf, layout, addresses, tmp_path))

    fields = {}
    for field in layout.fields:
        fields.setdefault(field.section.index, []).append(field)
    compared = 0
    for index, place in layout.sections.items():
        section = elf.sections[index]
        if not section.size:
            continue
        start = addresses[place.part] + place.offset
        base, content = parts[place.part]
        mine = bytearray(content[start - base : start - base + section.size])
        other = bytearray(theirs.read(start, section.size))
        for field in fields.get(index, []):
            if field.formula.needs_slot or "GOT" in field.formula.text.split():
                our_slot = meaning_of(cpu, field, start, mine, DATA + layout.got.offset)
                their_slot = meaning_of(cpu, field, start, other, THEIR_GOT)
                area = slice(field.offset, field.offset + field.relocation.width)
                if field.formula.needs_slot:
                    our_meaning = word_at(parts.values(), our_slot, cpu.word)
                    rewritten = slice(field.offset - 2, field.offset)
                    if other[rewritten] != mine[rewritten]:
                        their_meaning = rewritten_meaning(field, start, other)
                        area = slice(field.offset - 2, area.stop)
                    else:
                        their_meaning = word_at(theirs.pieces, their_slot, cpu.word)
                elif field.formula is types.GOT_RELATIVE:
                    our_meaning, their_meaning = our_slot - (DATA + layout.got.offset), their_slot - THEIR_GOT
                else:
                    our_meaning, their_meaning = our_slot, their_slot
                what = f"{field.where} {field.relocation.name} {field.symbol.name}"
                assert hex(our_meaning) == hex(their_meaning), what
                mine[area] = other[area] = bytes(len(mine[area]))
        assert mine.hex(" ") == other.hex(" "), section.name
        compared += section.size
    assert compared
    return layout


def meaning_of(cpu, field, start, content, got):
    """The address that a GOT-dependent field leads to, whoever linked it."""
    raw = content[field.offset : field.offset + field.relocation.width]
    value = int.from_bytes(raw, "little", signed=True) - field.addend
    if field.formula in (types.GOT_RELATIVE, types.SLOT_RELATIVE):
        return value + start + field.offset & cpu.mask
    if field.formula is types.SLOT_BASED and not field.based:
        return value & cpu.mask
    return value + got & cpu.mask


def rewritten_meaning(field, start, content):
    """What an i386 instruction refers to that ld rewrote, --no-relax or not, to do without the slot.

    Intel386 psABI, "Linker Optimization": ``call *f@GOT(%ebx)`` becomes ``addr32 call f``,
    ``jmp *f@GOT(%ebx)`` becomes ``jmp f; nop``, everything else takes the address as an immediate.
    """
    offset, place = field.offset, start + field.offset
    relative = {b"\x67\xe8": 0, b"\xe9": -1}
    for opcode, shift in relative.items():
        if content[offset - 2 :].startswith(opcode):
            raw = content[offset + shift : offset + shift + 4]
            return int.from_bytes(raw, "little", signed=True) + place + shift + 4
    return int.from_bytes(content[offset : offset + 4], "little")


def word_at(parts, address, width):
    for base, content in parts:
        if base <= address <= base + len(content) - width:
            return int.from_bytes(content[address - base : address - base + width], "little")
    raise AssertionError(f"{address:#x} is in no part")


class Linked:
    """What ld made, read with pyelftools."""

    def __init__(self, path):
        with path.open("rb") as file:
            self.pieces = [
                (each["sh_addr"], each.data() if each["sh_type"] != "SHT_NOBITS" else bytes(each["sh_size"]))
                for each in ELFFile(file).iter_sections()
                if each["sh_flags"] & 2
            ]

    def read(self, address, size):
        for start, content in self.pieces:
            if start <= address and address + size <= start + len(content):
                return content[address - start : address - start + size]
        raise AssertionError(f"ld has nothing at {address:#x}")


def run_ld(cpu, path, elf, layout, addresses, tmp_path):
    """ld with every input section at the address that our layout gave it."""
    script = ["SECTIONS {"]
    for index, place in sorted(
        layout.sections.items(), key=lambda item: addresses[item[1].part] + item[1].offset
    ):
        section = elf.sections[index]
        if section.size:
            address = addresses[place.part] + place.offset
            script.append(f"  .ours{index} {address:#x} : SUBALIGN(1) {{ *({section.name}) }}")
    script.append(f"  .got {THEIR_GOT:#x} : {{ *(.got.plt) *(.got) *(.igot*) }}")
    common = [layout.places[each.index] for each in layout.symbols if each.section_index == 0xFFF2]
    if common:
        script.append(f"  .common {addresses[Part.DATA] + common[0].offset:#x} : {{ *(COMMON) }}")
    script.append("  /DISCARD/ : { *(.note*) *(.comment) *(.debug*) *(.iplt) *(.plt*) *(.rel*.plt) }\n}")
    (tmp_path / "script.ld").write_text("\n".join(script))
    # ld would merge equal strings, and move them; the patch keeps what it has.
    unmerged, output = tmp_path / "unmerged.o", tmp_path / "linked"
    shutil.copy(path, unmerged)
    flat = [
        f"--set-section-flags={section.name}=alloc,readonly,data"
        for section in elf.sections
        if section.flags & 0x10
    ]
    if flat:
        subprocess.run(["objcopy", *flat, str(unmerged)], check=True)
    subprocess.run(
        [
            "ld", "-m", EMULATION[cpu.name], "-static", "--no-relax", "-e", "0", "--no-warn-mismatch",
            "-T", str(tmp_path / "script.ld"), "-o", str(output), str(unmerged),
            *(f"--defsym={name}={value:#x}" for name, value in SYMBOLS.items()),
        ],
        check=True,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    return output


@pytest.mark.parametrize("optimised", ["-O0", "-O2", "-Os"])
@pytest.mark.parametrize("position", POSITIONS)
def test_compiled_code_is_linked_as_ld_links_it(cpu, compile, position, optimised, tmp_path):
    path = compile(
        "every_reference.c",
        "-c",
        "-g0",
        optimised,
        *POSITIONS[position],
        "-ffunction-sections",
        "-fdata-sections",
    )
    layout = assert_ld_agrees(cpu, path, tmp_path)
    assert layout.eh_frame[1] > 0


@pytest.mark.parametrize("optimised", ["-O0", "-O2"])
@pytest.mark.parametrize("model", MODELS)
def test_every_code_model_is_linked_as_ld_links_it(compile, model, optimised, tmp_path):
    path = compile(
        "every_reference.c", "-c", "-g0", optimised, *MODELS[model], "-fno-asynchronous-unwind-tables"
    )
    assert_ld_agrees(cpu=X86_64, path=path, tmp_path=tmp_path)


def test_hand_written_instructions_are_linked_as_ld_links_them(cpu, compile, tmp_path):
    source = tmp_path / "instructions.s"
    source.write_text(INSTRUCTIONS[cpu.name])
    assert_ld_agrees(cpu, compile(source, "-c"), tmp_path)


@pytest.mark.parametrize(("cpu", "relocation"), SUPPORTED, ids=lambda each: each.name)
def test_each_type_stores_what_ld_stores(cpu, relocation, tmp_path):
    name = relocation.name
    symbol = "imported_object"
    if relocation.formula is types.SIZE or (relocation.width < 4 and relocation.formula is types.RELATIVE):
        symbol = "nearby"
    elif relocation.width < 4:
        symbol = "tiny"
    source = tmp_path / f"{name}.s"
    source.write_text(FIELD.format(name=name, symbol=symbol, addend=5, width=relocation.width))
    path = toolchain.gcc(source, flags=(toolchain.BITS[cpu.name], "-c"))
    assert [field.relocation.name for field in assert_ld_agrees(cpu, path, tmp_path).fields] == [name]
