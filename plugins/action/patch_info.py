# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's half of ``patch_info``: that of ``patch``, with artifacts optional."""

from __future__ import annotations

from ansible_collections.userspace.livepatch.plugins.action import patch


class ActionModule(patch.ActionModule):
    """Which artifacts would be refused is what it is asked."""

    demands_signatures = False
