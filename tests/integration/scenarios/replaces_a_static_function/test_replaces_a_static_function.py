# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A function that only its own file can call."""

from __future__ import annotations


def test_it_comes_and_goes_while_everybody_calls(situation):
    situation.by_hand().lives()
