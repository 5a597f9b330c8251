# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's nginx and a real fix, CVE-2026-27654: master and workers patched as one group while workers come and go."""

from __future__ import annotations

import contextlib
import functools
import json
import signal
import subprocess
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from livepatch.artifact import file as artifact_file
from livepatch.cpu import X86_64
from tests.harness import product, traces
from tests.harness.playbook import playbook
from tests.real.nginx import rebuild, server
from tests.real.objects import functions_that_differ

pytestmark = pytest.mark.xdist_group("nginx")  # it is built once

OLD, NEW = 500, 400  # answers to a COPY with a short Destination
RELOADS = 20


@functools.lru_cache(maxsize=None)
def built_patch(arch: str, folder: Path) -> Path:
    """The live patch, by ``livepatch build``."""
    nginx = rebuild.rebuilt(arch)
    artifact = folder / f"nginx-cve-2026-27654-{arch}.lp.o"
    options = ("--cve", "CVE-2026-27654")
    return product.build_pairs(artifact, nginx.program, "nginx-cve", (nginx.old, nginx.new), *options)


@pytest.fixture
def patch(cpu, tmp_path_factory) -> Path:
    """The live patch."""
    return built_patch(cpu.name, tmp_path_factory.getbasetemp())


@pytest.fixture
def nginx(cpu, tmp_path_factory):
    """The group, running."""
    with server.running(rebuild.rebuilt(cpu.name), tmp_path_factory.mktemp("nginx")) as group:
        yield group


def statuses(answer: product.Answer) -> dict[int, str]:
    """PID -> status, without workers that were about to end."""
    ending = ("skipped", "exiting")
    return {each["pid"]: each["status"] for each in answer.processes if (each["status"], each["reason"]) != ending}


def patched(group: server.Server) -> dict[int, bool]:
    """Each process of the group that is there all the while, and whether ``list`` finds the patch in force there."""
    before = group.processes()
    answer = product.livepatch("list", "--exe", group.exe)
    assert answer.code == 0, answer
    found = {each["pid"]: [patch["state"] for patch in each["patches"]] for each in answer.processes}
    return {pid: "applied" in found.get(pid, []) for pid in group.processes() if pid in before}


def assert_everywhere(group: server.Server, status: int) -> None:
    """All processes have the patch, or none has, and every worker answers so."""
    assert set(patched(group).values()) == {status == NEW}
    answers = group.copies()
    assert len(answers) == server.WORKERS
    assert all(each == {status} for each in answers.values()), answers


def test_exactly_what_the_fix_changes_is_replaced(cpu, patch):
    nginx = rebuild.rebuilt(cpu.name)
    manifest = artifact_file.read(str(patch)).manifest
    replaced = {each.name for each in manifest.functions}
    assert replaced >= functions_that_differ(nginx.old, nginx.new)
    # gcc may split a function in two; the builder replaces both halves.
    assert {name.partition(".")[0] for name in replaced} == {"ngx_http_dav_copy_move_handler"}
    assert manifest.cve == ("CVE-2026-27654",)


def test_master_and_workers_are_patched_as_one_group(nginx, patch):
    group = nginx.processes()
    assert len(group) == 1 + server.WORKERS + 2  # the cache's manager and loader
    selected = ("--exe", nginx.exe, patch)
    assert_everywhere(nginx, OLD)

    checked = product.livepatch("check", *selected)
    assert statuses(checked) == dict.fromkeys(group, "planned"), checked
    assert len(checked.report["plan"]["groups"]) == 1
    assert_everywhere(nginx, OLD)

    applied = product.livepatch("apply", *selected)
    assert (applied.code, statuses(applied)) == (0, dict.fromkeys(group, "applied")), applied
    assert_everywhere(nginx, NEW)

    before = nginx.workers()
    assert nginx.reload().wait(30) == 0
    workers = nginx.settled(before)
    assert_everywhere(nginx, NEW)  # forked from a patched master
    again = product.livepatch("apply", *selected)
    assert again.code == 0 and not again.report["changed"], again
    assert statuses(again) == dict.fromkeys({*nginx.processes()}, "already")

    reverted = product.livepatch("revert", *selected)
    assert reverted.code == 0, reverted
    assert set(statuses(reverted)) >= workers
    assert set(statuses(reverted).values()) == {"reverted"}
    assert_everywhere(nginx, OLD)
    assert nginx.reload().wait(30) == 0
    nginx.settled(workers)
    assert_everywhere(nginx, OLD)


def test_workers_that_come_between_look_and_switch_are_found_again(nginx, patch):
    """They were forked from a master that had not changed yet, when the list of processes had been made."""
    for act, done, status in (("apply", "applied", NEW), ("revert", "reverted", OLD)):
        before = nginx.workers()
        with held_while_it_looks(nginx, act, "--exe", nginx.exe, patch) as injector:
            assert nginx.reload().wait(30) == 0
            workers = nginx.settled(before)
        answer = json.loads(injector.stdout.read())
        injector.stdout.close()
        assert answer["exit_code"] == 0, answer
        became = {each["pid"]: each["status"] for each in answer["processes"]}
        assert became[nginx.pid] == done, answer
        assert {became.get(pid) for pid in workers} == {done}, answer
        assert {became.get(pid) for pid in before} <= {"gone", None}, answer
        assert_everywhere(nginx, status)


@contextlib.contextmanager
def held_while_it_looks(group: server.Server, act: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """The host program, stopped in the block when it had listed the processes and touched none of them."""
    line = product.command(act, "--json", *words)
    for _ in range(50):  # on a busy machine the moment may be missed: it is one of some milliseconds
        injector = subprocess.Popen(line, env=product.environment(), stdout=subprocess.PIPE, text=True)
        while injector.poll() is None and not traces.looks_at(injector.pid, group.pid):
            pass
        injector.send_signal(signal.SIGSTOP)
        while injector.poll() is None and traces.states(injector.pid).get(injector.pid) != "T":
            pass
        held = injector.poll() is None and not any(traces.tracers(pid) for pid in group.processes())
        if held and patched(group)[group.pid] == (act == "revert"):
            break
        injector.send_signal(signal.SIGCONT)
        assert injector.wait(60) == 0
        injector.stdout.close()
        assert product.livepatch({"apply": "revert", "revert": "apply"}[act], *words).code == 0
    try:
        yield injector
    finally:
        injector.send_signal(signal.SIGCONT)
        injector.wait(60)


@pytest.mark.parametrize("cpu", [X86_64], ids=["x86_64"])
def test_a_playbook_patches_the_group(nginx, patch):
    selected = {"artifact": str(patch), "processes": {"exe": str(nginx.exe)}}
    applied = playbook("apply", **selected)
    assert applied.code == 0, applied
    assert applied.result("patch")["counts"] == {"applied": 3 + server.WORKERS}
    assert_everywhere(nginx, NEW)
    reverted = playbook("revert", **selected)
    assert reverted.code == 0, reverted
    assert reverted.result("patch")["counts"] == {"reverted": 3 + server.WORKERS}
    assert_everywhere(nginx, OLD)


def test_it_goes_in_and_out_while_the_workers_are_replaced_again_and_again(nginx, patch):
    selected = ("--exe", nginx.exe, patch)
    seen = set(nginx.workers())
    reloads = []
    with server.requests(nginx) as load:
        for number in range(RELOADS // 2):
            for act, done, status in (("apply", "applied", NEW), ("revert", "reverted", OLD)):
                reloads.append(nginx.reload())
                livepatch = product.livepatch if number == 0 else product.forked
                answer = livepatch(act, *selected)
                assert answer.code == 0, answer
                assert set(statuses(answer).values()) <= endings(done), answer
                assert statuses(answer).get(nginx.pid) == done, answer
                seen |= nginx.workers()
                assert set(patched(nginx).values()) == {status == NEW}, answer
        for process in reloads:
            assert process.wait(30) == 0, process.stderr.read()
            process.stderr.close()
        told = json.loads(load.ask("report"))
    assert told["failures"] == []
    assert set(told["copies"]) == {str(OLD), str(NEW)}, told
    assert len(seen) > RELOADS, "hardly any worker was replaced"
    nginx.settled(())
    assert_everywhere(nginx, OLD)
    assert "exited on signal" not in nginx.log()
    assert product.livepatch("recover", "--exe", nginx.exe).code == 0
    for pid in nginx.processes():
        traces.assert_clean(pid)
    print(f"{told['requests']} requests, {len(seen)} workers")


def endings(done: str) -> Collection[str]:
    """What may become of a process while others come and go, and be no failure."""
    return {done, "already" if done == "applied" else "absent", "gone", "recovered"}
