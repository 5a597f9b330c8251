# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A patch for another architecture, another build, other code, or no patch at all: refused, nothing touched."""

from __future__ import annotations

import dataclasses
import itertools
import os

import jsonschema
import pytest

from livepatch.artifact.schema import json_schema
from livepatch.cpu import ALL
from livepatch.errors import Refused
from tests import artifacts, mutations
from tests.harness import manifests, product, toolchain, traces
from tests.harness.product import livepatch
from tests.killing import injector


def refused(answer: product.Answer, *reasons: str) -> None:
    """One refusal, for one of these reasons, or one that concerns all of the run."""
    assert answer.code == 3, answer
    assert answer.report["changed"] is False
    said = {process["reason"] for process in answer.processes} or {answer.report.get("reason")}
    assert said <= set(reasons), answer


def test_a_patch_for_the_other_architecture(cpu, patient, tmp_path):
    it = patient()
    (other,) = (each for each in ALL if each is not cpu)
    pair = toolchain.pair("worker.c", "work.c", other.name)
    artifact = product.build(pair, tmp_path / "other.lp.o", "other", "1")
    with traces.untouched(it.pid):
        refused(livepatch("apply", "--pid", it.pid, artifact), "wrong_architecture")


def test_an_x32_artifact(patient, cpu, tmp_path):
    it = patient()
    source = tmp_path / "x32.c"
    source.write_text(artifacts.SOURCE)
    sections = mutations.Sections(toolchain.gcc(source, flags=("-mx32", *artifacts.FLAGS)).read_bytes())
    sections.append(".livepatch.manifest", mutations.spelled(artifacts.document()))
    artifact = tmp_path / "x32.lp.o"
    artifact.write_bytes(sections.data)
    with traces.untouched(it.pid):
        refused(livepatch("apply", "--pid", it.pid, artifact), "x32")


def test_an_x32_program_as_the_builders_target(tmp_path):
    source = tmp_path / "start.c"
    source.write_text("void _start(void) { for (;;) ; }\n")
    flags = ("-mx32", "-nostdlib", "-static", "-no-pie", "-fno-pie")
    target = toolchain.gcc(source, flags=flags)
    pair = toolchain.pair("worker.c", "work.c", "x86_64")
    with pytest.raises(Refused, match="x32") as refusal:
        product.build(dataclasses.replace(pair, target=target), tmp_path / "x.lp.o", "x", "1")
    assert refusal.value.reason == "x32"


def test_another_build_of_the_same_program(cpu, patient, object_pair, start):
    it = patient()
    other = start(object_pair(flags=("-O1",)).program)
    with traces.untouched(other.pid):
        refused(livepatch("apply", "--pid", other.pid, it.artifact), "build_id_mismatch", "target_not_mapped")


def test_a_program_that_has_nothing_to_do_with_it(cpu, patient, compile, start):
    it = patient()
    other = start(compile("worker.c", "work.c", "-DANOTHER", "-O3"))
    with traces.untouched(other.pid):
        refused(livepatch("apply", "--pid", other.pid, it.artifact), "target_not_mapped", "build_id_mismatch")


@pytest.mark.parametrize("place", ["at the entry", "in the middle"])
def test_a_breakpoint_in_the_function(cpu, patient, place):
    """What a debugger or a uprobe writes: one byte of another instruction, through /proc/PID/mem."""
    it = patient()
    (function,) = manifests.read(it.artifact)["functions"]
    (extent,) = function["ranges"]
    base = next(
        int(line.split("-")[0], 16) for line in traces.maps(it.pid) if line.endswith(str(it.program.path))
    )
    address = base + extent["address"] + (0 if place == "at the entry" else extent["size"] // 2)
    original = traces.read(it.pid, address, 1)
    with open(f"/proc/{it.pid}/mem", "r+b", 0) as memory:
        os.pwrite(memory.fileno(), b"\xcc", address)
        with traces.untouched(it.pid):
            refused(it.apply(), "code_differs")
        os.pwrite(memory.fileno(), original, address)
    assert it.apply().status == "applied"


def test_mutated_artifacts(cpu, patient, tmp_path):
    """Every eleventh of all that are wrong in one place: the unit tests read them all, a process need not."""
    it = patient("worker.c", "work.c", 2)
    data = it.artifact.read_bytes()
    mutants = itertools.chain(
        mutations.truncated(data),
        mutations.broken_headers(data),
        mutations.broken_sections(data),
        mutations.broken_relocations(data),
        mutations.broken_symbols(data),
        broken_manifests(data),
    )
    path = tmp_path / "mutant.lp.o"
    with traces.untouched(it.pid):
        for mutant in itertools.islice(mutants, 0, None, 11):
            path.write_bytes(mutant.of)
            run = injector.run(["apply", "--json", "--pid", it.pid, path])
            assert run.code == 3, f"{mutant.name}: exit {run.code}: {run.output.decode()}"
            assert run.report["changed"] is False, mutant.name
    assert it.program.ask("work 10") == "31"
    assert it.apply().status == "applied"


def broken_manifests(data: bytes):
    """The artifact with its manifest wrong by the schema's word."""
    manifest = manifests.of(data)
    right = jsonschema.Draft202012Validator(json_schema()).is_valid
    for mutant in mutations.manifests(manifest):
        if not right(mutant.of):
            yield mutations.Mutant(mutant.name, manifests.replaced(data, mutations.spelled(mutant.of)))


def test_a_manifest_that_is_well_formed_and_wrong(cpu, patient, tmp_path):
    """Every address, size and digest that a patch is held against the process with, wrong by a little."""
    it = patient()
    data = it.artifact.read_bytes()
    path = tmp_path / "wrong.lp.o"
    wrong = {
        "address": lambda manifest, extent: extent.update(address=extent["address"] + 16),
        "size": lambda manifest, extent: extent.update(size=extent["size"] - 1),
        "digest": lambda manifest, extent: extent.update(sha256="0" * 64),
        "build ID": lambda manifest, extent: manifest["target"].update(build_id="00" * 20),
        "a higher injector": lambda manifest, extent: manifest.update(needs_injector=99),
        "a higher format": lambda manifest, extent: manifest.update(format=99),
    }
    with traces.untouched(it.pid):
        for name, change in wrong.items():
            manifest = manifests.of(data)
            change(manifest, manifest["functions"][0]["ranges"][0])
            path.write_bytes(manifests.replaced(data, mutations.spelled(manifest)))
            answer = livepatch("apply", "--pid", it.pid, path)
            assert (answer.code, answer.report["changed"]) == (3, False), f"{name}: {answer}"
    assert it.program.ask("work 10") == "31"
