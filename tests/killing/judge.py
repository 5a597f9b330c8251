# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold after the injector was killed, and what the next writing command has to bring about.

A process is *old as a whole*, *new as a whole*, or ``list`` says ``interrupted``; there is no fourth state.
The target tells old from new by its results, and /proc what is left behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.harness import traces
from tests.harness.program import Program

from . import injector

OLD, NEW, INTERRUPTED = "old", "new", "interrupted"

_BEAT = re.compile(r"old (\d+) new (\d+) wrong (\d+) interrupted (\d+) errors (\d+) (.*)")


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
        """Which results the patched functions give now: ``{OLD}``, ``{NEW}``, or both.

        :raises AssertionError: a thread computed nonsense, lost a register, or does not come round any more
        """
        line = self.program.ask("beat")
        old, new, wrong, _, errors = map(int, _BEAT.match(line).groups()[:5])
        assert not wrong, line
        assert not errors, line
        return {word for word, count in ((OLD, old), (NEW, new)) if count}

    def state(self) -> str:
        """Judge what is there now: ``OLD``, ``NEW`` or ``INTERRUPTED``.

        :raises AssertionError: it is none of the three
        """
        traces.assert_released(self.pid)
        assert traces.writable_and_executable(self.pid) == []
        results = self.results()
        assert len(results) == 1, "some calls run old code and some new, with nobody at work"
        said = injector.run(self.arguments("list")).report
        patches = [patch for process in said["processes"] for patch in process["patches"]]
        if any(process["status"] == INTERRUPTED for process in said["processes"]):
            return INTERRUPTED
        if patches:
            assert [patch["state"] for patch in patches] == ["applied"], said
            assert results == {NEW}, said
            return NEW
        assert results == {OLD}, said
        traces.assert_clean(self.pid)
        return OLD

    def bring(self, act: str) -> str:
        """Run a writing command to its end: it recovers what was interrupted, and does its own work.

        :returns: the state after it, never ``INTERRUPTED``
        """
        run = injector.run(self.arguments(act))
        said = run.report
        wanted = {"apply": {"applied", "already"}, "revert": {"reverted", "absent"}, "recover": None}[act]
        assert run.code == 0, said
        if wanted is not None:
            assert {process["status"] for process in said["processes"]} <= wanted, said
        found = self.state()
        assert found in {"apply": {NEW}, "revert": {OLD}, "recover": {OLD, NEW}}[act], said
        return found


def shoot(at: Range, act: str, shot: injector.Shot) -> str | None:
    """Kill the injector once in ``act`` and judge what it left; the state, or None where it ended before.

    :raises AssertionError: the target suffered; the message names the call
    """
    run = injector.run(at.arguments(act), shot)
    if not run.killed:
        assert run.code == 0, run.output.decode(errors="replace")
        return None
    try:
        return at.state()
    except AssertionError as error:
        moment = "after" if shot.after else "before"
        last = ", ".join(run.calls[-5:])
        raise AssertionError(f"killed in {act} {moment} call {shot.number} ({last}): {error}") from error
