# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of jumps, and what a compiler's options say about conventions."""

from __future__ import annotations

import itertools

import pytest

from livepatch.build.convention import Constraint, is_optimised, may_be_interposed
from livepatch.build.debug_info import Unit
from livepatch.build.order import write_order
from livepatch.errors import Refused


def test_callers_come_before_callees() -> None:
    chain = [Constraint(2, 1, True), Constraint(1, 0, True)]
    assert write_order("abc", chain) == [2, 1, 0]


def test_what_must_be_wins_over_what_should_be() -> None:
    assert write_order("ab", [Constraint(0, 1, False), Constraint(1, 0, True)]) == [1, 0]
    assert write_order("ab", [Constraint(0, 1, False), Constraint(1, 0, False)]) == [0, 1]


def test_a_circle_of_what_must_be_is_refused_with_its_names() -> None:
    circle = [Constraint(0, 1, True), Constraint(1, 0, True), Constraint(2, 0, True)]
    with pytest.raises(Refused) as caught:
        write_order(["ping", "pong", "start"], circle)
    assert caught.value.reason == "call_cycle" and "ping, pong" in caught.value.what
    assert "start" not in caught.value.what


def test_a_function_that_calls_itself_is_no_circle() -> None:
    assert write_order("a", [Constraint(0, 0, True)]) == [0]


def test_every_prefix_of_every_small_order_is_safe() -> None:
    """No callee is written while a caller that must come first is not."""
    edges = list(itertools.permutations(range(4), 2))
    for chosen in itertools.combinations(edges, 3):
        constraints = [Constraint(before, after, True) for before, after in chosen]
        try:
            order = write_order("abcd", constraints)
        except Refused:
            continue
        for each in constraints:
            assert order.index(each.before) < order.index(each.after)


@pytest.mark.parametrize(
    "options, interposable",
    [
        ("-O2 -fPIC", True),
        ("-O2 -fpic", True),
        ("-O2", False),
        ("-fPIC -fPIE", False),
        ("-fPIE -fPIC", True),
        ("-fPIC -fno-semantic-interposition", False),
        ("-Ofast -fPIC", False),
        ("-fPIC -flto=auto", False),
    ],
)
def test_only_fpic_keeps_gcc_from_looking_through_a_name(options: str, interposable: bool) -> None:
    assert may_be_interposed(f"GNU C17 12.2.0 -mtune=generic {options}") is interposable
    assert not may_be_interposed(f"Debian clang version 14 {options}")  # looks through all the same


def test_only_gcc_without_optimisation_is_known_to_keep_to_the_standard() -> None:
    assert not is_optimised(Unit("a.c", "GNU C17 12.2.0 -g", False))
    assert not is_optimised(Unit("a.c", "GNU C17 12.2.0 -O2 -O0", False))
    assert is_optimised(Unit("a.c", "GNU C17 12.2.0 -O0 -Og", False))
    assert is_optimised(Unit("a.c", "clang version 14", False)) and is_optimised(None)
