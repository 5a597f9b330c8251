# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The managed host's program: a job comes in, a report goes out.

``livepatch run`` reads the job as JSON on stdin and answers in JSON: this is
what the Ansible modules start.  The other commands are the same jobs for people.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
from typing import Any, Dict, List, Mapping, Optional, Sequence

from . import report as reporting
from .apply.job import COMMANDS, SELECTION_KEYS, run_job
from .apply.parameters import PARAMETERS
from .errors import LivepatchError, UsageError

_HELP = {
    "list": "show which processes have which patches; stops nobody",
    "check": "say what apply (or --revert) would do, and where it would be refused; stops nobody",
    "apply": "put patches into processes",
    "revert": "take patches out; a patch may be named by its file, its name or its id",
    "recover": "put right what an earlier, interrupted livepatch has left",
}


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """:returns: the exit code, see ``docs/formats.md`` ("Exit codes")"""
    # A snapshot keeps one descriptor a process; a host has more of them than the usual soft limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["run"]:
        return _run_from_stdin()
    options = _parser().parse_args(given)
    answer = _answer(_job(options))
    if options.json:
        print(json.dumps(answer, indent=2, sort_keys=True))
    else:
        sys.stdout.write(reporting.table(answer))
    return int(answer["exit_code"])


def _run_from_stdin() -> int:
    try:
        job = json.load(sys.stdin)
    except ValueError as error:
        job = {}
        print(f"livepatch: the job on stdin is no JSON: {error}", file=sys.stderr)
    whole = _answer(job)
    answer, cut = reporting.bounded(whole)
    if cut:
        answer["details_path"] = _kept(whole)
    json.dump(answer, sys.stdout)
    sys.stdout.write("\n")
    return int(answer["exit_code"])


def _kept(report: Mapping[str, Any]) -> str:
    """A file on this host with all of a report, for our user alone."""
    descriptor, path = tempfile.mkstemp(prefix="livepatch-report-", suffix=".json", dir="/var/tmp")
    with open(descriptor, "wb") as file:
        file.write(reporting.canonical(report))
    return path


def _answer(job: Mapping[str, Any]) -> Dict[str, Any]:
    """Every outcome as a report; only a fault of our own code leaves as a traceback."""
    try:
        return run_job(job).to_json()
    except UsageError as error:
        failed = reporting.Report(str(job.get("command")), message=str(error), usage=True)
    except LivepatchError as error:
        failed = reporting.Report(str(job.get("command")), message=error.message, failed=True)
        return {**failed.to_json(), "status": error.status, "reason": error.reason,
                "exit_code": reporting.STATUSES.get(error.status, reporting.RUN_FAILED)}
    return failed.to_json()


def _job(options: argparse.Namespace) -> Dict[str, Any]:
    """The command line as a job."""
    parameters: Dict[str, Any] = {}
    for parameter in PARAMETERS:
        value = getattr(options, parameter.name, None)
        if value is not None:
            parameters[parameter.name] = value
    selection = {key: getattr(options, f"only_{key}") for key in SELECTION_KEYS}
    parameters["processes"] = {key: value for key, value in selection.items() if value is not None}
    expected = parameters.get("expected_plan")
    if expected is not None and os.path.exists(expected):
        with open(expected, encoding="utf-8") as file:
            parameters["expected_plan"] = json.load(file)
    return {
        "format": 1,
        "command": options.command,
        "direction": "revert" if getattr(options, "revert", False) else "apply",
        "artifacts": getattr(options, "artifacts", []),
        "host": os.uname().nodename,
        "by": f"command line:{os.environ.get('SUDO_USER') or os.environ.get('USER') or os.getuid()}",
        "parameters": parameters,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="livepatch", description="Live patching of running processes.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        sub = commands.add_parser(command, help=_HELP[command], description=_HELP[command])
        sub.add_argument("--json", action="store_true", help="answer in JSON")
        _add_selection(sub)
        if command != "recover":
            sub.add_argument(
                "artifacts", nargs="*" if command == "list" else "+", metavar="PATCH", help="artifact file (.lp.o)"
            )
        if command == "check":
            sub.add_argument("--revert", action="store_true", help="predict a revert instead of an apply")
        _add_parameters(sub, reads=command == "list")
    return parser


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which processes (all given ones must hold)")
    for key in SELECTION_KEYS:
        group.add_argument(f"--{key}", dest=f"only_{key}", type=int if key == "pid" else str,
                           action="append" if key == "pid" else "store")  # fmt: skip


def _add_parameters(parser: argparse.ArgumentParser, reads: bool) -> None:
    types = {"str": str, "int": int, "float": float, "plan": str}
    for parameter in PARAMETERS:
        if parameter.reads != reads:
            continue
        name = "--" + parameter.name.replace("_", "-")
        if parameter.kind == "bool":
            parser.add_argument(name, action=_Flag, help=parameter.help)
        elif parameter.kind != "dict":
            parser.add_argument(name, type=types[parameter.kind], choices=parameter.choices, help=parameter.help)


class _Flag(argparse.Action):
    """``--name`` and ``--no-name``; argparse has such an action only from Python 3.9 on."""

    def __init__(self, option_strings: List[str], dest: str, **kwargs: Any) -> None:
        negative = ["--no-" + option[2:] for option in option_strings]
        super().__init__(option_strings + negative, dest, nargs=0, default=None, help=kwargs.get("help"))

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Optional[str] = None) -> None:
        setattr(namespace, self.dest, not (option_string or "").startswith("--no-"))


if __name__ == "__main__":
    sys.exit(main())
