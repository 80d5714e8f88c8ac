"""scikit-learn's digits, and pairs of networks trained on them."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Hashable
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwidgets import metrics
from lwidgets.objective import Objective

T = TypeVar("T")
_TRAINED: dict[Hashable, object] = {}
_LOCK = threading.Lock()
_KEPT = 32  # of the newest; each is a few networks of some hundred kilobytes


def digits_data() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits: images, float32 of shape (1797, 64) in [0, 1], and labels, int64 of shape (1797,)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return torch.as_tensor(images / 16, dtype=torch.float32), torch.as_tensor(labels, dtype=torch.int64)


def remembered(train: Callable[[], T], *key: Hashable) -> T:
    """A copy of what ``train()`` gives; it is trained once a process.

    Training is deterministic, up to how many threads share a sum, and dtypes and devices that are torch's defaults:
    those are part of the key.

    Args:
        train: Makes networks; called where nothing is remembered by this key.
        *key: All that the result depends on besides.
    """
    full = (*key, torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads())
    if (trained := _TRAINED.get(full)) is None:
        trained = train()
        with _LOCK:
            _TRAINED[full] = trained
            while len(_TRAINED) > _KEPT:
                del _TRAINED[next(iter(_TRAINED))]
    return copy.deepcopy(cast("T", trained))


def two(
    train: Callable[[Tensor, Tensor, int], nn.Module], seeds: tuple[int, int], held_out: float, *key: Hashable
) -> tuple[Objective, nn.Module, nn.Module]:
    """Two networks trained on the same part of the digits, and their objective with the rest as test data.

    Args:
        train: Images, labels and a seed to a trained network.
        seeds: Of the two.
        held_out: Share of the images kept for ``objective.test``; 0 puts all into the objective.
        *key: All that ``train`` depends on besides.
    """
    images, labels = digits_data()
    mixed = torch.as_tensor(np.random.default_rng(0).permutation(len(images)))
    kept = round(len(images) * (1 - held_out))
    known, test = mixed[:kept], mixed[kept:]

    def trained(seed: int) -> nn.Module:
        return remembered(lambda: train(images[known], labels[known], seed), *key, kept, seed)

    a, b = map(trained, seeds)
    objective = Objective(
        a,
        (images[known], labels[known]),
        loss=F.cross_entropy,
        metrics={"error": metrics.error},
        test=(images[test], labels[test]) if len(test) else None,
    )
    return objective, a, b
