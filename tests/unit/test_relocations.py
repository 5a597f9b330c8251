# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The relocation tables: complete, and each entry as its psABI has it."""

from __future__ import annotations

import pytest
from elftools.elf.enums import ENUM_RELOC_TYPE_i386, ENUM_RELOC_TYPE_x64

from livepatch.cpu import I386, X86_64
from livepatch.cpu.relocations import Fit, Operands, Relocation

NAMES = {"x86_64": ENUM_RELOC_TYPE_x64, "i386": ENUM_RELOC_TYPE_i386}
# "reserved" in the psABI, nothing that an object could hold
RESERVED = {"R_386_USED_BY_INTEL_200"}

OPERANDS = Operands(S=0x1000, A=3, P=0x40, L=0x2000, G=0x18, GOT=0x500, Z=9, based=True)


def test_every_type_that_pyelftools_knows_is_in_the_table_under_its_name(cpu):
    known = {number: name for name, number in NAMES[cpu.name].items() if isinstance(number, int)}
    ours = {number: cpu.relocations[number].name for number in known if number in cpu.relocations}
    missing = {name for number, name in known.items() if number not in ours}
    assert missing <= RESERVED
    assert ours == {number: known[number] for number in ours}


def test_a_formula_computes_what_its_text_says(cpu):
    for relocation in cpu.relocations.values():
        formula = relocation.formula
        if formula is not None and formula.text != "none":
            assert formula.compute(OPERANDS) == eval(formula.text, {}, OPERANDS._asdict()), relocation.name


def test_thread_local_and_indirect_types_are_listed_and_have_no_formula(cpu):
    for relocation in cpu.relocations.values():
        if any(word in relocation.name for word in ("TLS", "TPOFF", "DTP", "IRELATIVE", "COPY")):
            assert relocation.formula is None, relocation.name


def test_i386_addresses_wrap():
    field = I386.relocations[2].encode(0x1000 - 0xFFFF0000, I386.word)
    assert field == (0x11000).to_bytes(4, "little")


def test_an_i386_slot_without_base_register_is_an_absolute_address():
    got32x = I386.relocations[43].formula
    assert got32x.compute(OPERANDS._replace(based=False)) == got32x.compute(OPERANDS) + OPERANDS.GOT


@pytest.mark.parametrize(
    ("fit", "lowest", "highest"),
    [
        (Fit.SIGNED, -(1 << 31), (1 << 31) - 1),
        (Fit.UNSIGNED, 0, (1 << 32) - 1),
        (Fit.EITHER, -(1 << 31), (1 << 32) - 1),
    ],
)
def test_a_value_fits_up_to_the_limit_and_overflows_one_beyond(fit, lowest, highest):
    relocation = Relocation("R", 4, fit)
    for value in (lowest, highest):
        assert relocation.encode(value, 8) == (value & 0xFFFFFFFF).to_bytes(4, "little")
    for value in (lowest - 1, highest + 1):
        with pytest.raises(OverflowError):
            relocation.encode(value, 8)


def test_wrapping_types_take_every_value():
    relocation = Relocation("R", 8, Fit.WRAPS)
    assert relocation.encode(-1, 8) == b"\xff" * 8
    assert relocation.encode(1 << 64, 8) == bytes(8)


def test_a_wrapping_field_is_as_wide_as_an_address(cpu):
    for relocation in cpu.relocations.values():
        if relocation.formula is not None and relocation.fit is Fit.WRAPS:
            assert relocation.width in (0, cpu.word), relocation.name


def test_an_implicit_addend_is_signed():
    assert I386.relocations[2].implicit_addend(b"\xfc\xff\xff\xff") == -4
    assert I386.relocations[22].implicit_addend(b"\x80") == -128


def test_a_stub_jumps_through_its_slot():
    stub = X86_64.relocations[4].stub
    assert stub.encode(0x1000, 0x1106) == b"\xff\x25\x00\x01\x00\x00\xcc\xcc"
    assert len(stub.encode(0x1000, 0)) == stub.size
