"""Surfaces of five models by five tools: time to 1 % and with every pixel exact, evaluations, memory, true errors.

    python benchmarks/table.py [--quick] [--models digits,vit] [--rounds 3]

The tools take turns, in rounds, each round on a plane of its own; quote the ratios, which are medians over rounds of
one run. A tool whose cost is the number of points is timed on a coarser grid of the same plane and scaled. Wants a
machine that does nothing else: the line above the table says what others took.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import mean, median
from time import perf_counter

import numpy as np
import torch
from harness.measure import Watch, affordable_side, flops, gemm_peak, machine, peak_memory, seconds, threads_of
from harness.models import Case, Problem, cases, train
from harness.tools import EXACT, LOOP, NEXT, OTHERS, TOLERANT, Tool, lwidgets_and_loop

import lwidgets as lw

Table = list[list[str]]
OURS = (TOLERANT, NEXT, EXACT)


@dataclass(frozen=True)
class Round:
    """One plane of one model, drawn by every tool.

    Attributes:
        seconds: Tool name -> for all pixels, scaled where a coarser grid was timed.
        tolerant: lwidgets' picture at 1 %.
        exact: Every pixel by lwidgets.
        paired: How many times longer than lwidgets' every pixel the plain loop takes, point by point in turn.
        difference: Largest gap between ``exact`` and any tool on the same points, over the largest value.
    """

    seconds: dict[str, float]
    tolerant: lw.Landscape
    exact: lw.Landscape
    paired: float
    difference: float

    @property
    def range(self) -> float:
        return float(np.ptp(self.exact.values["loss"]))

    @property
    def estimate(self) -> float:
        """Of the range."""
        return self.tolerant.error["loss"] / self.range

    @property
    def true_error(self) -> float:
        """Of the range."""
        return float(np.abs(self.exact.values["loss"] - self.tolerant.values["loss"]).max()) / self.range

    @property
    def inside(self) -> bool:
        """Whether the true error is within the estimate, but for the rounding of float32."""
        rounding = 1e-5 * float(np.abs(self.exact.values["loss"]).max()) / self.range
        return self.true_error <= self.estimate + rounding


@dataclass(frozen=True)
class Result:
    """All about one model.

    Attributes:
        points: Tool name -> points timed.
        flops: Of one evaluation.
        peak: FLOP/s of the machine.
        memory: Tool name -> bytes, or None where it was not looked at.
    """

    case: Case
    rounds: list[Round]
    points: dict[str, int]
    flops: int
    peak: float
    memory: dict[str, int | None]

    def time(self, tool: Tool) -> float:
        return median(r.seconds[tool.name] for r in self.rounds)

    def ratio(self, tool: Tool, ours: Tool) -> float:
        """How many times longer a tool takes than one of ours, within a round."""
        return median(r.seconds[tool.name] / r.seconds[ours.name] for r in self.rounds)

    def limit(self, tool: Tool) -> float:
        """How many times longer than the FLOPs of every pixel at the machine's peak."""
        return self.time(tool) / (self.rounds[0].exact.evaluations * self.flops / self.peak)


def measure(case: Case, device: str, resolution: int, rounds: int, allowed: float, look_at_memory: bool) -> Result:
    """Train the model and let the tools draw it in turn."""
    peak = gemm_peak(device)
    model = train(case, device)
    first = Problem.of(case, model, (0, 1))
    idle = {tool for tool in OTHERS if tool.threads and (device != "cpu" or tool.threads == torch.get_num_threads())}
    tools = [tool for tool in OTHERS if tool not in idle and not tool.why_not(case.batchnorm)]
    sides = {tool.name: affordable_side(tool, first, resolution, allowed) for tool in tools}
    affordable_side(TOLERANT, first, resolution, 0.0)
    began = perf_counter()
    while perf_counter() - began < 2 * allowed:  # somebody has looked at the model for a while
        NEXT.run(first, resolution)
    sides |= dict.fromkeys((tool.name for tool in OURS), resolution)
    tools += [TOLERANT, NEXT]
    drawn = []
    for turn in range(rounds):
        problem = Problem.of(case, model, (2 * turn, 2 * turn + 1))
        drawn.append(play(tools, problem, sides, resolution))
    memory = {
        tool.name: peak_memory(tool, case, model, resolution) if look_at_memory else None for tool in (*tools, EXACT)
    }
    points = {name: side**2 for name, side in sides.items()}
    return Result(case, drawn, points, flops(first), peak, memory)


def play(tools: list[Tool], problem: Problem, sides: dict[str, int], resolution: int) -> Round:
    """Every tool in this order and back again, so that a drift of the machine meets all alike; then every pixel."""
    taken: dict[str, list[float]] = {tool.name: [] for tool in tools}
    surfaces = {}
    for tool in [*tools, *tools[::-1]]:
        side = sides[tool.name]
        with threads_of(tool):
            spent, surfaces[tool.name] = seconds(lambda tool=tool, side=side: tool.run(problem, side))
        taken[tool.name].append(spent * (resolution / side) ** 2)
    exact, ours, loop = lwidgets_and_loop(problem, resolution)
    taken[EXACT.name] = [ours * resolution**2]
    truth, gaps = exact.values["loss"], [0.0]
    for tool in tools:
        if tool.same_points:
            every = (resolution - 1) // (sides[tool.name] - 1)
            gaps.append(float(np.abs(surfaces[tool.name] - truth[::every, ::every]).max() / np.abs(truth).max()))
    return Round(
        {name: mean(times) for name, times in taken.items()}, surfaces[TOLERANT.name], exact, loop / ours, max(gaps)
    )


def surfaces_table(results: list[Result]) -> Table:
    head = ["model", "tool", "1 %, s", "next seed, s", "every pixel, s", "evaluations"]
    table = [[*head, "lwidgets faster, 1 %", "next seed", "every pixel", "over the limit", "peak MiB"]]
    for result in results:
        counts = sorted(r.tolerant.evaluations for r in result.rounds)
        pixels = result.rounds[0].exact.evaluations
        table.append(
            [
                f"**{result.case.title}**",
                "**lwidgets**",
                *(f"**{result.time(tool):.3g}**" for tool in OURS),
                f"{median(counts):.0f} / {pixels:,}",
                *[""] * 3,
                f"{result.limit(EXACT):.1f}",
                mebibytes(*(result.memory[tool.name] for tool in OURS)),
            ]
        )
        for tool in OTHERS:
            if tool.name not in result.points:
                if why_not := tool.why_not(result.case.batchnorm):
                    table.append(["", tool.name, why_not, *[""] * 8])
                continue
            time = f"{result.time(tool):.3g}"
            scaled = "" if result.points[tool.name] == pixels else f", {result.points[tool.name]:,} timed"
            table.append(
                [
                    "",
                    tool.title,
                    *[time] * 3,
                    f"{pixels:,}{scaled}",
                    *(f"{result.ratio(tool, ours):.3g}" for ours in OURS),
                    f"{result.limit(tool):.1f}",
                    mebibytes(result.memory[tool.name]),
                ]
            )
    return table


def mebibytes(*sizes: int | None) -> str:
    """The largest, or nothing where one is not known."""
    known = [size for size in sizes if size is not None]
    return f"{max(known) / 2**20:.0f}" if len(known) == len(sizes) else ""


def errors_table(results: list[Result]) -> Table:
    table = [["model", "loss", "estimate, % of the range", "true error, %", "evaluations", "MFLOPs", "exact vs others"]]
    for result in results:
        first = result.rounds[0].exact.values["loss"]
        table.append(
            [
                result.case.title,
                f"{first.min():.2g} to {first.max():.2g}",
                " / ".join(f"{100 * r.estimate:.2f}" for r in result.rounds),
                " / ".join(f"{100 * r.true_error:.2f}" for r in result.rounds),
                " / ".join(f"{r.tolerant.evaluations}" for r in result.rounds),
                f"{result.flops / 1e6:,.0f}",
                f"{max(r.difference for r in result.rounds):.0e}",
            ]
        )
    return table


def bars_table(results: list[Result]) -> Table:
    """What was promised, for the models of this run."""
    by_key = {result.case.key: result for result in results}
    peer = next(tool for tool in OTHERS if tool.name == "loss-landscapes")
    bars = [
        (f"1 % against loss-landscapes, {key}{what}", by_key[key].ratio(peer, tool), least)
        for key, least in (("digits", 40.0), ("resnet", 20.0))
        for tool, what in ((TOLERANT, ""), (NEXT, ", next seed"))
        if key in by_key and peer.name in by_key[key].points
    ]
    if "mlp" in by_key and peer.name in by_key["mlp"].points:
        bars.append(("every pixel against loss-landscapes, mlp", by_key["mlp"].ratio(peer, EXACT), 1.3))
    for result in results:
        paired = median(r.paired for r in result.rounds)
        bars.append((f"every pixel against the {LOOP.name}, in turn, {result.case.key}", paired, 0.95))
    planes = [r for result in results for r in result.rounds]
    bars.append(("planes whose true error is within the estimate", sum(r.inside for r in planes), len(planes)))
    table = [["bar", "at least", "seen", ""]]
    table += [[name, f"{least:.3g}", f"{seen:.3g}", "met" if seen >= least else "MISSED"] for name, seen, least in bars]
    return table


def markdown(table: Table) -> str:
    head, *rows = (f"| {' | '.join(row)} |" for row in table)
    return "\n".join([head, "|" + "---|" * len(table[0]), *rows])


LEGEND = """\
Every time is that of {resolution}x{resolution} pixels, the median of {rounds} planes; a tool of which fewer points were
timed is scaled from them. "Evaluations" of lwidgets are those at 1 %. "Over the limit" is the time of every pixel over
pixels x FLOPs / the fastest matrix product seen. "Peak" is what a run adds to a process that holds model and data.
lwidgets starts from the model and the data in every run, except for the next seed, where the model has been looked at
before and the fastest way to evaluate it is known; no value of any point is remembered. Landscaper is its sampler
alone; its cost for a point grows with the grid, so scaling flatters it."""


def main(device: str = "cpu") -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run: 17x17, one round, one thread, no memory")
    parser.add_argument("--models", help=f"some of {','.join(cases())}")
    parser.add_argument("--rounds", type=int, default=3, help="planes a model")
    asked = parser.parse_args()
    known = cases(quick=asked.quick)
    keys = asked.models.split(",") if asked.models else list(known)
    if unknown := set(keys) - set(known):
        parser.error(f"--models must be among {', '.join(known)}, got {', '.join(sorted(unknown))}.")
    rounds, resolution, allowed = (1, 17, 0.2) if asked.quick else (asked.rounds, 65, 2.0)
    if asked.quick:
        torch.set_num_threads(1)
    watch, results = Watch(), []
    for key in keys:
        results.append(measure(known[key], device, resolution, rounds, allowed, look_at_memory=not asked.quick))
        print(f"{key}: done", file=sys.stderr, flush=True)
    peak = max(result.peak for result in results)
    quiet = f"other processes took {watch.others:.0%} of the processors"
    print(f"{machine(device)}, {peak / 1e9:,.0f} GFLOP/s in float32, {quiet}, {datetime.now(UTC):%Y-%m-%d}\n")
    print(markdown(surfaces_table(results)), "\n")
    print(LEGEND.format(resolution=resolution, rounds=rounds), "\n")
    print(markdown(errors_table(results)))
    if not asked.quick:
        print("\n" + markdown(bars_table(results)))


if __name__ == "__main__":
    main()
