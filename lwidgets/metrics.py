"""Metrics that go with a loss: ``metric(output, target) -> mean over the batch``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_WHOLE = 1e-3  # a share of the samples, times their number, is a whole number but for rounding


def error(output: Tensor, target: Tensor) -> Tensor:
    """Share of wrong predictions, a 0-d float64 tensor in [0, 1].

    Args:
        output: Class scores, shape (N, C) or (N, C, ...), or (N,) logits of a binary problem.
        target: Class indices, shape (N,) or (N, ...).

    >>> import torch
    >>> error(torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [4.0, 0.0]]), torch.tensor([0, 1, 1, 0])).item()
    0.25
    """
    predicted = output.argmax(dim=1) if output.ndim > target.ndim else (output > 0).to(target.dtype)
    return (predicted != target).double().mean()


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of right predictions, 1 - error."""
    return 1 - error(output, target)


def counts_samples(values: float | NDArray[np.float64], samples: int) -> bool:
    """Whether all values are shares of so many samples, as those of an error are; never where there are none.

    >>> counts_samples(np.array([0.25, 0.5]), samples=100), counts_samples(0.251, samples=100)
    (True, False)
    """
    shares = np.asarray(values)
    if not (samples and np.isfinite(shares).all()):
        return False
    counts = shares * samples
    return bool((np.abs(counts - np.round(counts)) < _WHOLE).all())
