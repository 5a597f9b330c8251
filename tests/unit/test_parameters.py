# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job can be told: every parameter with every wrong type."""

from __future__ import annotations

from typing import Any

import pytest

from livepatch.apply.parameters import BY_NAME, PARAMETERS, checked
from livepatch.artifact.signature import MAX_SIGNERS
from livepatch.errors import UsageError

# docs/formats.md ("Job"), and for each parameter one other value that is carried out.
DEFAULTS: dict[str, Any] = {
    "processes": {},
    "consistency": "strict",
    "coroutines": "auto",
    "patience": 10,
    "attempts": 50,
    "stop_ms": 50,
    "on_busy": "fail",
    "all_or_nothing": True,
    "replace": False,
    "expected_plan": None,
    "trusted_keys": None,
    "comment": "",
    "outdated": False,
}
OTHERS: dict[str, Any] = {
    "processes": {"name": "nginx"},
    "patience": 0.5,
    "coroutines": "search",
    "consistency": "entry",
    "replace": True,
    "attempts": 1,
    "stop_ms": 1,
    "on_busy": "skip",
    "all_or_nothing": False,
    "expected_plan": "a1" * 32,
    "trusted_keys": "# nobody\nops ssh-ed25519 AAAA\n",
    "comment": "change 7, \u00fcberall",
    "outdated": True,
}

# kind -> values of other kinds
WRONG: dict[str, tuple[Any, ...]] = {
    "str": (True, 7, 1.5, [], {}, ["strict"]),
    "int": (True, "7", 1.5, [], {}),
    "float": (True, "7", [], {}),
    "bool": ("yes", 1, 0, 1.0, [], {}),
    "dict": (True, "name=nginx", 7, [], ["name"]),
    "plan": (True, 7, 1.5, [], [{}]),
    "text": (True, 7, 1.5, [], {}, ["ops"]),
}


def test_there_are_the_parameters_of_the_format_page_with_their_defaults():
    assert {parameter.name: parameter.default for parameter in PARAMETERS} == DEFAULTS
    assert checked({}) == DEFAULTS


def test_null_is_the_default():
    assert checked(dict.fromkeys(DEFAULTS)) == DEFAULTS


@pytest.mark.parametrize("name", OTHERS)
def test_another_value_is_taken(name):
    assert checked({name: OTHERS[name]}) == {**DEFAULTS, name: OTHERS[name]}


@pytest.mark.parametrize(
    ("name", "value"), [(each.name, value) for each in PARAMETERS for value in WRONG[each.kind]]
)
def test_a_value_of_another_type_is_wrong_usage(name, value):
    with pytest.raises(UsageError, match=name):
        checked({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("consistency", "Strict"),
        ("coroutines", ""),
        ("on_busy", "ignore"),
        ("patience", -0.001),
        ("patience", 86401),
        ("patience", 10**400),
        ("patience", float("nan")),
        ("patience", float("inf")),
        ("attempts", 0),
        ("attempts", 10**400),
        ("stop_ms", 0),
        ("stop_ms", -1),
        ("stop_ms", 10**400),
        ("expected_plan", ""),
        ("expected_plan", "A1" * 32),
        ("expected_plan", "plan.json"),
        ("trusted_keys", "x" * (MAX_SIGNERS + 1)),
        ("comment", "x" * 1001),
        ("comment", "two\nlines"),
        ("comment", "\x1b[2J"),
        ("comment", "\u202eabc"),
        ("comment", "\ud800"),
        ("comment", "\udcff"),
    ],
)
def test_a_value_that_can_not_be_meant_is_wrong_usage(name, value):
    with pytest.raises(UsageError, match=name) as caught:
        checked({name: value})
    assert len(str(caught.value)) < 200


def test_every_choice_is_carried_out():
    for parameter in PARAMETERS:
        for choice in parameter.choices or ():
            assert checked({parameter.name: choice})[parameter.name] == choice


def test_an_unknown_parameter_is_named_beside_those_that_there_are():
    with pytest.raises(UsageError, match="'force'.*all_or_nothing.*trusted_keys"):
        checked({"force": None, "patience": 1})


def test_a_default_is_nobodys_to_change():
    # processes is a dict: a job that changed its own would change everybody's.
    checked({})["processes"]["pid"] = 1
    assert BY_NAME["processes"].default == {}


def test_every_parameter_says_what_it_is_for():
    assert [parameter.name for parameter in PARAMETERS if not parameter.help] == []
