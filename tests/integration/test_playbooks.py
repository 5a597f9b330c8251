# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as an operator uses it: its playbooks, over every kind of connection, on daemons under load."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from demo import build
from demo.play import Playbooks
from demo.shop import Shop
from tests.integration.ssh_server import SshServer

# Playbooks select by target: a demo beside them would be patched, too.
pytestmark = [pytest.mark.alone, pytest.mark.xdist_group("shop")]

QUESTION = "order -3 250"
OLD, NEW = "ok -750", "error: how many?"
CACHE = Path("/var/cache/livepatch") if os.geteuid() == 0 else Path.home() / ".cache" / "livepatch"
SIZE = 20_000  # bytes of JSON that a result may have


@pytest.fixture(scope="session")
def built() -> list[build.Built]:
    return [build.everything(arch) for arch in ("x86_64", "i386")]


@pytest.fixture
def shops(built: list[build.Built]) -> Iterator[list[Shop]]:
    """A 64-bit and a 32-bit daemon, both with clients that never stop; all must live to the end."""
    with ExitStack() as running:
        shops = [running.enter_context(Shop(each.daemon, each.clients, each.arch)) for each in built]
        yield shops
        assert all(shop.is_alive() for shop in shops)
        assert [shop.lost() for shop in shops] == [0, 0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with SshServer(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def playbooks(built: list[build.Built]) -> Iterator[Callable[..., Playbooks]]:
    """``playbooks(variables of the host, variables of the run)`` -> something that runs playbooks there."""
    with ExitStack() as running:

        def over(connection: dict[str, Any], **variables: Any) -> Playbooks:
            host = {"ansible_python_interpreter": sys.executable, **connection}
            inventory = {"all": {"hosts": {"testhost": host}}}
            result = running.enter_context(Playbooks([each.artifact for each in built], inventory))
            result.variables.update(variables)
            return result

        yield over


def answers(shops: list[Shop]) -> list[str]:
    return [shop.ask(QUESTION) for shop in shops]


def of(shops: list[Shop], result: dict[str, Any], key: str) -> list[Any]:
    """What a result says of each shop; ``result`` is shown where it says nothing."""
    by_pid = {each["pid"]: each for each in result.get("processes", [])}
    assert {shop.pid for shop in shops} <= set(by_pid), json.dumps(result, indent=1)
    return [by_pid[shop.pid][key] for shop in shops]


def host_over(server: SshServer, connection: str, pipelining: bool) -> dict[str, Any]:
    """What an inventory says of this machine, reached in one way or another."""
    reach = {} if connection == "local" else server.variables()
    return {
        **reach,
        "ansible_connection": connection,
        "ansible_pipelining": pipelining,
        "ansible_become_method": "sudo",
    }


def test_a_patch_is_checked_applied_listed_and_reverted(
    server: SshServer, shops: list[Shop], playbooks: Callable[..., Playbooks]
) -> None:
    host = host_over(server, "ssh", pipelining=True)
    run = playbooks(host, livepatch_become=True, livepatch_comment="change 4711").run

    checked = run("check")[1]
    assert of(shops, checked, "status") == ["planned", "planned"] and checked["changed"]
    assert answers(shops) == [OLD, OLD]

    applied = run("apply", livepatch_expected_plan=checked["plan_sha256"])[1]
    assert of(shops, applied, "status") == ["applied", "applied"] and applied["changed"]
    assert all(stop > 0 for stop in of(shops, applied, "stop_us"))
    assert answers(shops) == [NEW, NEW]

    again = run("apply")[1]
    assert of(shops, again, "status") == ["already", "already"] and not again["changed"]

    listed = run("list")[1]
    for (patch,) in of(shops, listed, "patches"):
        assert (patch["name"], patch["version"]) == ("shop-negative-orders", "1.0")
        assert "change 4711" in json.dumps(patch)

    out = run("check", livepatch_state="absent")[1]
    assert of(shops, out, "status") == ["planned", "planned"] and out["changed"]

    reverted = run("revert")[1]
    assert of(shops, reverted, "status") == ["reverted", "reverted"] and reverted["changed"]
    assert answers(shops) == [OLD, OLD]

    absent = run("revert")[1]
    assert of(shops, absent, "status") == ["absent", "absent"] and not absent["changed"]

    for result in (checked, applied, again, listed, out, reverted, absent):
        assert len(json.dumps(result)) < SIZE
        assert set(result["ansible_facts"]["livepatch"]) == {"counts", "artifacts"}


@pytest.mark.parametrize(
    ("connection", "pipelining"),
    [("local", True), ("local", False), ("ssh", False), ("paramiko_ssh", False)],
    ids=["local with pipelining", "local", "ssh without pipelining", "paramiko"],
)
def test_other_connections_do_the_same(
    connection: str, pipelining: bool, server: SshServer, shops: list[Shop], playbooks: Callable[..., Playbooks]
) -> None:
    run = playbooks(host_over(server, connection, pipelining), livepatch_become=True).run
    applied = run("apply")[1]
    assert of(shops, applied, "status") == ["applied", "applied"] and applied["changed"]
    assert answers(shops) == [NEW, NEW]
    reverted = run("revert")[1]
    assert of(shops, reverted, "status") == ["reverted", "reverted"] and reverted["changed"]
    assert answers(shops) == [OLD, OLD]


def test_an_empty_cache_is_filled_once(
    server: SshServer, shops: list[Shop], tmp_path: Path, playbooks: Callable[..., Playbooks]
) -> None:
    """The first task pushes, the second finds everything there, check mode as well."""
    pushed = CACHE / "artifacts"
    for path in pushed.glob("*.lp.o"):
        path.unlink()
    run = playbooks(host_over(server, "ssh", pipelining=True)).run
    run("check")
    first = {path.name: path.stat().st_ino for path in pushed.iterdir()}
    assert len(first) == 2
    run("check")
    assert {path.name: path.stat().st_ino for path in pushed.iterdir()} == first


def test_diff_mode_shows_functions_and_no_addresses(
    shops: list[Shop], playbooks: Callable[..., Playbooks]
) -> None:
    output, result = playbooks({"ansible_connection": "local"}).run("check")
    assert of(shops, result, "status") == ["planned", "planned"]
    shown = json.dumps(result["diff"])
    assert "order_total" in shown and "shop-negative-orders 1.0" in shown
    assert "order_total" in output
    assert not re.search(r"0x[0-9a-f]{4,}", shown)


def test_an_artifact_that_is_damaged_never_reaches_the_host(
    built: list[build.Built], tmp_path: Path, playbooks: Callable[..., Playbooks]
) -> None:
    damaged = tmp_path / "damaged.lp.o"
    damaged.write_bytes(built[0].artifact.read_bytes()[:-100])
    output, result = playbooks({"ansible_connection": "local"}).run("apply", livepatch_artifacts=[str(damaged)])
    assert result["failed"] and result["reason"] == "artifact_malformed", output
    assert str(damaged) in result["msg"]


def test_a_folder_of_artifacts_is_sorted_out_by_the_host(
    built: list[build.Built], tmp_path: Path, shops: list[Shop], playbooks: Callable[..., Playbooks]
) -> None:
    for each in built:
        (tmp_path / each.artifact.name).write_bytes(each.artifact.read_bytes())
    result = playbooks({"ansible_connection": "local"}).run("check", livepatch_artifacts=[str(tmp_path)])[1]
    assert of(shops, result, "status") == ["planned", "planned"]
    assert {each["name"] for each in result["artifacts"]} == {"shop-negative-orders"}


def test_a_plan_that_has_drifted_is_refused(shops: list[Shop], playbooks: Callable[..., Playbooks]) -> None:
    result = playbooks({"ansible_connection": "local"}).run("apply", livepatch_expected_plan="0" * 64)[1]
    assert result["failed"] and result["reason"] == "plan_drifted"
    assert answers(shops) == [OLD, OLD]


def test_a_user_without_a_home_is_told_which_folder_is_missing(
    server: SshServer, playbooks: Callable[..., Playbooks]
) -> None:
    host = {**server.variables(), "ansible_connection": "ssh", "ansible_become_user": "nobody"}
    # The interpreter of the tests lies where nobody may not enter.
    host["ansible_python_interpreter"] = "/usr/bin/python3"
    output, result = playbooks(host, livepatch_become=True, ansible_python_interpreter="/usr/bin/python3").run("list")
    assert result.get("failed") and "/nonexistent/.cache/livepatch can not be used" in result["msg"], output
