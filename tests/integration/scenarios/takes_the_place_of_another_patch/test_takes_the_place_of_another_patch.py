# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`replace`: a patch takes the place of those that it supersedes, in one stop; nobody sees the code in between."""

from __future__ import annotations

import pytest

from tests.harness import traces
from tests.harness.product import livepatch


@pytest.fixture
def versions(cpu, patient, variant):
    """A program whose threads call `work` all the time, version 1 of a fix in it, and version 2."""
    it = patient("worker.c", "work.c", 4)
    assert it.apply().status == "applied"
    return it, variant(it, "fix", version="2", plus=5, supersedes=["fix"])


def test_the_old_version_goes_and_the_new_one_comes_in_one_stop(versions):
    it, second = versions
    answer = livepatch("check", "--pid", it.pid, second, "--replace")
    assert (answer.status, answer.process["message"]) == ("planned", "in place of fix 1"), answer
    assert [(each["before"], each["after"]) for each in answer.report["diff"]] == [
        ("work: fix 1\n", "work: fix 2\n")
    ]
    answer = livepatch("apply", "--pid", it.pid, second, "--replace")
    assert (answer.status, answer.report["changed"]) == ("applied", True), answer
    assert it.program.ask("work 10") == "35"
    (listed,) = livepatch("list", "--pid", it.pid).process["patches"]
    assert (listed["name"], listed["version"], listed["state"]) == ("fix", "2", "applied")
    assert livepatch("apply", "--pid", it.pid, second, "--replace").status == "already"

    assert livepatch("revert", "--pid", it.pid, second).status == "reverted"
    assert it.program.ask("work 10") == "31"
    traces.assert_collected(it.pid)


def test_without_replace_another_version_is_refused_and_told_how(versions):
    it, second = versions
    with traces.untouched(it.pid):
        answer = livepatch("apply", "--pid", it.pid, second)
    assert (answer.code, answer.reason) == (3, "stacking"), answer
    assert "replace" in answer.process["message"]
    assert it.program.ask("work 10") == "32"


def test_the_old_version_is_not_needed_beside_the_new_one(versions):
    it, second = versions
    answer = livepatch("apply", "--pid", it.pid, it.artifact, second, "--replace")
    assert [each["status"] for each in answer.processes] == ["already", "applied"], answer
    with traces.untouched(it.pid):
        answer = livepatch("apply", "--pid", it.pid, it.artifact, second, "--replace")
    assert answer.report["changed"] is False
    assert [(each["status"], each["reason"]) for each in answer.processes] == [
        ("skipped", "superseded"),
        ("already", None),
    ], answer


def test_functions_that_the_new_patch_leaves_alone_run_the_targets_code_again(cpu, patient, variant):
    it = patient()
    both = variant(it, "both", fixed=("FIXED", "FIXED_REST"))
    assert livepatch("apply", "--pid", it.pid, both).status == "applied"
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("32", "6")
    less = variant(it, "less", plus=5, supersedes=["both=1"])
    assert livepatch("apply", "--pid", it.pid, less, "--replace").status == "applied"
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("35", "7")
    assert livepatch("revert", "--pid", it.pid, "less").status == "reverted"
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("31", "7")
    traces.assert_collected(it.pid)


def test_all_patches_that_it_supersedes_go_and_others_stay(cpu, patient, variant):
    it = patient()
    first, second = variant(it, "first", plus=3), variant(it, "second", plus=4)
    beside = variant(it, "beside", fixed="FIXED_REST")
    assert livepatch("apply", "--pid", it.pid, first, second, beside).code == 0
    third = variant(it, "third", plus=5, supersedes=["first", "second"])
    answer = livepatch("apply", "--pid", it.pid, third, "--replace")
    assert answer.process["message"] == "in place of first 1, second 1", answer
    assert (it.program.ask("work 10"), it.program.ask("rest 10")) == ("35", "6")
    listed = livepatch("list", "--pid", it.pid).process["patches"]
    assert [each["name"] for each in listed] == ["beside", "third"]


def test_the_old_version_is_put_back_where_another_process_fails(cpu, patient, start, variant):
    it = patient("waits.c", "waiting.c")
    other = start(it.pair.program)
    for pid in (it.pid, other.pid):
        assert livepatch("apply", "--pid", pid, it.artifact).status == "applied"
    second = variant(it, "fix", version="2", supersedes=["fix=1"])
    inside = int(other.ask("enter").split()[1])
    traces.wait_for_call(other.pid, inside, cpu.syscall_number("read"))
    answer = livepatch("apply", "--pid", it.pid, "--pid", other.pid, second, "--replace", "--attempts", "2")
    statuses = {each["pid"]: each["status"] for each in answer.processes}
    assert statuses[other.pid] == "busy", answer
    assert statuses[it.pid] == ("rolled_back" if it.pid < other.pid else "skipped"), answer
    assert other.ask("leave") == "left 2"
    for program in (it.program, other):
        (listed,) = livepatch("list", "--pid", program.pid).process["patches"]
        assert (listed["version"], listed["state"]) == ("1", "applied")
        program.ask("enter")
        assert program.ask("leave") == "left 2"
        assert livepatch("revert", "--pid", program.pid, it.artifact).status == "reverted"
