# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills over two patches of the same functions: one takes the other's place, or leaves from above it.

::

    act        before               after
    replace    first                second      never a moment without a fix, not even after a recovery
    uncover    first, second        first       second on top of first is reverted
    undercut   first, second        second      first is reverted from beneath
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from . import injector
from .gallery import shots
from .judge import INTERRUPTED, NEW, NEWER, Hit, Range, blaming

ACTS = ("replace", "uncover", "undercut")

FIRST, SECOND, BOTH = (NEW, ("first",)), (NEWER, ("second",)), (NEWER, ("first", "second"))
_AROUND = {"replace": (FIRST, SECOND), "uncover": (BOTH, FIRST), "undercut": (BOTH, SECOND)}

State = tuple[str, tuple[str, ...]]  # what the functions compute, and the names of the patches in force


@dataclass(frozen=True)
class Shelf:
    """A target, and what goes onto it: ``second`` supersedes ``first``."""

    at: Range  # with the first patch
    second: Path

    def _run(self, *words: object) -> injector.Run:
        return injector.run([words[0], "--json", "--pid", self.at.pid, *words[1:]])

    def words(self, act: str) -> list[object]:
        """The command line of an act."""
        if act == "replace":
            return ["apply", "--json", "--pid", self.at.pid, self.second, "--replace"]
        return ["revert", "--json", "--pid", self.at.pid, self.second if act == "uncover" else self.at.artifact]

    def state(self) -> State | None:
        """What is there now; None: it says that it was interrupted.

        :raises AssertionError: what it computes is not what the patches in force say
        """
        (result,) = self.at.alive_and_released()
        said = self._run("list").report["processes"]
        if any(process["status"] == INTERRUPTED for process in said):
            return None
        patches = [patch for process in said for patch in process["patches"] if patch["state"] != "retired"]
        assert {patch["state"] for patch in patches} <= {"applied"}, patches
        names = tuple(patch["name"] for patch in patches)
        assert result == {"first": NEW, "second": NEWER}[names[-1]] if names else "old", (result, names)
        return result, names

    def prepare(self, act: str) -> None:
        """Bring the target to where the act starts, from wherever it is."""
        wanted = _AROUND[act][0]
        if self.state() == wanted:
            return
        for words in (("recover",), ("revert", self.second), ("revert", self.at.artifact)):
            assert self._run(*words).code == 0
        assert self._run("apply", self.at.artifact).code == 0
        if act != "replace":
            assert self._run("apply", self.second).code == 0
        assert self.state() == wanted

    def shoot_through(self, act: str, step: int = 1, every: bool = False) -> Counter[str]:
        """Kill the act at each of its calls; recover now and then, else let the same act do it.

        :param step: only every so many-th shot
        :returns: how often it was found as before, as after, or interrupted
        """
        before, after = _AROUND[act]
        found: Counter[str] = Counter()
        for shot in itertools.islice(shots(every), 0, None, step):
            self.prepare(act)
            run = injector.run(self.words(act), shot)
            if not run.killed:
                assert run.code == 0, run.output.decode(errors="replace")
                break
            hit = Hit(act, shot, tuple(run.calls[-4:]), "?")
            with blaming(hit):
                state = self.state()
                assert state in (before, after, None), state
                found["before" if state == before else "after" if state == after else INTERRUPTED] += 1
                if state is None and shot.number % 2:
                    recovered = self._run("recover")
                    assert recovered.code == 0, recovered.output.decode(errors="replace")
                    assert self.state() in (before, after), self.state()
                done = injector.run(self.words(act))
                assert done.code == 0, done.output.decode(errors="replace")
                assert self.state() == after, self.state()
        for _ in range(3):
            for words in (("recover",), ("revert", self.second), ("revert", self.at.artifact)):
                assert self._run(*words).code == 0
            if not self.at.left():
                break
        assert not self.at.left()
        return found
