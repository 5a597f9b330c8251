# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed host's program: a command line becomes the job that a module would send, and the answer its exit code."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from livepatch import __main__ as program
from livepatch import report
from livepatch.apply.parameters import PARAMETERS
from livepatch.errors import Refused, UsageError
from livepatch.process.targets import SELECTION_KEYS
from livepatch.report import ProcessReport, Report

Jobs = list[dict[str, Any]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """The jobs that would be run; each is answered with an empty report."""
    jobs: Jobs = []

    def run_job(job: dict[str, Any]) -> Report:
        jobs.append(job)
        return Report(job["command"], message="done")

    monkeypatch.setattr(program, "run_job", run_job)
    return jobs


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """``answers(report or exception)``: what the job comes to."""

    def answer(what: Any) -> None:
        def run_job(job: Any) -> Report:
            if isinstance(what, Exception):
                raise what
            return what

        monkeypatch.setattr(program, "run_job", run_job)

    return answer


def from_stdin(monkeypatch: pytest.MonkeyPatch, capsys: Any, text: str) -> tuple[int, dict[str, Any]]:
    """What ``livepatch run`` exits with, and the report it writes."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    code = program.main(["run"])
    output = capsys.readouterr().out
    assert output.endswith("\n") and output.count("\n") == 1
    return code, json.loads(output)


# A command line as a job


def test_a_command_line_says_what_a_job_says(sent):
    code = program.main(
        ["apply", "a.lp.o", "b.lp.o", "--pid", "7", "--pid", "8", "--unit", "nginx", "--patience", "2.5",
         "--attempts", "3", "--stop-ms", "20", "--on-busy", "skip", "--no-all-or-nothing", "--comment", "change 7"]
    )  # fmt: skip
    assert code == 0
    (job,) = sent
    assert job["parameters"] == {
        "processes": {"pid": [7, 8], "unit": "nginx"},
        "patience": 2.5,
        "attempts": 3,
        "stop_ms": 20,
        "on_busy": "skip",
        "all_or_nothing": False,
        "comment": "change 7",
    }
    assert (job["format"], job["command"], job["direction"]) == (1, "apply", "apply")
    assert job["artifacts"] == ["a.lp.o", "b.lp.o"]
    assert job["by"].startswith("command line:")


def test_who_types_is_a_text_whatever_the_environment_holds(sent, monkeypatch):
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("USER", "j\xfcrg\udcff")
    program.main(["list"])
    assert sent[0]["by"] == "command line:j\xfcrg\\udcff"


def test_what_is_not_said_is_left_to_the_job(sent):
    program.main(["revert", "daemon-fix"])
    assert sent[0]["parameters"] == {"processes": {}}


@pytest.mark.parametrize(("flags", "direction"), [([], "apply"), (["--revert"], "revert")])
def test_check_predicts_an_apply_or_a_revert(sent, flags, direction):
    program.main(["check", "fix.lp.o", *flags])
    assert (sent[0]["command"], sent[0]["direction"]) == ("check", direction)


@pytest.mark.parametrize("command", ["list", "recover"])
def test_these_commands_need_no_patch(sent, command):
    assert program.main([command]) == 0
    assert sent[0]["artifacts"] == []


@pytest.mark.parametrize("key", SELECTION_KEYS)
def test_every_selection_has_an_option(sent, key):
    program.main(["list", f"--{key}", "7"])
    assert sent[0]["parameters"]["processes"] == {key: [7] if key == "pid" else "7"}


@pytest.mark.parametrize(
    "parameter", [each for each in PARAMETERS if each.kind != "dict"], ids=lambda each: each.name
)
def test_every_parameter_has_an_option(sent, parameter, tmp_path):
    option = "--" + parameter.name.replace("_", "-")
    value = {"str": "text", "int": 7, "float": 7.5, "bool": True, "plan": "a1" * 32, "text": "two\r\nlines\n"}
    value = said = parameter.choices[-1] if parameter.choices else value[parameter.kind]
    if parameter.kind == "text":
        said = tmp_path / "text"
        said.write_bytes(value.encode())
    command = ["list"] if parameter.reads else ["apply", "fix.lp.o"]
    program.main([*command, option, *([] if parameter.kind == "bool" else [str(said)])])
    assert sent[0]["parameters"][parameter.name] == value


def test_keys_are_trusted_in_list_too(sent, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("")
    program.main(["list", "fix.lp.o", "--trusted-keys", str(keys)])
    assert sent[0]["parameters"]["trusted_keys"] == ""


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_keys_that_can_not_be_read_are_wrong_usage(sent, tmp_path, capsys, content):
    keys = tmp_path / "keys"
    if content is not None:
        keys.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        program.main(["apply", "fix.lp.o", "--trusted-keys", str(keys)])
    assert (ended.value.code, sent) == (2, [])
    assert str(keys) in capsys.readouterr().err


def test_a_flag_can_be_denied(sent):
    program.main(["apply", "fix.lp.o", "--no-replace"])
    assert sent[0]["parameters"]["replace"] is False


def test_a_saved_plan_is_read_and_a_hash_is_taken_as_it_is(sent, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text('{"format": 1}')
    program.main(["apply", "fix.lp.o", "--expected-plan", str(path)])
    program.main(["apply", "fix.lp.o", "--expected-plan", "a1" * 32])
    assert [job["parameters"]["expected_plan"] for job in sent] == [{"format": 1}, "a1" * 32]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_saved_plan_that_can_not_be_read_is_wrong_usage(sent, tmp_path, capsys, content):
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        program.main(["apply", "fix.lp.o", "--expected-plan", str(path)])
    assert (ended.value.code, sent) == (2, [])
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["patch"],
        ["run", "more"],
        ["apply"],
        ["check"],
        ["revert"],
        ["recover", "fix.lp.o"],
        ["apply", "fix.lp.o", "--force"],
        ["apply", "fix.lp.o", "--pid", "seven"],
        ["apply", "fix.lp.o", "--on-busy", "wait"],
        ["apply", "fix.lp.o", "--attempts", "1.5"],
    ],
)
def test_wrong_usage_ends_with_two_and_does_nothing(sent, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        program.main(arguments)
    assert (ended.value.code, sent) == (2, [])
    assert "usage: livepatch" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "check", "apply", "revert", "recover"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as ended:
        program.main([command, "--help"])
    assert ended.value.code == 0
    assert "--unit" in capsys.readouterr().out


# The answer


@pytest.mark.parametrize(("status", "code"), report.STATUSES.items())
def test_the_exit_code_is_that_of_the_report(answers, capsys, status, code):
    answers(Report("apply", [ProcessReport(7, 1, "/bin/daemon", status)]))
    assert program.main(["apply", "fix.lp.o", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["exit_code"] == code


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [(UsageError("no sense"), 2, None), (Refused("no_verifier", "keys are given"), 3, "no_verifier")],
)
def test_what_concerns_the_whole_run_is_a_report_too(answers, capsys, error, code, reason):
    answers(error)
    assert program.main(["apply", "fix.lp.o", "--json"]) == code
    answer = json.loads(capsys.readouterr().out)
    assert (answer["exit_code"], answer.get("reason"), answer["processes"]) == (code, reason, [])
    assert answer["message"].startswith(str(getattr(error, "what", error)))


def test_people_get_a_table(answers, capsys):
    answers(Report("apply", [ProcessReport(7, 1, "/bin/d\udcff", "applied")]))
    assert program.main(["apply", "fix.lp.o"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("PID")


# From a module


def test_a_job_on_stdin_is_answered_in_one_line(monkeypatch, capsys, sent):
    code, answer = from_stdin(monkeypatch, capsys, '{"format": 1, "command": "list"}')
    assert (code, answer["message"], sent) == (0, "done", [{"format": 1, "command": "list"}])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nonsense",
        "{} {}",
        "[" * 100_000,
        # what two readers could see differently
        '{"format": 1, "command": "list", "command": "apply"}',
        '{"format": NaN, "command": "list"}',
        '{"format": 1, "command": "list", "host": "\\ud800"}',
        '{"format": 1, "command": "list", "by": "\\udcff"}',
    ],
)
def test_what_is_no_json_is_wrong_usage(monkeypatch, capsys, sent, text):
    code, answer = from_stdin(monkeypatch, capsys, text)
    assert (code, answer["exit_code"], sent) == (2, 2, [])
    assert "no JSON" in answer["message"]


@pytest.mark.parametrize(
    "text", ["null", "7", '"list"', "[]", "{}", '{"format": 1}', '{"format": 1, "command": []}']
)
def test_json_that_is_no_job_is_wrong_usage(monkeypatch, capsys, text):
    code, answer = from_stdin(monkeypatch, capsys, text)
    assert (code, answer["exit_code"], answer["changed"]) == (2, 2, False)


def long_report() -> Report:
    return Report(
        "apply", [ProcessReport(pid, 1, "/bin/daemon", "busy", message="x" * 100) for pid in range(500)]
    )


def test_what_does_not_fit_stands_in_a_file_on_the_host(monkeypatch, capsys, answers, tmp_path):
    answers(long_report())
    make = tempfile.mkstemp
    monkeypatch.setattr(tempfile, "mkstemp", lambda **options: make(**{**options, "dir": tmp_path}))
    code, answer = from_stdin(monkeypatch, capsys, '{"format": 1, "command": "apply"}')
    assert (code, answer["counts"]) == (4, {"busy": 500})
    (path,) = tmp_path.iterdir()
    assert answer["details_path"] == str(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(json.loads(path.read_text())["processes"]) == 500


def test_a_disk_that_takes_no_file_does_not_swallow_the_report(monkeypatch, capsys, answers):
    def full(**options: Any) -> None:
        raise OSError(28, "No space left on device")

    answers(long_report())
    monkeypatch.setattr(tempfile, "mkstemp", full)
    code, answer = from_stdin(monkeypatch, capsys, '{"format": 1, "command": "apply"}')
    assert (code, answer["counts"], answer["details_path"]) == (4, {"busy": 500}, None)
