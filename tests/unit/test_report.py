# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job answers: exit codes, counts, and a size that no number of processes breaks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from livepatch import report
from livepatch.report import ProcessReport, Report

# docs/formats.md ("Statuses and exit codes")
EXIT_CODES = {
    "applied": 0,
    "reverted": 0,
    "recovered": 0,
    "already": 0,
    "absent": 0,
    "planned": 0,
    "gone": 0,
    "skipped": 0,
    "refused": 3,
    "busy": 4,
    "rolled_back": 5,
    "interrupted": 6,
    "stranded": 7,
}
LIMIT = 20_000  # bytes: docs/formats.md promises less


def process(status: str, pid: int = 7, **more: Any) -> ProcessReport:
    return ProcessReport(pid, 100 + pid, "/usr/sbin/daemon", status, arch="x86_64", **more)


def of(*statuses: str, command: str = "apply") -> Report:
    return Report(command, [process(status, pid) for pid, status in enumerate(statuses, 1)])


def artifact(functions: int = 1, name: str = "check") -> dict[str, Any]:
    return {
        "id": "a1" * 32,
        "name": "fix",
        "version": "1",
        "arch": "x86_64",
        "target": {"name": "daemon", "build_id": "b2" * 20, "text_sha256": "c3" * 32},
        "functions": [f"{name}_{number}" for number in range(functions)],
        "cve": [],
    }


def plan(groups: int = 1) -> dict[str, Any]:
    group = {"target": "b2" * 20, "arch": "x86_64", "functions": ["check"], "statuses": [["planned", None]]}
    found = [{"of": f"daemon-{number}.service", **group} for number in range(groups)]
    return {"format": 1, "artifact_id": "a1" * 32, "host": "web1", "groups": found, "sha256": "d4" * 32}


@pytest.mark.parametrize(("status", "code"), EXIT_CODES.items())
def test_each_status_has_the_exit_code_of_the_format_page(status, code):
    assert report.STATUSES == EXIT_CODES
    assert of(status).exit_code == of(status).to_json()["exit_code"] == code


def test_the_highest_exit_code_counts():
    assert of("applied", "busy", "refused", "gone").exit_code == 4
    assert of("applied", "stranded", "interrupted").exit_code == 7


def test_a_run_that_failed_or_was_misused_says_so_whatever_the_processes():
    assert Report("apply", [process("stranded")], failed=True).exit_code == 1
    assert Report("apply", [process("stranded")], usage=True).exit_code == 2


def test_no_process_is_success():
    answer = Report("apply", message="no process maps daemon").to_json()
    assert (answer["exit_code"], answer["changed"], answer["counts"]) == (0, False, {})
    assert answer["message"] == "no process maps daemon"


def test_counts_have_a_key_for_each_status_that_occurred():
    assert of("busy", "applied", "applied").counts == {"applied": 2, "busy": 1}


@pytest.mark.parametrize("command", ["list", "check", "apply", "revert", "recover"])
@pytest.mark.parametrize("status", EXIT_CODES)
def test_changed_is_what_was_done_and_in_check_mode_what_would_be(status, command):
    would, did = {"planned", "interrupted"}, {"applied", "reverted", "recovered"}
    assert of("gone", status, command=command).changed is (status in (would if command == "check" else did))


def test_the_message_counts_and_names_the_worst():
    found = Report("apply", [process("applied"), process("busy", 8, message="thread 9 is inside check")])
    assert found.summary() == "1 applied, 1 busy; process 8 (/usr/sbin/daemon): thread 9 is inside check"


def test_who_may_not_be_looked_at_is_mentioned():
    assert "3 processes may not be looked at" in Report("list", unseen=3).to_json()["message"]


def test_the_only_artifact_and_plan_stand_by_themselves_several_do_not():
    one = Report("check", artifacts=[artifact()], plans=[plan()]).to_json()
    assert (one["artifact"], one["plan"]) == (artifact(), plan())
    two = Report("check", artifacts=[artifact()] * 2, plans=[plan()] * 2).to_json()
    assert (two["artifact"], two["plan"], len(two["plans"])) == (None, None, 2)


def test_a_report_has_the_keys_of_the_format_page_and_is_json():
    answer = Report("list", [process("already")]).to_json()
    assert json.loads(report.line(answer)) == answer
    assert set(answer) == {
        "format", "command", "changed", "exit_code", "message", "counts", "unseen", "processes",
        "unjournaled", "artifacts", "artifact", "plans", "plan", "plan_sha256", "diff", "details_path",
    }  # fmt: skip
    assert set(answer["processes"][0]) == {
        "pid", "start_time", "exe", "unit", "container", "arch", "artifact", "status", "reason", "message",
        "functions", "stop_us", "attempts", "threads", "unproven", "patches", "outdated",
    }  # fmt: skip


# Size


def cut(answer: dict[str, Any]) -> dict[str, Any]:
    """What is sent of a report that is too long: it holds the bound, with the path of the rest in it."""
    found, was_cut = report.bounded(answer)
    assert was_cut
    found["details_path"] = "/var/tmp/livepatch-report-abcdefgh.json"
    assert len(report.line(found)) < LIMIT
    for key in ("format", "command", "changed", "exit_code", "counts", "unseen", "plan_sha256"):
        assert found[key] == answer[key]
    return found


def test_a_short_report_is_sent_as_it_is():
    answer = of("applied", "busy").to_json()
    assert report.bounded(answer) == (answer, False)


def test_five_hundred_processes_fit_and_all_of_them_are_counted():
    diff = [{"before_header": "x", "after_header": "x", "before": "old\n", "after": "new\n"}] * 500
    found = Report(
        "check",
        [process("planned", pid, functions=["check"], message="m" * 100) for pid in range(1, 501)],
        artifacts=[artifact()],
        plans=[plan()],
        plan_sha256="d4" * 32,
        diff=diff,
    )
    answer = cut(found.to_json())
    assert answer["counts"] == {"planned": 500}
    assert 20 < len(answer["processes"]) < 500
    assert answer["plan"] == plan()
    assert answer["diff"] == []  # half a diff would look like a whole one


def test_who_failed_is_shown_first():
    processes = [process("applied", pid, message="x" * 100) for pid in range(1, 500)]
    processes += [process("busy", 500), process("stranded", 501), process("refused", 502)]
    answer = cut(Report("apply", processes).to_json())
    assert [each["pid"] for each in answer["processes"][:3]] == [501, 500, 502]


def test_what_is_cut_was_not_changed_in_the_whole_report():
    whole = Report("apply", [process("busy", pid, message="x" * 1000) for pid in range(100)]).to_json()
    before = json.dumps(whole)
    cut(whole)
    assert json.dumps(whole) == before


@pytest.mark.parametrize("name", ["f" * 60, "f" * 4000, "\u00fc" * 4000, "\U0001f525" * 4000])
def test_no_single_process_breaks_the_bound(name):
    many = [f"{name}{number}" for number in range(30)]
    patch = {
        "id": "a1" * 32, "name": "fix", "version": "1", "state": "applied", "functions": many,
        "target": name, "at": "2026-11-22T16:32:00Z", "by": name, "comment": name,
    }  # fmt: skip
    each = process(
        "busy", functions=many, message=name * 3, patches=[patch] * 12, outdated=many, unproven=many
    )
    each.exe = each.unit = name
    answer = cut(Report("list", [each] * 4).to_json())
    assert answer["processes"]
    assert answer["processes"][0]["pid"] == each.pid


@pytest.mark.parametrize("name", ["f" * 60, "f" * 4000, "\u00fc" * 4000])
@pytest.mark.parametrize("number", [1, 6])
def test_no_artifact_breaks_the_bound(name, number):
    found = Report(
        "check", [process("planned")], artifacts=[artifact(200, name)] * number, plans=[plan()] * number
    )
    answer = cut(found.to_json())
    assert answer["artifacts"][0]["id"] == "a1" * 32
    assert (answer["artifact"] is None) == (number > 1)
    assert len(answer["processes"]) == 1


@pytest.mark.parametrize("groups", [1, 30, 60, 90, 120, 1000])
def test_plans_are_there_whole_or_only_by_their_hash(groups):
    found = Report(
        "check", [process("planned", pid) for pid in range(200)], plans=[plan(groups)], plan_sha256="d4" * 32
    )
    answer = cut(found.to_json())
    assert answer["plan"] in (None, plan(groups))
    assert answer["plan_sha256"] == "d4" * 32


def test_a_long_message_is_cut():
    assert len(cut(Report("apply", message="x" * 50_000).to_json())["message"]) == 600


def test_a_path_of_any_bytes_is_sent_as_ascii():
    each = process("applied")
    each.exe = b"/opt/\xff\xc3\xbc".decode("utf-8", "surrogateescape")
    sent = report.line(Report("apply", [each]).to_json())
    assert sent.isascii()
    assert json.loads(sent)["processes"][0]["exe"] == each.exe


def test_the_canonical_spelling_is_that_of_the_format_page():
    value = {"b": [1, None, True, "\u00fc\n"], "a": {"z": "", "y": -1}}
    assert report.canonical(value) == '{"a":{"y":-1,"z":""},"b":[1,null,true,"\u00fc\\n"]}'.encode()


# For people


def test_the_table_has_a_line_for_each_process_then_what_it_comes_to():
    found = Report(
        "apply",
        [
            process("applied", 41, functions=["check", "answer"], stop_us=180),
            process("busy", 4242, message="thread 4243 is inside check"),
        ],
    ).to_json()
    assert report.table(found).splitlines() == [
        "PID   ARCH    STATUS   STOP    PROGRAM           PATCH, OR WHY NOT",
        "41    x86_64  applied  180 us  /usr/sbin/daemon  check, answer",
        "4242  x86_64  busy             /usr/sbin/daemon  thread 4243 is inside check",
        found["message"],
    ]


def test_the_table_shows_what_list_found():
    patch = {"name": "fix", "version": "1", "state": "applied"}
    found = Report("list", [process("already", patches=[patch], outdated=["/usr/lib/libx.so"])])
    assert "fix 1 (applied); runs old /usr/lib/libx.so" in report.table(found.to_json())


def test_without_processes_the_table_is_the_message():
    assert report.table(Report("list", message="no process has a live patch").to_json()) == (
        "no process has a live patch\n"
    )


def test_a_program_can_not_write_to_the_terminal_through_its_path():
    each = process("refused", message="/tmp/\x1b[2J\nPID 1 applied")
    each.exe = "/tmp/\x1b]0;x\x07\udcff\u202e"
    shown = report.table(Report("apply", [each]).to_json())
    assert len(shown.splitlines()) == 3
    assert all(letter.isprintable() for line in shown.splitlines() for letter in line)
    assert r"\x1b]0;x\x07\udcff\u202e" in shown


def test_a_command_that_was_turned_down_as_a_whole_shows_its_reason():
    answer = {**Report("apply", message="no signature", failed=True).to_json(), "status": "refused"}
    assert report.table({**answer, "reason": "not_signed"}) == "refused (not_signed): no signature\n"
