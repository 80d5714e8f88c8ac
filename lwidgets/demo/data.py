"""scikit-learn's digits, and pairs of networks trained on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwidgets import metrics
from lwidgets.objective import Objective


def digits_data() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits: images, float32 of shape (1797, 64) in [0, 1], and labels, int64 of shape (1797,)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return torch.as_tensor(images / 16, dtype=torch.float32), torch.as_tensor(labels, dtype=torch.int64)


def two(
    train: Callable[[Tensor, Tensor, int], nn.Module], seeds: tuple[int, int], held_out: float
) -> tuple[Objective, nn.Module, nn.Module]:
    """Two networks trained on the same part of the digits, and their objective with the rest as test data.

    Args:
        train: Images, labels and a seed to a trained network.
        seeds: Of the two.
        held_out: Share of the images kept for ``objective.test``; 0 puts all into the objective.
    """
    images, labels = digits_data()
    mixed = torch.as_tensor(np.random.default_rng(0).permutation(len(images)))
    kept = round(len(images) * (1 - held_out))
    known, test = mixed[:kept], mixed[kept:]
    a, b = (train(images[known], labels[known], seed) for seed in seeds)
    objective = Objective(
        a,
        (images[known], labels[known]),
        loss=F.cross_entropy,
        metrics={"error": metrics.error},
        test=(images[test], labels[test]) if len(test) else None,
    )
    return objective, a, b
