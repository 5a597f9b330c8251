# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: BSD-2-Clause
"""The order of the jumps: whatever prefix of it was written, old and new code get along.

::

    old g ---calls---> old f          g is written first: new g calls new f directly, and old g,
      :                  :            which would call f the old way, is not entered any more
    new g ---calls---> new f          when f's jump is written.
"""

from __future__ import annotations

from typing import Iterable, Sequence

from ..errors import Refused
from .convention import Constraint


def write_order(names: Sequence[str], constraints: Iterable[Constraint]) -> list[int]:
    """Indices into ``names``, callers before callees where that is possible, always where it must be.

    :raises Refused: ``call_cycle``: what must be is a circle
    """
    wanted = list(constraints)
    must = [each for each in wanted if each.must]
    order, _ = _sort(len(names), wanted)
    if len(order) == len(names):
        return order
    order, left = _sort(len(names), must)
    if len(order) == len(names):
        return order
    circle = ", ".join(names[each] for each in sorted(left))
    raise Refused("call_cycle", f"these call each other, and each changed: {circle}")


def _sort(count: int, constraints: Iterable[Constraint]) -> tuple[list[int], set[int]]:
    """Topological order, lowest index first; and what is left over in circles."""
    before: dict[int, set[int]] = {index: set() for index in range(count)}
    for each in constraints:
        if each.before != each.after:
            before[each.after].add(each.before)
    order: list[int] = []
    left = set(before)
    while True:
        ready = [index for index in sorted(left) if not before[index] & left]
        if not ready:
            return order, left
        order.append(ready[0])
        left.remove(ready[0])
