# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause

"""elf: what the bytes of an ELF file or of a mapped ELF image say.

::

      a file (bytes, mmap)                      memory of a process: read(address, size)
             |                                               |
          file.py  ElfFile                            loaded.py  LoadedImage
             |   sections, segments, notes                   |   segments, bias, notes
             |                                               |
             +---------------------+-------------------------+
                                   |
                   dynamic.py   DT_* entries and the tables they lead to
                   gnu_hash.py  a name's symbols without reading all names
                   versions.py  GLIBC_2.17 and its like, default or hidden
                   symbols.py   Symbol, StringTable
                   notes.py     build ID
                   layout.py    the records of both classes, as struct formats

                   frames.py      FrameTable: the unwind rule at an address
                   eh_frame.py    its records, CIEs and FDEs
                   cfi.py         their instructions
                   expression.py  DWARF expressions in them
                   cursor.py      reading forwards through hostile bytes

The room knows no process, no architecture and no policy: it reads little-endian files of either
class for any machine (x32, EM_X86_64 with ELFCLASS32, too, so that callers can refuse it by name).
Addresses are link-time virtual addresses of the file everywhere, also in a mapped image
(memory address = link-time address + bias).

The bytes may come from an attacker. Every offset, size, count and index is checked before use, and
whatever does not fit raises :class:`Malformed`, nothing else. Time and memory are bounded by the
size of what is read.

Sources: gABI 4.1 chapters 4 and 5, "Linux Standard Base" 5.0 core for GNU notes and symbol versions,
glibc elf/dl-lookup.c for what a dynamic linker makes of them. Constants have their names in elf(5).
"""

from __future__ import annotations


class Malformed(ValueError):
    """These bytes are no ELF that we can read: the message says what does not fit, and where."""


ELFCLASS32, ELFCLASS64 = 1, 2
ELFDATA2LSB = 1

ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
EM_386, EM_X86_64 = 3, 62

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_PHDR, PT_TLS = 1, 2, 3, 4, 6, 7
PT_GNU_EH_FRAME, PT_GNU_STACK, PT_GNU_RELRO = 0x6474E550, 0x6474E551, 0x6474E552
PN_XNUM = 0xFFFF  # e_phnum: the real number is sh_info of section 0
PF_X, PF_W, PF_R = 1, 2, 4

SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_HASH, SHT_DYNAMIC, SHT_NOTE = 1, 2, 3, 4, 5, 6, 7
SHT_NOBITS, SHT_REL, SHT_DYNSYM, SHT_GROUP, SHT_SYMTAB_SHNDX = 8, 9, 11, 17, 18
SHT_GNU_VERDEF, SHT_GNU_VERNEED, SHT_GNU_VERSYM = 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_MERGE, SHF_STRINGS = 0x1, 0x2, 0x4, 0x10, 0x20
SHF_GROUP, SHF_TLS = 0x200, 0x400
SHN_UNDEF, SHN_LORESERVE, SHN_ABS, SHN_COMMON, SHN_XINDEX = 0, 0xFF00, 0xFFF1, 0xFFF2, 0xFFFF

STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION, STT_FILE, STT_COMMON, STT_TLS = 0, 1, 2, 3, 4, 5, 6
STT_GNU_IFUNC = 10
STB_LOCAL, STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE = 0, 1, 2, 10
STV_DEFAULT, STV_INTERNAL, STV_HIDDEN, STV_PROTECTED = 0, 1, 2, 3

DT_NULL, DT_NEEDED, DT_PLTRELSZ, DT_PLTGOT, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_RELA = 0, 1, 2, 3, 4, 5, 6, 7
DT_RELASZ, DT_RELAENT, DT_STRSZ, DT_SYMENT, DT_INIT, DT_FINI, DT_SONAME = 8, 9, 10, 11, 12, 13, 14
DT_RPATH, DT_SYMBOLIC, DT_REL, DT_RELSZ, DT_RELENT, DT_PLTREL, DT_DEBUG = 15, 16, 17, 18, 19, 20, 21
DT_TEXTREL, DT_JMPREL = 22, 23
DT_RUNPATH, DT_FLAGS = 29, 30
DT_GNU_HASH = 0x6FFFFEF5
DT_VERSYM, DT_VERDEF, DT_VERDEFNUM = 0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD
DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF

NT_GNU_BUILD_ID = 3
