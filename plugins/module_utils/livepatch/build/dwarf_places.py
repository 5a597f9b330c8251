# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""DWARF's spellings of addresses: relocated fields of objects, ranges, where static data is (DWARF 5, 2.5 and 2.17)."""

from __future__ import annotations

from typing import Any, Tuple

from ..cpu.relocations import ABSOLUTE
from ..elf import ET_REL, SHT_REL, SHT_RELA
from .inputs import architecture, read_elf

Range = Tuple[int, int]  # first address, one past the last

SHF_COMPRESSED = 0x800
_DW_OP_ADDR, _DW_OP_ADDRX, _DW_OP_GNU_ADDR_INDEX = 0x03, 0xA1, 0xFB


def relocated(path: str) -> tuple[bytes, bool]:
    """An object with its DWARF relocated, every section at address 0; and whether that was done.

    pyelftools can do it, too, but knows no thread-local types. Compressed sections are left to it.
    """
    elf = read_elf(path)
    with open(path, "rb") as file:
        content = bytearray(file.read())
    tables = [each for each in elf.sections if each.type in (SHT_REL, SHT_RELA)]
    if elf.type != ET_REL or any(each.flags & SHF_COMPRESSED for each in elf.sections):
        return bytes(content), False
    symbols = elf.symbols(elf.section(".symtab"))
    known = architecture(elf).relocations
    for table in tables:
        section = elf.sections[table.info]
        if not section.name.startswith(".debug_"):
            continue
        for each in elf.relocations(table):
            entry = known.get(each.type)
            if entry is None or entry.formula is not ABSOLUTE:
                continue  # a thread-local variable has no address to compare
            at = section.offset + each.offset
            field = bytes(content[at : at + entry.width])
            addend = entry.implicit_addend(field) if each.addend is None else each.addend
            value = symbols[each.symbol_index].value + addend
            content[at : at + entry.width] = (value & (1 << 8 * entry.width) - 1).to_bytes(
                entry.width, "little"
            )
    return bytes(content), True


def ranges(dwarf: Any, cu: Any, die: Any) -> tuple[tuple[Range, ...], bool]:
    """The code of an entry, and whether all of it could be read."""
    low, high = die.attributes.get("DW_AT_low_pc"), die.attributes.get("DW_AT_high_pc")
    if low is not None and high is not None:
        end = high.value if high.form.startswith("DW_FORM_addr") else low.value + high.value
        return ((low.value, end),), True
    listed = die.attributes.get("DW_AT_ranges")
    if listed is None:
        return (), True
    if listed.form not in ("DW_FORM_sec_offset", "DW_FORM_data4", "DW_FORM_rnglistx"):
        return (), False
    base = cu.get_top_DIE().attributes.get("DW_AT_low_pc")
    start = base.value if base is not None else 0
    found = []
    for each in dwarf.range_lists().get_range_list_at_offset(listed.value, cu=cu):
        if hasattr(each, "base_address"):
            start = each.base_address
            continue
        shift = 0 if each.is_absolute else start
        found.append((each.begin_offset + shift, each.end_offset + shift))
    return tuple(found), True


def static_address(dwarf: Any, cu: Any, die: Any) -> int | None:
    """Where a variable is that stands at one place for ever; None for others."""
    location = die.attributes.get("DW_AT_location")
    if location is None or location.form != "DW_FORM_exprloc" or not location.value:
        return None
    operation, operand = location.value[0], bytes(location.value[1:])
    if operation == _DW_OP_ADDR and len(operand) == cu["address_size"]:
        return int.from_bytes(operand, "little")
    if operation in (_DW_OP_ADDRX, _DW_OP_GNU_ADDR_INDEX):
        index, size = _uleb128(operand)
        if size == len(operand):
            return int(dwarf.get_addr(cu, index))
    return None


def _uleb128(data: bytes) -> tuple[int, int]:
    """A number and how many bytes it takes."""
    value = 0
    for count, byte in enumerate(data):
        value |= (byte & 0x7F) << 7 * count
        if not byte & 0x80:
            return value, count + 1
    return value, len(data) + 1
