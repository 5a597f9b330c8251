# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring files to a host once, by content, and run a module that needs them there.

::

    controller                         managed host
    run the module ──────────────────▶ all there? then do the job: one round trip
        missing: these digests ◀────── else nothing was done
    put_file, only those ────────────▶ temporary folder
    run the module again ────────────▶ takes them into its cache, does the job

So a host that has everything, which after the first task is every host, pays
nothing for the question.  Works over any connection that can put a file, with
and without pipelining; the module takes files over as the user it runs as, so
that become needs no care here.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class PushingAction(ActionBase):
    """An action whose module needs the bundle, and perhaps artifacts, on the host."""

    _supports_check_mode = True
    # An asynchronous module could not come back to ask for what is missing. `patience` bounds the wait.
    _supports_async = False

    def run_with(
        self,
        bundle: tuple[Path, str],
        artifacts: Mapping[str, Path],
        task_vars: Mapping[str, Any],
        signatures: Mapping[str, str],
        replaced: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Run the task's module with what it needs on the host.

        :param bundle: path on the controller and SHA-256
        :param artifacts: SHA-256 -> path on the controller, in the order of the task
        :param signatures: SHA-256 of an artifact -> its signature.  They travel with each task: so an artifact in a
            host's cache has the signature that this task means, whoever else uses the same cache
        :param replaced: arguments of the task that the module gets in another form
        :returns: the module's result
        """
        push = {
            "bundle": bundle[1],
            "artifacts": list(artifacts),
            "signatures": dict(signatures),
            "host": task_vars["inventory_hostname"],
            "by": f"ansible:{self._get_remote_user() or getpass.getuser()}",
        }
        arguments = {**self._task.args, **replaced}
        result = self._execute(arguments, {**push, "incoming": None}, task_vars)
        missing = result.get("missing")
        if not missing:
            return result
        incoming = self._put({bundle[1]: bundle[0], **artifacts}, missing)
        result = self._execute(arguments, {**push, "incoming": incoming}, task_vars)
        if result.get("missing"):
            return {"failed": True, "msg": "What was pushed to this host did not stay in its cache folder."}
        return result

    def _put(self, files: Mapping[str, Path], wanted: Sequence[str]) -> str:
        """Transfer ``wanted`` to a new folder on the host, which goes when the task ends; its path there."""
        shell = self._connection._shell
        top = shell.tmpdir or self._make_tmp_path()
        incoming = shell.join_path(top, "livepatch")
        self._low_level_execute_command(f"mkdir {shell.quote(incoming)}", sudoable=False)
        remote = [self._transfer_file(str(files[sha256]), shell.join_path(incoming, sha256)) for sha256 in wanted]
        # Become to another unprivileged user: it must be able to read them.
        self._fixup_perms2([top, incoming, *remote])
        return incoming

    def _execute(
        self, arguments: Mapping[str, Any], push: Mapping[str, Any], task_vars: Mapping[str, Any]
    ) -> dict[str, Any]:
        return self._execute_module(module_args={**arguments, "_push": dict(push)}, task_vars=task_vars)
