# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A plan's identity: what was predicted for a host, in a form that outlives PIDs.

A worker that was recycled since is no drift; a new binary, a missing unit or
another set of functions is.  ``docs/formats.md`` ("The plan and its identity") has the bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple, Union

from ..errors import Refused, UsageError
from ..report import canonical

FORMAT = 1


class Prediction(NamedTuple):
    """What was predicted for one process."""

    of: str  # systemd unit, else path of the executable
    target: str  # build ID, else text_sha256
    arch: str
    functions: Tuple[str, ...]  # sorted
    status: str
    reason: Optional[str]


def plan_of(artifact_id: str, host: str, predictions: Sequence[Prediction]) -> Dict[str, Any]:
    """The plan of one artifact on one host, with its hash as ``sha256``; ``gone`` is left out."""
    groups: Dict[Tuple[str, str, str, Tuple[str, ...]], Set[Tuple[str, Optional[str]]]] = {}
    for item in predictions:
        if item.status != "gone":
            key = (item.of, item.target, item.arch, item.functions)
            groups.setdefault(key, set()).add((item.status, item.reason))
    plan = {
        "format": FORMAT,
        "artifact_id": artifact_id,
        "host": host,
        "groups": [
            {
                "of": of,
                "target": target,
                "arch": arch,
                "functions": list(functions),
                "statuses": [list(pair) for pair in sorted(statuses, key=lambda pair: (pair[0], pair[1] or ""))],
            }
            for (of, target, arch, functions), statuses in sorted(groups.items())
        ],
    }
    return {**plan, "sha256": hash_of(plan)}


def hash_of(plan: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON, ``sha256`` itself left out."""
    return hashlib.sha256(canonical({key: value for key, value in plan.items() if key != "sha256"})).hexdigest()


def hash_of_all(plans: Sequence[Mapping[str, Any]]) -> str:
    """One hash for a job: the plan's own, or for several that of the sorted list of theirs."""
    hashes = sorted(hash_of(plan) for plan in plans)
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(canonical(hashes)).hexdigest()


def check_expected(expected: Union[str, Mapping[str, Any], None], plans: Sequence[Mapping[str, Any]]) -> None:
    """Hold a saved plan, or its hash, against the plans of now.

    :raises Refused: ``plan_drifted``, with the first difference
    :raises UsageError: what was saved is no plan
    """
    if expected is None:
        return
    now = hash_of_all(plans)
    saved = expected if isinstance(expected, str) else _plans_in(expected)
    if isinstance(saved, str):
        if saved != now:
            raise Refused("plan_drifted", f"the plan's hash is {now}, not {saved}")
        return
    for plan in saved:
        if plan["format"] != FORMAT:
            raise Refused(
                "plan_drifted", f"the saved plan is of format {plan['format']}, this livepatch makes {FORMAT}"
            )
    if hash_of_all(saved) != now:
        raise Refused("plan_drifted", _first_difference(saved, plans))


def _plans_in(saved: Mapping[str, Any]) -> Union[str, List[Mapping[str, Any]]]:
    """A plan, or the plans in a report; their hash where the report was too long to hold them.

    :raises UsageError: it is neither
    """
    plans = saved.get("plans", [saved])
    if plans == [] and isinstance(saved.get("plan_sha256"), str):
        return str(saved["plan_sha256"])
    if not isinstance(plans, list) or not plans or not all(_is_plan(plan) for plan in plans):
        raise UsageError("expected_plan is neither a saved plan nor a report that holds plans")
    return plans


def _is_plan(value: Any) -> bool:
    keys = {"format": int, "artifact_id": str, "host": str, "groups": list}
    return isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in keys.items())


def _first_difference(saved: Sequence[Mapping[str, Any]], plans: Sequence[Mapping[str, Any]]) -> str:
    before = {plan.get("artifact_id"): plan for plan in saved}
    for plan in plans:
        old = before.get(plan["artifact_id"])
        if old is None:
            return f"artifact {plan['artifact_id'][:12]} is not in the saved plan"
        if old.get("host") != plan["host"]:
            return f"the plan was saved on host {old.get('host')}, this is {plan['host']}"
        was, now = old.get("groups") or [], plan["groups"]
        for group in was:
            if group not in now:
                return f"the saved plan has {_shown(group)}, which is not so now"
        for group in now:
            if group not in was:
                return f"{_shown(group)} is not in the saved plan"
    return "artifacts of the saved plan are missing"


def _shown(group: Any) -> str:
    try:
        states = ", ".join(" ".join(filter(None, pair)) for pair in group["statuses"])
        return f"{group['of']} ({group['arch']}, {len(group['functions'])} functions): {states}"
    except (KeyError, TypeError):
        return "a group that is no group"
