# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record in a process: to the byte what ``docs/formats.md`` says, and nothing damaged is ever believed."""

from __future__ import annotations

import copy
import dataclasses
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from livepatch.apply import ledger
from livepatch.apply.ledger import Damaged, Ledger, Record, Site
from livepatch.errors import Refused

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "ledgers"

TEXT = (0x7F00_0000_2000, 0x1000)
DATA = (0x7F00_0000_0000, 0x2000)
MAPPING = (DATA[0], DATA[0] + DATA[1])

# Written out by hand from the tables of docs/formats.md ("Ledger").
BODY: dict[str, Any] = {
    "artifact": "a1" * 32,
    "name": "daemon-fix",
    "version": "1.0.2",
    "target": {"build_id": "0123456789abcdef", "text_sha256": "b2" * 32, "name": "libdaemon.so.1.2"},
    "image_start": 0x5555_5555_4000,
    "sites": [
        {
            "name": "answer",
            "file": "src/answer.c",
            "address": 0x5555_5555_52A4,
            "old": "4889e5c745",
            "new": "e957cd0000",
            "entry": 0x7F00_0000_2000,
            "ranges": [
                {"address": 0x5555_5555_52A0, "size": 96, "sha256": "c3" * 32},
                {"address": 0x5555_5555_5100, "size": 16, "sha256": "d4" * 32},
            ],
            "text_relocations": [{"range": 1, "offset": 8, "size": 8}],
            "code": [{"address": 0x7F00_0000_2000, "size": 0x40}],
        }
    ],
    "eh_frame": [0x7F00_0000_2800, 0x68],
    "keeps_code": False,
    "by": "uid 0",
    "at": "2026-11-22T16:32:00Z",
    "comment": "a value at the limit, \u00fcberall",
    "requires": [{"name": "base-fix", "version": None}],
    "conflicts": [{"name": "other-fix", "version": "2"}],
    "supersedes": [{"name": "daemon-fix", "version": "1.0.1"}],
    "order": 2,
    "displaced": [0x7F00_0010_0000],
}


def written_down(
    body: dict[str, Any] | bytes = BODY,
    state: int = 3,
    form: int = 2,
    text: tuple[int, int] = TEXT,
    data: tuple[int, int] = DATA,
) -> bytes:
    """A ledger made without the product: the table of the format page, field by field, checksum right."""
    if isinstance(body, dict):
        body = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    first = b"LIVEPTCH" + struct.pack("<I", form) + struct.pack("<I", len(body))
    places = struct.pack("<Q", text[0]) + struct.pack("<Q", text[1])
    places += struct.pack("<Q", data[0]) + struct.pack("<Q", data[1])
    states = struct.pack("<I", state) + struct.pack("<I", ~state & 0xFFFFFFFF)
    checksum = struct.pack("<I", zlib.crc32(body, zlib.crc32(places, zlib.crc32(first))))
    return first + states + checksum + bytes(4) + places + body


def the_ledger(state: int = ledger.APPLIED) -> Ledger:
    body = copy.deepcopy(BODY)
    sites = [Site(**site) for site in body.pop("sites")]
    eh_frame = tuple(body.pop("eh_frame"))
    return Ledger(state, TEXT, DATA, Record(**body, sites=sites, eh_frame=eh_frame))


def test_a_ledger_is_to_the_byte_what_the_format_page_says():
    data = ledger.encoded(the_ledger()).raw
    assert data == written_down()
    assert data[64:].startswith(b'{"artifact":')


@pytest.mark.parametrize("state", sorted(ledger.STATES))
def test_what_is_written_is_what_is_read(state):
    before = the_ledger(state)
    assert ledger.decode(ledger.encoded(before).raw, MAPPING) == before


def test_what_follows_the_ledger_in_memory_is_not_part_of_it():
    data = ledger.encoded(the_ledger()).raw
    assert ledger.size_of(data[:64]) == len(data)
    assert ledger.decode(data + b"\xff" * 1000, MAPPING) == the_ledger()


@pytest.mark.parametrize("state", sorted(ledger.STATES))
def test_a_state_is_one_aligned_write_of_eight_bytes_and_changes_nothing_else(state):
    data = bytearray(ledger.encoded(the_ledger(ledger.LOADED)).raw)
    assert ledger.STATE_OFFSET % 8 == 0
    change = ledger.state_bytes(state)
    assert len(change) == 8
    data[ledger.STATE_OFFSET : ledger.STATE_OFFSET + 8] = change
    assert ledger.decode(bytes(data), MAPPING) == the_ledger(state)
    assert ledger.encoded(the_ledger(ledger.LOADED)).bytes_in(state) == bytes(data)


def test_the_numbers_of_the_states_are_for_ever():
    words = ["loaded", "switching", "applied", "reverting", "retired", "replacing"]
    assert dict(enumerate(words, 1)) == ledger.STATES
    assert {ledger.STATES[state] for state in ledger.CUT_OFF} == {"loaded", "switching", "reverting", "replacing"}


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.bin")), ids=lambda path: path.stem)
def test_a_ledger_of_every_format_that_there_ever_was_is_still_read(path):
    says = json.loads(path.with_suffix(".json").read_text())
    found = ledger.decode(path.read_bytes(), (says["data"][0], sum(says["data"])))
    # Through JSON: it knows lists, not tuples.
    whole = dataclasses.asdict(dataclasses.replace(found, raw=b""))
    assert json.loads(json.dumps({**whole, "raw": None})) == {**says, "raw": None}
    assert found.raw == path.read_bytes()


def test_a_ledger_of_the_first_format_lies_below_all_others_and_its_code_is_not_known():
    record = ledger.decode((FIXTURES / "format-1.bin").read_bytes(), MAPPING).record
    assert (record.order, record.displaced, record.sites[0].code) == (0, [], [])


def test_the_ledger_of_today_has_its_fixture():
    assert (FIXTURES / f"format-{ledger.FORMAT}.bin").exists()


def damage_of(data: bytes, mapping: tuple[int, int] = MAPPING) -> str:
    with pytest.raises(Damaged) as caught:
        ledger.decode(data, mapping)
    return str(caught.value)


def test_no_changed_byte_is_believed():
    data = written_down()
    whole = ledger.decode(data, MAPPING)
    believed = []
    for at in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            mutant = bytearray(data)
            mutant[at] ^= change
            try:
                if ledger.decode(bytes(mutant), MAPPING) != whole:
                    believed.append((at, change))
            except Damaged:
                pass
    assert believed == []


def test_a_ledger_that_ends_early_is_damaged_wherever_it_ends():
    data = written_down()
    for length in range(len(data)):
        damage_of(data[:length])


@pytest.mark.parametrize("form", [0, 3, 0xFFFFFFFF])
def test_another_format_is_named(form):
    assert f"format {form}" in damage_of(written_down(form=form))


@pytest.mark.parametrize("state", [0, 7, 0xFFFFFFFF])
def test_a_state_that_does_not_exist_is_damage(state):
    assert "state" in damage_of(written_down(state=state))


@pytest.mark.parametrize("size", [0, ledger.MAX_BODY + 1, 0xFFFFFFFF])
def test_the_body_size_is_checked_before_anything_is_read(size):
    head = bytearray(written_down()[:64])
    struct.pack_into("<I", head, 12, size)
    with pytest.raises(Damaged, match=f"{size} bytes"):
        ledger.size_of(bytes(head))


@pytest.mark.parametrize(
    "mapping",
    [
        (MAPPING[0] - 0x1000, MAPPING[1]),
        (MAPPING[0] + 0x1000, MAPPING[1]),
        (MAPPING[0], MAPPING[1] - 0x1000),
    ],
)
def test_a_ledger_that_describes_another_mapping_is_not_believed(mapping):
    # A copy of it that the process made, or a mapping that mremap(2) has moved.
    assert "another mapping" in damage_of(written_down(), mapping)


@pytest.mark.parametrize(
    "places",
    [
        {"text": (TEXT[0] + 1, TEXT[1])},
        {"text": (TEXT[0], TEXT[1] + 1)},
        {"text": (TEXT[0], 0)},
        {"data": (DATA[0], DATA[1] - 1)},
    ],
)
def test_memory_that_is_not_whole_pages_is_not_believed(places):
    assert "whole pages" in damage_of(written_down(**places))


@pytest.mark.parametrize("size", [0, 1, 63, 64])
def test_a_mapping_that_is_smaller_than_its_ledger_is_not_believed(size):
    damage_of(written_down(data=(DATA[0], size)), (DATA[0], DATA[0] + size))


_OTHER_TYPES: tuple[Any, ...] = (None, True, -1, 7, 1.5, 1 << 64, "text", [], {}, [None], {"key": 1})


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, as the keys and indices that lead there."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from _paths(value[index], (*path, index))


def _changed(path: tuple[Any, ...], change: Callable[[Any, Any], Any]) -> dict[str, Any]:
    """The body with a change at one place; ``change`` gets the object or list there, and the key."""
    body = copy.deepcopy(BODY)
    holder: Any = body
    for step in path[:-1]:
        holder = holder[step]
    change(holder, path[-1])
    return body


_NULL_OR_TEXT = {
    ("target", "build_id"),
    *((relation, 0, "version") for relation in ("requires", "conflicts", "supersedes")),
}


def test_every_field_of_the_body_is_checked_though_the_checksum_is_right():
    believed = []
    for path in _paths(BODY):
        original: Any = BODY
        for step in path:
            original = original[step]
        for value in _OTHER_TYPES:
            right = (type(None), str) if path in _NULL_OR_TEXT else (type(original),)
            if type(value) in right and value not in (-1, 1 << 64):
                continue
            try:
                ledger.decode(
                    written_down(
                        _changed(path, lambda holder, key, value=value: holder.__setitem__(key, value))
                    ),
                    MAPPING,
                )
                believed.append((path, value))
            except Damaged:
                pass
    assert believed == []


def test_no_key_of_the_body_may_be_missing_and_none_may_be_added():
    objects = [path for path in _paths(BODY) if not isinstance(path[-1], int)]
    assert len(objects) > 25
    for path in objects:
        damage_of(written_down(_changed(path, lambda holder, key: holder.pop(key))))
        damage_of(written_down(_changed(path, lambda holder, key: holder.update(added=1))))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"new": "e957cd000090"}, "another length"),
        ({"old": "4889e5c74", "new": "e957cd000"}, "eight bytes"),
        ({"old": "", "new": ""}, "eight bytes"),
        ({"old": "90" * 9, "new": "90" * 9}, "eight bytes"),
        ({"old": "zz" * 5}, "eight bytes"),
        ({"address": 0x5555_5555_529F}, "outside of its first range"),
        ({"address": 0x5555_5555_52FC}, "outside of its first range"),
        ({"ranges": []}, "outside of its first range"),
        ({"text_relocations": [{"range": 2, "offset": 0, "size": 4}]}, "in no range"),
        ({"text_relocations": [{"range": 0, "offset": 93, "size": 4}]}, "outside of its range"),
        ({"code": [{"address": TEXT[0] - 1, "size": 8}]}, "outside of its text"),
        ({"code": [{"address": TEXT[0] + TEXT[1] - 7, "size": 8}]}, "outside of its text"),
    ],
)
def test_a_site_that_could_not_be_put_back_is_not_believed(change, why):
    body = copy.deepcopy(BODY)
    body["sites"][0].update(change)
    assert why in damage_of(written_down(body))


def test_a_ledger_without_sites_is_not_believed():
    assert "no function" in damage_of(written_down({**BODY, "sites": []}))


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"null",
        b"[]",
        b"7",
        b"NaN",
        b"{",
        b"[" * 100_000,
        b"7" * 100_000,
        json.dumps(BODY).encode(),  # spaces, \u
        json.dumps(BODY, separators=(",", ":"), ensure_ascii=False).encode(),  # keys not sorted
        written_down()[64:].replace(b'"by":', b'"by":"x","by":', 1),
        written_down()[64:] + b"\n",
    ],
    ids=range(12),
)
def test_a_body_that_is_not_canonical_json_is_not_believed(body):
    room = 0x20000
    assert "body is damaged" in damage_of(written_down(body, data=(DATA[0], room)), (DATA[0], DATA[0] + room))


def test_a_ledger_that_is_too_long_is_refused_by_name():
    long = dataclasses.replace(the_ledger().record, comment="x" * ledger.MAX_BODY)
    with pytest.raises(Refused, match=r"daemon-fix 1\.0\.2") as caught:
        ledger.encoded(dataclasses.replace(the_ledger(), record=long))
    assert caught.value.reason == "not_supported_yet"


def test_a_text_that_is_no_unicode_is_not_written():
    odd = dataclasses.replace(the_ledger().record, by="uid \udcff")
    with pytest.raises(ValueError, match="surrogates"):
        ledger.encoded(dataclasses.replace(the_ledger(), record=odd))
