# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``livepatch sign``, ``verify`` and ``build --sign-with``, with the keys that people have."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import artifacts
from tests.harness import product, toolchain
from tests.harness.signing import Key, keygen

PASSPHRASE = "correct horse"


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "fix.lp.o"
    path.write_bytes(artifacts.artifact())
    return path


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key.make(tmp_path, "ops")


@pytest.fixture
def allowed(tmp_path: Path, key: Key) -> Path:
    path = tmp_path / "allowed"
    path.write_text(key.allowed())
    return path


def line(*words: object) -> list[str]:
    return [sys.executable, "-m", "livepatch.build_main", *map(str, words)]


def livepatch(*words: object, **environment: str) -> tuple[int, str]:
    """Exit code and everything that was said, without a terminal."""
    everything = {**product.environment(), **environment}
    for name in ("DISPLAY", "SSH_ASKPASS", "SSH_AUTH_SOCK"):
        if name not in environment:
            everything.pop(name, None)
    done = subprocess.run(
        line(*words), env=everything, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True,
        timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def beside(artifact: Path) -> Path:
    return artifact.with_name(artifact.name + ".sig")


def test_what_was_signed_is_verified_and_the_signer_named(artifact: Path, key: Key, allowed: Path) -> None:
    code, said = livepatch("sign", artifact, "--key", key.path)
    assert code == 0 and "fix.lp.o.sig" in said, said
    code, said = livepatch("verify", artifact, "--trusted-keys", allowed)
    assert code == 0, said
    assert all(word in said for word in ("ops@example.com", "ED25519", key.fingerprint)), said
    code, said = livepatch("verify", artifact, "--trusted-keys", allowed, "--json")
    answer = json.loads(said)
    assert (code, answer["status"], answer["principal"]) == (0, "verified", "ops@example.com")
    assert (answer["key_type"], answer["fingerprint"]) == ("ED25519", key.fingerprint)


def test_openssh_itself_takes_the_signature(artifact: Path, key: Key, allowed: Path) -> None:
    livepatch("sign", artifact, "--key", key.path)
    words = ("-Y", "verify", "-n", "livepatch", "-I", "ops@example.com", "-f", allowed, "-s", beside(artifact))
    assert b"Good" in keygen(*words, data=artifact.read_bytes())


def test_a_signature_that_is_there_is_replaced_at_once(artifact: Path, key: Key, tmp_path: Path) -> None:
    beside(artifact).write_text("an older one")
    assert livepatch("sign", artifact, "--key", key.path)[0] == 0
    assert beside(artifact).read_text().startswith("-----BEGIN SSH SIGNATURE-----")
    assert {path.name for path in tmp_path.iterdir()} == {"fix.lp.o", "fix.lp.o.sig", "ops", "ops.pub"}


def test_what_is_not_verified_is_refused_with_its_word(artifact: Path, key: Key, allowed: Path, tmp_path: Path) -> None:
    def reason() -> str:
        code, said = livepatch("verify", artifact, "--trusted-keys", allowed)
        assert code == 3, said
        return re.search(r"\((\w+)\)", said)[1]

    assert reason() == "not_signed"
    Key.make(tmp_path, "eve").sign_file(artifact)
    assert reason() == "signer_not_allowed"
    key.sign_file(artifact, "git")
    assert reason() == "bad_signature"
    allowed.write_text("garbage\n")
    assert reason() == "signers_unusable"


def test_a_key_or_a_list_that_is_not_there_is_named(artifact: Path, tmp_path: Path) -> None:
    code, said = livepatch("sign", artifact, "--key", tmp_path / "nokey")
    assert code == 2 and "nokey is not there" in said
    code, said = livepatch("verify", artifact, "--trusted-keys", tmp_path / "nolist")
    assert code == 1 and "nolist: No such file" in said
    code, said = livepatch("sign", tmp_path / "nofix.lp.o", "--key", tmp_path / "nokey")
    assert code == 3 and "artifact_not_found" in said
    assert not beside(artifact).exists()


def test_what_is_no_artifact_is_not_signed(key: Key, tmp_path: Path) -> None:
    path = tmp_path / "fix.lp.o"
    path.write_bytes(b"x" * 100)
    code, said = livepatch("sign", path, "--key", key.path)
    assert code == 3 and "artifact_malformed" in said
    assert not beside(path).exists()


@pytest.fixture
def encrypted(tmp_path: Path) -> Path:
    path = tmp_path / "encrypted"
    keygen("-q", "-t", "ed25519", "-N", PASSPHRASE, "-C", "x", "-f", path)
    return path


def test_a_passphrase_without_a_terminal_is_refused_and_says_so(artifact: Path, encrypted: Path) -> None:
    code, said = livepatch("sign", artifact, "--key", encrypted)
    assert code == 3 and "signing_failed" in said and "passphrase" in said
    assert not beside(artifact).exists()
    code, said = livepatch("sign", artifact, "--key", artifact)  # no key at all
    assert code == 3 and "signing_failed" in said


def test_a_passphrase_is_asked_for_on_the_terminal(artifact: Path, encrypted: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, line("sign", artifact, "--key", encrypted), product.environment())
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal's other side
        while select.select([terminal], [], [], 60)[0]:
            block = os.read(terminal, 4096)
            if not block:
                break
            said += block
            if b"passphrase" in said and PASSPHRASE.encode() not in said:
                os.write(terminal, PASSPHRASE.encode() + b"\n")
                said += PASSPHRASE.encode()  # the terminal does not echo it
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    assert beside(artifact).exists()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """The socket of an agent of the test's own."""
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE) as running:
        running.stdout.readline()  # its variables: it listens
        yield str(socket)
        running.terminate()


def test_a_key_in_an_agent_signs_with_its_public_half(artifact: Path, key: Key, allowed: Path, agent: str) -> None:
    environment = {**os.environ, "SSH_AUTH_SOCK": agent}
    subprocess.run(["ssh-add", "-q", key.path], env=environment, check=True, capture_output=True)
    key.path.unlink()
    public = key.path.with_name("ops.pub")
    code, said = livepatch("sign", artifact, "--key", public, SSH_AUTH_SOCK=agent)
    assert code == 0, said
    assert livepatch("verify", artifact, "--trusted-keys", allowed)[0] == 0


def test_a_patch_is_built_and_signed_in_one_go(cpu, tmp_path: Path, key: Key, allowed: Path) -> None:
    pair = toolchain.pair("worker.c", "work.c", arch=cpu.name)
    dest = tmp_path / "built.lp.o"
    words = ["--target", pair.target, "--old-objects", pair.old, "--new-objects", pair.new, "--name", "fix"]
    words += ["--version", "1", "--dest", dest]
    code, said = livepatch("build", *words, "--sign-with", tmp_path / "nokey")
    assert code == 2 and not dest.exists(), said
    assert livepatch("build", *words, "--sign-with", key.path)[0] == 0
    assert livepatch("verify", dest, "--trusted-keys", allowed)[0] == 0
