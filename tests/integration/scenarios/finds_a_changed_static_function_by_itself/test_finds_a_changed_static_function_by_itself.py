# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing objects finds what changed in a static function, wherever the compiler put its code."""

from __future__ import annotations


def test_it_comes_and_goes_while_everybody_calls(situation):
    situation.from_objects().lives()
