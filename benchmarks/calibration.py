"""How often the true error of a picture exceeds the estimate it shows, over many landscapes, and what it cost.

    python benchmarks/calibration.py [--seed 1]

Digits networks (models x seeds x spans) and curves between and through them, a BatchNorm network whose loss spans up to
10^4, sums of cosines, bowls with kinks, cliffs of 10^4, and regions that are not finite; and what hides between nodes:
spikes and boxes in a bowl, islands, waves that vanish on the first grids, fits of a sine. Every pixel is measured once,
for comparison, and remembered; a picture is then drawn from these values. Another seed makes all of it anew: networks,
directions and synthetic landscapes. Guides are tried for networks of any size.

A picture has exceeded its estimate, too, where it shows a value that is not finite. "Unsaid" are those that are wrong
at more pixels than the blind spot has that they tell of.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.demo import digits_data, train_mlp
from lwidgets.sampling import part
from lwidgets.sampling.refine import refine

TOLERANCE = 1e-2
SYNTHETIC = 12  # landscapes of each kind and shape
SHAPES = ((65, 65), (65, 33), (33, 129))

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """A picture, and the truth.

    Attributes:
        values: Every pixel, measured.
        shown: As the picture has them.
        error: What the picture claims.
        evaluations: What it cost.
        blind_spot: Share of the pixels in which the picture says that it may have missed something.
        guided: Whether it followed a part of the data.
    """

    values: Array
    shown: Array
    error: float
    evaluations: int
    blind_spot: float
    guided: bool = False

    @property
    def gaps(self) -> Array:
        """How wrong each pixel is that is shown with a value."""
        shown = np.isfinite(self.shown)
        with np.errstate(invalid="ignore"):
            return np.where(shown, np.where(np.isfinite(self.values), np.abs(self.shown - self.values), np.inf), 0.0)

    @property
    def ratio(self) -> float:
        rounding = 1e-9 * float(np.abs(self.values[np.isfinite(self.values)]).max(initial=0.0))
        return float(self.gaps.max()) / max(np.nan_to_num(self.error), rounding, np.finfo(float).tiny)

    @property
    def unsaid(self) -> bool:
        rounding = 1e-9 * float(np.abs(self.values[np.isfinite(self.values)]).max(initial=0.0))
        wrong = self.gaps > max(np.nan_to_num(self.error), rounding)
        return bool(wrong.mean() > self.blind_spot)


def networks(seed: int) -> Iterator[tuple[str, Trial]]:
    images, labels = digits_data()
    for hidden in ((128, 128), (32,)):
        models = [train_mlp(images, labels, hidden, 10 + 100 * seed + i, 300) for i in range(2)]
        objective = lw.Objective(models[0], (images, labels), loss=F.cross_entropy)
        for span in (0.5, 1.0, 2.0):
            for k in range(4):
                pair = (1000 * seed + 2 * k, 1000 * seed + 2 * k + 1)
                yield f"digits {hidden}", drawn(objective, lw.Plane.random(models[0], pair, span=span))
            for model in models:
                for k in range(2):
                    line = lw.Line.random(model, 1000 * seed + k, span=span)
                    yield "digits, random lines", drawn(objective, line, 257)
        for resolution in (65, 129, 257):
            between = lw.Line(*models, span=(-0.25, 1.25))
            yield "digits, between two", drawn(objective, between, resolution)


def batchnorm(seed: int) -> Iterator[tuple[str, Trial]]:
    images, labels = digits_data()
    for k in range(2):
        model = residual_network(images, labels, 100 * seed + k, blocks=2 + 2 * k)
        objective = lw.Objective(model, (images[:400], labels[:400]), loss=F.cross_entropy)
        for span in (0.5, 1.0):
            for first in (10, 12, 14):
                pair = (1000 * seed + first, 1000 * seed + first + 1)
                yield "BatchNorm CNN", drawn(objective, lw.Plane.random(model, pair, span=span))


def residual_network(images: Tensor, labels: Tensor, seed: int, blocks: int, width: int = 8) -> nn.Module:
    class Block(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x + super().forward(x))

    def conv(inputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]

    torch.manual_seed(seed)
    middle = [Block(*conv(width), nn.ReLU(), *conv(width)) for _ in range(blocks)]
    head = [nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * width, 10)]
    model = nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *conv(1), nn.ReLU(), *middle, *head)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(150):
        batch = torch.randint(0, len(images), (128,))
        optimizer.zero_grad()
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()
    return model.eval()


def synthetic(seed: int) -> Iterator[tuple[str, Trial]]:
    for kind, values in surfaces(np.random.default_rng(100 + seed)):
        yield kind, told(values)


def surfaces(rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    order = np.arange(6)
    for _ in range(SYNTHETIC):
        for shape in SHAPES:
            x, y = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
            weights = rng.normal(size=(6, 6)) * np.exp(-0.6 * np.add.outer(order, order))
            waves = (np.cos(2 * np.multiply.outer(order, u) + rng.uniform(0, 6)) for u in (x, y))
            yield "cosines", np.einsum("ij,iab,jab->ab", weights, *waves)
            bowl = x**2 + y**2
            kinks = bowl + sum(0.3 * np.abs(across(rng, x, y, bend=0)) for _ in range(5))
            yield "kinks", kinks
            yield "kinks, curves", kinks[:, shape[1] // 3]
            steep = 10 ** rng.uniform(0.5, 1.7)
            yield "cliffs of 10^4", bowl + 5e3 * (1 + np.tanh(steep * across(rng, x, y, bend=0.5)))
            gone = across(rng, x, y, bend=0.5) > 0.3
            yield "not finite", np.where(gone, np.inf, 1 + bowl + 0.3 * np.cos(3 * x + 1) * np.sin(2 * y))
            yield from hidden(rng, x, y)


def hidden(rng: np.random.Generator, x: Array, y: Array) -> Iterator[tuple[str, Array]]:
    """What is between the nodes of the first grids, or vanishes on them."""
    bowl = x**2 + y**2
    dx, dy = x - rng.uniform(-0.9, 0.9), y - rng.uniform(-0.9, 0.9)
    width = 10 ** rng.uniform(-2, -0.6)
    spike = np.exp(-(dx**2 + dy**2) / (2 * width**2))
    yield "spike on a plateau", spike
    yield "spike in a bowl", bowl + 2 * spike
    size = rng.uniform(0.05, 0.3)
    box = np.maximum(np.abs(dx), np.abs(dy)) < size
    yield "box in a bowl", bowl + 2 * box
    island = dx**2 + dy**2 < size**2
    yield "island, not finite", np.where(island, np.inf, bowl)
    yield "island, finite", np.where(island, bowl, np.inf)
    times = 2 * np.pi * 2.0 ** rng.integers(0, 4)
    yield "vanishes on grids", bowl + rng.uniform(0.05, 1) * np.sin(times * x) * np.sin(times * y)
    seconds = np.arange(32)
    phases = 4 * np.pi * rng.integers(1, 3) * (x[..., None] * seconds + y[..., None])
    yield "fit of a sine", ((np.sin(phases) - np.sin(seconds)) ** 2).mean(axis=-1)


def across(rng: np.random.Generator, x: Array, y: Array, bend: float) -> Array:
    """Distance from a random line, or from a random parabola."""
    angle, offset, curvature = rng.uniform(0, 6), rng.uniform(-0.6, 0.6), bend * rng.normal()
    along = y * np.cos(angle) - x * np.sin(angle)
    return x * np.cos(angle) + y * np.sin(angle) + curvature * along**2 - offset


def drawn(objective: lw.Objective, subspace: lw.Subspace, resolution: int = 65) -> Trial:
    cache = lw.Cache()
    exact = lw.sample(objective, subspace, resolution=resolution, tolerance=0, cache=cache)
    shown = lw.sample(objective, subspace, resolution=resolution, tolerance=TOLERANCE, cache=cache)
    guided = "guide" in shown.provenance["sampling"]
    return Trial(
        exact.values["loss"], shown.values["loss"], shown.error["loss"], shown.evaluations, shown.blind_spot, guided
    )


def told(values: Array) -> Trial:
    def at(pixels: NDArray[np.intp]) -> Mapping[str, Array]:
        return {"loss": values[tuple(pixels.T)]}

    plan = refine(values.shape, ["loss"], TOLERANCE, deciding=["loss"])
    pixels, _ = next(plan)
    while True:
        try:
            pixels, _ = plan.send(at(pixels))
        except StopIteration as stop:
            picture = stop.value
            coords = tuple(np.arange(float(size)) for size in values.shape)
            names, count = ("x", "y")[: values.ndim], int(picture.evaluated.sum())
            shown = lw.Landscape(coords, names, names, picture.values, picture.evaluated, count, picture.error)
            return Trial(values, shown.values["loss"], shown.error["loss"], count, shown.blind_spot)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    torch.set_num_threads(1)
    part._WORK = 0.0
    found: dict[str, list[Trial]] = {}
    for make in (synthetic, networks, batchnorm):
        for kind, trial in make(seed):
            if trial.evaluations < trial.values.size:
                found.setdefault(kind, []).append(trial)
    print(f"tolerance {TOLERANCE:g}, seed {seed}; ratio = true maximum error / estimate shown\n")
    head = f"{'landscapes':>11}{'guided':>8}{'exceeded':>10}{'unsaid':>8}{'median ratio':>14}"
    head += f"{'largest':>9}{'median points':>15}"
    print(f"{'kind':22}{head}")
    for kind, trials in found.items():
        ratios = [trial.ratio for trial in trials]
        over, guided = sum(ratio > 1 for ratio in ratios), sum(trial.guided for trial in trials)
        points = statistics.median(trial.evaluations for trial in trials)
        middle, largest = statistics.median(ratios), max(ratios)
        unsaid = sum(trial.unsaid for trial in trials)
        print(
            f"{kind:22}{len(trials):11}{guided:8}{over:10}{unsaid:8}{middle:14.2f}{largest:9.3g}{points:15.0f}",
            flush=True,
        )
    everything = [trial.ratio for trials in found.values() for trial in trials]
    over = sum(ratio > 1 for ratio in everything)
    print(f"\n{over} of {len(everything)} exceeded: {over / len(everything):.1%}")


if __name__ == "__main__":
    main()
