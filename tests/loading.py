# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A compiled object becomes a patch in a real process, with no builder and no plan in between."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from elftools.elf.elffile import ELFFile

from livepatch.artifact.manifest import Reference
from livepatch.cpu import Cpu
from livepatch.elf.file import ElfFile
from livepatch.loading import load
from livepatch.loading.layout import Layout, lay_out
from livepatch.loading.link import Linked, link
from livepatch.loading.place import find_gap
from livepatch.loading.resolve import resolve
from livepatch.process import snapshot
from tests.borrowing import Lender
from tests.harness.program import Program

LEDGER = b"a ledger, for example".ljust(256, b"\0")
ID = "0123456789abcdef" * 4


def symbols_of(target: Path) -> dict[str, int]:
    """What .symtab of the target says: name -> link-time address."""
    with target.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {
            each.name: each["st_value"] for each in table.iter_symbols() if each["st_shndx"] != "SHN_UNDEF"
        }


def artifact_of(patch: Path, target: Path) -> Any:
    """As much of an artifact as resolving needs: what the target has is bound to it, all else is imported."""
    elf, known = ElfFile(patch.read_bytes()), symbols_of(target)
    undefined = [
        each.name for each in elf.symbols()[1:] if not each.defined and not each.name.startswith("_GLOBAL_")
    ]
    references = tuple(
        Reference(name, "target", known[name], None, None)
        if name in known
        else Reference(name, "import", 0, None, None)
        for name in undefined
    )
    return SimpleNamespace(elf=elf, manifest=SimpleNamespace(references=references))


class Patch:
    """An object, resolved, placed and linked for one process."""

    layout: Layout
    linked: Linked

    def __init__(
        self, program: Program, cpu: Cpu, patch: Path, target: Path, functions: tuple[str, ...]
    ) -> None:
        self.lender = Lender(program, cpu)
        self.pid, self.cpu = program.pid, cpu
        with snapshot.take(program.pid) as seen:
            self.image = next(each for each in seen.images if each.name == target.name)
            artifact = artifact_of(patch, target)
            self.layout = lay_out(artifact.elf, cpu, len(LEDGER), functions)
            symbols = resolve(artifact, self.image, seen)
            area = (self.image.start, self.image.end)
            text, data = find_gap(self.layout, seen.mappings, area, seen.executable.end)
            self.linked = link(self.layout, text, data, symbols)
        self.content = load.Content(
            LEDGER + self.linked.data[len(LEDGER) :],
            self.linked.text,
            self.layout.data_span,
            self.layout.text_span,
        )
        self.text = (self.linked.text_address, self.layout.text_span)
        self.data = (self.linked.data_address, self.layout.data_span)
        known = symbols_of(target)
        self.jumps = {
            self.image.bias + known[name] & cpu.mask: self.linked.functions[name] for name in functions
        }

    def load(self) -> None:
        with self.lender.hold(
            self.pid, scratch=load.scratch(ID), calls=load.calls_needed(self.content)
        ) as hold:
            load.load(hold, self.content, self.data[0], self.text[0])

    def unload(self) -> None:
        with self.lender.hold(self.pid, calls=load.UNLOAD_CALLS) as hold:
            load.unload(hold, [self.text], self.data)

    def switch(self) -> dict[int, bytes]:
        """Write the jumps. The program must be idle, blocked far from what changes; returns the old bytes."""
        old = {address: self.lender.memory.read(address, self.cpu.jump_size) for address in self.jumps}
        for address, new in self.jumps.items():
            self.lender.memory.write(address, self.cpu.encode_jump(address, new))
        return old

    def switch_back(self, old: dict[int, bytes]) -> None:
        for address, code in old.items():
            self.lender.memory.write(address, code)
