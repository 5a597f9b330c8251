# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``patch`` and ``patch_info``: validate the artifacts, bring them to the host, run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.userspace.livepatch.plugins.module_utils.livepatch.artifact import (
    file as artifact_file,
)
from ansible_collections.userspace.livepatch.plugins.module_utils.livepatch.artifact import schema, signature
from ansible_collections.userspace.livepatch.plugins.module_utils.livepatch.artifact.file import Artifact
from ansible_collections.userspace.livepatch.plugins.module_utils.livepatch.errors import (
    LivepatchError,
    Refused,
)
from ansible_collections.userspace.livepatch.plugins.plugin_utils import bundle
from ansible_collections.userspace.livepatch.plugins.plugin_utils.push import PushingAction

try:
    import jsonschema
except ImportError:  # said where it is needed, with what to do
    jsonschema = None


class ActionModule(PushingAction):
    """Reads nothing of the host itself; everything there is the injector's to find out."""

    # Whether an artifact that no trusted signer signed ends the task here, or is the host's to report.
    demands_signatures = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        try:
            trusted = self._trusted_keys()
            artifacts: dict[str, Path] = {}
            signatures: dict[str, str] = {}
            for path in self._artifacts():
                artifact = _validated(path)
                artifacts[artifact.id] = path
                signed = _signature(path)
                if signed is not None:
                    signatures[artifact.id] = signed.decode("utf-8", "replace")
                if trusted is not None and self.demands_signatures and self._task.args.get("state") != "absent":
                    _verify(artifact, path, signed, trusted)
            packed = bundle.bundle_of_run(C.DEFAULT_LOCAL_TMP)
        except LivepatchError as refusal:
            raise AnsibleActionFail(refusal.message, result={"reason": refusal.reason}) from None
        except bundle.MissingPackage as error:
            raise AnsibleActionFail(str(error)) from None
        replaced = {} if trusted is None else {"trusted_keys": trusted}
        return self.run_with(packed, artifacts, task_vars or {}, signatures, replaced)

    def _trusted_keys(self) -> str | None:
        """What the file holds that ``trusted_keys`` names; None: the task trusts whatever the host does.

        :raises LivepatchError: ``signers_unusable``
        """
        name = self._task.args.get("trusted_keys")
        if name is None:
            return None
        try:
            path = Path(self._find_needle("files", os.path.expanduser(str(name))))
            allowed = path.read_bytes()
            text = allowed.decode("utf-8")
        except (AnsibleError, OSError, ValueError) as error:
            raise AnsibleActionFail(f"trusted_keys: {name} on the controller can not be read: {error}") from None
        signature.check_signers(allowed, str(path))
        return text

    def _artifacts(self) -> list[Path]:
        """Each artifact that the task names, on the controller; none with ``remote_src``."""
        if boolean(self._task.args.get("remote_src", False), strict=False):
            return []
        given = self._task.args.get("artifacts") or self._task.args.get("artifact") or []
        if isinstance(given, str):
            given = given.split(",")  # as a module's argument of type list has it
        return [path for name in given for path in self._files(str(name).strip())]

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


def _validated(path: Path) -> Artifact:
    """The artifact, checked.

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
    return artifact


def _signature(path: Path) -> bytes | None:
    """What lies beside the artifact: the host may ask for it, whatever the task does.

    :raises LivepatchError: ``bad_signature``: it can not be read
    """
    try:
        return signature.beside(str(path))
    except Refused as refusal:
        if refusal.reason != "not_signed":
            raise
        return None


def _verify(artifact: Artifact, path: Path, signed: bytes | None, trusted: str) -> None:
    """:raises LivepatchError: ``not_signed``, ``bad_signature``, ``signer_not_allowed``, ``no_verifier``"""
    try:
        if signed is None:
            signed = signature.beside(str(path))  # which says what is missing
        signature.verify(artifact.data, signed, trusted.encode())
    except Refused as refusal:
        raise Refused(refusal.reason, f"{path}, on the controller: {refusal.what}") from refusal
