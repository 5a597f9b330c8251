# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where signatures are demanded, by the operator or by the host, a patch that no allowed signer signed touches nobody.

Taking one out needs no signature, whatever the host demands.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import namespace, traces
from tests.harness.signing import Key

OLD, NEW = "31", "3001"  # "work 10" of the unpatched and of the patched program


@pytest.fixture
def etc(tmp_path: Path, keys: dict[str, Key]) -> Path:
    """What stands as /etc/livepatch on a host that allows ops."""
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o755)
    (folder / "allowed_signers").write_text(keys["ops"].allowed())
    (folder / "allowed_signers").chmod(0o644)
    return folder


def refused(it, answer, reason: str) -> None:
    assert (answer.code, answer.report.get("status"), answer.report.get("reason")) == (3, "refused", reason), answer
    assert answer.processes == [] and not answer.report["changed"]


def test_the_operator_trusts_only_some(cpu, patient, keys, trusted):
    it = patient()
    before = it.program.ask("work 10")
    with traces.untouched(it.pid):
        for act in (it.apply, it.check):
            refused(it, act("--trusted-keys", trusted), "not_signed")
        keys["eve"].sign_file(it.artifact)
        refused(it, it.apply("--trusted-keys", trusted), "signer_not_allowed")
        keys["ops"].sign_file(it.artifact, "git")
        refused(it, it.apply("--trusted-keys", trusted), "bad_signature")
    keys["ops"].sign_file(it.artifact)
    assert it.check("--trusted-keys", trusted).status == "planned"
    assert it.apply("--trusted-keys", trusted).status == "applied"
    assert it.program.ask("work 10") != before
    assert it.revert("--trusted-keys", trusted).status == "reverted"
    assert it.program.ask("work 10") == before


def test_other_bytes_under_the_same_signature_are_refused(patient, build_patch, keys, trusted):
    it = patient()
    keys["ops"].sign_file(it.artifact)
    other = build_patch(it.pair, "fix", "2")
    it.artifact.write_bytes(other.read_bytes())
    with traces.untouched(it.pid):
        refused(it, it.apply("--trusted-keys", trusted), "bad_signature")


def test_the_host_demands_what_no_operator_can_waive(cpu, patient, keys, etc, tmp_path):
    it = patient()
    act = lambda command, *words: namespace.livepatch(command, "--pid", it.pid, it.artifact, *words, etc=etc)  # noqa: E731
    eves = tmp_path / "eves"
    eves.write_text(keys["eve"].allowed())
    with traces.untouched(it.pid):
        refused(it, act("apply"), "not_signed")
        keys["eve"].sign_file(it.artifact)
        refused(it, act("apply"), "signer_not_allowed")
        refused(it, act("apply", "--trusted-keys", eves), "signer_not_allowed")
        listed = act("list")
        assert (listed.status, listed.reason) == ("refused", "signer_not_allowed"), listed
    keys["ops"].sign_file(it.artifact)
    refused(it, act("apply", "--trusted-keys", eves), "signer_not_allowed")
    assert act("apply").status == "applied"
    it.artifact.with_name(it.artifact.name + ".sig").unlink()
    assert act("list").status == "already"
    assert act("revert").status == "reverted"


@pytest.mark.parametrize("damage", ["writable", "folder writable", "garbage", "empty", "link"])
def test_a_host_whose_list_can_not_be_trusted_accepts_nothing(patient, keys, etc, damage):
    it = patient()
    keys["ops"].sign_file(it.artifact)
    path = etc / "allowed_signers"
    if damage == "writable":
        path.chmod(0o666)
    elif damage == "folder writable":
        etc.chmod(0o777)
    elif damage == "link":
        path.unlink()
        path.symlink_to("/etc/hostname")
    else:
        path.write_text("garbage\n" if damage == "garbage" else "")
    with traces.untouched(it.pid):
        answer = namespace.livepatch("apply", "--pid", it.pid, it.artifact, etc=etc)
        refused(it, answer, "signer_not_allowed" if damage == "empty" else "signers_unusable")


def test_a_host_with_an_openssh_of_old_accepts_nothing(patient, keys, etc, trusted, tmp_path):
    it = patient()
    keys["ops"].sign_file(it.artifact)
    old = tmp_path / "ssh-keygen"
    old.write_text("#!/bin/sh\necho 'unknown option -- Y' >&2\nexit 1\n")
    old.chmod(0o755)
    instead = {"/usr/bin/ssh-keygen": old}
    with traces.untouched(it.pid):
        for words, folder in (((), etc), (("--trusted-keys", trusted), None)):
            answer = namespace.livepatch("apply", "--pid", it.pid, it.artifact, *words, etc=folder, instead=instead)
            refused(it, answer, "no_verifier")
    assert it.apply().status == "applied"  # nobody demands anything
    assert namespace.livepatch("revert", "--pid", it.pid, it.artifact, etc=etc, instead=instead).status == "reverted"
