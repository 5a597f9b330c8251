# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ELF reader on files: what it finds, and that hostile bytes get no other answer than Malformed."""

from __future__ import annotations

import hashlib
import random
import struct
import subprocess
import time
from pathlib import Path

import pytest

from livepatch import elf
from livepatch.elf import Malformed
from livepatch.elf.file import ElfFile
from livepatch.elf.gnu_hash import hash_of
from livepatch.elf.layout import ELF32, ELF64
from livepatch.elf.symbols import StringTable

MAP = Path(__file__).with_name("elf_shape.map")


@pytest.fixture
def library(compile) -> bytes:
    flags = ("-shared", "-fPIC", f"-Wl,--version-script={MAP}", "-Wl,-soname,libshape.so.1", "-Wl,-z,now")
    return compile("elf_shape.c", *flags).read_bytes()


def exercise(file: ElfFile) -> None:
    """Ask for everything there is."""
    for section in file.sections:
        file.content(section)
        for ask in (file.symbols, file.relocations):
            try:
                ask(section)
            except Malformed:
                pass
    for ask in (
        file.symbols,
        file.dynamic_symbols,
        file.build_id,
        file.text_sha256,
        file.plt_slots,
        lambda: (file.soname, file.needed, file.interpreter),
        lambda: file.dynamic_tables.symbols,
        lambda: [file.dynamic_tables.lookup(name) for name in ("answer", "chosen", "malloc", "")],
        lambda: file.dynamic_tables.lookup("answer", "SHAPE_1"),
        lambda: file.read(file.entry, 16),
    ):
        try:
            ask()
        except Malformed:
            pass


def read_all(data: bytes) -> None:
    try:
        exercise(ElfFile(data))
    except Malformed:
        pass


def test_a_library_says_what_it_is(cpu, library) -> None:
    file = ElfFile(library)
    assert (file.machine, file.elf_class, file.type) == (cpu.machine, cpu.elf_class, elf.ET_DYN)
    assert file.soname == "libshape.so.1"
    assert file.needed[0] == "libc.so.6" and file.needed[1].startswith("ld-linux")  # for __tls_get_addr
    text = file.section(".text")
    assert file.read(text.address, 16) == file.content(text)[:16]
    assert file.content(file.section(".bss")) == b""


def test_symbols_have_versions_types_and_visibility(cpu, library) -> None:
    file = ElfFile(library)
    found = {(symbol.name, symbol.version): symbol for symbol in file.dynamic_symbols()}
    assert found["answer", "SHAPE_1"].hidden_version
    assert not found["answer", "SHAPE_2"].hidden_version
    assert found["chosen", "SHAPE_2"].type == elf.STT_GNU_IFUNC
    assert found["per_thread", "SHAPE_2"].type == elf.STT_TLS
    assert found["maybe", "SHAPE_2"].binding == elf.STB_WEAK
    imported = next(symbol for symbol in found.values() if symbol.name == "getenv")
    assert not imported.defined and imported.version.startswith("GLIBC_")
    local = next(symbol for symbol in file.symbols() if symbol.name == "picked")
    assert local.binding == elf.STB_LOCAL and local.type == elf.STT_FUNC and local.size > 0


def test_the_default_version_answers_who_asks_for_none(cpu, library) -> None:
    tables = ElfFile(library).dynamic_tables
    assert tables.lookup("answer").version == "SHAPE_2"
    assert tables.lookup("answer", "SHAPE_1").version == "SHAPE_1"
    assert tables.lookup("answer", "SHAPE_3") is None
    assert tables.lookup("getenv") is None  # an import is no definition


def test_without_section_headers_everything_is_found_through_the_dynamic_section(cpu, library) -> None:
    whole = ElfFile(library)
    layout = whole.layout
    header = bytearray(library)
    # e_shoff, then e_shnum and e_shstrndx at the header's end
    struct.pack_into("<Q" if layout is ELF64 else "<I", header, 40 if layout is ELF64 else 32, 0)
    struct.pack_into("<HH", header, layout.header.size - 4, 0, 0)
    bare = ElfFile(bytes(header))
    assert bare.sections == []
    assert bare.symbols() == whole.dynamic_symbols()
    assert bare.build_id() == whole.build_id() is not None
    assert bare.dynamic_tables.lookup("answer").version == "SHAPE_2"


def test_identity_without_build_id_is_the_hash_of_the_executable_segments(cpu, library) -> None:
    file = ElfFile(library)
    digest = hashlib.sha256()
    for segment in file.segments:
        if segment.type == elf.PT_LOAD and segment.flags & elf.PF_X:
            digest.update(library[segment.offset : segment.offset + segment.file_size])
    assert file.text_sha256() == digest.hexdigest()


def test_an_object_has_sections_and_relocations(cpu, compile) -> None:
    file = ElfFile(compile("elf_shape.c", "-c", "-ffunction-sections").read_bytes())
    assert file.type == elf.ET_REL and file.segments == []
    section = next(each for each in file.sections if each.type in (elf.SHT_REL, elf.SHT_RELA))
    symbols = file.symbols()
    for relocation in file.relocations(section):
        assert relocation.symbol_index < len(symbols)
        assert (relocation.addend is None) == (section.type == elf.SHT_REL)


def test_x32_is_readable_so_that_it_can_be_refused(compile) -> None:
    read = bytearray(compile("elf_plain.c", "-m32", "-shared", "-fPIC", "-Wl,-soname,libx32.so").read_bytes())
    struct.pack_into("<H", read, 18, elf.EM_X86_64)
    file = ElfFile(bytes(read))
    assert (file.machine, file.elf_class, file.soname) == (elf.EM_X86_64, 32, "libx32.so")
    assert file.symbols()


def test_separate_debuginfo_keeps_its_build_id_and_has_no_dynamic_section(cpu, compile, tmp_path) -> None:
    program = compile("elf_shape.c")
    debug = tmp_path / "shape.debug"
    subprocess.run(["objcopy", "--only-keep-debug", program, debug], check=True)
    file = ElfFile(debug.read_bytes())
    assert file.build_id() == ElfFile(program.read_bytes()).build_id()
    assert file.dynamic == ()
    assert any(symbol.name == "main" for symbol in file.symbols())


@pytest.mark.parametrize("length", [0, 3, 15, 16, 40, 63])
def test_a_truncated_header_is_malformed(length) -> None:
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + bytes(48)
    with pytest.raises(Malformed):
        ElfFile(header[:length])


@pytest.mark.parametrize("ident", [b"\x7fELG\x02\x01", b"\x7fELF\x03\x01", b"\x7fELF\x02\x02"])
def test_what_is_no_little_endian_elf_is_malformed(ident) -> None:
    with pytest.raises(Malformed):
        ElfFile(ident + bytes(100))


def test_every_byte_of_the_headers_may_be_anything(cpu, library) -> None:
    """Each byte of the ELF header, program headers and dynamic section, with the values that hurt."""
    file = ElfFile(library)
    layout = file.layout
    dynamic = next(segment for segment in file.segments if segment.type == elf.PT_DYNAMIC)
    places = [
        *range(layout.header.size + len(file.segments) * layout.segment.size),
        *range(dynamic.offset, dynamic.offset + dynamic.file_size),
    ]
    for place in places:
        data = bytearray(library)
        for value in (0x00, 0xFF, data[place] ^ 0x80):
            data[place] = value
            read_all(bytes(data))


def test_every_field_of_the_tables_may_be_anything(cpu, library) -> None:
    """Section headers, symbols, versions, hash and relocation tables: seeded random words."""
    random_numbers = random.Random(20260101 + cpu.elf_class)
    file = ElfFile(library)
    layout = file.layout
    names = (".dynsym", ".gnu.hash", ".gnu.version", ".gnu.version_d", ".gnu.version_r", ".note.gnu.build-id",
             ".rela.plt", ".rel.plt", ".rela.dyn", ".rel.dyn", ".symtab")
    ranges = [(each.offset, each.size) for each in map(file.section, names) if each is not None]
    start = struct.unpack_from("<Q" if layout is ELF64 else "<I", library, 40 if layout is ELF64 else 32)[0]
    ranges += [(start, layout.section.size * len(file.sections))] * 3
    for offset, size in ranges:
        for _ in range(150):
            data = bytearray(library)
            for _ in range(random_numbers.choice((1, 1, 1, 8))):
                place = offset + random_numbers.randrange(max(1, size - 4)) & -4
                word = random_numbers.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, random_numbers.getrandbits(32)))
                struct.pack_into("<I", data, place, word)
            read_all(bytes(data))


def test_every_truncation_is_malformed_or_read(cpu, library) -> None:
    for length in range(0, len(library), 61):
        read_all(library[:length])


def test_names_that_overlap_without_end_are_malformed() -> None:
    """A million symbols, each with a tail of the same long string: the square of the file's size."""
    strings = StringTable(b"x" * 200_000 + b"\0")
    begin = time.process_time()
    with pytest.raises(Malformed):
        for offset in range(200_000):
            strings.at(offset)
    assert time.process_time() - begin < 5


def test_names_that_are_no_utf8_can_be_printed() -> None:
    strings = StringTable("\0größe\0".encode() + b"\xff\xfe\0")
    assert strings.at(1) == "größe"
    assert strings.at(9) == "\\xff\\xfe"


def test_the_gnu_hash_is_the_published_one() -> None:
    assert hash_of("printf") == 0x156B2BB8
    assert hash_of("") == 5381


def test_the_layouts_have_the_sizes_of_the_standard() -> None:
    """gABI 4.1, figures 4-3, 4-8, 4-16, 4-19, 5-1 and 5-9."""
    for layout, sizes in ((ELF64, (64, 56, 64, 24, 16, 24, 16)), (ELF32, (52, 32, 40, 16, 8, 12, 8))):
        assert tuple(getattr(layout, name).size for name in
                     ("header", "segment", "section", "symbol", "rel", "rela", "dynamic")) == sizes
