# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whenever a second operator comes, one of the two works, and the other is told so or finds it done.

The first one is held before a chosen call, from its first PTRACE_SEIZE on, while the second does all that it wants:
no interleaving is left to luck.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import product, traces
from tests.killing import injector
from tests.killing.judge import INTERRUPTED, NEW, OLD

_EFFECT = {"applied": NEW, "reverted": OLD}
_IDLE = {("already", None), ("absent", None), ("refused", "in_use_by")}


def outcome(run: injector.Run) -> tuple[str, str | None]:
    """Status and reason of the only process."""
    (process,) = run.report["processes"]
    return process["status"], process["reason"]


def points(calls: list[str]) -> list[int]:
    """Calls before which the second one comes: the first ones, each PTRACE_SEIZE, and some in between."""
    seizes = [number for number, call in enumerate(calls, 1) if call == "ptrace(SEIZE)"]
    return sorted({1, 2, *seizes[:1], *seizes[-2:], *range(3, len(calls) + 1, max(1, len(calls) // 4)), len(calls)})


@pytest.mark.parametrize(
    ("first", "second"), [("apply", "apply"), ("apply", "revert"), ("revert", "apply"), ("revert", "revert")]
)
def test_one_works_and_the_other_says_so(target, first, second):
    before, back = (OLD, "revert") if first == "apply" else (NEW, "apply")
    assert target.bring(back) == before
    calls = injector.operator(target.arguments(first)).calls
    told = set()
    for number in points(calls):
        assert target.bring(back) == before
        others: list[injector.Run] = []
        mine = injector.operator(
            target.arguments(first),
            meanwhile=(number, lambda others=others: others.append(injector.operator(target.arguments(second)))),
        )
        if not others:
            break  # this time it had fewer calls to make
        outcomes = [outcome(others[0]), outcome(mine)]
        told.update(outcomes)
        where = f"the second came before call {number} ({mine.calls[number - 1]}): {outcomes}"
        worked = [each for each in outcomes if each[0] in _EFFECT]
        assert {each for each in outcomes if each not in worked} <= _IDLE, where
        state = target.state()
        assert state != INTERRUPTED, where
        if len(worked) == 2:  # one after the other: the first had only to tidy up
            assert first != second and state == _EFFECT[outcomes[0][0]], where
        else:
            assert state == (_EFFECT[worked[0][0]] if worked else before), where
            assert worked or ("refused", "in_use_by") not in outcomes, where
    assert ("refused", "in_use_by") in told, told


def test_who_looked_before_another_died_in_the_middle_does_not_build_on_that(target):
    assert target.bring("revert") == OLD
    calls = injector.operator(target.arguments("apply")).calls
    middle = [number for number, call in enumerate(calls, 1) if "mem" in call][-1]
    for shot in (injector.Shot(middle), injector.Shot(middle, after=True), injector.Shot(middle // 2)):
        assert target.bring("revert") == OLD
        dead: list[injector.Run] = []
        late = injector.operator(
            target.arguments("apply"),
            meanwhile=(1, lambda shot=shot, dead=dead: dead.append(injector.operator(target.arguments("apply"), shot))),
        )
        assert dead[0].killed
        assert outcome(late) in {("refused", "in_use_by"), ("applied", None)}, late.report
        assert target.bring("apply") == NEW


def held(pid: int) -> bool:
    try:
        return traces.tracers(pid) - {0} != set()
    except FileNotFoundError:
        return False


@pytest.fixture
def waiting(patient):
    """``waiting() -> (patient, first)``: a process whose function is on a stack, and an operator who waits for it."""
    running: list[subprocess.Popen] = []

    def make():
        it = patient("waits.c", "waiting.c")
        it.program.ask("enter")
        line = product.command("apply", "--json", "--pid", it.pid, it.artifact, "--patience", 60, "--attempts", 100000)
        first = subprocess.Popen(line, env=product.environment(), stdout=subprocess.PIPE)
        running.append(first)
        while not held(it.pid):
            assert first.poll() is None
        return it, first

    yield make
    for each in running:
        each.kill()
        each.wait()
        each.stdout.close()


def test_while_one_waits_for_a_safe_point_all_others_are_told_who_it_is(cpu, waiting):
    it, first = waiting()
    for act in (it.apply, it.revert, it.check):
        answer = act()
        told = (answer.code, answer.status, answer.reason)
        if act == it.revert:  # not in force yet: there is nothing to take out, or it is being put in
            assert told in {(0, "absent", None), (3, "refused", "in_use_by")}, answer
        else:
            assert told == (3, "refused", "in_use_by"), answer
            assert f"process {first.pid} " in answer.process["message"], answer
    answer = product.livepatch("recover", "--pid", it.pid)
    assert (answer.status, answer.reason) == ("refused", "in_use_by"), answer
    it.program.ask("leave")
    assert first.wait(60) == 0
    it.program.ask("enter")
    assert it.program.ask("leave") == "left 2"
    assert it.apply().status == "already"


def test_many_start_at_once_on_several_processes_and_each_gets_the_patch_once(cpu, object_pair, build_patch, start):
    pair = object_pair()
    programs = [start(pair.program) for _ in range(3)]
    artifact = build_patch(pair)
    pids = [program.pid for program in programs]

    def act(command: str, order: list[int]) -> product.Answer:
        chosen = [word for pid in order for word in ("--pid", pid)]
        return product.livepatch(command, *chosen, "--no-all-or-nothing", artifact)

    for command, effect, answer in (("apply", "applied", "32"), ("revert", "reverted", "31")):
        orders = [pids, pids[::-1], pids]
        with ThreadPoolExecutor(len(orders)) as pool:
            answers = list(pool.map(act, [command] * len(orders), orders))
        for each in answers:
            told = {(process["status"], process["reason"]) for process in each.processes}
            assert told <= {(effect, None), *_IDLE}, each
        for pid in pids:
            worked = [
                process for each in answers for process in each.processes
                if (process["pid"], process["status"]) == (pid, effect)
            ]  # fmt: skip
            assert len(worked) == 1, answers
        assert [program.ask("work 10") for program in programs] == [answer] * 3
        for pid in pids:
            traces.assert_released(pid)
