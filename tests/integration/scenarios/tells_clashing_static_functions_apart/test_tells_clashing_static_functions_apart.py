# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two files have a static function of one name; one is replaced."""

from __future__ import annotations


def test_it_comes_and_goes_while_everybody_calls(situation):
    situation.by_hand().lives()
