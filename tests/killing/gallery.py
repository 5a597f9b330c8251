# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All shots of one act: from the first call that counts to the first run that ends before its shot."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from . import injector
from .judge import INTERRUPTED, NEW, OLD, Range, blaming, shoot

# The state in which an act finds the target, and the command that leads back there from anywhere.
_BEFORE = {"apply": (OLD, "revert"), "revert": (NEW, "apply")}


def shots(every: bool) -> Iterator[injector.Shot]:
    """Every call (``every``), or before and after each call that changes the target; without end."""
    for number in itertools.count(1):
        yield injector.Shot(number, every=every)
        if not every:
            yield injector.Shot(number, after=True)


def shoot_through(at: Range, act: str, every: bool = False) -> Counter[str]:
    """Kill ``apply`` or ``revert`` at each of its calls; how often each state was left behind.

    After each kill the next writing command, once its own opposite and once the same again, has to bring the
    target to where it belongs.
    """
    found: Counter[str] = Counter()
    start, back = _BEFORE[act]
    assert at.bring(back) == start
    for shot in shots(every):
        hit = shoot(at, act, shot)
        if hit is None:
            break
        found[hit.state] += 1
        with blaming(hit):
            if shot.number % 4 == 0:
                at.bring(act)
            assert at.bring(back) == start
    at.bring("revert")
    return found


def shoot_at_some(at: Range, act: str, most: int, since: str) -> Counter[str]:
    """Kill ``act`` at some of its calls, spread evenly; how often each state was left behind.

    :param most: how many shots
    :param since: the calls before the first one that has this in its name are left out
    """
    found: Counter[str] = Counter()
    start, back = _BEFORE[act]
    assert at.bring(back) == start
    calls = injector.run(at.arguments(act)).calls
    first = next(number for number, call in enumerate(calls, 1) if since in call)
    assert len(calls) - first >= most, calls
    for count in range(most):
        number = first + (len(calls) - first) * count // most
        assert at.bring(back) == start
        hit = shoot(at, act, injector.Shot(number, after=count % 2 == 1))
        if hit is None:
            continue  # fewer attempts were needed this time
        found[hit.state] += 1
        with blaming(hit):
            if count % 4 == 0:
                at.bring(act)
            assert at.bring(back) == start
    at.bring("revert")
    return found


def interruptions(at: Range) -> list[tuple[str, injector.Shot]]:
    """Shots that leave something to recover, after writes: nothing but a mapping yet; one of two jumps; both."""
    chosen = []
    for act in ("apply", "revert"):
        start, back = _BEFORE[act]
        assert at.bring(back) == start
        calls = injector.run(at.arguments(act)).calls
        writes = [number for number, call in enumerate(calls, 1) if not call.startswith("ptrace")]
        useful = []
        for number in writes:
            assert at.bring(back) == start
            shot = injector.Shot(number, after=True)
            hit = shoot(at, act, shot)
            if hit is not None and hit.state == INTERRUPTED:
                useful.append((act, shot))
        assert useful, f"no write of {act} leaves anything interrupted"
        chosen += [useful[0], *useful[-2:]] if act == "apply" else [useful[-1]]
    return chosen


def shoot_through_recovery(at: Range, act: str, wound: injector.Shot, every: bool = False) -> Counter[str]:
    """Interrupt ``act`` with ``wound``, kill ``recover`` at each of its calls, and recover for good."""
    found: Counter[str] = Counter()
    start, back = _BEFORE[act]
    now = None
    for shot in shots(every):
        if now != start:
            assert at.bring(back) == start
        now = None
        first = shoot(at, act, wound)
        if first is None or first.state != INTERRUPTED:
            continue  # another interleaving of the threads moved the call; the next number finds its own
        hit = shoot(at, "recover", shot)
        if hit is None:
            break
        found[hit.state] += 1
        with blaming(first), blaming(hit):
            now = at.bring("recover")
    at.bring("revert")
    return found
