# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our unwind rules against those that readelf prints, row by row, for the libraries of this machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from livepatch.elf import cfi
from livepatch.elf.cfi import Row, Rule
from livepatch.elf.frames import FrameTable
from tests.harness.toolchain import BITS, EXECUTABLES, gcc

NAMES = {
    64: ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip"),
    32: ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip"),
}
LIBRARIES = ("libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "ld-linux")
LOADERS = {"x86_64": "ld-linux-x86-64.so.2", "i386": "ld-linux.so.2"}


def library(name: str, arch: str) -> Path:
    """A library of this machine, as gcc finds it."""
    asked = subprocess.run(
        ["gcc", BITS[arch], f"-print-file-name={LOADERS[arch] if name == 'ld-linux' else name}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return Path(asked.stdout.strip()).resolve(strict=True)


def printed(path: Path) -> dict[int, dict[str, str]]:
    """Address -> column -> rule, for the rows of all functions, as readelf writes them."""
    # It exits with 1 where a library names a separate debug file that is not installed.
    done = subprocess.run(
        ["readelf", "--wide", "--debug-dump=frames-interp", str(path)], capture_output=True, text=True
    )
    found: dict[int, dict[str, str]] = {}
    shared: dict[str, dict[str, str]] = {}  # the row of each CIE, by its offset
    columns: list[str] = []
    cie, end = "", 0
    for line in done.stdout.splitlines():
        function = re.search(r" FDE cie=([0-9a-f]+) pc=([0-9a-f]+)\.\.([0-9a-f]+)", line)
        if function:
            cie, end = "", int(function[3], 16)
            # Where the function adds nothing to its CIE, no row is printed.
            found[int(function[2], 16)] = shared.get(function[1], {})
        elif " CIE " in line:
            cie = line.split()[0]
        elif line.strip().startswith("LOC"):
            columns = line.split()[1:]
        elif re.match(r"[0-9a-f]{8,16} [^Z]", line):
            address, *rules = re.sub(r"\br\d+ \((\w+)\)", r"\1", line).split()
            if cie:
                shared[cie] = dict(zip(columns, rules))
            elif int(address, 16) < end:  # a last row of no length: nothing is ever looked up there
                # Rows of one address: only the last one ever counts.
                found[int(address, 16)] = dict(zip(columns, rules))
    return found


def shown(rule: Rule | None, names: tuple[str, ...]) -> str:
    """A rule in readelf's words; it writes u for a register that has none."""
    if rule is None or rule.kind == cfi.UNDEFINED:
        return "u"
    return {
        cfi.SAME_VALUE: "s",
        cfi.AT_OFFSET: f"c{rule.offset:+d}",
        cfi.IS_OFFSET: f"v{rule.offset:+d}",
        cfi.REGISTER: names[rule.register] if rule.register < len(names) else "?",
        cfi.AT_EXPRESSION: "exp",
        cfi.IS_EXPRESSION: "vexp",
    }[rule.kind]


def difference(row: Row, columns: dict[str, str], names: tuple[str, ...]) -> str | None:
    """What readelf says otherwise about a row."""
    cfa = "exp" if row.cfa.kind == cfi.IS_EXPRESSION else f"{names[row.cfa.register]}{row.cfa.offset:+d}"
    ours = {name: shown(row.rules.get(number), names) for number, name in enumerate(names)}
    ours.update(CFA=cfa, ra=shown(row.rules.get(row.return_address), names))
    del ours[names[row.return_address]]
    for name in {*columns, *(name for name, rule in ours.items() if rule not in ("u", "s"))}:
        if ours.get(name, "u") != columns.get(name, "u"):
            return f"{name}: {ours.get(name)}, readelf says {columns.get(name)}"
    return None


def both_tables(path: Path) -> list[FrameTable]:
    """The table of the section alone, and the one by way of the program headers where they lead to one."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        word = elf.elfclass // 8
        section = elf.get_section_by_name(".eh_frame")
        tables = [FrameTable.from_section(section.data(), section["sh_addr"], word)]
        for header in elf.iter_segments("PT_GNU_EH_FRAME"):
            for load in elf.iter_segments("PT_LOAD"):
                if load["p_vaddr"] <= header["p_vaddr"] < load["p_vaddr"] + load["p_filesz"]:
                    tables.append(FrameTable.from_header(load.data(), load["p_vaddr"], header["p_vaddr"], word))
    return tables


def compare(path: Path, elf_class: int) -> None:
    """Every row that readelf prints must be ours, through both tables."""
    names = NAMES[elf_class]
    expected = printed(path)
    differences = []
    for table in both_tables(path):
        for address, columns in expected.items():
            row = table.row(address)
            if row is None or row.start != address:
                differences.append(f"{address:#x}: {row}")
            else:
                said = difference(row, columns, names)
                if said:
                    differences.append(f"{address:#x}: {said}")
        ours = {row.start for fde in table for row in cfi.rows(fde.program)}
        differences += [f"{address:#x}: readelf has no such row" for address in ours - expected.keys()]
    assert not differences, f"{path}: {len(differences)} differ\n" + "\n".join(differences[:20])
    assert len(expected) > 20


@pytest.mark.parametrize("arch", BITS)
@pytest.mark.parametrize("name", LIBRARIES)
def test_every_row_of_a_system_library_is_what_readelf_prints(name: str, arch: str) -> None:
    compare(library(name, arch), 64 if arch == "x86_64" else 32)


@pytest.mark.parametrize("arch", BITS)
@pytest.mark.parametrize("linkage", EXECUTABLES)
def test_every_row_of_an_executable_is_what_readelf_prints(linkage: str, arch: str) -> None:
    program = gcc("worker.c", "work.c", flags=(BITS[arch], *EXECUTABLES[linkage]))
    compare(program, 64 if arch == "x86_64" else 32)
