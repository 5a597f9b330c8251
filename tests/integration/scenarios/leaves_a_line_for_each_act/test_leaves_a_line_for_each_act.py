# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's journal tells who did what to which process: one line before an act, one after it, none for looking."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from livepatch.apply.job import run_job
from livepatch.apply.journal import Journal
from tests.harness import namespace
from tests.harness.log_socket import Syslog
from tests.killing import injector


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[Syslog]:
    syslog = Syslog(tmp_path / "log")
    yield syslog
    syslog.close()


def test_the_commands_that_write_are_heard_of_and_those_that_read_are_not(cpu, patient, syslog):
    it = patient()
    hostile = 'change 7" event=applied by="root'

    def act(command: str, *words: object) -> list[dict[str, str]]:
        files = [] if command == "recover" else [it.artifact]
        answer = namespace.livepatch(command, "--pid", it.pid, *files, *words, log=syslog.path)
        assert answer.report["unjournaled"] == 0
        return syslog.lines()

    assert act("check") == act("list") == []
    begins, applied = act("apply", "--comment", hostile)
    assert (begins["event"], applied["event"]) == ("begins", "applied")
    for line in (begins, applied):
        assert (line["act"], line["pid"], line["patch"]) == ("apply", str(it.pid), "fix 1")
        assert line["exe"] == str(it.program.path.resolve())
        assert line["artifact"] == hashlib.sha256(it.artifact.read_bytes()).hexdigest()
        assert line["by"].startswith("command line:") and line["uid"] == str(os.getuid())
        assert line["comment"] == hostile.replace('"', '\\"')
        assert line["start"].isdigit()
    assert int(applied["stop_us"]) > 0
    assert act("apply") == []  # it is there already
    assert [line["event"] for line in act("revert")] == ["begins", "reverted"]
    assert act("revert") == act("recover") == []


def test_who_is_refused_is_named_with_the_reason(patient, syslog):
    it = patient()
    answer = namespace.livepatch("apply", "--pid", os.getpid(), it.artifact, log=syslog.path)
    (line,) = syslog.lines()
    assert (line["event"], line["reason"]) == ("refused", answer.reason), answer
    assert (line["pid"], line["severity"]) == (str(os.getpid()), "4")
    assert line["message"]


def test_who_is_killed_in_the_middle_has_left_a_line_and_recovery_another(cpu, patient, syslog):
    it = patient()
    job = {"format": 1, "command": "apply", "artifacts": [str(it.artifact)], "by": "first"}
    job["parameters"] = {"processes": {"pid": [it.pid]}}

    def run(job: dict[str, object], shot: injector.Shot | None = None) -> injector.Run:
        return injector.watch(lambda: run_job(job, Journal(str(syslog.path))).exit_code, shot)

    calls = run({**job, "command": "revert"}).calls
    assert syslog.lines() == [] and not any("write" in call for call in calls)
    calls = run(job).calls
    assert [line["event"] for line in syslog.lines()] == ["begins", "applied"]
    assert it.revert().status == "reverted"
    middle = max(number for number, call in enumerate(calls, 1) if "mem" in call)
    dead = run(job, injector.Shot(middle))
    assert dead.killed and dead.code == -signal.SIGKILL
    (line,) = syslog.lines()
    assert (line["event"], line["by"], line["pid"]) == ("begins", "first", str(it.pid))
    assert run({**job, "command": "recover", "artifacts": [], "by": "second"}).code == 0
    told = [(line["event"], line["act"], line["by"]) for line in syslog.lines()]
    assert told == [("begins", "recover", "second"), ("recovered", "recover", "second")]
