# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A patch that makes pointers to its own functions is known by its relocations."""

from __future__ import annotations

import pytest

from livepatch.elf.file import ElfFile
from livepatch.loading.addresses import takes_code_address
from livepatch.loading.layout import lay_out
from tests.harness import toolchain

HELPER = "__attribute__((noinline)) static int helper(int x) { return x * 3 + 1; }\n"
CALLS = HELPER + "int work(int x) { return helper(x) + helper(x + 1); }"
SWITCHES = (
    "int f(int), g(int); int work(int x) { switch (x) { case 0: return f(1); case 1: return g(2); case 2: return f(3);"
    " case 3: return g(4); case 4: return f(5); case 5: return g(7); case 6: return f(9); } return 0; }"
)
HANDS_OVER = HELPER + "int take(int (*)(int)); int work(int x) { return take(helper) + x; }"
STORES = HELPER + "int (*hook)(int); int work(int x) { hook = helper; return x; }"
KEEPS_IN_TABLE = HELPER + "int (*const table[])(int) = {helper, 0}; int work(int x) { return table[x](x); }"


@pytest.mark.parametrize("position", [("-fPIC",), ("-fPIE",), ("-fno-pie",)], ids=" ".join)
@pytest.mark.parametrize("optimised", ["-O0", "-O2"])
@pytest.mark.parametrize(
    ("source", "takes"),
    [(CALLS, False), (SWITCHES, False), (HANDS_OVER, True), (STORES, True), (KEEPS_IN_TABLE, True)],
    ids=["calls", "switches", "hands over", "stores", "keeps in a table"],
)
def test_it_is_seen_whether_a_function_s_address_is_taken(cpu, tmp_path, source, takes, position, optimised):
    file = tmp_path / "unit.c"
    file.write_text(source)
    flags = (toolchain.BITS[cpu.name], optimised, "-ffunction-sections", "-fdata-sections", "-c", *position)
    built = toolchain.gcc(file, flags=flags)
    layout = lay_out(ElfFile(built.read_bytes()), cpu, 0, ["work"])
    assert takes_code_address(layout) is takes
