"""From coefficients to values: functions of one shape, so that they nest.

An `Evaluate` is what measures. `local` makes the one that computes in this process; remembering (``cache.py``) and
sending points elsewhere (``executors.py``) wrap one into another of the same shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from lwidgets.basis import Basis
from lwidgets.objective import Objective

Evaluate = Callable[[NDArray[np.float64]], Iterator[NDArray[np.float64]]]
"""Coefficients of shape (P, K) -> P rows of shape (M,), the metrics in the objective's order, each as soon as it is
known. Whoever stops iterating stops the computing."""

STRATEGY = "loop"


def local(objective: Objective, basis: Basis, batchnorm: str) -> Evaluate:
    """Evaluate in this process.

    Args:
        objective: What to evaluate; M metrics.
        basis: K vectors, bound to the objective's space.
        batchnorm: A resolved mode.
    """

    def evaluate(coefficients: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
        for values in objective.evaluate(basis, coefficients, batchnorm=batchnorm):
            yield np.array([values[name] for name in objective.names], dtype=np.float64)

    return evaluate
