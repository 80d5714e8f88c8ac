"""A 65x65 surface of a digits network: lwidgets at 1 % against a plain loop over every pixel, and the true error.

    python benchmarks/surface.py

Both run in one process, in turn, on one thread; quote the ratio, not the seconds.
"""

from __future__ import annotations

import copy
import statistics
import time

import numpy as np
import torch
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.demo import digits_data

RESOLUTION, TOLERANCE = 65, 1e-2
SEEDS = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))


def plain_loop(model: torch.nn.Module, plane: lw.Subspace) -> np.ndarray:
    """Every pixel: set the parameters, one forward pass, the loss."""
    images, labels = digits_data()
    model = copy.deepcopy(model)
    origin, x, y = plane.basis.vectors
    parameters = dict(model.named_parameters())
    steps = [axis.grid(RESOLUTION) for axis in plane.axes]
    values = np.empty((RESOLUTION, RESOLUTION))
    with torch.no_grad():
        for i, u in enumerate(steps[0]):
            for j, v in enumerate(steps[1]):
                for name, parameter in parameters.items():
                    moved = origin[name]
                    if name in x:
                        moved = moved + u * x[name] + v * y[name]
                    parameter.copy_(moved)
                values[i, j] = F.cross_entropy(model(images), labels).item()
    return values


def main() -> None:
    torch.set_num_threads(1)
    objective, model, _ = lw.demo.digits(held_out=0)
    bare = lw.Objective(model, digits_data(), loss=F.cross_entropy)
    print("MLP 64-128-128-10, 1,797 digits, 65x65 plane, filter normalised, tolerance 1 % of the range, one thread\n")
    heads = {"loop s": 8, "ours s": 8, "ratio": 8, "with error": 12, "points": 8, "true error": 12, "shown": 9}
    print(f"{'seeds':8}" + "".join(f"{head:>{width}}" for head, width in heads.items()))
    ratios, covered = [], True
    for seeds in SEEDS:
        plane = lw.Plane.random(model, seeds).bound(bare.space)
        timed = {}
        for name, run in {
            "loop": lambda plane=plane: plain_loop(model, plane),
            "loss": lambda plane=plane: lw.sample(bare, plane, resolution=RESOLUTION, tolerance=TOLERANCE),
            "both": lambda plane=plane: lw.sample(objective, plane, resolution=RESOLUTION, tolerance=TOLERANCE),
        }.items():
            began = time.perf_counter()
            timed[name] = run(), time.perf_counter() - began
        exact, ours = timed["loop"][0], timed["loss"][0]
        gap = float(np.abs(exact - ours.values["loss"]).max())
        covered &= gap <= ours.error["loss"]
        ratios.append(timed["loop"][1] / timed["loss"][1])
        print(
            f"{seeds!s:8}{timed['loop'][1]:8.2f}{timed['loss'][1]:8.3f}{ratios[-1]:8.1f}"
            f"{timed['loop'][1] / timed['both'][1]:12.1f}{ours.evaluations:8}{gap:12.4f}{ours.error['loss']:9.4f}"
        )
    print(f"\nmedian ratio {statistics.median(ratios):.1f} (bar: 15); true error within the estimate shown: {covered}")


if __name__ == "__main__":
    main()
