"""From grid points to values: the strategy that runs an objective over many points."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from lwidgets.objective import Objective
from lwidgets.subspaces import Subspace

STRATEGY = "loop"


def evaluate_points(
    objective: Objective, subspace: Subspace, coordinates: NDArray[np.float64], batchnorm: str, step: Callable[[], None]
) -> Iterator[dict[str, float]]:
    """Metrics at each point, in order, one forward pass over the data at a time.

    On a CPU this loop runs near the arithmetic limit: batching points does not help there.

    Args:
        objective: What to evaluate.
        subspace: Bound to the objective's space.
        coordinates: Shape (P, axes).
        batchnorm: A resolved mode.
        step: Called after each point; may raise to stop.
    """
    for values in objective.evaluate(subspace.basis, subspace.coefficients(coordinates), batchnorm=batchnorm):
        yield values
        step()
