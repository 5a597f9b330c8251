# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An artifact for a Go program: no builder of ours makes one, and the refusal must not depend on its absence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from elftools.elf.elffile import ELFFile

from livepatch.cpu import Cpu
from tests.harness import manifests, product, toolchain


def artifact(program: Path, function: str, folder: Path, cpu: Cpu) -> Path:
    """A patch that fits in everything: identity, addresses and bytes are those of the Go function.

    Made from a small C patch of our own whose manifest is rewritten; an artifact's id is its file's digest, so
    that the result is as good as a built one.
    """
    source = folder / "small.c"
    source.write_text(
        "#ifdef FIXED\nint small(int x) { return 5 * x + 2; }\n#else\nint small(int x) { return 5 * x + 1; }\n#endif\n"
    )
    main = folder / "main.c"
    main.write_text("extern int small(int);\nint main(int argc, char **argv) { return small(argc); }\n")
    pair = toolchain.pair(main, source, cpu.name, "non_pie")
    made = product.build(pair, folder / "go.lp.o", "go", "1")

    manifest = manifests.read(made)
    with program.open("rb") as file:
        elf = ELFFile(file)
        (symbol,) = elf.get_section_by_name(".symtab").get_symbol_by_name(function)
        address, size = symbol["st_value"], symbol["st_size"]
        digest = hashlib.sha256()
        for segment in elf.iter_segments("PT_LOAD"):
            if segment["p_flags"] & 1:
                digest.update(segment.data())
                start = address - segment["p_vaddr"]
                code = segment.data()[start : start + size]
    manifest["target"].update(
        build_id=None, text_sha256=digest.hexdigest(), name=program.name, soname=None, type="ET_EXEC"
    )
    (entry,) = manifest["functions"]
    entry.update(
        name=function,
        ranges=[{"address": address, "size": size, "sha256": hashlib.sha256(code).hexdigest()}],
        text_relocations=[],
        copies=[],
    )
    made.write_bytes(manifests.replaced(made.read_bytes(), json.dumps(manifest).encode()))
    return made
