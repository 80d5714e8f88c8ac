"""How often the true error of a picture exceeds the estimate it shows, over many landscapes, and what it cost.

    python benchmarks/calibration.py

Digits networks (models x seeds x spans) and curves between and through them, a BatchNorm network whose loss spans up to
10^4, sums of cosines, bowls with kinks, cliffs of 10^4, and regions that are not finite. Every pixel is measured once,
for comparison; the refinement is then told these values.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.demo import digits_data, train_mlp
from lwidgets.sampling.refine import Picture, refine

TOLERANCE = 1e-2
SYNTHETIC = 12  # landscapes of each kind and shape
SHAPES = ((65, 65), (65, 33), (33, 129))

Array = NDArray[np.float64]


def networks() -> Iterator[tuple[str, Array]]:
    images, labels = digits_data()
    for hidden in ((128, 128), (32,)):
        models = [train_mlp(images, labels, hidden, seed, 300) for seed in (10, 11)]
        objective = lw.Objective(models[0], (images, labels), loss=F.cross_entropy)
        for span in (0.5, 1.0, 2.0):
            for seed in range(4):
                yield (
                    f"digits {hidden}",
                    exact(objective, lw.Plane.random(models[0], (2 * seed, 2 * seed + 1), span=span)),
                )
            for model in models:
                for seed in range(2):
                    yield "digits, random lines", exact(objective, lw.Line.random(model, seed, span=span), 257)
        for resolution in (65, 129, 257):
            between = lw.Line(*models, span=(-0.25, 1.25))
            yield "digits, between two", exact(objective, between, resolution)


def batchnorm() -> Iterator[tuple[str, Array]]:
    images, labels = digits_data()
    for seed in range(2):
        model = residual_network(images, labels, seed, blocks=2 + 2 * seed)
        objective = lw.Objective(model, (images[:200], labels[:200]), loss=F.cross_entropy)
        for span in (0.5, 1.0):
            for pair in ((10, 11), (12, 13), (14, 15)):
                yield "BatchNorm CNN", exact(objective, lw.Plane.random(model, pair, span=span))


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


def synthetic() -> Iterator[tuple[str, Array]]:
    rng = np.random.default_rng(100)
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


def across(rng: np.random.Generator, x: Array, y: Array, bend: float) -> Array:
    """Distance from a random line, or from a random parabola."""
    angle, offset, curvature = rng.uniform(0, 6), rng.uniform(-0.6, 0.6), bend * rng.normal()
    along = y * np.cos(angle) - x * np.sin(angle)
    return x * np.cos(angle) + y * np.sin(angle) + curvature * along**2 - offset


def exact(objective: lw.Objective, subspace: lw.Subspace, resolution: int = 65) -> Array:
    return lw.sample(objective, subspace, resolution=resolution, tolerance=0).values["loss"]


def shown(values: Array) -> Picture:
    def told(pixels: NDArray[np.intp]) -> Mapping[str, Array]:
        return {"loss": values[tuple(pixels.T)]}

    plan = refine(values.shape, ["loss"], TOLERANCE, deciding=["loss"])
    pixels, _ = next(plan)
    while True:
        try:
            pixels, _ = plan.send(told(pixels))
        except StopIteration as stop:
            return stop.value


def main() -> None:
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, int]]] = {}
    for make in (synthetic, networks, batchnorm):
        for kind, values in make():
            picture = shown(values)
            if picture.evaluated.all():
                continue
            finite = np.isfinite(values)
            gap = np.abs(picture.values["loss"][finite] - values[finite]).max()
            found.setdefault(kind, []).append((float(gap) / picture.error["loss"], int(picture.evaluated.sum())))
    print(f"tolerance {TOLERANCE:g}; ratio = true maximum error / estimate shown\n")
    print(f"{'kind':22}{'landscapes':>11}{'exceeded':>10}{'median ratio':>14}{'largest':>9}{'median points':>15}")
    for kind, rows in found.items():
        ratios, points = zip(*rows, strict=True)
        over = sum(ratio > 1 for ratio in ratios)
        middle, largest = statistics.median(ratios), max(ratios)
        print(f"{kind:22}{len(rows):11}{over:10}{middle:14.2f}{largest:9.2f}{statistics.median(points):15.0f}")
    everything = [ratio for rows in found.values() for ratio, _ in rows]
    over = sum(ratio > 1 for ratio in everything)
    print(f"\n{over} of {len(everything)} exceeded: {over / len(everything):.1%}")


if __name__ == "__main__":
    main()
