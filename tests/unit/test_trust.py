# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose patches a host accepts: the job's list and its own, both where both are."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from livepatch.apply import job as jobs
from livepatch.apply import trust
from livepatch.errors import Refused
from tests.harness.signing import Key

DATA = b"an artifact"
ARTIFACT = SimpleNamespace(id="a1" * 32, data=DATA, manifest=SimpleNamespace(name="fix", version="1"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Key]:
    folder = tmp_path_factory.mktemp("keys")
    return {name: Key.make(folder, name) for name in ("ops", "other")}


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the host's own list, which is not there yet."""
    folder = tmp_path / "etc-livepatch"
    monkeypatch.setattr(trust, "FOLDER", str(folder))
    monkeypatch.setattr(trust, "_OWNER", os.geteuid())
    return folder


@pytest.fixture
def host_allows(etc: Path) -> Callable[..., Path]:
    def allow(text: str, mode: int = 0o644, folder_mode: int = 0o755) -> Path:
        etc.mkdir()
        path = etc / "allowed_signers"
        path.write_text(text)
        path.chmod(mode)
        etc.chmod(folder_mode)
        return path

    return allow


def outcome(path: Path, trusted: str | None = None, sent: dict[str, str] | None = None) -> str:
    """The reason of a refusal, or ``accepted``."""
    try:
        trust.check(ARTIFACT, str(path), sent or {}, trusted)
    except Refused as refusal:
        return refusal.reason
    return "accepted"


@pytest.fixture
def artifact(tmp_path: Path, keys: dict[str, Key]) -> Path:
    """A file that ops has signed."""
    path = tmp_path / "fix.lp.o"
    path.write_bytes(DATA)
    keys["ops"].sign_file(path)
    return path


def test_without_any_list_nobody_need_have_signed(etc, tmp_path):
    assert outcome(tmp_path / "unsigned.lp.o") == "accepted"
    etc.mkdir()  # empty: it has no list
    assert outcome(tmp_path / "unsigned.lp.o") == "accepted"


def test_every_list_that_there_is_must_have_the_signer(artifact, keys, host_allows):
    ops, other = keys["ops"].allowed(), keys["other"].allowed()
    assert outcome(artifact, ops) == "accepted"
    assert outcome(artifact, other) == "signer_not_allowed"
    assert outcome(artifact, "") == "signer_not_allowed"
    list_of_host = host_allows(ops)
    assert [outcome(artifact, text) for text in (None, ops)] == ["accepted"] * 2
    assert outcome(artifact, other) == "signer_not_allowed"
    list_of_host.write_text(other)
    assert [outcome(artifact, text) for text in (None, ops, ops + other)] == ["signer_not_allowed"] * 3
    list_of_host.write_text("")
    assert outcome(artifact, ops) == "signer_not_allowed"


def test_an_unsigned_artifact_is_not_accepted_by_any_list(tmp_path, keys, host_allows):
    unsigned = tmp_path / "unsigned.lp.o"
    assert outcome(unsigned, keys["ops"].allowed()) == "not_signed"
    host_allows(keys["ops"].allowed())
    assert outcome(unsigned) == "not_signed"


def test_a_signature_that_came_with_the_job_counts_in_place_of_the_file(artifact, tmp_path, keys, etc):
    allowed = keys["ops"].allowed()
    signed = keys["ops"].sign(DATA).decode()
    assert outcome(tmp_path / "cached.lp.o", allowed, {ARTIFACT.id: signed}) == "accepted"
    assert outcome(tmp_path / "cached.lp.o", allowed, {"b2" * 32: signed}) == "not_signed"
    assert outcome(artifact, allowed, {ARTIFACT.id: keys["other"].sign(DATA).decode()}) == "signer_not_allowed"
    assert outcome(artifact, allowed, {ARTIFACT.id: ""}) == "bad_signature"


@pytest.mark.parametrize("modes", [(0o664, 0o755), (0o646, 0o755), (0o644, 0o775), (0o644, 0o777)])
def test_a_list_that_others_may_write_accepts_nobody(artifact, keys, host_allows, modes):
    host_allows(keys["ops"].allowed(), *modes)
    assert outcome(artifact) == outcome(artifact, keys["ops"].allowed()) == "signers_unusable"


def test_a_list_that_is_not_roots_accepts_nobody(artifact, keys, host_allows, monkeypatch):
    host_allows(keys["ops"].allowed())
    monkeypatch.setattr(trust, "_OWNER", os.geteuid() + 1)
    assert outcome(artifact) == "signers_unusable"


def test_a_list_that_is_no_plain_file_accepts_nobody(artifact, etc, tmp_path, keys):
    real = tmp_path / "real"
    real.mkdir(mode=0o755)
    (real / "allowed_signers").write_text(keys["ops"].allowed())
    etc.symlink_to(real)
    assert outcome(artifact) == "signers_unusable"
    etc.unlink()
    etc.write_text("")  # a file where the folder should be
    assert outcome(artifact) == "signers_unusable"
    etc.unlink()
    etc.mkdir(mode=0o755)
    path = etc / "allowed_signers"
    for target in (real / "allowed_signers", tmp_path / "nowhere"):
        path.symlink_to(target)
        assert outcome(artifact) == "signers_unusable"
        path.unlink()
    os.mkfifo(path, 0o644)
    assert outcome(artifact) == "signers_unusable"
    path.unlink()
    path.mkdir(0o755)
    assert outcome(artifact) == "signers_unusable"


def test_a_list_that_can_not_be_read_accepts_nobody(artifact, keys, host_allows, monkeypatch):
    host_allows(keys["ops"].allowed())
    real = os.open

    def denied(path, *arguments, **options):
        if path == "allowed_signers":
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", denied)
    assert outcome(artifact) == "signers_unusable"


@pytest.mark.parametrize("text", ["garbage\n", "#" * 300_000])
def test_a_list_that_is_none_accepts_nobody(artifact, keys, host_allows, text):
    host_allows(text)
    assert outcome(artifact, keys["ops"].allowed()) == "signers_unusable"


def test_where_the_host_demands_signatures_nothing_unsigned_is_looked_at(host_allows, keys, tmp_path, monkeypatch):
    host_allows(keys["ops"].allowed())
    monkeypatch.setattr(jobs.survey, "look", lambda *_: pytest.fail("looked"))
    monkeypatch.setattr(jobs.artifact_file, "read", lambda path: ARTIFACT)
    for command in ("apply", "check"):
        with pytest.raises(Refused) as caught:
            jobs.run_job({"format": 1, "command": command, "artifacts": [str(tmp_path / "fix.lp.o")]})
        assert caught.value.reason == "not_signed"
        assert "allowed_signers" in caught.value.message


def test_taking_a_patch_out_needs_no_signature(host_allows, keys, tmp_path, monkeypatch):
    host_allows("garbage")
    looked = []
    monkeypatch.setattr(jobs.survey, "look", lambda *_: looked.append(1) or [])
    monkeypatch.setattr(jobs.artifact_file, "read", lambda path: ARTIFACT)
    monkeypatch.setattr(jobs, "_report", lambda *_: jobs.Report("revert"))
    monkeypatch.setattr(jobs, "_nobody", lambda *_: "nobody")
    monkeypatch.setattr(jobs.survey, "newcomers", lambda *_: [])
    path = str(tmp_path / "fix.lp.o")
    for job in ({"command": "revert"}, {"command": "check", "direction": "revert"}):
        jobs.run_job({"format": 1, "artifacts": [path], "parameters": {"trusted_keys": "garbage"}, **job})
    assert len(looked) == 2
