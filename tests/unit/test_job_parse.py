# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's JSON: what makes no sense is wrong usage before anything is looked at."""

from __future__ import annotations

import os
from typing import Any

import pytest

from livepatch.apply import job as jobs
from livepatch.errors import Refused, UsageError

COMMANDS = ("list", "check", "apply", "revert", "recover")
RIGHT: dict[str, Any] = {
    "format": 1,
    "command": "check",
    "direction": "revert",
    "artifacts": ["fix.lp.o"],
    "host": "web1",
    "by": "ops",
    "parameters": {"patience": 1},
}


def test_a_whole_job_is_read():
    job = jobs.parse(RIGHT)
    assert (job.command, job.direction, job.artifacts) == ("check", "revert", ("fix.lp.o",))
    assert (job.host, job.by) == ("web1", "ops")
    assert job.parameters["patience"] == 1.0
    assert job.parameters["attempts"] == 50


def test_what_is_missing_has_its_default():
    job = jobs.parse({"format": 1, "command": "list"})
    assert (job.direction, job.artifacts, job.host) == ("apply", (), os.uname().nodename)
    assert job.by == f"uid {os.getuid()}"


@pytest.mark.parametrize("command", COMMANDS)
def test_only_apply_revert_and_recover_write(command):
    job = jobs.parse({**RIGHT, "command": command})
    assert job.writes == (command in ("apply", "revert", "recover"))


@pytest.mark.parametrize("command", ["apply", "revert"])
@pytest.mark.parametrize("direction", ["apply", "revert"])
def test_a_command_that_says_its_direction_has_that(command, direction):
    assert jobs.parse({**RIGHT, "command": command, "direction": direction}).direction == command


@pytest.mark.parametrize("command", ["check", "apply", "revert"])
def test_these_commands_need_an_artifact(command):
    with pytest.raises(UsageError, match="artifact"):
        jobs.parse({**RIGHT, "command": command, "artifacts": []})


@pytest.mark.parametrize("command", ["list", "recover"])
def test_these_commands_need_none(command):
    assert jobs.parse({"format": 1, "command": command}).artifacts == ()


@pytest.mark.parametrize("document", [None, True, 7, "text", [], [["format", 1]]])
def test_a_job_is_an_object(document):
    with pytest.raises(UsageError, match="JSON object"):
        jobs.parse(document)


# key -> values that it can not have
WRONG: dict[str, tuple[Any, ...]] = {
    "format": (None, 0, 2, "1", [], {}),
    "command": (None, "", "Apply", "patch", 1, [], {}, ["apply"]),
    "direction": ("", "back", 1, [], {}),
    "artifacts": (7, "fix.lp.o", {}, {"a": 1}, [""], [7], [None], [["fix.lp.o"]]),
    "host": (7, True, [], {}),
    "by": (7, True, [], {}),
    "parameters": (7, True, "patience=1", [], ["patience"]),
    "signatures": (7, True, "text", [], {"id": 7}, {"id": None}),
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in WRONG for value in WRONG[key]])
def test_a_wrong_value_is_wrong_usage_and_its_key_is_named(key, value):
    with pytest.raises(UsageError, match=key):
        jobs.parse({**RIGHT, key: value})


def test_an_unknown_key_is_wrong_usage():
    with pytest.raises(UsageError, match="'artifact'"):
        jobs.parse({**RIGHT, "artifact": "fix.lp.o"})


def test_a_job_without_format_or_command_is_wrong_usage():
    for key in ("format", "command"):
        with pytest.raises(UsageError, match=key):
            jobs.parse({name: value for name, value in RIGHT.items() if name != key})


def test_an_unknown_or_wrong_parameter_is_wrong_usage():
    for parameters in ({"force": True}, {"patience": "long"}):
        with pytest.raises(UsageError):
            jobs.parse({**RIGHT, "parameters": parameters})


@pytest.mark.parametrize(
    "processes",
    [
        {"pids": 7},
        {"pid": 0},
        {"pid": "seven"},
        {"pid": []},
        {"pid": [True]},
        {"name": ""},
        {"name": 7},
        {"exe": "nginx"},
        {"cmdline": "("},
        {"unit": ["a", "b"]},
    ],
)
def test_a_selection_that_makes_no_sense_is_wrong_usage(processes):
    with pytest.raises(UsageError):
        jobs.run_job({"format": 1, "command": "list", "parameters": {"processes": processes}})


def test_an_artifact_that_is_not_there_is_refused_before_any_process_is_looked_at(monkeypatch):
    monkeypatch.setattr(jobs.survey, "look", lambda *_: pytest.fail("looked"))
    with pytest.raises(Refused, match=r"/nowhere\.lp\.o") as caught:
        jobs.run_job({"format": 1, "command": "apply", "artifacts": ["/nowhere.lp.o"]})
    assert caught.value.reason == "artifact_not_found"
