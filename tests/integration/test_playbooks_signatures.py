# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures through Ansible: demanded by the task, by the host, or by both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livepatch.cpu import X86_64
from tests.harness import namespace
from tests.harness.playbook import Run, playbook
from tests.harness.program import Program
from tests.integration.ssh_server import SshServer

pytestmark = pytest.mark.xdist_group("signatures")  # one ssh server, one set of keys


@pytest.fixture
def cpu():
    """One is enough: who signed a patch does not depend on what is in it."""
    return X86_64


@pytest.fixture
def program(object_pair, start) -> Program:
    return start(object_pair().program)


@pytest.fixture
def artifact(object_pair, build_patch, program) -> Path:
    return build_patch(object_pair())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with SshServer(tmp_path_factory.mktemp("ssh")) as server:
        yield server


def run(name: str, artifact: Path, program: Program, **variables: Any) -> Run:
    return playbook(name, artifact=str(artifact), processes={"pid": [program.pid]}, **variables)


def test_a_task_that_trusts_some_takes_nothing_else(artifact, program, keys, trusted):
    before = program.ask("work 10")
    unsigned = run("apply", artifact, program, trusted_keys=str(trusted))
    result = unsigned.result("patch")
    assert unsigned.code and result["reason"] == "not_signed" and str(artifact) in result["msg"], unsigned
    assert "on the controller" in result["msg"]
    keys["eve"].sign_file(artifact)
    assert run("apply", artifact, program, trusted_keys=str(trusted)).result("patch")["reason"] == "signer_not_allowed"
    assert program.ask("work 10") == before
    # The cache has the artifact now, put there by a task that trusts everybody; what counts is today's signature.
    assert run("check", artifact, program).process["status"] == "planned"
    keys["ops"].sign_file(artifact)
    applied = run("apply", artifact, program, trusted_keys=str(trusted))
    assert applied.process["status"] == "applied", applied
    assert program.ask("work 10") != before


@pytest.mark.parametrize("pipelining", [True, False])
def test_signed_patches_travel_over_ssh_with_become(artifact, program, keys, trusted, server, pipelining):
    keys["ops"].sign_file(artifact)
    host = {**server.variables(), "ansible_connection": "ssh", "ansible_pipelining": pipelining}
    words = {"trusted_keys": str(trusted), "become": True, "ansible_become_method": "sudo", **host}
    over = {"ansible_ssh_common_args": host.get("ansible_ssh_common_args", "")}
    applied = run("apply", artifact, program, **{**over, **words})
    assert applied.process["status"] == "applied", applied


def test_a_host_decides_for_itself(artifact, program, keys, trusted, tmp_path):
    etc = tmp_path / "etc"
    etc.mkdir(mode=0o755)
    own = etc / "allowed_signers"
    own.write_text(keys["ops"].allowed())
    own.chmod(0o644)

    def on_host(name: str, **variables: Any) -> Run:
        return run(name, artifact, program, within=lambda line: namespace.enclosed(line, etc), **variables)

    result = on_host("apply").result("patch")
    assert result["reason"] == "not_signed" and "allowed_signers" in result["msg"], result
    eves = tmp_path / "eves"
    eves.write_text(keys["eve"].allowed())
    keys["eve"].sign_file(artifact)
    result = on_host("apply", trusted_keys=str(eves)).result("patch")
    assert result["reason"] == "signer_not_allowed" and "allowed_signers" in result["msg"], result
    keys["ops"].sign_file(artifact)
    assert on_host("apply", trusted_keys=str(trusted)).process["status"] == "applied"
    artifact.with_name(artifact.name + ".sig").unlink()
    assert on_host("revert").process["status"] == "reverted"


def test_what_lies_on_the_host_has_its_signature_there_and_info_says_what_would_be_refused(
    artifact, program, keys, trusted, tmp_path
):
    task = {"artifact": str(artifact), "remote_src": True, "processes": {"pid": [program.pid]}}
    task["trusted_keys"] = str(trusted)
    plays = [
        {
            "hosts": "all", "gather_facts": False, "become": "{{ livepatch_become }}",
            "tasks": [{"userspace.livepatch.patch_info": task}, {"userspace.livepatch.patch": task}],
        }
    ]  # fmt: skip
    (tmp_path / "on_host.yml").write_text(json.dumps(plays))

    def results() -> tuple[dict[str, Any], dict[str, Any]]:
        done = playbook(str(tmp_path / "on_host"))
        return done.result("patch_info"), done.tasks[-1]["result"]

    plays[0]["tasks"][0]["ignore_errors"] = True
    (tmp_path / "on_host.yml").write_text(json.dumps(plays))
    told, done = results()
    assert [each["reason"] for each in told["processes"]] == ["not_signed"], told
    assert done["reason"] == "not_signed" and "trusted_keys" in done["msg"], done
    keys["ops"].sign_file(artifact)
    told, done = results()
    assert [each["status"] for each in told["processes"]] == ["planned"], told
    assert [each["status"] for each in done["processes"]] == ["applied"], done


@pytest.mark.parametrize("content", [None, "garbage\n", ""])
def test_a_list_that_is_none_ends_the_task_on_the_controller(artifact, program, keys, tmp_path, content):
    keys["ops"].sign_file(artifact)
    path = tmp_path / "list"
    if content is not None:
        path.write_text(content)
    done = run("apply", artifact, program, trusted_keys=str(path))
    result = done.result("patch")
    assert done.code and "list" in result["msg"] and "processes" not in result, done
    assert result.get("reason") == {None: None, "garbage\n": "signers_unusable", "": "signer_not_allowed"}[content]
