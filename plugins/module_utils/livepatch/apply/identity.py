# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""A plan's identity: what was predicted for a host, in a form that outlives PIDs.

A worker that was recycled since is no drift; a new binary, a missing unit or
another set of functions is.  ``docs/formats.md`` ("Plan") has the bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple, Union

from ..errors import Refused
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
    """
    if expected is None:
        return
    now = hash_of_all(plans)
    if isinstance(expected, str):
        if expected != now:
            raise Refused("plan_drifted", f"the plan's hash is {now}, not {expected}")
        return
    saved: List[Mapping[str, Any]] = list(expected.get("plans") or [expected])
    if hash_of_all(saved) == now:
        return
    raise Refused("plan_drifted", _first_difference(saved, plans))


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
