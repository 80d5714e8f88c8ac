"""How often the true error of a picture exceeds the estimate it shows, over many landscapes.

    python benchmarks/calibration.py

Digits networks (models x seeds x spans), sums of cosines, and bowls with kinks; every pixel is measured for comparison.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.demo import digits_data, train_mlp

TOLERANCE = 1e-2
SYNTHETIC = 60  # of each kind
SHAPES = ((65, 65), (65, 33))


def networks() -> Iterator[tuple[str, lw.Objective, lw.Subspace]]:
    images, labels = digits_data()
    for hidden in ((128, 128), (32,)):
        for seed in range(2):
            model = train_mlp(images, labels, hidden, seed, 300)
            objective = lw.Objective(model, (images, labels), loss=F.cross_entropy)
            for seeds in ((0, 1), (2, 3), (4, 5)):
                for span in (0.5, 1.0, 2.0):
                    yield "digits networks", objective, lw.Plane.random(model, seeds, span=span)


def synthetic() -> Iterator[tuple[str, lw.Objective, lw.Subspace]]:
    rng = np.random.default_rng(0)
    order = np.arange(6)
    for _ in range(SYNTHETIC):
        weights = rng.normal(size=(6, 6)) * np.exp(-0.6 * np.add.outer(order, order))
        shift = rng.uniform(0, 6, 2)
        yield "cosines", lw.Objective.from_function(cosines(torch.tensor(weights), *shift), 2), lw.Subspace.identity(2)
        angles, offsets = torch.tensor(rng.uniform(0, 6, 5)), torch.tensor(rng.uniform(-1, 1, 5))
        yield "kinks", lw.Objective.from_function(kinks(angles, offsets), 2), lw.Subspace.identity(2)


def cosines(weights: Tensor, a: float, b: float) -> Callable[[Tensor], Tensor]:
    order = torch.arange(6.0, dtype=torch.float64)

    def f(u: Tensor) -> Tensor:
        x, y = (torch.cos(2 * order * u[:, i : i + 1] + shift) for i, shift in enumerate((a, b)))
        return torch.einsum("pi,ij,pj->p", x, weights, y)

    return f


def kinks(angles: Tensor, offsets: Tensor) -> Callable[[Tensor], Tensor]:
    def f(u: Tensor) -> Tensor:
        across = u[:, :1] * angles.cos() + u[:, 1:] * angles.sin() + offsets
        return (u**2).sum(dim=1) + 0.3 * across.abs().sum(dim=1)

    return f


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, int, int]]] = {}
    for make in (networks, synthetic):
        for kind, objective, plane in make():
            shapes = SHAPES[:1] if make is networks else SHAPES
            for shape in shapes:
                shown = lw.sample(objective, plane, resolution=shape, tolerance=TOLERANCE)
                if shown.evaluated.all():
                    continue
                exact = lw.sample(objective, plane, resolution=shape, tolerance=0)
                gap = float(np.abs(exact.values["loss"] - shown.values["loss"]).max())
                ratio = gap / max(shown.error["loss"], 1e-300)
                found.setdefault(kind, []).append((ratio, shown.evaluations, shown.evaluated.size))
    print(f"tolerance {TOLERANCE:g}; ratio = true maximum error / estimate shown\n")
    print(f"{'kind':18}{'landscapes':>11}{'exceeded':>10}{'median ratio':>14}{'largest':>9}{'median points':>15}")
    for kind, rows in found.items():
        ratios = [ratio for ratio, _, _ in rows]
        over = sum(ratio > 1 for ratio in ratios)
        points = statistics.median(n for _, n, _ in rows)
        print(f"{kind:18}{len(rows):11}{over:10}{statistics.median(ratios):14.2f}{max(ratios):9.2f}{points:15.0f}")


if __name__ == "__main__":
    main()
