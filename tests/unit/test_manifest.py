# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One table, two readers: JSON Schema and the host accept and refuse the same manifests."""

from __future__ import annotations

import json

import jsonschema
import pytest

from livepatch.artifact import rules, schema
from livepatch.artifact.manifest import FORMAT, INJECTOR, SHAPE, Manifest
from livepatch.artifact.shapes import Mismatch
from livepatch.errors import Refused
from tests import artifacts, mutations
from tests.harness import toolchain

ARCHITECTURES = ("x86_64", "i386")


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema.json_schema())
    return jsonschema.Draft202012Validator(schema.json_schema())


def host_accepts(document: object) -> bool:
    """What the table alone says, without the rules that need more than one value."""
    try:
        SHAPE.read(document, "")
    except Mismatch:
        return False
    return True


def test_the_published_schema_is_the_one_that_the_code_has():
    assert (toolchain.REPOSITORY / "docs/schemas/manifest-1.json").read_text() == schema.published()


def test_the_format_page_names_every_key_and_every_rule():
    page = (toolchain.REPOSITORY / "docs/formats.md").read_text()

    def keys(shape: dict[str, object]) -> set[str]:
        found = set(shape.get("properties", {}))
        parts = [*shape.get("properties", {}).values(), *([shape["items"]] if "items" in shape else [])]
        for part in parts:
            found |= keys(part)
        return found

    assert [key for key in sorted(keys(schema.json_schema())) if f"`{key}`" not in page] == []
    flowing = " ".join(page.split())
    assert [rule.__doc__ for rule in rules.RULES if rule.__doc__ not in flowing] == []


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_right_manifest_is_accepted_and_comes_back_unchanged(validator, arch):
    document = artifacts.document(arch)
    validator.validate(document)
    manifest = Manifest.from_json(document)
    assert manifest.to_json() == document
    assert manifest.functions[0].ranges[1].address == document["functions"][0]["ranges"][1]["address"]
    assert Manifest.from_json_bytes(manifest.to_json_bytes()) == manifest


def test_the_spelling_is_canonical_whatever_the_order_of_keys():
    document = artifacts.document()
    shuffled = dict(reversed(document.items()))
    data = Manifest.from_json(document).to_json_bytes()
    assert data == Manifest.from_json(shuffled).to_json_bytes()
    assert data == json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert b"\n" not in data


def test_json_schema_and_host_agree_on_every_mutation_of_every_field(validator):
    disagreed, refused, accepted = [], 0, 0
    for mutant in mutations.manifests(artifacts.document()):
        says = validator.is_valid(mutant.of)
        if says != host_accepts(mutant.of):
            disagreed.append((mutant.name, f"JSON Schema says {says}"))
        refused, accepted = refused + (not says), accepted + says
    assert disagreed == []
    assert refused > 800 and accepted > 50, "the mutations lie on one side only"


def test_every_key_is_required_and_no_other_is_allowed(validator):
    for mutant in mutations.manifests(artifacts.document()):
        if mutant.name.endswith(": dropped") or "another" in mutant.name:
            assert not validator.is_valid(mutant.of), mutant.name
            with pytest.raises(Refused):
                Manifest.from_json(mutant.of)


def test_null_is_for_five_keys_only(validator):
    nullable = {
        mutant.name.split(":")[0].rpartition(".")[2]
        for mutant in mutations.manifests(artifacts.document("i386"))
        if mutant.name.endswith(": is None") and validator.is_valid(mutant.of)
    }
    assert nullable == {"build_id", "soname", "thunk", "version", "library"}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_rules_that_need_more_than_one_value_are_the_hosts_alone(validator, arch):
    broken = set()
    for mutant in mutations.broken_rules(artifacts.document(arch)):
        assert validator.is_valid(mutant.of), mutant.name
        manifest = SHAPE.read(mutant.of, "")
        broken |= {rule for rule in rules.RULES if any(rule(manifest))}
        with pytest.raises(Refused) as refusal:
            Manifest.from_json(mutant.of)
        assert refusal.value.reason == "artifact_malformed", mutant.name
    assert broken == set(rules.RULES), "a rule has no counterexample"


@pytest.mark.parametrize("key", ["format", "needs_injector"])
def test_what_is_newer_is_called_newer_however_odd_it_looks(key):
    newer = {"format": FORMAT, "needs_injector": INJECTOR}[key] + 1
    for document in (dict(artifacts.document(), **{key: newer}), {key: newer, "unheard": "of"}):
        with pytest.raises(Refused) as refusal:
            Manifest.from_json(document)
        assert refusal.value.reason == "artifact_too_new"
        assert f"{key} is {newer}" in refusal.value.what


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (
            ("functions", 0, "ranges", 1, "size"),
            0,
            "manifest: functions[0].ranges[1].size is 0, not 1 to 2147483647",
        ),
        (("target", "type"), "ET_REL", "manifest: target.type is 'ET_REL', not ET_DYN or ET_EXEC"),
        (("write_order",), [0, 0], "manifest: write_order names the same item twice"),
        (("cve", 0), "CVE-1", "manifest: cve[0] is 'CVE-1', which does not match CVE-[0-9]{4}-[0-9]{4,19}"),
        (("description",), "a\nb", "manifest: description has the unprintable character U+000A"),
        (("target",), {}, "manifest: target lacks the key build_id"),
    ],
)
def test_a_refusal_names_the_path_and_what_would_be_right(path, value, sentence):
    document = artifacts.document()
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    with pytest.raises(Refused) as refusal:
        Manifest.from_json(document)
    assert refusal.value.what == sentence


def test_a_refusal_stays_short_and_printable_whatever_it_repeats():
    for value in ("\x1b[31m" * 10_000, ["x"] * 10_000, 10**19):
        for key in ("kind", "name", "format", "\x1b" * 10_000):
            with pytest.raises(Refused) as refusal:
                Manifest.from_json(dict(artifacts.document(), **{key: value}))
            assert len(refusal.value.what) < 300 and refusal.value.what.isprintable()


@pytest.mark.parametrize("mutant", [*mutations.broken_json("x86_64")], ids=lambda mutant: mutant.name)
def test_bytes_that_could_be_read_in_two_ways_are_refused(mutant):
    with pytest.raises(Refused) as refusal:
        Manifest.from_json_bytes(mutant.of)
    assert refusal.value.reason == "artifact_malformed"
