"""Data and models small enough to train in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwidgets.demo.data import digits_data, two
from lwidgets.demo.transformer import digits_vit
from lwidgets.objective import Objective

__all__ = ["digits", "digits_data", "digits_vit", "train_mlp"]


def digits(
    seeds: tuple[int, int] = (0, 1), *, hidden: Sequence[int] = (128, 128), held_out: float = 0.2, steps: int = 300
) -> tuple[Objective, nn.Module, nn.Module]:
    """Two multilayer perceptrons trained on scikit-learn's digits from different seeds, and their objective.

    The 1,797 images of 8x8 pixels are scaled to [0, 1]. Training is full-batch Adam at rate 1e-3; it takes seconds
    and depends on the seed alone.

    Args:
        seeds: Of the initialisations.
        hidden: Widths of the hidden layers.
        held_out: Share of the images kept for ``objective.test``; 0 puts all into the objective.
        steps: Of training.

    Returns:
        (objective, a, b): cross-entropy, with the error as second metric, of ``a``; models in eval mode.
    """
    return two(lambda images, labels, seed: train_mlp(images, labels, hidden, seed, steps), seeds, held_out)


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
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(sizes):
            layers += [nn.Linear(wide, narrow), nn.ReLU()]
        model = nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
    return model.eval()
