# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What an indirect function (STT_GNU_IFUNC) stands for in one process.  Looks, and runs nothing.

The symbol leads to a resolver, which the dynamic linker has called to choose among implementations, and the
choice stands in a word of memory, a *slot*, for each relocation that asked for it:

``IRELATIVE``               in the image that defines the function, for its own uses; the addend is the resolver.
                            A REL table keeps the addend in the slot, where the choice has replaced it: it is
                            read from the file
``GLOB_DAT, JUMP_SLOT``     in any image, for the function's name and version; not a slot that still leads back
                            to its own PLT, because nobody has called through it (lazy binding)

Source: glibc, sysdeps/x86_64/dl-machine.h and sysdeps/i386/dl-machine.h (elf_machine_rela, elf_machine_rel,
elf_machine_lazy_rel), csu/libc-start.c (apply_irel, for static programs).
"""

from __future__ import annotations

from typing import Iterator, Sequence

from ..cpu import Cpu
from ..elf import SHF_ALLOC, SHT_REL, SHT_RELA, Malformed
from ..elf.layout import Relocation
from ..elf.symbols import Symbol
from ..errors import Refused
from ..process.images import Image
from ..process.snapshot import Snapshot


def choice(snapshot: Snapshot, image: Image, resolver: int, name: str, symbol: Symbol | None = None) -> int:
    """The address of what was chosen.

    :param image: defines the function
    :param resolver: its link-time address
    :param name: for messages
    :param symbol: as the image exports it; None: it does not
    :raises Refused: ``unsupported_relocation``: no slot tells, or not all of them the same
    :raises ProcessLookupError: the process is gone
    """
    cpu = snapshot.cpu
    assert cpu is not None, "fitness.check looks at that"
    try:
        found = {each for each in _of_resolver(cpu, image, resolver) if _is_code(snapshot, each)}
        if not found and symbol is not None:
            for other in snapshot.link_map or ():
                found.update(each for each in _of_name(cpu, other, image, symbol) if _leads(snapshot, image, each))
        found.discard(image.loaded.memory_address(resolver))  # a slot that nobody has filled in yet
    except Malformed as error:
        raise Refused("unsupported_relocation", f"{name} is an indirect function of {image.name}: {error}") from error
    if len(found) != 1:
        chosen = " and ".join(f"{each:#x}" for each in sorted(found)) or "nothing"
        raise Refused(
            "unsupported_relocation",
            f"{name} is an indirect function of {image.name}, and the process shows {chosen} as what was chosen",
        )
    return found.pop()


def _of_resolver(cpu: Cpu, image: Image, resolver: int) -> Iterator[int]:
    """What stands in the slots of the IRELATIVE relocations for a resolver."""
    for entry in _relocations(image):
        if entry.type == cpu.irelative:
            addend = entry.addend
            if addend is None:
                original = image.file_bytes(entry.offset, cpu.word)
                addend = None if original is None else int.from_bytes(original, "little")
            if addend == resolver:
                yield _word(cpu, image, entry)


def _relocations(image: Image) -> Sequence[Relocation]:
    """The dynamic ones; those of a static program, which no header leads to, by the sections of its file."""
    if image.loaded.dynamic:
        return image.loaded.relocations()
    file = image.open_file()
    if file is None:
        raise Malformed(f"the file of {image.path} is not there any more")
    tables = [each for each in file.sections if each.type in (SHT_REL, SHT_RELA) and each.flags & SHF_ALLOC]
    return [entry for table in tables for entry in file.relocations(table)]


def _of_name(cpu: Cpu, other: Image, image: Image, symbol: Symbol) -> Iterator[int]:
    """What stands in the slots of an image for a name of another one, or of its own."""
    tables = other.loaded.dynamic_tables
    if not tables.mentions(symbol.name):
        return
    # a lazy slot of the defining image itself leads into its own code, too
    types = (cpu.glob_dat,) if other is image else (cpu.glob_dat, cpu.jump_slot)
    for entry in other.loaded.relocations():
        if entry.type in types and entry.symbol_index:
            asked = tables.symbol(entry.symbol_index)
            version = asked.version or (None if symbol.hidden_version else symbol.version)
            if asked.name == symbol.name and version == symbol.version:
                yield _word(cpu, other, entry)


def _word(cpu: Cpu, image: Image, entry: Relocation) -> int:
    return int.from_bytes(image.loaded.read(entry.offset, cpu.word), "little")


def _is_code(snapshot: Snapshot, address: int) -> bool:
    mapping = snapshot.mapping_at(address)
    return mapping is not None and mapping.executable


def _leads(snapshot: Snapshot, image: Image, address: int) -> bool:
    """Whether a slot is filled in: what is chosen is the image's own, or the kernel's (time(2) and the like)."""
    there = snapshot.image_at(address)
    return there is not None and (there is image or there.is_vdso) and _is_code(snapshot, address)
