"""A drag of a direction seed that rests on every position, there and back, without a browser.

    python benchmarks/drag.py

A surface of a digits network (64-128-128-10, all 1,797 examples, 65x65 pixels, tolerance 1 % of the range) follows its
seed slider over 20 seeds that it has not seen, resting 100 ms on each, and back at once, which finishes pictures that
had been cut off. Then it goes over the same 20, each finished, once more. Painted means that the picture has been
handed to the browser's side. Evaluations count what is prefetched and what checks measure. The exit status is 1 when a
position was not painted, or anything evaluated in the end.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

import lwidgets as lw
from lwidgets.sampling.evaluate import Local

SEEDS, REST, TURNS = 20, 0.1, 3


def counted(objective: lw.Objective) -> list[int]:
    """A list of one number that grows by every evaluation there is: points of landscapes, and points of checks."""
    count = [0]
    points, measure = Local.__call__, objective.measure

    def counting(self: Local, coefficients: np.ndarray) -> Iterator[np.ndarray]:
        for row in points(self, coefficients):
            count[0] += 1
            yield row

    def measuring(*args: Any, **more: Any) -> dict[str, float]:
        count[0] += 1
        return measure(*args, **more)

    Local.__call__ = counting  # type: ignore[method-assign]
    objective.measure = measuring  # type: ignore[method-assign]
    return count


def drag(explorer: lw.SurfaceExplorer, seeds: Iterable[int]) -> list[float | None]:
    """Milliseconds from each move to the first picture of that seed; None when it had none before the next move."""
    painted: list[tuple[float, str]] = []

    def note(change: Any) -> None:
        painted.append((time.perf_counter(), change["new"]["labels"][0]))

    view = explorer.panels.places["surface_picture"].view
    view.observe(note, "picture")
    found: list[float | None] = []
    for seed in seeds:
        moved = time.perf_counter()
        explorer.seed_x = seed
        time.sleep(REST)
        mine = [at for at, label in list(painted) if at > moved and f"(seed {seed}," in label]
        found.append(1000 * (mine[0] - moved) if mine else None)
    view.unobserve(note, "picture")
    return found


def told(times: list[float | None]) -> str:
    shown = [t for t in times if t is not None]
    median, worst = (statistics.median(shown), max(shown)) if shown else (float("nan"),) * 2
    return f"{len(shown):>4} of {len(times)}{median:>12.1f}{worst:>10.1f}"


def main() -> int:
    objective, _, _ = lw.demo.digits(held_out=0)
    evaluated = counted(objective)
    kept = True
    print(f"{SEEDS} seeds, {1000 * REST:.0f} ms on each: painted before the next move, ms to the first paint\n")
    print(f"{'':24}{'painted':>10}{'median':>12}{'worst':>10}{'evaluations':>14}")
    for turn in range(TURNS):
        explorer = lw.SurfaceExplorer(objective, seed_y=99 - turn)
        explorer.wait()
        there, back = range(1, SEEDS + 1), range(SEEDS - 1, -1, -1)
        for name, way in {"there": there, "back at once": back, "finished": there, "again": back}.items():
            before = evaluated[0]
            if name == "finished":
                finish(explorer, way, evaluated)
                continue
            times = drag(explorer, way)
            made = evaluated[0] - before
            kept &= None not in times and (name != "again" or made == 0)
            print(f"{f'turn {turn + 1}, {name}':24}{told(times)}{made:>14}")
        explorer.close()
    print(f"\nevery position painted, and nothing evaluated again: {kept}")
    return 0 if kept else 1


def finish(explorer: lw.SurfaceExplorer, seeds: Iterable[int], evaluated: list[int]) -> None:
    """Stay on every seed until its picture is final, and at the end until nothing is prefetched any more."""
    for seed in seeds:
        explorer.seed_x = seed
        explorer.wait()
    before = None
    while before != evaluated[0]:
        before = evaluated[0]
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
