# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our ELF reader against pyelftools, over the ELF files of this machine.

Everything of a file is read by ours. Of a table with more than `ROWS` entries, pyelftools, fifty times
slower, reads that many, evenly spaced. Files are taken in the order of their inodes, which mixes the
directories, until the time is up (`make soak`: until the last one, with every row).
"""

from __future__ import annotations

import io
import mmap
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from elftools.common.exceptions import ELFError
from elftools.elf import enums
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection, GNUVerSymSection
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import NoteSection, SymbolTableSection

from livepatch.elf import SHN_XINDEX, SHT_NOBITS, Malformed
from livepatch.elf.file import ElfFile

FOLDERS = ("/usr", "/opt", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
ROWS = 64
SECONDS = 50
ENOUGH = 300  # files that any machine which builds patches compares in that time
WORKERS = 2


def files() -> list[tuple[int, str]]:
    """(inode, path) of every regular file, each inode once, in the order of inodes."""
    found: dict[tuple[int, int], str] = {}
    folders = [folder for folder in FOLDERS if os.path.isdir(folder) and not os.path.islink(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found.setdefault((0, entry.inode()), entry.path)
    return [(inode, path) for (_, inode), path in sorted(found.items())]


def compare_share(paths: list[str], rows: int | None, deadline: float) -> tuple[int, int, list[str]]:
    """(ELF files compared, files left when the time was up, differences)."""
    compared, differences = 0, []
    for position, path in enumerate(paths):
        if time.monotonic() > deadline:
            return compared, len(paths) - position, differences
        with open(path, "rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
            # not closed: both readers keep views of it for as long as they live
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        differences += [f"{path}: {difference}" for difference in compare(data, rows)]
        compared += 1
    return compared, 0, differences


def compare(data: mmap.mmap, rows: int | None) -> list[str]:
    try:
        theirs = ELFFile(data)
        if not theirs.little_endian:
            return []
    except ELFError:
        theirs = None
    try:
        ours = ElfFile(memoryview(data))
        if theirs is None:
            return ["only we can read it"]
        return list(differences(ours, theirs, rows))
    except Malformed as error:
        return [] if theirs is None else [f"only pyelftools can read it: {error}"]


def number(value: object, names: dict[str, int]) -> object:
    """pyelftools turns the numbers that it knows into names."""
    return names.get(value, value) if isinstance(value, str) else value


def sample(count: int, rows: int | None) -> range:
    return range(0, count, 1 if rows is None else max(1, -(-count // rows)))


def differences(ours: ElfFile, theirs: ELFFile, rows: int | None) -> Iterator[str]:
    header = theirs.header
    if (ours.elf_class, ours.entry, ours.flags) != (theirs.elfclass, header["e_entry"], header["e_flags"]):
        yield "header"
    if ours.machine != number(header["e_machine"], enums.ENUM_E_MACHINE):
        yield "e_machine"
    if ours.type != number(header["e_type"], enums.ENUM_E_TYPE):
        yield "e_type"
    yield from compare_segments(ours, theirs)
    yield from compare_sections(ours, theirs, rows)
    yield from compare_dynamic(ours, theirs)


def compare_segments(ours: ElfFile, theirs: ELFFile) -> Iterator[str]:
    if len(ours.segments) != theirs.num_segments():
        yield "number of segments"
    fields = ("p_flags", "p_offset", "p_vaddr", "p_filesz", "p_memsz", "p_align")
    for mine, segment in zip(ours.segments, theirs.iter_segments()):
        if list(mine[1:]) != [segment[field] for field in fields]:
            yield f"segment {mine}"


def compare_sections(ours: ElfFile, theirs: ELFFile, rows: int | None) -> Iterator[str]:
    if len(ours.sections) != theirs.num_sections():
        yield "number of sections"
    fields = ("flags", "addr", "offset", "size", "link", "info", "addralign", "entsize")
    versions = SectionVersions(theirs)
    build_id = None
    for mine, section in zip(ours.sections, theirs.iter_sections()):
        if mine.name != section.name or list(mine[3:]) != [section["sh_" + field] for field in fields]:
            yield f"section {mine}"
        if mine.type == SHT_NOBITS:
            continue
        if isinstance(section, SymbolTableSection):
            yield from compare_symbols(ours, mine, section, versions, rows)
        elif isinstance(section, RelocationSection) and ours.machine != enums.ENUM_E_MACHINE["EM_MIPS"]:
            # (MIPS packs r_info in another way, in 64-bit files)
            entries = ours.relocations(mine)
            if len(entries) != section.num_relocations():
                yield f"number of relocations in {mine.name}"
            for index in sample(len(entries), rows):
                other = section.get_relocation(index)
                addend = other["r_addend"] if section.is_RELA() else None
                if entries[index] != (other["r_offset"], other["r_info_type"], other["r_info_sym"], addend):
                    yield f"relocation {index} of {mine.name}"
        elif isinstance(section, NoteSection):
            for note in section.iter_notes():
                if note["n_type"] == "NT_GNU_BUILD_ID" and note["n_name"] == "GNU" and build_id is None:
                    build_id = note["n_desc"]
    if ours.sections and ours.build_id() != build_id:
        yield f"build ID {ours.build_id()} is not {build_id}"


class SectionVersions:
    """Versions of dynamic symbols the way pyelftools has them."""

    def __init__(self, theirs: ELFFile) -> None:
        sections = list(theirs.iter_sections())
        self.indices = next((each for each in sections if isinstance(each, GNUVerSymSection)), None)
        self.definitions = next((each for each in sections if isinstance(each, GNUVerDefSection)), None)
        self.needs = next((each for each in sections if isinstance(each, GNUVerNeedSection)), None)

    def of(self, index: int) -> tuple[str | None, bool]:
        if self.indices is None:
            return None, False
        version = self.indices.get_symbol(index).entry["ndx"]
        if version in ("VER_NDX_LOCAL", "VER_NDX_GLOBAL"):
            return None, False
        hidden, version = bool(version & 0x8000), version & 0x7FFF
        if version < 2:
            return None, hidden
        if self.definitions is not None:
            found = self.definitions.get_version(version)
            if found is not None:
                return next(found[1]).name, hidden
        return self.needs.get_version(version)[1].name, hidden


def compare_symbols(ours, mine, section, versions: SectionVersions, rows: int | None) -> Iterator[str]:
    symbols = ours.symbols(mine)
    if len(symbols) != section.num_symbols():
        yield f"number of symbols in {mine.name}"
    for index in sample(len(symbols), rows):
        symbol, other = symbols[index], section.get_symbol(index)
        info = other["st_info"]
        expected = (
            other.name,
            other["st_value"],
            other["st_size"],
            number(info["type"], enums.ENUM_ST_INFO_TYPE),
            number(info["bind"], enums.ENUM_ST_INFO_BIND),
            number(other["st_other"]["visibility"], enums.ENUM_ST_VISIBILITY),
        )
        # STT_LOOS and STT_GNU_IFUNC are one number
        if symbol[:6] != expected and symbol.name.isascii():
            yield f"{symbol} is not {expected}"
        place = number(other["st_shndx"], enums.ENUM_ST_SHNDX)
        if place != SHN_XINDEX and symbol.section_index != place:
            yield f"section of {symbol}"
        if mine.name == ".dynsym" and (symbol.version, symbol.hidden_version) != versions.of(index):
            yield f"version of {symbol} is not {versions.of(index)}"


def compare_dynamic(ours: ElfFile, theirs: ELFFile) -> Iterator[str]:
    """PT_DYNAMIC against pyelftools, and the tables it leads to against .dynsym."""
    for segment in theirs.iter_segments():
        if isinstance(segment, DynamicSegment) and ours.dynamic:
            tags = list(segment.iter_tags())[:-1]
            if [value for _, value in ours.dynamic] != [tag.entry.d_val for tag in tags]:
                yield "dynamic section"
            needed = tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED")
            soname = next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), None)
            if (ours.needed, ours.soname) != (needed, soname):
                yield f"{ours.needed} {ours.soname} is not {needed} {soname}"
    section = ours.section(".dynsym")
    if section is None or not ours.dynamic:
        return
    by_section, tables = ours.symbols(section), ours.dynamic_tables
    by_tables = tables.symbols
    sections = {symbol.index: symbol for symbol in by_section}
    if any(symbol != sections.get(symbol.index) for symbol in by_tables):
        yield "symbols by PT_DYNAMIC are not those of .dynsym"
    exported = [symbol for symbol in by_section if symbol.defined and symbol.binding and symbol.value]
    for symbol in exported[:: max(1, len(exported) // 100)]:
        if symbol.visibility in (1, 2) or symbol.type not in (0, 1, 2, 6, 10):
            continue
        found = tables.lookup(symbol.name, symbol.version)
        if found is None or (found.name, found.version) != (symbol.name, symbol.version):
            yield f"looking for {symbol} found {found}"


def compare_all(rows: int | None, seconds: float) -> tuple[int, int]:
    paths = [path for _, path in files()]
    deadline = time.monotonic() + seconds
    shares = [paths[start::WORKERS] for start in range(WORKERS)]
    with ProcessPoolExecutor(WORKERS) as pool:
        results = list(pool.map(compare_share, shares, [rows] * WORKERS, [deadline] * WORKERS))
    problems = [problem for _, _, found in results for problem in found]
    assert not problems, f"{len(problems)} differences:\n" + "\n".join(problems[:40])
    return sum(count for count, _, _ in results), sum(left for _, left, _ in results)


def test_our_reader_agrees_with_pyelftools_over_the_files_of_this_machine() -> None:
    compared, left = compare_all(ROWS, SECONDS)
    assert left == 0 or compared >= ENOUGH


@pytest.mark.soak
def test_our_reader_agrees_with_pyelftools_on_every_row_of_every_file() -> None:
    _, left = compare_all(None, float("inf"))
    assert left == 0


def test_an_object_file_is_read_the_same(compile, tmp_path: Path) -> None:
    source = tmp_path / "object.c"
    source.write_text("static int counter; int f(void) { return ++counter; } int g(void) { return f() * 2; }")
    data = compile(source, "-c", "-O1", "-ffunction-sections").read_bytes()
    assert list(differences(ElfFile(data), ELFFile(io.BytesIO(data)), None)) == []
