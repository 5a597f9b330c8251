# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan's identity: the same bytes are hashed as ``docs/formats.md`` says, and drift is named."""

from __future__ import annotations

import copy
import hashlib
import random
from typing import Any

import pytest

from livepatch.apply import identity
from livepatch.apply.identity import Prediction
from livepatch.errors import Refused, UsageError

ARTIFACT = "a1" * 32
NGINX = Prediction("nginx.service", "b2" * 20, "x86_64", ("answer", "check"), "planned", None)
BUSY = NGINX._replace(status="busy", reason="function_on_stack")
OLD = NGINX._replace(status="refused", reason="code_differs")
OTHER = Prediction("/usr/sbin/\u00fcber", "b2" * 20, "i386", ("answer",), "planned", None)

# Spelled out by hand: keys sorted, "," and ":" alone, letters beyond ASCII as themselves.
SPELLED = (
    '{"artifact_id":"' + ARTIFACT + '","format":1,"groups":['
    '{"arch":"i386","functions":["answer"],"of":"/usr/sbin/\u00fcber","statuses":[["planned",null]],'
    '"target":"' + "b2" * 20 + '"},'
    '{"arch":"x86_64","functions":["answer","check"],"of":"nginx.service",'
    '"statuses":[["planned",null],["refused","code_differs"]],"target":"' + "b2" * 20 + '"}'
    '],"host":"web1"}'
)


def plan(*predictions: Prediction, artifact: str = ARTIFACT, host: str = "web1") -> dict[str, Any]:
    return identity.plan_of(artifact, host, predictions)


def drift(expected: Any, *plans: dict[str, Any]) -> str:
    with pytest.raises(Refused) as caught:
        identity.check_expected(expected, plans)
    assert caught.value.reason == "plan_drifted"
    return caught.value.what


def test_the_hash_is_that_of_the_bytes_on_the_format_page():
    assert plan(NGINX, OLD, OTHER)["sha256"] == hashlib.sha256(SPELLED.encode()).hexdigest()


def test_the_order_in_which_processes_are_looked_at_does_not_matter():
    predictions = [NGINX, OLD, OTHER, NGINX, BUSY]
    first = plan(*predictions)
    for seed in range(10):
        random.Random(seed).shuffle(predictions)
        assert plan(*predictions) == first


def test_how_many_processes_are_alike_does_not_matter():
    assert plan(NGINX) == plan(NGINX, NGINX, NGINX)


def test_who_ended_meanwhile_is_left_out():
    gone = NGINX._replace(status="gone")
    assert plan(NGINX, gone) == plan(NGINX)
    assert plan(gone)["groups"] == plan()["groups"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"of": "nginx2.service"},
        {"target": "c3" * 20},
        {"arch": "i386"},
        {"functions": ("answer",)},
        {"status": "already"},
        {"reason": "code_differs"},
    ],
)
def test_everything_else_matters(change):
    assert plan(NGINX)["sha256"] != plan(NGINX._replace(**change))["sha256"]


def test_another_artifact_or_host_is_another_plan():
    assert len({each["sha256"] for each in (plan(), plan(artifact="c3" * 32), plan(host="web2"))}) == 3


def test_the_plan_of_a_job_is_its_only_one():
    assert identity.hash_of_all([plan(NGINX)]) == plan(NGINX)["sha256"]


def test_several_plans_have_one_hash_in_any_order():
    plans = [plan(NGINX), plan(OTHER, artifact="00" * 32)]
    hashes = sorted(each["sha256"] for each in plans)
    spelled = '["' + '","'.join(hashes) + '"]'
    expected = hashlib.sha256(spelled.encode()).hexdigest()
    assert identity.hash_of_all(plans) == identity.hash_of_all(plans[::-1]) == expected


# Drift


@pytest.mark.parametrize(
    "save", [lambda plan: plan, lambda plan: plan["sha256"], lambda plan: {"plans": [plan]}]
)
def test_what_has_not_drifted_is_accepted_in_every_form(save):
    identity.check_expected(save(plan(NGINX, OTHER)), [plan(OTHER, NGINX, NGINX)])


def test_nothing_expected_is_nothing_refused():
    identity.check_expected(None, [plan(NGINX)])


def test_a_report_that_was_too_long_for_its_plans_still_has_their_hash():
    report = {"plans": [], "plan": None, "plan_sha256": plan(NGINX)["sha256"]}
    identity.check_expected(report, [plan(NGINX)])
    assert plan(NGINX)["sha256"] in drift(report, plan(OTHER))


def test_a_plan_is_known_by_what_it_says_not_by_the_hash_beside_it():
    saved = copy.deepcopy(plan(NGINX))
    saved["groups"][0]["of"] = "apache.service"
    assert "apache.service" in drift(saved, plan(NGINX))


def test_another_hash_is_shown_beside_the_one_of_now():
    said = drift("00" * 32, plan(NGINX))
    assert plan(NGINX)["sha256"] in said and "00" * 32 in said


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ((NGINX, OTHER), (NGINX,), "the saved plan has /usr/sbin/\u00fcber (i386, 1 functions): planned"),
        (
            (NGINX,),
            (NGINX, OTHER),
            "/usr/sbin/\u00fcber (i386, 1 functions): planned is not in the saved plan",
        ),
        ((NGINX,), (OLD,), "the saved plan has nginx.service (x86_64, 2 functions): planned"),
    ],
)
def test_the_first_difference_is_named(before, now, said):
    assert said in drift(plan(*before), plan(*now))


def test_a_plan_of_another_host_is_named():
    assert "web1" in drift(plan(NGINX), plan(NGINX, host="web2"))


def test_a_plan_of_another_artifact_is_named():
    assert "c3c3c3" in drift(plan(NGINX), plan(NGINX, artifact="c3" * 32))


def test_an_artifact_that_is_missing_now_is_drift():
    both = {"plans": [plan(NGINX), plan(OTHER, artifact="c3" * 32)]}
    assert "artifacts of the saved plan are missing" in drift(both, plan(NGINX))


def test_a_plan_of_a_newer_format_is_named():
    assert "format 2" in drift({**plan(NGINX), "format": 2}, plan(NGINX))


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"plans": []},
        {"plans": None},
        {"plans": 7},
        {"plans": "text"},
        {"plans": ["text"]},
        {"plans": [{}]},
        {"plans": [], "plan_sha256": None},
        {**plan(NGINX), "artifact_id": ["list"]},
        {**plan(NGINX), "groups": 7},
        {**plan(NGINX), "format": "1"},
        {key: value for key, value in plan(NGINX).items() if key != "host"},
    ],
)
def test_what_is_no_plan_is_said_to_be_none(nonsense):
    with pytest.raises(UsageError, match="expected_plan"):
        identity.check_expected(nonsense, [plan(NGINX)])


@pytest.mark.parametrize(
    "group", [None, 7, [], {}, {"of": "x"}, {"of": 1, "arch": 2, "functions": 3, "statuses": 4}]
)
def test_a_group_that_is_none_is_drift(group):
    assert "no group" in drift({**plan(NGINX), "groups": [group]}, plan(NGINX))
