"""What alignment makes of the barrier between digits networks, and how long weight matching takes.

    python benchmarks/alignment.py

Three pairs of ReLU networks a row, trained for 60 epochs of Adam at 1e-3 from different seeds; the barrier is the
excess of the test loss over the chord, at 25 points. "permutations" are the symmetries that the literature matches by;
"all" are those that are there, with positive scales. Then two ResNet-20 of width 64 with random weights, two threads.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lwidgets as lw
from lwidgets.demo import digits_data
from lwidgets.symmetry import Level, Spec
from lwidgets.symmetry.align import ALIGN_METHODS, Alignment, align
from lwidgets.symmetry.derive import derive
from lwidgets.symmetry.matching import match_weights

WIDTHS = (8, 16, 32, 64, 128, 512)
BARS = {  # mean of three pairs: by weights, by activations
    16: (0.59, 0.38),
    32: (0.125, 0.123),
    64: (0.071, 0.083),
    128: (0.044, 0.037),
    512: (0.031, 0.006),
}
PAIRS = ((0, 1), (2, 3), (4, 5))
EPOCHS, BATCH, RATE, POINTS = 60, 64, 1e-3, 25


def trained(images: Tensor, labels: Tensor, hidden: Sequence[int], seed: int) -> nn.Module:
    """Mini-batch Adam."""
    torch.manual_seed(seed)
    sizes = (images.shape[1], *hidden, 10)
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(sizes):
        layers += [nn.Linear(i, o), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimizer.step()
    return model.eval()


def objective_of(hidden: Sequence[int], seed: int) -> tuple[lw.Objective, nn.Module]:
    """A network trained on four fifths of the digits, and its objective."""
    images, labels = digits_data()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:1437], order[1437:]
    model = trained(images[train], labels[train], hidden, seed)
    held_out = (images[test], labels[test])
    return lw.Objective(model, (images[train], labels[train]), loss=F.cross_entropy, test=held_out), model


def height(objective: lw.Objective, a: nn.Module, b: lw.State | nn.Module) -> float:
    """The barrier on the test data."""
    assert objective.test is not None
    found = lw.sample(objective.test, lw.Line(a, b), resolution=POINTS, tolerance=0).barrier()
    return found.value


class Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        short = [nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)] if stride > 1 else []
        self.short = nn.Sequential(*short)

    def forward(self, x: Tensor) -> Tensor:
        inside = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inside)) + self.short(x))


def resnet20(width: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    channels = width
    for stage in range(3):
        for i in range(3):
            out = width << stage
            layers.append(Block(channels, out, 2 if stage and not i else 1))
            channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def digits(widths: Sequence[int]) -> None:
    heads = ("naive", "weights", "activ.", "straight", "learned", "sinkhorn", "weights", "activ.", "learned")
    print(f"{'':>10}{'':>15}{'permutations':^75}{'all':^45}{'seconds':>10}")
    print(f"{'hidden':>10}" + "".join(f"{head:>15}" for head in heads) + f"{'weights':>10}   within the bars")
    for width in widths:
        rows: dict[str, list[float]] = {}
        seconds = []
        for first, second in PAIRS:
            objective, a = objective_of((width, width), first)
            _, b = objective_of((width, width), second)
            every = derive(a, torch.rand(4, 64))
            rows.setdefault("naive", []).append(height(objective, a, b))
            for label, spec in (("P", every.restrict(Level.PERMUTATION)), ("all", every)):
                for method in ALIGN_METHODS:
                    if label == "all" and method in ("straight-through", "sinkhorn"):
                        continue
                    found: Alignment = align(a, b, objective, method, spec=spec)  # type: ignore[arg-type]
                    rows.setdefault(f"{label} {method}", []).append(height(objective, a, found.state))
                    if (label, method) == ("P", "weights"):
                        seconds.append(found.seconds)
        means = [statistics.mean(values) for values in rows.values()]
        bars = BARS.get(width)
        said = "-" if bars is None else str(means[1] <= bars[0] and means[2] <= bars[1])
        print(
            f"{f'{width},{width}':>10}"
            + "".join(f"{f'{statistics.mean(v):.3f}+-{statistics.stdev(v):.3f}':>15}" for v in rows.values())
            + f"{statistics.mean(seconds):>10.3f}   {said}",
            flush=True,
        )


def timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def resnets() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    a, b = resnet20(64), resnet20(64)
    found: list[Spec] = []
    deriving = timed(lambda: found.append(derive(a, torch.randn(2, 3, 8, 8))))
    matching = timed(lambda: match_weights(found[0], lw.State.of(a), lw.State.of(b)))
    print(f"\nResNet-20 of width 64: derived and certified in {deriving:.2f} s, matched in {matching:.2f} s (bar: 10)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    torch.set_num_threads(1)
    digits(parser.parse_args().widths)
    resnets()
