# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever the bytes of an artifact: they are right, or they are refused in a sentence."""

from __future__ import annotations

import hashlib
import os
import random

import pytest

from livepatch.artifact import file
from livepatch.errors import REASONS, Refused
from tests import artifacts, mutations
from tests.harness import toolchain
from tests.sections import Sections

ARCHITECTURES = ("x86_64", "i386")
REASONS_OF_BYTES = {
    "artifact_malformed",
    "artifact_too_new",
    "wrong_architecture",
    "x32",
    "unsupported_relocation",
}

BROKEN = {
    "truncated": mutations.truncated,
    "header": mutations.broken_headers,
    "sections": mutations.broken_sections,
    "relocations": mutations.broken_relocations,
    "symbols": mutations.broken_symbols,
}


def refusal_of(data: bytes, name: str = "") -> Refused:
    try:
        file.parse(data)
    except Refused as refusal:
        assert refusal.reason in REASONS_OF_BYTES, name
        assert refusal.what and refusal.what.isprintable() and len(refusal.what) < 400, name
        return refusal
    pytest.fail(f"accepted: {name}")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_compilers_object_with_a_manifest_is_an_artifact(arch, tmp_path):
    data = artifacts.artifact(arch)
    path = tmp_path / "fix.lp.o"
    path.write_bytes(data)
    artifact = file.read(str(path))
    assert artifact.id == hashlib.sha256(data).hexdigest()
    assert artifact.data == data
    assert artifact.manifest.to_json() == artifacts.document(arch)
    assert artifact.elf.section(".text.new_check").size > 0


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_id_is_of_the_whole_file(arch):
    one, other = artifacts.document(arch), artifacts.document(arch)
    other["description"] = "another"
    assert file.parse(artifacts.artifact(arch, one)).id != file.parse(artifacts.artifact(arch, other)).id


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_wrong_in_one_place_is_refused(arch, kind):
    count = 0
    for mutant in BROKEN[kind](artifacts.artifact(arch)):
        refusal_of(mutant.of, mutant.name)
        count += 1
    assert count > 10


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_manifest_that_is_wrong_in_one_field_is_refused_in_a_file_whose_id_is_right(arch):
    count = 0
    for mutant in mutations.broken_manifests(arch):
        refusal_of(artifacts.artifact(arch, mutations.spelled(mutant.of)), mutant.name)
        count += 1
    assert count > 800


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_random_bytes_in_random_places_raise_nothing_but_a_refusal(arch):
    data, chance = artifacts.artifact(arch), random.Random(20261122)
    for _ in range(1000):
        mutant = bytearray(data)
        for _ in range(chance.randint(1, 6)):
            mutant[chance.randrange(len(mutant))] = chance.choice(
                (0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256))
            )
        try:
            file.parse(bytes(mutant))
        except Refused as refusal:
            assert refusal.reason in REASONS_OF_BYTES


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_random_numbers_in_section_headers_raise_nothing_but_a_refusal(arch):
    data, chance = artifacts.artifact(arch), random.Random(20261123)
    for _ in range(1000):
        sections = Sections(data)
        sections.set(
            chance.randrange(sections.count),
            **{
                chance.choice(
                    ("name", "type", "flags", "offset", "size", "link", "info", "addralign", "entsize")
                ): chance.choice(
                    (0, 1, 2, 8, 9, len(data) - 1, len(data), 1 << 31, -1, chance.randrange(1 << 16))
                )
            },
        )
        try:
            file.parse(bytes(sections.data))
        except Refused as refusal:
            assert refusal.reason in REASONS_OF_BYTES


def test_an_x32_object_is_refused_by_name():
    source = toolchain.PROGRAMS / "work.c"
    data = toolchain.gcc(source, flags=("-mx32", "-c", "-g0")).read_bytes()
    assert refusal_of(data).reason == "x32"


def test_another_architecture_is_refused_before_its_manifest_is_read():
    data = bytearray(artifacts.artifact("x86_64"))
    data[18] = 0xB7  # EM_AARCH64
    assert refusal_of(bytes(data)).reason == "wrong_architecture"


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_manifest_for_the_other_architecture_is_refused(arch):
    other = next(each for each in ARCHITECTURES if each != arch)
    assert refusal_of(artifacts.artifact(arch, artifacts.document(other))).reason == "wrong_architecture"


@pytest.mark.parametrize(
    "text",
    [
        "__thread int own; int f(void) { return own++; }",
        "extern __thread int theirs; int f(void) { return theirs++; }",
        "static int one(void) { return 1; } static void *choose(void) { return one; }"
        'int f(void) __attribute__((ifunc("choose")));',
    ],
    ids=["a variable per thread", "another's variable per thread", "an indirect function"],
)
def test_what_compilers_write_for_threads_and_indirect_functions_is_refused_by_name(text):
    sections = Sections(artifacts.compiled("x86_64", text))
    sections.append(".livepatch.manifest", mutations.spelled(artifacts.document()))
    assert refusal_of(bytes(sections.data)).reason == "unsupported_relocation"


def test_a_constructor_is_refused():
    text = "int seen; __attribute__((constructor)) void start(void) { seen = 1; }"
    sections = Sections(artifacts.compiled("x86_64", text))
    sections.append(".livepatch.manifest", mutations.spelled(artifacts.document()))
    assert ".init_array" in refusal_of(bytes(sections.data)).what


def test_undefined_symbols_and_references_are_the_same_set():
    document = artifacts.document()
    surplus = dict(document["references"][0], symbol="nowhere")
    document["references"].append(surplus)
    assert "references[3].symbol is 'nowhere'" in refusal_of(artifacts.artifact("x86_64", document)).what
    document["references"] = document["references"][:2]
    assert "'printf' is undefined" in refusal_of(artifacts.artifact("x86_64", document)).what


@pytest.mark.parametrize("symbol", ["calls", "words", "limit", "nowhere", "new_check.cold"])
def test_new_code_is_a_function_that_the_object_defines(symbol):
    document = artifacts.document()
    document["functions"][1]["symbol"] = symbol
    refusal_of(artifacts.artifact("x86_64", document), symbol)


@pytest.mark.parametrize("symbol", ["calls", "words", "limit", "nowhere"])
def test_a_thunk_is_a_function_that_the_object_defines(symbol):
    document = artifacts.document()
    document["functions"][1]["thunk"] = symbol
    assert "functions[1].thunk is" in refusal_of(artifacts.artifact("x86_64", document), symbol).what or (
        symbol == "limit"  # a reference already
    )


def test_a_file_above_the_limit_is_refused_unread():
    assert "more than" in refusal_of(bytes(file.MAX_SIZE + 1)).what


def test_a_path_that_can_not_be_read_is_not_found(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("nothing", "fifo", "loop", "", "nul\0", "nothing/below"):
        with pytest.raises(Refused) as refusal:
            file.read(str(tmp_path / name))
        assert refusal.value.reason == "artifact_not_found"


def test_a_refusal_says_which_file(tmp_path):
    path = tmp_path / "fix.lp.o"
    path.write_bytes(b"not an ELF file")
    with pytest.raises(Refused) as refusal:
        file.read(str(path))
    assert str(path) in refusal.value.what
    assert refusal.value.remedy == REASONS["artifact_malformed"].remedy
