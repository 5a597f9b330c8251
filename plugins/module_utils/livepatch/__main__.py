# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The managed host's program: a job comes in, a report goes out.

``livepatch run`` reads the job as JSON on stdin and answers in JSON: this is
what the Ansible modules start.  The other commands are the same jobs for people.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import sys
from typing import Any, Dict, List, Mapping, NoReturn, Optional, Sequence, Tuple

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
    """:returns: the exit code, see ``docs/formats.md`` ("Statuses and exit codes")"""
    # A snapshot keeps one descriptor a process; a host has more of them than the usual soft limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["run"]:
        return _run_from_stdin()
    parser = _parser()
    options = parser.parse_args(given)
    try:
        job = _job(options)
    except UsageError as error:
        parser.error(str(error))
    answer = _answer(job)
    if options.json:
        print(json.dumps(answer, indent=2, sort_keys=True))
    else:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a terminal need not know every letter
        sys.stdout.write(reporting.table(answer))
    return int(answer["exit_code"])


def _run_from_stdin() -> int:
    try:
        job = _read_job(sys.stdin.read())
    except (ValueError, RecursionError) as error:
        whole = _misused(None, f"the job on stdin is no JSON: {error}")
    else:
        whole = _answer(job)
    answer, cut = reporting.bounded(whole)
    if cut:
        answer["details_path"] = _kept(whole)
    sys.stdout.write(reporting.line(answer) + "\n")
    return int(answer["exit_code"])


def _read_job(text: str) -> Any:
    """The job, if nobody could read another one in the same text (``docs/formats.md``, "JSON, everywhere").

    :raises ValueError, RecursionError: it is no such JSON
    """
    job = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    json.dumps(job, ensure_ascii=False).encode()  # half a surrogate pair is no text
    return job


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _kept(report: Mapping[str, Any]) -> Optional[str]:
    """A file on this host with all of a report, for our user alone; None: it could not be written."""
    import tempfile  # slow to import, and seldom wanted

    try:
        descriptor, path = tempfile.mkstemp(prefix="livepatch-report-", suffix=".json", dir="/var/tmp")
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(reporting.line(report))
    except OSError:  # a full or read-only disk; the work is done, and what it came to must be said
        return None
    return path


def _answer(job: Mapping[str, Any]) -> Dict[str, Any]:
    """Every outcome as a report; only a fault of our own code leaves as a traceback."""
    command = job.get("command") if isinstance(job, dict) else None
    try:
        return run_job(job).to_json()
    except UsageError as error:
        return _misused(command, str(error))
    except LivepatchError as error:
        failed = reporting.Report(str(command), message=error.message, failed=True)
        return {**failed.to_json(), "status": error.status, "reason": error.reason,
                "exit_code": reporting.STATUSES.get(error.status, reporting.RUN_FAILED)}


def _misused(command: Any, why: str) -> Dict[str, Any]:
    return reporting.Report(str(command), message=why, usage=True).to_json()


def _job(options: argparse.Namespace) -> Dict[str, Any]:
    """The command line as a job.

    :raises UsageError: ``--expected-plan`` names a file that is no saved plan, ``--trusted-keys`` one that is no text
    """
    parameters: Dict[str, Any] = {}
    for parameter in PARAMETERS:
        value = getattr(options, parameter.name, None)
        if value is not None:
            parameters[parameter.name] = _text_of(value) if parameter.kind == "text" else value
    selection = {key: getattr(options, f"only_{key}") for key in SELECTION_KEYS}
    parameters["processes"] = {key: value for key, value in selection.items() if value is not None}
    expected = parameters.get("expected_plan")
    if expected is not None and os.path.exists(expected):
        parameters["expected_plan"] = _saved(expected)
    return {
        "format": 1,
        "command": options.command,
        "direction": "revert" if getattr(options, "revert", False) else "apply",
        "artifacts": getattr(options, "artifacts", []),
        "host": os.uname().nodename,
        "by": f"command line:{_user()}",
        "parameters": parameters,
    }


def _user() -> str:
    """Who types, as a text that a ledger can hold: the environment may be any bytes."""
    name = os.environ.get("SUDO_USER") or os.environ.get("USER") or str(os.getuid())
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _saved(path: str) -> Any:
    """:raises UsageError: the file can not be read, or is no JSON"""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"the saved plan {path} can not be read: {error}") from error


def _text_of(path: str) -> str:
    """:raises UsageError: the file can not be read, or is no UTF-8"""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can not be read: {error}") from error


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
    types = {"str": str, "int": int, "float": float, "plan": str, "text": str}
    for parameter in PARAMETERS:
        if parameter.reads not in (None, reads):
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
