# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal's lines: what they say, what they can not be made to say, and that nobody waits for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from livepatch.apply import job as jobs
from livepatch.apply.journal import Journal, shown
from livepatch.errors import Refused
from tests.harness.log_socket import Syslog, parsed


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[Syslog]:
    syslog = Syslog(tmp_path / "log")
    yield syslog
    syslog.close()


def test_a_line_is_what_syslog_expects(syslog):
    journal = Journal(str(syslog.path))
    journal.write("applied", [("act", "apply"), ("pid", 7), ("unit", None), ("comment", "")])
    journal.write("stranded", [])
    first, second = syslog.raw()
    assert parsed(first) == {
        "severity": "5", "sender": str(os.getpid()), "event": "applied", "act": "apply", "pid": "7",
    }  # fmt: skip
    assert parsed(second)["severity"] == "2"
    assert b"\n" not in first and b"\0" not in first
    now = time.strftime("%b ").encode()
    assert first.split(b">")[1].startswith(now)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("change 4711", "change 4711"),
        ("\u00fcberall", "\u00fcberall"),
        ('" event=applied by="root', '\\" event=applied by=\\"root'),
        ("back\\", "back\\\\"),
        ("two\nlines", "two\\x0alines"),
        ("\x1b[2J\0", "\\x1b[2J\\x00"),
        ("\u202eevil\u2028", "\\u202eevil\\u2028"),
        ("/bin/\udcff", "/bin/\\udcff"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_no_value_leaves_its_quotes(syslog, value, text):
    assert shown(value) == f'"{text}"'
    Journal(str(syslog.path)).write("begins", [("comment", value), ("uid", 0)])
    (line,) = syslog.lines()
    assert (line["comment"], line["uid"]) == (text, "0")


def test_a_long_value_is_cut_between_characters(syslog):
    Journal(str(syslog.path)).write("begins", [("comment", "\n" * 10_000), ("by", "x" * 10_000), ("uid", 0)])
    (line,) = syslog.lines()
    assert line["comment"] == "\\x0a" * 60 + "..."
    assert line["by"] == "x" * 240 + "..." and line["uid"] == "0"


def test_without_a_syslog_nothing_is_lost(tmp_path):
    for path in (tmp_path / "nowhere", tmp_path / "no" / "folder"):
        journal = Journal(str(path))
        journal.write("begins", [])
        assert journal.lost == 0


def test_a_syslog_that_takes_nothing_keeps_nobody_waiting(syslog):
    journal = Journal(str(syslog.path))
    before = time.monotonic()
    for _ in range(2000):  # more than net.unix.max_dgram_qlen, which is 512 at most by default
        journal.write("begins", [("comment", "x" * 200)])
    assert time.monotonic() - before < 5
    taken = len(syslog.raw())
    assert journal.lost == 2000 - taken > 0


def test_a_syslog_that_nobody_serves_loses_lines_and_a_new_one_gets_them(syslog):
    journal = Journal(str(syslog.path))
    journal.write("begins", [])
    syslog.close()
    journal.write("applied", [])
    assert journal.lost == 1
    syslog.path.unlink()
    fresh = Syslog(syslog.path)
    journal.write("reverted", [])
    assert [line["event"] for line in fresh.lines()] == ["reverted"]
    fresh.close()


def test_a_command_that_is_turned_down_as_a_whole_is_heard_of_if_it_would_write(syslog):
    for command in ("apply", "check", "list"):
        job = {"format": 1, "command": command, "artifacts": ["/nowhere.lp.o"], "by": "me"}
        with pytest.raises(Refused):
            jobs.run_job(job, Journal(str(syslog.path)))
    (line,) = syslog.lines()
    assert (line["event"], line["act"], line["reason"]) == ("refused", "apply", "artifact_not_found")
    assert (line["patch"], line["by"], line["uid"]) == ("/nowhere.lp.o", "me", str(os.getuid()))


def test_the_line_is_one_that_the_hosts_logger_would_have_sent(syslog):
    """The same shape as logger(1) gives what it sends to the same kind of socket."""
    assert shutil.which("logger")
    subprocess.run(["logger", "-u", syslog.path, "-t", "livepatch", "-p", "authpriv.notice", "-i", "x=1"], check=True)
    Journal(str(syslog.path)).write("applied", [])
    theirs, ours = syslog.raw()
    shape = [b"<85>", theirs.split(b">")[1].split(b" livepatch[")[0]]
    assert ours.startswith(shape[0]) and theirs.startswith(shape[0])
    assert len(ours.split(b">")[1].split(b" livepatch[")[0]) == len(shape[1])
