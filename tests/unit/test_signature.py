# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures against lists of allowed signers: who is accepted, who is not, and with which word."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from livepatch.artifact import signature
from livepatch.artifact.signature import check_signers, verify
from livepatch.errors import Refused
from tests.harness.signing import Key

DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def ops(keys: Path) -> Key:
    return Key.make(keys, "ops")


@pytest.fixture(scope="module")
def other(keys: Path) -> Key:
    return Key.make(keys, "other")


@pytest.fixture(autouse=True)
def nothing_is_left() -> None:
    """Every test: no file descriptor stays open."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


def refused(data: bytes, signed: bytes, allowed: str | bytes) -> Refused:
    text = allowed if isinstance(allowed, bytes) else allowed.encode()
    with pytest.raises(Refused) as caught:
        verify(data, signed, text)
    return caught.value


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_an_allowed_signer_is_named_with_type_and_fingerprint(keys: Path, kind: str) -> None:
    key = Key.make(keys, f"kind-{kind}", kind)
    found = verify(DATA, key.sign(DATA), key.allowed("ops@example.com").encode())
    assert found == ("ops@example.com", kind.upper(), key.fingerprint)


def test_other_bytes_are_a_bad_signature(ops: Key) -> None:
    signed = ops.sign(DATA)
    for data in (DATA[:-1], DATA + b"\0", b"", DATA.replace(b"\x07", b"\x08", 1)):
        assert refused(data, signed, ops.allowed()).reason == "bad_signature"


def test_a_signature_for_another_namespace_is_bad(ops: Key) -> None:
    refusal = refused(DATA, ops.sign(DATA, "git"), ops.allowed())
    assert refusal.reason == "bad_signature" and "namespace" in refusal.message


@pytest.mark.parametrize("text", [b"", b"nonsense", b"\0" * 100, b"-----BEGIN SSH SIGNATURE-----\nAAAA\n"])
def test_garbage_is_a_bad_signature(ops: Key, text: bytes) -> None:
    assert refused(DATA, text, ops.allowed()).reason == "bad_signature"


def test_a_damaged_or_too_long_signature_is_bad(ops: Key) -> None:
    signed = ops.sign(DATA)
    at = len(signed) // 2
    for text in (signed[:at], signed[:at] + b"AAAA" + signed[at + 4 :], signed + b"x" * signature.MAX_SIGNATURE):
        assert refused(DATA, text, ops.allowed()).reason == "bad_signature"


def test_the_key_of_nobody_on_the_list_is_named(ops: Key, other: Key) -> None:
    refusal = refused(DATA, ops.sign(DATA), other.allowed())
    assert refusal.reason == "signer_not_allowed"
    assert ops.fingerprint in refusal.message


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody yet\n"])
def test_an_empty_list_allows_nobody(ops: Key, text: str) -> None:
    assert refused(DATA, ops.sign(DATA), text).reason == "signer_not_allowed"


def test_any_line_of_the_list_will_do(ops: Key, other: Key) -> None:
    text = f"# ours\n\n{other.allowed('a@example.com')}{ops.allowed('b@example.com,c@example.com')}"
    assert verify(DATA, ops.sign(DATA), text.encode()).principal == "b@example.com"


@pytest.mark.parametrize("principals", ["*@example.com", "!eve@example.com,*@example.com", '"two words"'])
def test_principals_may_be_patterns(ops: Key, principals: str) -> None:
    assert verify(DATA, ops.sign(DATA), ops.allowed(principals).encode()).fingerprint == ops.fingerprint


@pytest.mark.parametrize(
    "options",
    ['namespaces="livepatch"', 'namespaces="git,livepatch"', 'valid-after="20200101"', 'valid-before="20990101"'],
)
def test_options_that_hold_do_not_stand_in_the_way(ops: Key, options: str) -> None:
    assert verify(DATA, ops.sign(DATA), ops.allowed(options=options).encode()).key_type == "ED25519"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ('namespaces="git"', "namespace"),
        ('valid-after="20990101"', "not yet valid"),
        ('valid-before="20200101"', "expired"),
        ('valid-after="soon"', "valid-after"),
        ('trusted="yes"', "option"),
    ],
)
def test_options_that_do_not_hold_are_named(ops: Key, options: str, word: str) -> None:
    refusal = refused(DATA, ops.sign(DATA), ops.allowed(options=options))
    assert refusal.reason == "signer_not_allowed" and word in refusal.message, refusal.message


def test_a_certificate_counts_where_its_authority_does(keys: Path, ops: Key, other: Key) -> None:
    certified = Key.make(keys, "certified").certified_by(other, "deploy@example.com")
    signed = certified.sign(DATA)
    authority = other.allowed("deploy@example.com", "cert-authority")
    assert verify(DATA, signed, authority.encode()).principal == "deploy@example.com"
    for text in (other.allowed("deploy@example.com"), other.allowed("x@example.com", "cert-authority"),
                 ops.allowed("deploy@example.com", "cert-authority")):  # fmt: skip
        assert refused(DATA, signed, text).reason == "signer_not_allowed"


@pytest.mark.parametrize(
    "line",
    [
        "garbage",
        "ops@example.com",
        "ops@example.com ssh-ed25519",
        "ops@example.com ssh-ed25519 AAAA",
        "ops@example.com ssh-ed25519 nonsense!",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1",
        "<html><body>404</body></html>",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_a_list_that_is_none_accepts_nobody_and_its_line_is_named(ops: Key, line: str) -> None:
    refusal = refused(DATA, ops.sign(DATA), f"{ops.allowed()}# two\n{line}\n")
    assert refusal.reason == "signers_unusable" and "line 3" in refusal.message


def test_a_list_that_is_no_text_or_too_long_is_no_list(ops: Key) -> None:
    for allowed in (b"\0", b"#" * (signature.MAX_SIGNERS + 1), ops.allowed().encode() + b"\0"):
        with pytest.raises(Refused, match="the host's") as caught:
            check_signers(allowed, "the host's")
        assert caught.value.reason == "signers_unusable"


def fake(folder: Path, script: str) -> None:
    program = folder / "ssh-keygen"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    "script",
    [
        "echo 'unknown option -- Y' >&2; exit 1",  # OpenSSH 8.0
        'case $2 in find-*) echo "Too few arguments for sign/verify" >&2; exit 1;; esac; exec /usr/bin/ssh-keygen "$@"',
        "exit 0",  # says yes to everything, and names nobody
        "echo ops@example.com; exit 0",
        "echo known; exit 1",
        "kill -9 $$",
    ],
)
def test_an_openssh_that_can_not_verify_is_no_verifier(
    ops: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    fake(tmp_path, script)
    monkeypatch.setattr(signature, "_FOLDERS", (str(tmp_path),))
    signed = ops.sign(DATA)
    if "echo ops" in script:  # a verifier that says yes is one; ours is found by its absolute path
        assert verify(DATA, signed, ops.allowed().encode()).principal == "ops@example.com"
    else:
        assert refused(DATA, signed, ops.allowed()).reason == "no_verifier"


def test_without_openssh_there_is_no_verifier(ops: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signature, "_FOLDERS", (str(tmp_path),))
    refusal = refused(DATA, ops.sign(DATA), ops.allowed())
    assert refusal.reason == "no_verifier" and str(tmp_path) in refusal.message


def test_a_verifier_that_does_not_end_is_none(ops: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, "exec sleep 1000")
    monkeypatch.setattr(signature, "_FOLDERS", (str(tmp_path),))
    monkeypatch.setattr(signature, "_DEADLINE", 0.2)
    assert refused(DATA, ops.sign(DATA), ops.allowed()).reason == "no_verifier"


def test_the_callers_environment_does_not_choose_who_verifies(
    ops: Key, other: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = ops.sign(DATA)
    fake(tmp_path, f"touch {tmp_path}/ran; env > {tmp_path}/environment; exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert refused(DATA, signed, other.allowed()).reason == "signer_not_allowed"
    assert [path.name for path in tmp_path.iterdir()] == ["ssh-keygen"]
    monkeypatch.setattr(signature, "_FOLDERS", (str(tmp_path),))
    assert refused(DATA, signed, ops.allowed()).reason == "no_verifier"
    assert "LD_PRELOAD" not in (tmp_path / "environment").read_text()


def test_without_memory_files_a_private_folder_serves_and_goes(
    ops: Key, other: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert verify(DATA, ops.sign(DATA), ops.allowed().encode()).principal == "ops@example.com"
    assert refused(DATA, ops.sign(DATA), other.allowed()).reason == "signer_not_allowed"
    assert list(tmp_path.iterdir()) == []


def test_the_signature_lies_beside_the_artifact(tmp_path: Path) -> None:
    artifact = tmp_path / "fix.lp.o"
    for path in (artifact, tmp_path / "no" / "folder.lp.o"):
        with pytest.raises(Refused) as caught:
            signature.beside(str(path))
        assert caught.value.reason == "not_signed"
    beside = tmp_path / "fix.lp.o.sig"
    beside.write_bytes(b"text")
    assert signature.beside(str(artifact)) == b"text"
    beside.unlink()
    for make in (beside.mkdir, lambda: os.mkfifo(beside)):
        make()
        with pytest.raises(Refused) as caught:
            signature.beside(str(artifact))
        assert caught.value.reason == "bad_signature"
        if beside.is_dir():
            beside.rmdir()
