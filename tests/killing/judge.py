# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold after the injector was killed, and what the next writing command has to bring about.

A process is *old as a whole*, *new as a whole*, or ``list`` says ``interrupted``; there is no fourth state.
The target tells old from new by its results, and /proc what is left behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.harness import traces
from tests.harness.program import Program

from . import injector

# Memory that could not be searched in time for what leads there is kept, and collected by a later command:
# on a host that gives the injector little time, so many commands may be needed.
_LATER = 3

OLD, NEW, NEWER, INTERRUPTED = "old", "new", "newer", "interrupted"

_BEAT = re.compile(r"old (\d+) new (\d+) wrong (\d+) interrupted (\d+) errors (\d+) newer (\d+) (.*)")


@dataclass(frozen=True)
class Range:
    """A target and its patch, at which the injector is shot."""

    program: Program
    artifact: Path

    @property
    def pid(self) -> int:
        """The target's."""
        return self.program.pid

    def arguments(self, act: str) -> list[object]:
        """The command line of an act on this target alone."""
        files = [self.artifact] if act in ("apply", "revert") else []
        return [act, "--json", "--pid", self.pid, *files]

    def results(self) -> set[str]:
        """Which results the patched functions give now: ``{OLD}``, ``{NEW}``, or several.

        :raises AssertionError: a thread computed nonsense, lost a register, or does not come round any more
        """
        line = self.program.ask("beat")
        old, new, wrong, _, errors, newer = map(int, _BEAT.match(line).groups()[:6])
        assert not wrong, line
        assert not errors, line
        return {word for word, count in ((OLD, old), (NEW, new), (NEWER, newer)) if count}

    def state(self) -> str:
        """Judge what a death has left: ``OLD``, ``NEW`` or ``INTERRUPTED``.

        :raises AssertionError: it is none of the three
        """
        results = self.alive_and_released()
        said = injector.run(self.arguments("list")).report
        if any(process["status"] == INTERRUPTED for process in said["processes"]):
            return INTERRUPTED
        states = [patch["state"] for process in said["processes"] for patch in process["patches"]]
        if "applied" in states:
            assert (states, results) == (["applied"], {NEW}), said
            return NEW
        assert results == {OLD}, said
        assert set(states) <= {"retired"}, said  # out of use, its memory not yet given back
        if not states:
            traces.assert_clean(self.pid)
        return OLD

    def bring(self, act: str) -> str:
        """Run a writing command to its end: it recovers what was interrupted, and does its own work.

        :returns: the state after it: ``OLD`` without a trace of ours, or ``NEW``
        :raises AssertionError: it failed, or did not bring that about
        """
        run = injector.run(self.arguments(act))
        said = run.report
        statuses = {process["status"] for process in said["processes"]}
        told = [(process["status"], process["reason"], process["message"]) for process in said["processes"]]
        assert run.code == 0, told
        results = self.alive_and_released()
        if act == "apply":
            assert statuses <= {"applied", "already", "recovered"}, told
            assert results == {NEW}, told
        elif act == "revert":
            assert statuses <= {"reverted", "absent", "recovered"}, told
            assert results == {OLD}, told
        if results == {NEW}:
            return NEW
        for _ in range(_LATER):
            if not self.left():
                break
            injector.run(self.arguments("recover"))
        assert not self.left(), f"{self.left()} after {told}"
        return OLD

    def left(self) -> list[str]:
        """What of ours is in the target."""
        return traces.our_mappings(self.pid) + traces.our_descriptors(self.pid)

    def alive_and_released(self) -> set[str]:
        """The results, of a target that nobody holds."""
        traces.assert_released(self.pid)
        assert traces.writable_and_executable(self.pid) == []
        results = self.results()
        assert len(results) == 1, "some calls run old code and some new, with nobody at work"
        return results


@dataclass(frozen=True)
class Hit:
    """One shot that hit, and the state that it left."""

    act: str
    shot: injector.Shot
    calls: tuple[str, ...]  # the last that the injector made
    state: str

    def __str__(self) -> str:
        moment = "after" if self.shot.after else "before"
        return (
            f"killed in {self.act} {moment} call {self.shot.number} ({', '.join(self.calls)}): {self.state}"
        )


def shoot(at: Range, act: str, shot: injector.Shot) -> Hit | None:
    """Kill the injector once in ``act`` and judge what it left; None where it ended before the shot.

    :raises AssertionError: the target suffered; the message names the call
    """
    run = injector.run(at.arguments(act), shot)
    if not run.killed:
        assert run.code == 0, run.output.decode(errors="replace")
        return None
    hit = Hit(act, shot, tuple(run.calls[-4:]), "?")
    with blaming(hit):
        return replace(hit, state=at.state())


@contextmanager
def blaming(hit: Hit) -> Iterator[None]:
    """What fails here is put down to that shot."""
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{hit}: {error}") from error
