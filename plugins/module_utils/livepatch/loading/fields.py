# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The relocations of an object, checked and ready to be computed."""

from __future__ import annotations

from typing import Iterator, Mapping, NamedTuple, Sequence

from ..cpu import Cpu
from ..cpu import relocations as types
from ..cpu.relocations import Formula, Relocation, Stub
from ..elf import SHF_EXECINSTR, SHN_UNDEF, SHT_NOBITS, SHT_REL, SHT_RELA, STT_GNU_IFUNC, STT_TLS, Malformed
from ..elf.file import ElfFile, Section
from ..elf.symbols import Symbol
from ..errors import Refused

# Intel SDM volume 2, table 2-2: mod 00 and r/m 101 are a bare 32-bit displacement.
_MOD_RM = 0xC7
_NO_BASE = 0x05


class Field(NamedTuple):
    """One field to be relocated."""

    section: Section
    offset: int  # in the section, bytes
    relocation: Relocation
    formula: Formula  # the relocation's; every field has one
    symbol: Symbol
    addend: int
    based: bool  # the instruction adds a base register (asked for by i386 slots only)
    stub: Stub | None  # what may stand in for the symbol: it is called, and not of this object

    @property
    def where(self) -> str:
        """For messages: section and offset in the object."""
        return f"{self.section.name}+{self.offset:#x}"


def read(
    elf: ElfFile, cpu: Cpu, sections: Mapping[int, Section], symbols: Sequence[Symbol]
) -> Iterator[Field]:
    """Every field in ``sections`` (index -> section), in the object's order.

    :raises Malformed: an entry names a section, symbol or place that is not there
    :raises Refused: ``unsupported_relocation``, by name
    """
    for table in elf.sections:
        # Tables for sections that are not loaded, debug information for example, are none of ours.
        if table.type in (SHT_REL, SHT_RELA) and table.info in sections:
            section = sections[table.info]
            content = b"" if section.type == SHT_NOBITS else elf.content(section)
            for entry in elf.relocations(table):
                if entry.symbol_index >= len(symbols):
                    raise Malformed(f"a relocation in {section.name} names symbol {entry.symbol_index}")
                yield _field(
                    cpu, section, content, entry.offset, entry.type, symbols[entry.symbol_index], entry.addend
                )


def _field(
    cpu: Cpu, section: Section, content: bytes, offset: int, number: int, symbol: Symbol, addend: int | None
) -> Field:
    relocation = cpu.relocations.get(number)
    name = f"number {number}" if relocation is None else relocation.name
    if relocation is None or relocation.formula is None:
        raise Refused("unsupported_relocation", f"{section.name}+{offset:#x} has a relocation {name}")
    if symbol.type in (STT_TLS, STT_GNU_IFUNC):
        kind = "thread-local" if symbol.type == STT_TLS else "an indirect function"
        raise Refused(
            "unsupported_relocation",
            f"{section.name}+{offset:#x} refers to {symbol.name}, which is {kind} ({name})",
        )
    if relocation.formula is types.SIZE and symbol.section_index == SHN_UNDEF:
        raise Refused(
            "unsupported_relocation",
            f"{section.name}+{offset:#x} asks for the size of {symbol.name}, which is not in the patch ({name})",
        )
    if offset + relocation.width > len(content):
        raise Malformed(f"a relocation {name} at {section.name}+{offset:#x} is outside of the section")
    if addend is None:
        addend = relocation.implicit_addend(content[offset : offset + relocation.width])
    executable = bool(section.flags & SHF_EXECINSTR)
    is_call = relocation.formula is types.CALL or (executable and _is_branch(content, offset, addend))
    return Field(
        section=section,
        offset=offset,
        relocation=relocation,
        formula=relocation.formula,
        symbol=symbol,
        addend=addend,
        based=not (executable and offset > 0 and content[offset - 1] & _MOD_RM == _NO_BASE),
        stub=relocation.stub if is_call and symbol.section_index == SHN_UNDEF else None,
    )


def _is_branch(code: bytes, offset: int, addend: int) -> bool:
    """Whether the field is the displacement of a direct call or jump.

    Assemblers before binutils 2.31 gave those PC32, as they give data.  A data
    reference can not be mistaken for one: the byte before its displacement is a
    ModRM byte of mod 00 and r/m 101 (05, 0d, ... 3d).  E8 and E9 are CALL and
    JMP, 0F 80 to 0F 8F the conditional jumps (Intel SDM volume 2, appendix A).
    """
    if addend != -4 or offset < 1:
        return False
    return code[offset - 1] in (0xE8, 0xE9) or (
        offset >= 2 and code[offset - 2] == 0x0F and code[offset - 1] & 0xF0 == 0x80
    )
