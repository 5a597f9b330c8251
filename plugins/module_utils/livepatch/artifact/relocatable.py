# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What the object of an artifact may consist of.

An artifact is a relocatable object (``ET_REL``, gABI chapter 4) as compilers
write it, less what cannot be brought into a running process or could be read
in two ways.  Which relocation types there are, and whether a value fits, is
the loader's to know; here every index, offset and size is held to its bounds.
"""

from __future__ import annotations

from ..elf import (
    EM_386,
    EM_X86_64,
    ET_REL,
    SHF_ALLOC,
    SHF_EXECINSTR,
    SHF_TLS,
    SHF_WRITE,
    SHN_ABS,
    SHN_COMMON,
    SHT_NOBITS,
    SHT_NOTE,
    SHT_PROGBITS,
    SHT_REL,
    SHT_RELA,
    SHT_STRTAB,
    SHT_SYMTAB,
    STT_GNU_IFUNC,
    STT_TLS,
)
from ..elf.file import ElfFile, Section
from ..elf.symbols import Symbol
from ..errors import Refused
from .shapes import shown

MAX_MEMORY = 256 << 20  # bytes that all allocated sections may take in the process
MAX_ALIGNMENT = 4096  # bytes; mappings begin on pages and no finer promise is made

ARCHITECTURES = {(EM_X86_64, 64): "x86_64", (EM_386, 32): "i386"}

_SHF_COMPRESSED = 0x800
_SHT_NULL = 0
_ACCESS = SHF_ALLOC | SHF_WRITE | SHF_EXECINSTR

#: Name, or beginning of the name before a dot, of every section that takes memory; its access.
_ALLOCATED = {
    ".text": SHF_ALLOC | SHF_EXECINSTR,
    ".rodata": SHF_ALLOC,
    ".data": SHF_ALLOC | SHF_WRITE,
    ".bss": SHF_ALLOC | SHF_WRITE,
    ".eh_frame": SHF_ALLOC,
}
_RUNS_BY_ITSELF = (".init_array", ".fini_array", ".preinit_array", ".ctors", ".dtors", ".init", ".fini")
_OTHER_TYPES = (_SHT_NULL, SHT_PROGBITS, SHT_NOTE, SHT_SYMTAB, SHT_STRTAB, SHT_REL, SHT_RELA)


def architecture(elf: ElfFile) -> str:
    """``x86_64`` or ``i386``.

    :raises Refused: ``x32``, ``wrong_architecture``, or ``artifact_malformed``: no relocatable object
    """
    if (elf.machine, elf.elf_class) == (EM_X86_64, 32):
        raise Refused("x32", "the artifact is an x32 object (EM_X86_64 with ELFCLASS32)")
    arch = ARCHITECTURES.get((elf.machine, elf.elf_class))
    if arch is None:
        raise Refused(
            "wrong_architecture", f"the artifact is for e_machine {elf.machine}, ELF class {elf.elf_class}"
        )
    if elf.type != ET_REL:
        raise malformed(f"the file is no relocatable object: e_type is {elf.type}, not {ET_REL} (ET_REL)")
    return arch


def check_sections(elf: ElfFile, file_size: int) -> None:
    """Every section is one that a patch may have.

    :raises Refused: ``artifact_malformed``, or ``unsupported_relocation`` for thread-local storage
    """
    memory = 0
    for section in elf.sections:
        where = f"section {section.index} {shown(section.name)}"
        if section.type != SHT_NOBITS and section.offset + section.size > file_size:
            raise malformed(f"{where} ends outside of the file of {file_size} bytes")
        if section.flags & SHF_TLS:
            raise Refused("unsupported_relocation", f"{where} is thread-local storage")
        if _begins(section.name, _RUNS_BY_ITSELF):
            raise malformed(f"{where} would have to run by itself, which a patch can not")
        if section.flags & SHF_ALLOC:
            _check_allocated(section, where)
            memory += section.size
        elif section.type not in _OTHER_TYPES:
            raise malformed(f"{where} has the type {section.type:#x}, which a patch does not use")
    if memory > MAX_MEMORY:
        raise malformed(f"the object takes {memory} bytes of memory, more than {MAX_MEMORY}")


def _check_allocated(section: Section, where: str) -> None:
    access = next((_ALLOCATED[name] for name in _ALLOCATED if _begins(section.name, (name,))), None)
    if access is None:
        raise malformed(f"{where} takes memory, and is not one of {', '.join(_ALLOCATED)}")
    if section.flags & _ACCESS != access:
        raise malformed(f"{where} has the flags {section.flags:#x}, not the access {access:#x} of its kind")
    if section.flags & _SHF_COMPRESSED:
        raise malformed(f"{where} is compressed")
    if section.type not in (SHT_PROGBITS, SHT_NOBITS) or (section.type == SHT_NOBITS) != _begins(
        section.name, (".bss",)
    ):
        raise malformed(f"{where} has the type {section.type:#x}, which does not fit its name")
    if section.align > MAX_ALIGNMENT or section.align & (section.align - 1):
        raise malformed(
            f"{where} has the alignment {section.align}, not a power of two up to {MAX_ALIGNMENT}"
        )


def check_symbols(elf: ElfFile) -> list[Symbol]:
    """All symbols of the one symbol table, by index.

    :raises Refused: ``artifact_malformed``, or ``unsupported_relocation``
    """
    tables = [section for section in elf.sections if section.type == SHT_SYMTAB]
    if len(tables) != 1:
        raise malformed(f"the object has {len(tables)} symbol tables, not one")
    symbols = elf.symbols(tables[0])
    for symbol in symbols[1:]:
        where = f"symbol {symbol.index} {shown(symbol.name)}"
        if symbol.type == STT_TLS or (symbol.type == STT_GNU_IFUNC and symbol.defined):
            kind = "thread-local" if symbol.type == STT_TLS else "an indirect function"
            raise Refused("unsupported_relocation", f"{where} is {kind}")
        if symbol.section_index == SHN_COMMON:
            raise malformed(f"{where} is common, without a place of its own (compile with -fno-common)")
        if not symbol.defined and not symbol.name:
            raise malformed(f"{where} is undefined and has no name")
        if symbol.defined and symbol.section_index != SHN_ABS:
            if symbol.section_index >= len(elf.sections):
                raise malformed(f"{where} lies in section {symbol.section_index} of {len(elf.sections)}")
            section = elf.sections[symbol.section_index]
            if section.flags & SHF_ALLOC and symbol.value + symbol.size > section.size:
                raise malformed(f"{where} ends outside of its section of {section.size} bytes")
    return symbols


def check_relocations(elf: ElfFile, symbols: list[Symbol]) -> None:
    """Every relocation changes bytes that are there, by a symbol that is there.

    :raises Refused: ``artifact_malformed``
    """
    # The psABIs: x86_64 uses RELA only, i386 REL only.
    expected = SHT_RELA if elf.machine == EM_X86_64 else SHT_REL
    table = next(section for section in elf.sections if section.type == SHT_SYMTAB)
    for section in elf.sections:
        if section.type not in (SHT_REL, SHT_RELA):
            continue
        where = f"relocation section {section.index} {shown(section.name)}"
        if section.type != expected:
            raise malformed(f"{where} has the type {section.type}, and this architecture uses {expected}")
        if section.link != table.index:
            raise malformed(f"{where} uses section {section.link} for symbols, not {table.index}")
        if not 0 < section.info < len(elf.sections) or elf.sections[section.info].type != SHT_PROGBITS:
            raise malformed(f"{where} changes section {section.info}, which has no bytes")
        size = elf.sections[section.info].size
        for number, relocation in enumerate(elf.relocations(section)):
            if relocation.offset >= size:
                raise malformed(f"{where}: entry {number} changes byte {relocation.offset} of {size}")
            if relocation.symbol_index >= len(symbols):
                raise malformed(
                    f"{where}: entry {number} uses symbol {relocation.symbol_index} of {len(symbols)}"
                )


def malformed(what: str) -> Refused:
    """The refusal of bytes that are no artifact."""
    return Refused("artifact_malformed", what)


def _begins(name: str, beginnings: tuple[str, ...]) -> bool:
    return any(name == beginning or name.startswith(beginning + ".") for beginning in beginnings)
