# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``patch`` and ``patch_info``: validate the artifacts, bring them to the host, run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.userspace.livepatch.plugins.module_utils.livepatch.artifact import (
    file as artifact_file,
)
from ansible_collections.userspace.livepatch.plugins.module_utils.livepatch.artifact import schema
from ansible_collections.userspace.livepatch.plugins.module_utils.livepatch.errors import LivepatchError
from ansible_collections.userspace.livepatch.plugins.plugin_utils import bundle
from ansible_collections.userspace.livepatch.plugins.plugin_utils.push import PushingAction

try:
    import jsonschema
except ImportError:  # said where it is needed, with what to do
    jsonschema = None


class ActionModule(PushingAction):
    """Reads nothing of the host itself; everything there is the injector's to find out."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        try:
            artifacts = self._validated_artifacts()
            packed = bundle.bundle_of_run(C.DEFAULT_LOCAL_TMP)
        except LivepatchError as refusal:
            raise AnsibleActionFail(refusal.message, result={"reason": refusal.reason}) from None
        except bundle.MissingPackage as error:
            raise AnsibleActionFail(str(error)) from None
        return self.run_with(packed, artifacts, task_vars or {})

    def _validated_artifacts(self) -> Mapping[str, Path]:
        """SHA-256 -> path on the controller of each artifact that the task names; none with ``remote_src``.

        :raises LivepatchError: one of them is no artifact, or a damaged one
        """
        if boolean(self._task.args.get("remote_src", False), strict=False):
            return {}
        given = self._task.args.get("artifacts") or self._task.args.get("artifact") or []
        if isinstance(given, str):
            given = given.split(",")  # as a module's argument of type list has it
        return {_validated(path): path for name in given for path in self._files(str(name).strip())}

    def _files(self, name: str) -> list[Path]:
        """The file, or the artifacts in the folder, looked for where ``copy`` would look."""
        try:
            found = Path(self._find_needle("files", os.path.expanduser(name)))
        except AnsibleError as error:
            raise AnsibleActionFail(f"The artifact {name} is not on the controller: {error}") from None
        if not found.is_dir():
            return [found]
        artifacts = sorted(found.glob("*.lp.o"))
        if not artifacts:
            raise AnsibleActionFail(f"The folder {found} holds no artifact (*.lp.o).")
        return artifacts


def _validated(path: Path) -> str:
    """The id of a checked artifact.

    Twice, by the reader (sections, symbols, relocations, manifest) and by the
    published JSON Schema: what other programs hold artifacts against must not
    differ from what we do.

    :raises LivepatchError: ``artifact_not_found``, ``artifact_malformed``, ``artifact_too_new``, ...
    """
    if jsonschema is None:
        raise AnsibleActionFail(
            "The Python package jsonschema, which checks artifacts, is not installed on the controller."
            " Install it where ansible-core runs: python3 -m pip install jsonschema"
        )
    artifact = artifact_file.read(str(path))
    try:
        jsonschema.validate(artifact.manifest.to_json(), schema.json_schema())
    except jsonschema.ValidationError as error:
        raise AnsibleActionFail(f"{path}: manifest, {error.json_path}: {error.message}") from None
    return artifact.id
