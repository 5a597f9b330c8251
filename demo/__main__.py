# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this software does, in a minute: ``make demo``.

Builds a small shop daemon with a mistake in it, for x86_64 and i386, lets
clients order from both without pause, and runs the collection's own playbooks
over them.  Every claim that is printed is checked; the exit code says whether
all of them held.
"""

from __future__ import annotations

import contextlib
import difflib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo import build
from demo.play import Playbooks
from demo.shop import Shop

HERE = Path(__file__).parent
QUESTION = "order -3 250"  # minus three pieces at 2.50: the old code pays the customer 7.50
OLD, NEW = "ok -750", "error: how many?"

_BOLD, _DIM, _RED, _GREEN, _PLAIN = (
    ("\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[0m") if sys.stdout.isatty() else ("",) * 5
)


def main() -> int:
    # A demo that is ended in the middle ends what it started, too: the context managers see to it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with contextlib.ExitStack() as running:
            return show(running)
    except KeyboardInterrupt:
        say("\nStopped; the daemons and their clients have ended.")
        return 130
    except (build.Failed, Shop.Failed) as failure:
        say(f"\n{_RED}{failure}{_PLAIN}")
        return 1


def show(running: contextlib.ExitStack) -> int:
    """The whole demo; the exit code."""
    claims = Claims()

    headline("A daemon with a mistake, and its fix")
    say("A shop takes orders over TCP. It accepts a negative quantity, and pays the customer:")
    for line in difference(HERE / "order.c", HERE / "fixed" / "order.c"):
        say(f"    {_GREEN if line[0] == '+' else _RED}{line}{_PLAIN}")
    built = [build.everything(arch) for arch in ("x86_64", "i386")]
    shops = [running.enter_context(Shop(each.daemon, each.clients, each.arch)) for each in built]
    say(f"It runs twice, with {Shop.CLIENTS} clients each that keep their connections open and never stop ordering:")
    for shop in shops:
        say(f"    {shop.arch:8} process {shop.pid}")
    say("Nobody will restart anything.")
    before = answers(shops)
    claims.check("the old code makes the mistake", set(before.values()) == {OLD})

    playbooks = running.enter_context(Playbooks([each.artifact for each in built]))
    for shop in shops:
        shop.largest_gap()  # forget how it was while everything started

    headline("Check: what would happen?  (playbooks/check.yml: stops nobody, changes nothing)")
    checked = show_run(playbooks, "check", shops)
    claims.check("the dry run promises a change of both processes", checked["statuses"] == ["planned"] * 2)
    claims.check("... and changes nothing", answers(shops) == before)
    idle = {shop: shop.largest_gap() for shop in shops}

    headline("Apply  (playbooks/apply.yml)")
    applied = show_run(playbooks, "apply", shops)
    gaps = {shop: shop.largest_gap() for shop in shops}
    after = answers(shops)
    claims.check("both processes are patched", applied["changed"] and applied["statuses"] == ["applied"] * 2)
    claims.check("they answer as the new code does", set(after.values()) == {NEW})

    headline("List: what is patched?  (playbooks/list.yml: the processes themselves know)")
    listed = show_run(playbooks, "list", shops)
    claims.check("both processes tell of their patch", {each["pid"] for each in listed["processes"]} == pids(shops))

    headline("Apply again  (playbooks/apply.yml)")
    again = show_run(playbooks, "apply", shops)
    claims.check("a second run changes nothing", not again["changed"] and again["statuses"] == ["already"] * 2)

    headline("Revert  (playbooks/revert.yml)")
    reverted = show_run(playbooks, "revert", shops)
    claims.check("the patch is out again", reverted["changed"] and reverted["statuses"] == ["reverted"] * 2)
    finally_ = answers(shops)
    claims.check("they answer as the old code does", finally_ == before)
    lost = {shop: shop.lost() for shop in shops}
    claims.check("no connection was lost, no answer came out of turn", not any(lost.values()))
    claims.check("the same processes run", all(shop.is_alive() for shop in shops))

    headline("What it came to")
    stops = {each["pid"]: each["stop_us"] for each in applied["processes"]}
    rows = [
        ("", *(f"{shop.arch}, process {shop.pid}" for shop in shops)),
        (f'"{QUESTION}" before', *(before[shop] for shop in shops)),
        ("    patched", *(after[shop] for shop in shops)),
        ("    reverted", *(finally_[shop] for shop in shops)),
        ("stop, as the injector timed it", *(milliseconds(stops.get(shop.pid)) for shop in shops)),
        ("longest wait of a client, meanwhile", *(milliseconds(gaps[shop]) for shop in shops)),
        ("    and during the dry run", *(milliseconds(idle[shop]) for shop in shops)),
        ("orders answered", *(f"{shop.answered():,}" for shop in shops)),
        ("connections lost", *(f"{lost[shop]} of {Shop.CLIENTS}" for shop in shops)),
    ]
    for name, *cells in rows:
        say((f"    {name:38}" + "".join(f"{cell:26}" for cell in cells)).rstrip())
    return claims.verdict()


class Claims:
    """What the demo says about the software, and whether it held."""

    def __init__(self) -> None:
        self._broken: list[str] = []

    def check(self, claim: str, held: bool) -> None:
        say(f"  {_GREEN}✓{_PLAIN} {claim}" if held else f"  {_RED}✗ not so: {claim}{_PLAIN}")
        if not held:
            self._broken.append(claim)

    def verdict(self) -> int:
        if self._broken:
            say(f"\n{_RED}Did not hold: {'; '.join(self._broken)}.{_PLAIN}")
        else:
            say(f"\n{_GREEN}Every claim held.{_PLAIN} The playbooks are in playbooks/, the daemon is in demo/.")
        return 1 if self._broken else 0


def show_run(playbooks: Playbooks, name: str, shops: list[Shop]) -> dict[str, Any]:
    """Run a playbook, print what it prints, return the result of its one module."""
    output, result = playbooks.run(name)
    for line in output.splitlines():
        if line.strip():
            say(f"    {_DIM}{line.rstrip(' *')}{_PLAIN}")
    if result.get("processes") is None:
        raise build.Failed(f"playbooks/{name}.yml did not get as far as the processes; it says why above.")
    # The playbooks find the processes themselves; another demo on this machine is none of our business.
    ours = [each for each in result["processes"] if each["pid"] in pids(shops)]
    return {"changed": result.get("changed", False), "processes": ours, "statuses": [each["status"] for each in ours]}


def answers(shops: list[Shop]) -> dict[Shop, str]:
    """What each shop answers to the question that tells old code from new; said aloud, too."""
    result = {shop: shop.ask(QUESTION) for shop in shops}
    for shop, answer in result.items():
        say(f"    {shop.arch:8} {QUESTION}  ->  {_BOLD}{answer}{_PLAIN}")
    return result


def difference(old: Path, new: Path) -> Iterator[str]:
    """The lines that differ, as ``diff -u`` shows them, without its frame."""
    lines = difflib.unified_diff(old.read_text().splitlines(), new.read_text().splitlines(), n=0, lineterm="")
    return (line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---"))


def pids(shops: list[Shop]) -> set[int]:
    return {shop.pid for shop in shops}


def milliseconds(microseconds: int | None) -> str:
    return "?" if microseconds is None else f"{microseconds / 1000:.2f} ms"


def headline(text: str) -> None:
    say(f"\n{_BOLD}{text}{_PLAIN}")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
