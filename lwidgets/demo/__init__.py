"""Data and models small enough to train in seconds."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwidgets import metrics
from lwidgets.demo.data import digits_data, remembered, two
from lwidgets.demo.transformer import digits_vit
from lwidgets.noise import private_noise
from lwidgets.objective import Objective

__all__ = ["digits", "digits_data", "digits_tasks", "digits_vit", "train_mlp"]


def digits(
    seeds: tuple[int, int] = (0, 1), *, hidden: Sequence[int] = (128, 128), held_out: float = 0.2, steps: int = 300
) -> tuple[Objective, nn.Module, nn.Module]:
    """Two multilayer perceptrons trained on scikit-learn's digits from different seeds, and their objective.

    The 1,797 images of 8x8 pixels are scaled to [0, 1]. Training is full-batch Adam at rate 1e-3; it takes seconds,
    depends on the seed alone, and is done once a process: who asks again is given copies.

    Args:
        seeds: Of the initialisations.
        hidden: Widths of the hidden layers.
        held_out: Share of the images kept for ``objective.test``; 0 puts all into the objective.
        steps: Of training.

    Returns:
        (objective, a, b): cross-entropy, with the error as second metric, of ``a``; models in eval mode.
    """
    hidden = tuple(hidden)
    return two(
        lambda images, labels, seed: train_mlp(images, labels, hidden, seed, steps),
        seeds,
        held_out,
        *("mlp", hidden, steps),
    )


def train_mlp(images: Tensor, labels: Tensor, hidden: Sequence[int], seed: int, steps: int) -> nn.Module:
    """A ReLU network trained on one batch of everything; the global generator is left as it was found.

    Args:
        images: Float32 of shape (N, inputs).
        labels: Int64 of shape (N,).
        hidden: Widths of the hidden layers.
        seed: Of the initialisation.
        steps: Of Adam at rate 1e-3.
    """
    sizes = [images.shape[1], *hidden, int(labels.max()) + 1]
    with private_noise(seed):
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(sizes):
            layers += [nn.Linear(wide, narrow), nn.ReLU()]
        return _fitted(nn.Sequential(*layers[:-1]), images, labels, steps)


def digits_tasks(
    *, hidden: Sequence[int] = (64, 64), held_out: float = 0.2, steps: int = 100, seed: int = 0
) -> tuple[nn.Module, tuple[nn.Module, nn.Module], dict[str, Objective]]:
    """A network trained briefly on all digits, and two made of it that were trained on half of them each.

    Every one knows ten classes. What a model has not seen since, it forgets; merged, the two may know all ten again.

    Args:
        hidden: Widths of the hidden layers.
        held_out: Share of each task's images kept for its ``test``; 0 puts all into the objectives.
        steps: Of training each task's model; as many as of the base.
        seed: Of the initialisation.

    Returns:
        (base, models, objectives): models in eval mode, and each one's own task by name, with the error as second
        metric; as `MergingExplorer` takes them.
    """
    images, labels = digits_data()
    known = torch.as_tensor(np.random.default_rng(0).random(len(images)) >= held_out)
    halves = {f"digits {first} to {first + 4}": (labels >= first) & (labels < first + 5) for first in (0, 5)}

    def train() -> list[nn.Module]:
        base = train_mlp(images[known], labels[known], hidden, seed, steps)
        return [
            base,
            *(_fitted(copy.deepcopy(base), *_part(images, labels, known & h), steps) for h in halves.values()),
        ]

    base, first, second = remembered(train, "tasks", tuple(hidden), held_out, steps, seed)
    objectives = {}
    for model, (name, half) in zip((first, second), halves.items(), strict=True):
        test = _part(images, labels, ~known & half)
        objectives[name] = Objective(
            model,
            _part(images, labels, known & half),
            loss=F.cross_entropy,
            metrics={"error": metrics.error},
            test=test if len(test[0]) else None,
        )
    return base, (first, second), objectives


def _part(images: Tensor, labels: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """The images and labels where a mask is true."""
    return images[which], labels[which]


def _fitted(model: nn.Module, images: Tensor, labels: Tensor, steps: int) -> nn.Module:
    """The model, trained on one batch of everything by Adam at rate 1e-3."""
    with torch.enable_grad():
        optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
    return model.eval()
