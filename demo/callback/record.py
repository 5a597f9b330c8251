# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback plugin that writes each task's result to a file, a JSON object a line.

For programs that run playbooks and want more than what is on the screen: the
demo, and the tests.  ``LIVEPATCH_RECORD`` names the file.
"""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: record
type: aggregate
short_description: Writes each task's result to a file
description: The file that C(LIVEPATCH_RECORD) names gets one JSON object a result.
requirements: [enabled in configuration]
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "record"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, outcome: str, result: Any) -> None:
        entry = {
            "outcome": outcome,
            "host": result._host.get_name(),
            "action": result._task.action,
            "task": result._task.get_name(),
            "result": result._result,
        }
        with open(os.environ["LIVEPATCH_RECORD"], "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, default=str) + "\n")

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._write("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write("unreachable", result)
