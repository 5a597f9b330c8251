# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""What a job can be told: one table for the command line, the job's JSON and its checks.

The modules' ``argument_spec`` stands in the modules, where Ansible reads it; a
test holds it against this table.
"""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from ..artifact.shapes import Mismatch, Text, shown
from ..artifact.signature import MAX_SIGNERS
from ..errors import UsageError


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    :ivar kind: "str", "int", "float", "bool", "dict", "plan" (a dict, or its hash) or "text" (what a file holds that
        the command line and the module name)
    :ivar choices: the values that there are; None: any
    """

    name: str
    kind: str
    default: Any
    help: str
    choices: Optional[Tuple[Any, ...]] = None
    minimum: Optional[float] = None
    maximum: Optional[float] = None  # of a number; of a str its characters, which then is one printable line
    reads: Optional[bool] = False  # means something to ``list`` only; None: to ``list`` as well


PARAMETERS: Tuple[Parameter, ...] = (
    Parameter("processes", "dict", {}, "which processes; empty: every one that maps the artifact's target"),
    Parameter(
        "consistency", "str", "strict",
        "strict: all threads change at one instant; entry: calls under way finish in the old code",
        choices=("strict", "entry"),
    ),
    Parameter(
        "coroutines", "str", "auto", "how suspended coroutines are looked for",
        choices=("auto", "search", "ignore"),
    ),
    Parameter("patience", "float", 10.0, "seconds to wait for a safe point, all attempts together", minimum=0,
              maximum=86400),
    Parameter("attempts", "int", 50, "how often to look for a safe point", minimum=1, maximum=1000000),
    Parameter("stop_ms", "int", 50, "the longest stop, milliseconds", minimum=1, maximum=60000),
    Parameter("on_busy", "str", "fail", "what a process without a safe point is", choices=("fail", "skip")),
    Parameter("all_or_nothing", "bool", True, "patch all selected processes of this host, or none"),
    Parameter("replace", "bool", False, "take the place of the patches that this one supersedes"),
    Parameter("expected_plan", "plan", None, "a plan saved by an earlier check; refuse what has drifted"),
    Parameter("trusted_keys", "text", None, "a file of allowed signers, ssh-keygen(1): accept only what they signed",
              maximum=MAX_SIGNERS, reads=None),
    Parameter("comment", "str", "", "goes into the ledger", maximum=1000),
    Parameter(
        "outdated", "bool", False, "also list processes that still run a file that was replaced on disk", reads=True
    ),
)  # fmt: skip

BY_NAME: Mapping[str, Parameter] = {parameter.name: parameter for parameter in PARAMETERS}

_TYPES: Mapping[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool, "dict": dict, "text": str}


def checked(given: Mapping[str, Any]) -> Dict[str, Any]:
    """All parameters with their values, defaults filled in.

    :raises UsageError: an unknown name, a wrong type or an impossible value
    """
    unknown = sorted(set(given) - set(BY_NAME))
    if unknown:
        raise UsageError(f"unknown parameter {unknown[0]!r}; there are: {', '.join(sorted(BY_NAME))}")
    return {parameter.name: _checked_one(parameter, given.get(parameter.name)) for parameter in PARAMETERS}


def _checked_one(parameter: Parameter, value: Any) -> Any:
    if value is None:
        return copy(parameter.default)
    name = parameter.name
    if parameter.kind == "plan":
        return _checked_plan(name, value)
    if isinstance(value, bool) != (parameter.kind == "bool") or not isinstance(value, _TYPES[parameter.kind]):
        raise UsageError(f"{name} must be of type {parameter.kind}, not {type(value).__name__}")
    if parameter.choices is not None and value not in parameter.choices:
        raise UsageError(f"{name} must be one of {', '.join(map(str, parameter.choices))}, not {value!r}")
    if parameter.kind in ("int", "float"):
        # Written so that NaN, which is in no order to anything, is refused.
        if parameter.minimum is not None and not value >= parameter.minimum:
            raise UsageError(f"{name} must be at least {parameter.minimum:g}, not {shown(value)}")
        if parameter.maximum is not None and not value <= parameter.maximum:
            raise UsageError(f"{name} must be at most {parameter.maximum:g}, not {shown(value)}")
    elif parameter.kind == "text":
        if parameter.maximum is not None and len(value) > parameter.maximum:
            raise UsageError(f"{name} has {len(value)} characters, more than {parameter.maximum:g}")
    elif parameter.maximum is not None:
        _check_line(name, value, int(parameter.maximum))
    return float(value) if parameter.kind == "float" else value


def _checked_plan(name: str, value: Any) -> Any:
    """A plan is looked into by :func:`livepatch.apply.identity.check_expected`."""
    if not isinstance(value, dict) and not (isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)):
        raise UsageError(f"{name} must be a saved plan or its SHA-256, not {shown(value)}")
    return value


def _check_line(name: str, value: str, longest: int) -> None:
    try:
        Text(longest, 0).read(value, name)
    except Mismatch as error:
        raise UsageError(str(error)) from error
