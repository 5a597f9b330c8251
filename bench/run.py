# SPDX-FileCopyrightText: 2026 userspace.livepatch contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""run.py [--runs N] [--threads 1,4,...]: measure, print a table, write bench/results/latest.json.

Every figure is compared with something that was measured in the same run on the same machine: the floor
(floor.py) and the idle gap for a stop, the start of a bare Python for the command.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import product
from meter import Meter

RESULTS = product.HERE / "results" / "latest.json"
COMMAND = "make bench"
FLOORS = 3  # the goal: a stop costs at most so many times what an empty one costs
WALL_WISH_MS = 150


@dataclass(frozen=True)
class Figure:
    """One line of the results; README.md has the fields."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    better: str = "lower"
    reference: dict[str, object] | None = None
    command: str = COMMAND


def reference(name: str, value: float) -> dict[str, object]:
    """What a figure is held against."""
    return {"name": name, "value": round(value, 1)}


def p90(values: list[float]) -> float:
    """The 90th percentile."""
    return statistics.quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]


def timed(act: Callable[[], object]) -> float:
    """How long it took, seconds."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Gaps:
    """What the busy thread of one meter saw, microseconds, one value a run."""

    idle: list[float]
    floor: list[float]
    apply: list[float]
    stops: list[float]  # the whole stop, as the injector timed it


def gaps(program: Path, artifact: Path, threads: int, runs: int, livepatch: product.Livepatch) -> Gaps:
    """Idle, floor and apply take turns, so that what else the machine does meets all three alike."""
    found = Gaps([], [], [], [])
    with Meter(program, threads) as meter:
        floor = [*product.PYTHON, product.HERE / "floor.py", meter.pid]
        for _ in range(runs):
            start = time.perf_counter()
            found.apply.append(
                meter.gap_during(lambda: found.stops.append(livepatch("apply", meter.pid, artifact)))
            )
            seconds = time.perf_counter() - start
            if meter.value != 5:
                raise RuntimeError("applied, and the meter still runs the old code")
            livepatch("revert", meter.pid, artifact)
            # Idle: as long as an apply takes, with as much work for CPU 0 and nobody touching the meter.
            found.idle.append(meter.gap_during(partial(busy_elsewhere, seconds)))
            found.floor.append(meter.gap_during(partial(product.run, floor)))
    return found


def busy_elsewhere(seconds: float) -> None:
    """Start and end Pythons on CPU 0 for so long."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        product.run([*product.PYTHON, "-c", "pass"])


def gap_figures(arch: str, runs: int, counts: list[int], livepatch: product.Livepatch) -> list[Figure]:
    """The gap at each number of threads, beside the idle gap and the floor's."""
    bench = product.bench(arch)
    figures = []
    lone_floor = 0.0
    for threads in counts:
        seen = gaps(bench.meter, bench.artifact, threads, runs, livepatch)
        idle, floor = statistics.median(seen.idle), statistics.median(seen.floor)
        lone_floor = lone_floor or floor  # the floor's gap at one thread holds for every number of threads
        goal = round(FLOORS * lone_floor + idle, 1)
        name = f"{arch}, {threads} thread{'s' * (threads > 1)}"
        beside = reference(f"floor gap, {arch}, {counts[0]} thread", lone_floor)
        figures += [
            Figure(
                f"gap, median, {name}", round(statistics.median(seen.apply), 1), "us", goal, reference=beside
            ),
            Figure(f"gap, 90th percentile, {name}", round(p90(seen.apply), 1), "us", reference=beside),
            Figure(f"idle gap, {name}", round(idle, 1), "us"),
            Figure(f"floor gap, {name}", round(floor, 1), "us"),
            Figure(f"whole stop, median, {name}", round(statistics.median(seen.stops), 1), "us"),
        ]
        show(figures[-5:])
    return figures


def wall_figures(arch: str, runs: int, livepatch: product.Livepatch) -> list[Figure]:
    """The command from start to end, beside a Python that does nothing."""
    bench = product.bench(arch)
    artifact = bench.artifact
    applies, passes = [], []
    with Meter(bench.meter, 1) as meter:
        for _ in range(runs):
            passes.append(1000 * timed(lambda: product.run([*product.PYTHON[:1], "-c", "pass"])))
            applies.append(1000 * timed(lambda: livepatch("apply", meter.pid, artifact)))
            livepatch("revert", meter.pid, artifact)
    wall, bare = statistics.median(applies), statistics.median(passes)
    beside = reference("python3 -c pass, ms", bare)
    figures = [
        Figure(
            f"apply --pid, wall, {arch}, to python3 -c pass", round(wall / bare, 2), "ratio", reference=beside
        ),
        Figure(f"apply --pid, wall, {arch}", round(wall, 1), "ms", WALL_WISH_MS, reference=beside),
    ]
    show(figures)
    return figures


def size_figures(arch: str, runs: int, livepatch: product.Livepatch) -> list[Figure]:
    """Apply and revert with more functions in a patch, beside the same with one."""
    bench = product.bench(arch)
    figures = []
    with Meter(bench.meter, 4) as meter:
        for act in ("apply", "revert"):
            alone: dict[str, object] | None = None
            for number, artifact in bench.many.items():
                walls: list[float] = []
                stops: list[float] = []
                for _ in range(runs):
                    if act == "revert":
                        livepatch("apply", meter.pid, artifact)
                    start = time.perf_counter()
                    stops.append(livepatch(act, meter.pid, artifact))
                    walls.append(1000 * (time.perf_counter() - start))
                    if act == "apply":
                        livepatch("revert", meter.pid, artifact)
                name = f"{act}, {number} function{'s' * (number > 1)}, {arch}"
                wall, stop = statistics.median(walls), statistics.median(stops)
                figures += [
                    Figure(f"wall, {name}", round(wall, 1), "ms", reference=alone),
                    Figure(f"whole stop, {name}", round(stop, 1), "us"),
                ]
                alone = alone or reference(f"with one function, {act}, ms", wall)
                show(figures[-2:])
    return figures


def stack_figures(arch: str, runs: int, livepatch: product.Livepatch) -> list[Figure]:
    """The highest and the lowest of ten patches on one function, beside the first alone."""
    bench = product.bench(arch)
    seen: dict[str, tuple[list[float], list[float]]] = {}

    def measured(name: str, act: str, artifact: Path) -> None:
        walls, stops = seen.setdefault(name, ([], []))
        walls.append(1000 * timed(lambda: stops.append(livepatch(act, meter.pid, artifact))))

    with Meter(bench.meter, 4) as meter:
        for _ in range(runs):
            first, *between, last = bench.stack
            measured("apply, first patch of a function", "apply", first)
            for artifact in between:
                livepatch("apply", meter.pid, artifact)
            measured(f"apply, patch {product.DEPTH} of a function", "apply", last)
            measured(f"revert, lowest of {product.DEPTH}", "revert", first)
            measured(f"revert, highest of {product.DEPTH - 1}", "revert", last)
            for artifact in between:
                livepatch("revert", meter.pid, artifact)
    alone = statistics.median(seen["apply, first patch of a function"][0])
    figures = []
    for name, (walls, stops) in seen.items():
        beside = reference("the first alone, ms", alone)
        figures += [
            Figure(f"wall, {name}, {arch}", round(statistics.median(walls), 1), "ms", reference=beside),
            Figure(f"whole stop, {name}, {arch}", round(statistics.median(stops), 1), "us"),
        ]
    show(figures)
    return figures


def build_figures(arch: str, runs: int) -> list[Figure]:
    """The builder's time for one file, beside a Python that does nothing."""
    bench = product.bench(arch)
    folder = bench.artifact.parent
    passes = [1000 * timed(lambda: product.run([*product.PYTHON[:1], "-c", "pass"])) for _ in range(runs)]
    beside = reference("python3 -c pass, ms", statistics.median(passes))
    walls = [
        1000 * timed(lambda: product.build(bench.library, bench.old, bench.new, "timed", folder))
        for _ in range(runs)
    ]
    figures = [Figure(f"build of one file, {arch}", round(statistics.median(walls), 1), "ms", reference=beside)]
    show(figures)
    return figures


def show(figures: list[Figure]) -> None:
    """Lines of the table."""
    for figure in figures:
        goal = "" if figure.goal is None else f"{figure.goal:g}"
        held = "" if figure.goal is None else "met" if figure.value <= figure.goal else "MISSED"
        beside = figure.reference and f"{figure.reference['name']}: {figure.reference['value']:g}"
        print(
            f"{figure.name:<54} {figure.value:>9g} {figure.unit:<6} {goal:>8} {held:<7} {beside or ''}".rstrip(),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", default="1,4,16,64,128")
    arguments = parser.parse_args()
    product.go_first()
    livepatch = product.Livepatch(product.unpacked_bundle())
    print(f"{'figure':<54} {'value':>9} {'unit':<6} {'goal':>8} {'':<7} beside it")
    figures = []
    few = min(arguments.runs, 7)  # of what takes long and varies little
    for arch in product.ARCHITECTURES:
        figures += wall_figures(arch, arguments.runs, livepatch)
        figures += size_figures(arch, few, livepatch)
        figures += stack_figures(arch, few, livepatch)
        figures += build_figures(arch, few)
    for arch in product.ARCHITECTURES:
        counts = [int(word) for word in arguments.threads.split(",")]
        figures += gap_figures(arch, arguments.runs, counts, livepatch)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
    print(f"\nwritten: {RESULTS.relative_to(product.REPOSITORY)}")


if __name__ == "__main__":
    main()
