# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shots at an injector whose target is stopped by SIGSTOP, or is stopped and continued meanwhile.

The target is a child of this process.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from tests.harness import traces

from . import injector
from .judge import NEW, OLD, Hit, Range, blaming

# What an act makes of the target, and the act that leads back.
_AFTER = {"apply": (NEW, "revert"), "revert": (OLD, "apply")}


def stop(pid: int) -> None:
    """SIGSTOP; returns when it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    found = os.waitid(os.P_PID, pid, os.WSTOPPED)
    assert (found.si_code, found.si_status) == (os.CLD_STOPPED, signal.SIGSTOP)


def go_on(pid: int) -> None:
    """The end of :func:`stop`."""
    os.kill(pid, signal.SIGCONT)
    assert os.waitid(os.P_PID, pid, os.WCONTINUED).si_status == signal.SIGCONT


def news(pid: int) -> int | None:
    """What the parent is told that it did not know yet, as si_code; None: nothing."""
    found = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WCONTINUED | os.WEXITED | os.WNOHANG)
    return None if found is None else found.si_code


def _run(at: Range, act: str) -> None:
    run = injector.run(at.arguments(act))
    assert run.code == 0, run.report


def shoot_through(at: Range, act: str, shots: Iterable[injector.Shot]) -> int:
    """Kill an act on a stopped target, at each shot there is; how many there were.

    The target stays stopped.  In turn, it is first worked with while it is still stopped, or at once continued
    and judged.  After work no call that the dead one had left may come.
    """
    count = 0
    after, back = _AFTER[act]
    before = OLD if after == NEW else NEW
    assert at.bring(back) == before
    for shot in shots:
        stop(at.pid)
        run = injector.run(at.arguments(act), shot)
        if not run.killed:
            assert run.code == 0, run.report
            go_on(at.pid)
            break
        hit = Hit(act, shot, tuple(run.calls[-4:]), "?")
        with blaming(hit):
            traces.wait_until_stopped(at.pid)
            assert news(at.pid) is None
            brought_back = count % 2 == 0
            if brought_back:
                for each in ("recover", act, back):
                    _run(at, each)
                traces.wait_until_stopped(at.pid)
                assert news(at.pid) is None
            go_on(at.pid)
            state = at.state()
            assert state == before or not brought_back, f"brought back, and {state} after SIGCONT"
            assert at.bring(back) == before
            if before == OLD:
                traces.assert_clean(at.pid)
        count += 1
    at.bring("revert")
    return count


def disturb(at: Range, act: str, numbers: Iterable[int], stopped: bool) -> int:
    """Stop and continue the target just before the N-th call of an act, once and several times; how many there were.

    :param stopped: it is stopped when the act begins, and continued meanwhile; else the other way round
    """
    count = 0
    after, back = _AFTER[act]
    assert at.bring(back) != after
    last, first = (signal.SIGCONT, signal.SIGSTOP) if stopped else (signal.SIGSTOP, signal.SIGCONT)
    for number in numbers:
        for signals in ((last,), (last, first, last)):
            if stopped:
                stop(at.pid)
            shot = injector.Shot(
                number, deed=lambda _, signals=signals: [os.kill(at.pid, each) for each in signals]
            )
            run = injector.run(at.arguments(act), shot)
            what = f"{act}, {signals} before call {number} of {len(run.calls)}"
            assert run.code == 0, f"{what}: {run.report}"
            if stopped != run.hit:
                traces.wait_until_stopped(at.pid)
                os.kill(at.pid, signal.SIGCONT)
            while news(at.pid) is not None:
                pass
            traces.assert_released(at.pid)
            assert at.results() == {after}, what
            assert at.bring(back) != after
        if not run.hit:
            break
        count += 1
    at.bring("revert")
    return count
