# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules against the tables that they must agree with."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import yaml

from ansible_collections.userspace.livepatch.plugins.doc_fragments.attributes import ModuleDocFragment
from ansible_collections.userspace.livepatch.plugins.module_utils import injector
from ansible_collections.userspace.livepatch.plugins.modules import patch, patch_info
from livepatch.apply.parameters import PARAMETERS
from livepatch.artifact import file as artifact_file
from livepatch.process.targets import SELECTION_KEYS
from livepatch.report import STATUSES, ProcessReport, Report
from tests import artifacts

# What only one of the modules asks for, and the job does not know by this name.
OWN = {"artifact", "artifacts", "remote_src", "state", "_push"}


class Ended(Exception):
    """The module has ended."""


class FakeModule:
    """An ``AnsibleModule`` that keeps what the module asks for, and gives every default."""

    check_mode = False
    _diff = True
    specification: dict[str, Any] = {}

    def __init__(self, argument_spec: dict[str, Any], **_: Any) -> None:
        FakeModule.specification = argument_spec
        self.params = {name: each.get("default") for name, each in argument_spec.items()}

    def exit_json(self, **_: Any) -> None:
        raise Ended


def specification(module: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], dict[str, Any]]:
    """A module's argument_spec, and the job that it makes of its defaults."""
    jobs: list[dict[str, Any]] = []
    monkeypatch.setattr(module, "AnsibleModule", FakeModule)
    monkeypatch.setattr(injector, "carry_out", lambda job, *_: jobs.append(job) or {})
    with pytest.raises(Ended):
        module.main()
    return FakeModule.specification, jobs[0]


def test_patch_asks_for_what_a_job_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, job = specification(patch, monkeypatch)
    table = {each.name: each for each in PARAMETERS if each.name != "outdated"}
    assert set(asked) - OWN == set(table)
    kinds = {"plan": "raw", "text": "str"}  # a path, which the action plugin replaces by what the file holds
    for name, parameter in table.items():
        assert asked[name]["type"] == kinds.get(parameter.kind, parameter.kind), name
        assert asked[name].get("default") == parameter.default, name
        assert tuple(asked[name].get("choices", ())) == (parameter.choices or ()), name
    assert set(job["parameters"]) == set(table)
    assert job["command"] == job["direction"] == "apply"


def test_patch_info_asks_for_part_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, job = specification(patch_info, monkeypatch)
    assert set(asked) - OWN <= {each.name for each in PARAMETERS}
    assert job == {"command": "list", "parameters": {"processes": {}}}


def test_both_select_processes_by_every_key_that_there_is() -> None:
    assert set(injector.PROCESSES["options"]) == set(SELECTION_KEYS)


@pytest.mark.parametrize("module", [patch, patch_info])
def test_the_documentation_and_the_specification_have_the_same_options(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    documented = {**yaml.safe_load(module.DOCUMENTATION)["options"]}
    documented.update(yaml.safe_load(ModuleDocFragment.SELECTION)["options"])
    asked, _ = specification(module, monkeypatch)
    assert set(documented) == set(asked) - {"_push"}
    for name, option in documented.items():
        assert option["type"] == asked[name]["type"], name
        assert option.get("default") == asked[name].get("default"), name


def test_every_status_is_documented() -> None:
    (status,) = [yaml.safe_load(patch.RETURN)["processes"]["contains"]["status"]["description"]]
    assert [word for word in STATUSES if f"V({word})" not in json.dumps(status)] == []


@pytest.mark.parametrize("module", [patch, patch_info])
def test_what_is_returned_is_documented(module: Any) -> None:
    documented = yaml.safe_load(module.RETURN)
    report = injector.result_of(Report("apply").to_json())
    of_ansible = {"changed", "failed", "diff"}
    assert set(documented) == (set(report) - of_ansible) | {"status", "reason"}


def test_what_is_returned_of_a_process_is_documented() -> None:
    keys = {each.name for each in dataclasses.fields(ProcessReport)}
    here, info = (
        set(yaml.safe_load(module.RETURN)["processes"]["contains"]) for module in (patch, patch_info)
    )
    assert here == keys - {"patches", "outdated"}
    assert here | info == keys


def test_what_is_returned_of_an_artifact_is_documented() -> None:
    summary = artifact_file.parse(artifacts.artifact("x86_64")).summary()
    assert set(yaml.safe_load(patch.RETURN)["artifact"]["contains"]) == set(summary)
