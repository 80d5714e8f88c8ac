"""What directions that are the same everywhere cost, in times what those of torch's own generator cost.

    python benchmarks/directions.py

Ten million numbers on one thread, and the first picture of a random plane over a network of ten million parameters and
32 examples, drawn by either generator in turn, with a seed of its own each time so that nothing is remembered. Printed
are the medians of the seconds, and of the ratios of neighbours, which a busy machine slows down alike. The bars are 2.5
and 1.05; the exit status is 1 above either.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets import directions

NUMBERS = 10_000_000
ROUNDS = 15


def of_torch(seed: int, name: str, shape: tuple[int, ...], draw: int = 0) -> Tensor:
    """What torch draws; not the same under another version."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed + draw + len(name)))


@contextmanager
def drawn_by(draw: Callable[..., Tensor]) -> Iterator[None]:
    ours, directions.gaussian = directions.gaussian, draw
    try:
        yield
    finally:
        directions.gaussian = ours


def seconds(run: Callable[[int], object], draw: Callable[..., Tensor], seed: int) -> float:
    with drawn_by(draw):
        began = time.perf_counter()
        run(seed)
        return time.perf_counter() - began


def compare(what: str, run: Callable[[int], object], bar: float) -> bool:
    """Print the two times and their ratio; whether it keeps to the bar."""
    ours = directions.gaussian
    times = [(seconds(run, ours, 2 * k), seconds(run, of_torch, 2 * k + 1)) for k in range(ROUNDS + 1)][1:]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(a / b for a, b in times)
    print(f"{what}: {mine:.3f} s, by torch's generator {theirs:.3f} s; ratio {ratio:.3f}, bar {bar}")
    return ratio <= bar


def main() -> int:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1024, 4096), nn.ReLU(), nn.Linear(4096, 1280), nn.ReLU(), nn.Linear(1280, 512))
    x, y = torch.randn(32, 1024), torch.arange(32) % 10
    objective = lw.Objective(model, (x, y), loss=F.cross_entropy)
    size = sum(math.prod(p.shape) for p in model.parameters())

    def picture(seed: int) -> object:
        return next(iter(lw.stream(objective, lw.Plane.random(model, (seed, seed + 1000)), resolution=65)))

    kept = [
        compare(f"{NUMBERS:,} numbers", lambda seed: directions.gaussian(seed, "weight", (NUMBERS,)), 2.5),
        compare(f"first picture, {size:,} parameters", picture, 1.05),
    ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
