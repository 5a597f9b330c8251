# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a job answers: statuses, exit codes, and a report of bounded size.

The JSON form is written down in ``docs/formats.md`` ("Report").
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

FORMAT = 1

# status -> exit code of the command line; with several processes the highest counts
STATUSES: Mapping[str, int] = {
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
RUN_FAILED = 1
WRONG_USAGE = 2

CHANGES = frozenset({"applied", "reverted", "recovered"})  # the process is not as it was before
WOULD_CHANGE = frozenset({"planned", "interrupted"})  # check mode: a writing command would change it

# "Under 20 KB a host, whatever the number of processes."
_SIZE_LIMIT = 19000
_TEXT_LIMIT = 600
_ENTRY_LIMIT = 2500  # of one process or artifact, where a report is cut
_PATH_LIMIT = 100  # of details_path, which is put in afterwards


@dataclass
class ProcessReport:
    """One process and one artifact: what was found or done."""

    pid: int
    start_time: int  # clock ticks after boot; with pid and boot id a process's identity
    exe: str
    status: str
    unit: Optional[str] = None
    container: Optional[str] = None
    arch: Optional[str] = None
    artifact: Optional[str] = None  # "NAME VERSION"
    reason: Optional[str] = None  # a key of errors.REASONS
    message: str = ""
    functions: List[str] = field(default_factory=list)
    stop_us: Optional[int] = None  # how long the stop held the running threads, microseconds
    attempts: int = 0
    threads: int = 0
    unproven: List[str] = field(default_factory=list)
    patches: List[Dict[str, Any]] = field(default_factory=list)  # ``list``: what is in the process, oldest first
    outdated: List[str] = field(default_factory=list)  # ``list``: mapped files that were replaced or deleted


@dataclass
class Report:
    """What one job answers."""

    command: str
    processes: List[ProcessReport] = field(default_factory=list)
    artifacts: List[Dict[str, Any]] = field(default_factory=list)
    message: str = ""
    plans: List[Dict[str, Any]] = field(default_factory=list)
    plan_sha256: Optional[str] = None
    diff: List[Dict[str, str]] = field(default_factory=list)
    unseen: int = 0  # processes that we may not look at
    unjournaled: int = 0  # lines that the host's journal did not take
    failed: bool = False  # an error of the run itself
    usage: bool = False  # the caller's words made no sense

    @property
    def counts(self) -> Dict[str, int]:
        """Status -> number of processes; a key for each status that occurred."""
        result: Dict[str, int] = {}
        for process in self.processes:
            result[process.status] = result.get(process.status, 0) + 1
        return dict(sorted(result.items()))

    @property
    def changed(self) -> bool:
        """Whether something was changed, or in check mode would be."""
        words = WOULD_CHANGE if self.command == "check" else CHANGES
        return any(process.status in words for process in self.processes)

    @property
    def exit_code(self) -> int:
        if self.usage:
            return WRONG_USAGE
        if self.failed:
            return RUN_FAILED
        return max((STATUSES[process.status] for process in self.processes), default=0)

    def to_json(self) -> Dict[str, Any]:
        """The report as it is sent, all of it."""
        return {
            "format": FORMAT,
            "command": self.command,
            "changed": self.changed,
            "exit_code": self.exit_code,
            "message": self._message(),
            "unseen": self.unseen,
            "unjournaled": self.unjournaled,
            "counts": self.counts,
            "processes": [asdict(process) for process in self.processes],
            "artifacts": self.artifacts,
            "artifact": self.artifacts[0] if len(self.artifacts) == 1 else None,
            "plan": self.plans[0] if len(self.plans) == 1 else None,
            "plans": self.plans,
            "plan_sha256": self.plan_sha256,
            "diff": self.diff,
            "details_path": None,
        }

    def _message(self) -> str:
        text = self.message or self.summary()
        if self.unseen:
            text += f" ({self.unseen} processes may not be looked at; run with become: true to see them)"
        return text

    def summary(self) -> str:
        """One line: how many of what, and the first thing that is not well."""
        if not self.processes:
            return "no process"
        text = ", ".join(f"{number} {status}" for status, number in self.counts.items())
        worst = max(self.processes, key=lambda process: STATUSES[process.status])
        if STATUSES[worst.status]:
            text += f"; process {worst.pid} ({worst.exe}): {worst.message}"
        return text


def canonical(value: Any) -> bytes:
    """JSON as bytes, one form for one value: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape")


def line(report: Mapping[str, Any]) -> str:
    """A report as it is sent: JSON in ASCII without spaces, whatever bytes a path has."""
    return json.dumps(report, separators=(",", ":"))


def bounded(report: Dict[str, Any], limit: int = _SIZE_LIMIT) -> Tuple[Dict[str, Any], bool]:
    """The report cut to at most ``limit`` bytes of :func:`line`, and whether anything was left out.

    Processes that failed are kept first; ``counts`` still counts everybody.
    """
    if len(line(report)) <= limit:
        return report, False
    # The plans' hash stays: with it expected_plan works, whatever else is cut.
    cut = {**report, "message": report["message"][:_TEXT_LIMIT], "plans": [], "plan": None, "diff": []}
    cut["artifacts"] = _fitting([_shortened(artifact) for artifact in report["artifacts"]], limit // 6)
    cut["artifact"] = cut["artifacts"][0] if report["artifact"] and cut["artifacts"] else None
    urgent = sorted(report["processes"], key=lambda process: -STATUSES[process["status"]])
    room = limit - len(line({**cut, "processes": [], "details_path": " " * _PATH_LIMIT}))
    cut["processes"] = _fitting([_shortened(process) for process in urgent], room * 2 // 3)
    for name in ("plans", "diff"):
        room -= len(line(cut["processes"] if name == "plans" else cut["plans"]))
        found = _fitting(report[name], room // 2)  # half: the only plan stands there twice
        cut[name] = found if len(found) == len(report[name]) else []
    cut["plan"] = cut["plans"][0] if len(cut["plans"]) == 1 else None
    return cut, True


def _shortened(entry: Mapping[str, Any]) -> Any:
    """An entry of a few lines at most: texts and lists are cut, the more the longer it is."""
    result: Any = entry
    for characters, items in ((_TEXT_LIMIT, 10), (120, 3), (64, 1), (40, 0)):
        result = _cut(entry, characters, items)
        if len(line(result)) <= _ENTRY_LIMIT:
            break
    return result


def _cut(value: Any, characters: int, items: int) -> Any:
    if isinstance(value, dict):
        return {key: _cut(each, characters, items) for key, each in value.items()}
    if isinstance(value, list):
        return [_cut(each, characters, items) for each in value[:items]]
    return value[:characters] if isinstance(value, str) else value


def _fitting(entries: Sequence[Any], room: int) -> List[Any]:
    """The first entries, as many as ``room`` bytes hold."""
    result = []
    for entry in entries:
        room -= len(line(entry)) + 1
        if room < 0:
            break
        result.append(entry)
    return result


def table(report: Mapping[str, Any]) -> str:
    """The report for people: a line a process, then what it comes to."""
    rows = [("PID", "ARCH", "STATUS", "STOP", "PROGRAM", "PATCH, OR WHY NOT")]
    for process in report["processes"]:
        stop = "" if process["stop_us"] is None else f"{process['stop_us']} us"
        patches = "; ".join(
            f"{patch['name']} {patch['version']} ({patch['state']})" for patch in process["patches"]
        )
        outdated = f"runs old {', '.join(process['outdated'])}" if process["outdated"] else ""
        found = "; ".join(filter(None, [patches, outdated]))
        why = process["message"] or found or ", ".join(process["functions"])
        rows.append((str(process["pid"]), process["arch"] or "?", process["status"], stop, process["exe"], why))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)) + "  " + row[5] for row in rows
    ]
    shown = lines if report["processes"] else []
    turned_down = f"{report['status']} ({report['reason']}): " if report.get("reason") else ""  # all of it
    return "".join(_printable(text.rstrip()) + "\n" for text in [*shown, turned_down + report["message"]])


def _printable(text: str) -> str:
    """What a terminal shows as it stands: the path of a program may be any bytes, escape sequences too."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
