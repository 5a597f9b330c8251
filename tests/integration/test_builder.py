# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Artifacts that the builder makes of real compilers' output, for every kind of target."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from livepatch.artifact import file as artifact_file
from livepatch.artifact.file import Artifact
from livepatch.build import pipeline
from livepatch.build.request import BuildRequest
from livepatch.build.target import TargetFile
from livepatch.cpu import I386, Cpu
from tests.harness import product, toolchain
from tests.harness.workshop import Workshop


@pytest.fixture(params=toolchain.LINKAGES)
def linkage(request: pytest.FixtureRequest) -> str:
    """How the target is linked."""
    return request.param


@pytest.fixture(params=["-O0", "-O2"])
def level(request: pytest.FixtureRequest) -> str:
    """How far the compiler optimises."""
    return request.param


def readelf(path: Path | str, *options: str) -> str:
    return subprocess.run(
        ["readelf", "-W", *options, str(path)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def built(pair: toolchain.Pair) -> Artifact:
    request = BuildRequest(
        str(pair.target), "fix", "1", old_objects=[str(pair.old)], new_objects=[str(pair.new)]
    )
    return artifact_file.parse(pipeline.build(request))


def test_every_kind_of_target_gets_its_artifact(cpu: Cpu, linkage: str, level: str) -> None:
    pair = toolchain.pair("worker.c", "work.c", arch=cpu.name, linkage=linkage, flags=(level,))
    artifact = built(pair)
    manifest = artifact.manifest
    assert (manifest.arch, [each.name for each in manifest.functions]) == (cpu.name, ["work"])
    assert manifest.functions[0].entry_safe and manifest.functions[0].convention == "standard"

    header = readelf(pair.target, "-n", "-s")
    (build_id,) = re.findall(r"Build ID: (\w+)", header)
    assert manifest.target.build_id == build_id
    rows = [line.split() for line in header.splitlines()]
    addresses = {row[7]: int(row[1], 16) for row in rows if len(row) == 8 and row[0][:-1].isdigit()}
    (code,) = manifest.functions[0].ranges
    assert code.address == addresses["work"]
    assert (
        code.sha256 == hashlib.sha256(TargetFile(str(pair.target)).read(code.address, code.size)).hexdigest()
    )

    references = {each.symbol: each for each in manifest.references}
    assert references["calls"].address == addresses["calls"]
    if linkage == "library":  # a program may have the variable instead, by a copy relocation
        assert (references["scale"].kind, references["scale"].library) == ("import", "libwork.so")
    else:
        assert references["scale"].address == addresses["scale"]
    if linkage.startswith("static"):
        assert references["printf"].address == addresses["printf"]
    else:
        assert (references["printf"].kind, references["printf"].library) == ("import", "libc.so.6")
        assert str(references["printf"].version).startswith("GLIBC_2.")


def test_the_artifact_is_an_object_that_binutils_understand(cpu: Cpu, tmp_path: Path) -> None:
    pair = toolchain.pair("worker.c", "work.c", arch=cpu.name, linkage="pie")
    path = tmp_path / "fix.lp.o"
    path.write_bytes(built(pair).data)
    assert "REL (Relocatable file)" in readelf(path, "-h")
    assert "R_X86_64_" in readelf(path, "-r") or "R_386_" in readelf(path, "-r")
    assert "DW_CFA_def_cfa" in readelf(path, "--debug-dump=frames")
    code = ".text.work"
    before, after = (
        subprocess.run(
            ["objcopy", "-O", "binary", "-j", code, each, "/dev/stdout"], stdout=subprocess.PIPE
        ).stdout
        for each in (pair.new, path)
    )
    assert before and (before == after or cpu.word == 4)  # i386: addends stand in the fields
    linked = tmp_path / "linked"
    names = [each.symbol for each in artifact_file.read(str(path)).manifest.references]
    defined = [f"--defsym={name}=0x400000" for name in names]
    emulation = {8: "elf_x86_64", 4: "elf_i386"}[cpu.word]
    command = ["ld", "-m", emulation, "-e", "work", "-Ttext=0x401000", *defined, "-o", str(linked), str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


def test_the_same_inputs_give_the_same_bytes(cpu: Cpu, tmp_path: Path) -> None:
    pair = toolchain.pair("worker.c", "work.c", arch=cpu.name, linkage="library")
    first = product.build(pair, tmp_path / "first.lp.o", "fix", "1").read_bytes()
    second = product.build(pair, tmp_path / "second.lp.o", "fix", "1").read_bytes()
    assert first == second


def test_the_target_without_build_id_is_known_by_its_text(cpu: Cpu, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "shop", cpu, linking=("-shared", "-Wl,--build-id=none"))
    patch = workshop.patch(
        "int work(int x) { return x * 300 + 1; }", "int work(int x) { return x * 300 + 2; }"
    )
    assert patch.manifest.target.build_id is None
    assert re.fullmatch("[0-9a-f]{64}", patch.manifest.target.text_sha256)


def test_words_that_the_dynamic_linker_writes_into_code_are_listed(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "shop", I386, ("-fno-pic",), ("-shared", "-Wl,-z,notext"))
    source = "int scale; extern int outside(int); int work(int x) { return outside(x) * scale + %d; }"
    rest = "int outside(int x) { return x; }"
    (function,) = workshop.patch(source % 1, source % 2, rest).manifest.functions
    listed = readelf(workshop.request(source % 1, source % 2, rest).target, "-r")
    inside = [
        int(row[0], 16) - function.ranges[0].address
        for row in (line.split() for line in listed.splitlines())
        if len(row) >= 3 and row[2].startswith("R_386_")
        and 0 <= int(row[0], 16) - function.ranges[0].address < function.ranges[0].size
    ]  # fmt: skip
    assert [(each.offset, each.size) for each in function.text_relocations] == [
        (each, 4) for each in sorted(inside)
    ]
    assert inside


def test_a_static_variable_is_found_by_who_refers_to_it(cpu: Cpu, tmp_path: Path) -> None:
    """The numbers of ``count.N`` differ between the builds; the code that uses them says which is which."""
    workshop = Workshop(tmp_path / "shop", cpu)
    old = """
    int one(int x) { static int count; return count += x; }
    int two(int x) { static int count; return count *= x + %d; }"""
    new = "int zero(int x) { static int count; return count ^= x; }" + old
    request = workshop.request(old % 1, new % 2)
    manifest = artifact_file.parse(pipeline.build(request)).manifest
    (reference,) = manifest.references
    assert [each.name for each in manifest.functions] == ["two"]
    assert reference.address == _address_in(cpu, request.target, "two")


def _address_in(cpu: Cpu, target: str, function: str) -> int:
    """Where the ``count`` is that a function uses, as objdump reads the code of a library."""
    text = subprocess.run(
        ["objdump", "-d", f"--disassemble={function}", target], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    if cpu.word == 8:
        return int(re.findall(r"# ([0-9a-f]+) <count", text)[0], 16)
    got = next(each.address for each in TargetFile(target).named("_GLOBAL_OFFSET_TABLE_"))
    (offset,) = set(re.findall(r"(-?0x[0-9a-f]+)\(%e[abcd]x\)", text))
    return got + int(offset, 16)


def test_a_string_that_changed_changes_its_function_alone(cpu: Cpu, level: str, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "shop", cpu)
    unit = 'const char *one(void) { return "%s and"; } const char *two(void) { return "%s and"; }'
    patch = workshop.patch(unit % ("a", "b"), unit % ("a", "c"), flags=(level,))
    assert [each.name for each in patch.manifest.functions] == ["two"]


def test_a_jump_table_comes_along(cpu: Cpu, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "shop", cpu)
    cases = " ".join(f"case {number}: return f{number % 3}(x * {number});" for number in range(12))
    unit = "int f0(int), f1(int), f2(int); int work(int x) { switch (x) { %s } return %d; }"
    rest = "int f0(int x) { return x; } int f1(int x) { return x; } int f2(int x) { return x; }"
    patch = workshop.patch(unit % (cases, 1), unit % (cases, 2), rest)
    assert patch.elf.section(".rodata.work") is not None
    assert {each.kind for each in patch.manifest.references} == {"target"}


def test_the_address_of_a_replaced_function_stays_the_targets(cpu: Cpu, tmp_path: Path) -> None:
    """What is stored must stay right after a revert, and equal to what is stored already; a call goes straight."""
    workshop = Workshop(tmp_path / "shop", cpu)
    unit = """
    int leaf(int x) { return x * 300 + %d; }
    int (*kept)(int);
    int work(int x) { if (kept != leaf) kept = leaf; return leaf(x) + %d; }"""
    patch = workshop.patch(unit % (1, 1), unit % (2, 2))
    leaf, _ = patch.manifest.functions
    old = [each for each in patch.manifest.references if each.address == leaf.ranges[0].address]
    assert len(old) == 1 and old[0].symbol != leaf.symbol == "leaf"


def test_two_statics_of_one_name_get_names_of_their_own(cpu: Cpu, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "shop", cpu)
    unit = "static int counter; int %s(int x) { counter += x; return counter * %d; }"
    pairs = [
        [workshop.object(unit % (name, age), name=f"{name}.c") for age in (1, 2)]
        for name in ("first", "second")
    ]
    target = workshop.link(*(old for old, _ in pairs))
    old, new = ([str(pair[age]) for pair in pairs] for age in (0, 1))
    request = BuildRequest(str(target), "fix", "1", old_objects=old, new_objects=new)
    manifest = artifact_file.parse(pipeline.build(request)).manifest
    assert [each.name for each in manifest.functions] == ["first", "second"]
    assert len({each.address for each in manifest.references}) == 2
    assert {each.symbol for each in manifest.references} == {"counter", "counter.second.c"}


def test_new_code_calls_new_code_of_another_unit_directly(cpu: Cpu, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "shop", cpu)
    one, two = (
        "int leaf(int x) { return x * 300 + %d; }",
        "int leaf(int); int work(int x) { return leaf(x) * %d; }",
    )
    pairs = [
        [workshop.object(unit % age, name=f"{number}.c") for age in (1, 2)]
        for number, unit in enumerate((one, two))
    ]
    target = workshop.link(*(old for old, _ in pairs))
    old, new = ([str(pair[age]) for pair in pairs] for age in (0, 1))
    patch = artifact_file.parse(
        pipeline.build(BuildRequest(str(target), "fix", "1", old_objects=old, new_objects=new))
    )
    assert [each.name for each in patch.manifest.functions] == ["leaf", "work"]
    assert not patch.manifest.references and patch.manifest.write_order == (1, 0)


def livepatch(*words: object) -> tuple[int, dict[str, object]]:
    line = [sys.executable, "-m", "livepatch.build_main", *map(str, words)]
    done = subprocess.run(line, env=product.environment(), capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else {
        "text": done.stdout + done.stderr
    }


def test_the_command_line_builds_and_inspects(cpu: Cpu, tmp_path: Path) -> None:
    pair = toolchain.pair("worker.c", "work.c", arch=cpu.name)
    dest = tmp_path / "fix.lp.o"
    inputs = ["--target", pair.target, "--old-objects", pair.old, "--new-objects", pair.new]
    words = [
        "--name",
        "fix",
        "--version",
        "1.2",
        "--cve",
        "CVE-2026-0001",
        "--requires",
        "base=1",
        "--dest",
        dest,
    ]
    code, answer = livepatch("build", *inputs, *words, "--json")
    assert (code, answer["status"], answer["functions"]) == (0, "built", ["work"])
    code, answer = livepatch("inspect", dest, "--json")
    manifest = answer["manifest"]
    assert code == 0 and manifest["requires"] == [{"name": "base", "version": "1"}]  # type: ignore[index]
    code, answer = livepatch("inspect", dest)
    assert "fix 1.2 for worker" in str(answer["text"]) and "CVE-2026-0001" in str(answer["text"])


def test_the_command_line_says_why_not(cpu: Cpu, tmp_path: Path) -> None:
    pair = toolchain.pair("worker.c", "work.c", arch=cpu.name)
    words = [
        "--target",
        pair.target,
        "--name",
        "fix",
        "--version",
        "1",
        "--dest",
        tmp_path / "fix.lp.o",
        "--json",
    ]
    code, answer = livepatch("build", *words, "--old-objects", pair.old, "--new-objects", pair.old)
    assert (code, answer["status"], answer["reason"]) == (3, "refused", "nothing_changed")
    code, answer = livepatch("build", *words, "--old-objects", pair.old)
    assert (code, answer["status"]) == (2, "wrong_usage")
    for name in ("source", "diff", "build-command", "package", "from", "to"):
        code, answer = livepatch("build", *words, f"--{name}", "x")
        assert (code, answer["reason"]) == (3, "not_supported_yet") and name in str(answer["message"])
    assert not (tmp_path / "fix.lp.o").exists()
    code, answer = livepatch("inspect", pair.old, "--json")
    assert (code, answer["reason"]) == (3, "artifact_malformed")


def test_a_section_that_the_source_chose_gets_a_name_that_loaders_know(cpu: Cpu, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "shop", cpu)
    unit = 'int __attribute__((section("hot_path"))) work(int x) { return x * 300 + %d; }'
    patch = workshop.patch(unit % 1, unit % 2)
    assert patch.elf.section(".text.hot_path") is not None
