# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""New code calls memcpy, memset and strlen, which on glibc are indirect functions (IFUNC)."""

from __future__ import annotations

import pytest

from livepatch.build import pipeline
from livepatch.build.request import BuildRequest
from tests.harness import toolchain, traces

LONG = "0123456789"
# The compiler shall not put them in place of the calls; without, i386 would call memcpy in few linkages.
FLAGS = ("-fno-builtin",)


@pytest.mark.parametrize("linkage", toolchain.LINKAGES)
def test_in_every_linkage(cpu, patient, linkage):
    it = patient("copier.c", "copies.c", linkage=linkage, flags=FLAGS)
    assert it.program.ask(LONG) == f"copied {LONG}"
    answer = it.apply()
    assert answer.status == "applied", answer
    assert it.program.ask(LONG) == "copied 0123456"
    assert it.program.ask("four") == "copied four"
    answer = it.revert()
    assert answer.status == "reverted", answer
    assert it.program.ask(LONG) == f"copied {LONG}"
    traces.assert_released(it.pid)


@pytest.mark.parametrize("linkage", ["pie", "static"])
def test_by_hand(cpu, patient, tmp_path, linkage):
    it = patient("copier.c", "copies.c", linkage=linkage, flags=FLAGS)
    source = tmp_path / "fix.c"
    source.write_text(
        "#include <string.h>\n"
        "int copies(const char *text, char *to, unsigned long room)\n"
        "{ memset(to, 0, room); memcpy(to, text, strlen(text) < room ? strlen(text) : room - 1); return to[0]; }\n"
    )
    request = BuildRequest(
        target=str(it.pair.target), patch_source=str(source), name="by-hand", version="1", cflags=list(FLAGS)
    )
    it.artifact.write_bytes(pipeline.build(request))
    answer = it.apply()
    assert answer.status == "applied", answer
    assert it.program.ask(LONG) == "copied 0123456"
