"""The barrier among several models: how far the loss rises above the plane through their own losses."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lwidgets.objective import Objective
from lwidgets.progress import Progress
from lwidgets.sampling.measure import CacheArgument, Measure
from lwidgets.subspaces import Simplex

Array = NDArray[np.float64]

DEFINITION = (
    "max over shares of L(sum of shares times models) - sum of shares times L(model) (Theus et al. 2025, eq. 2)"
)


@dataclass(frozen=True)
class SimplexBarrier:
    """The height of a simplex, and everything needed to quote it.

    Attributes:
        value: In the metric's unit; 0.0 when nothing rises above the plane through the models.
        shares: Where it was found: one for each model, adding up to one.
        gained: How much higher that is than the best lattice point. Another top that lies as badly between lattice
            points may be missed by about as much.
        metric: Which metric.
        batchnorm: How BatchNorm statistics were treated.
        split: Which data.
        lattice: Points of the lattice.
        evaluations: All points together.
        definition: In words, with its source.
    """

    value: float
    shares: tuple[float, ...]
    gained: float
    metric: str
    batchnorm: str
    split: str
    lattice: int
    evaluations: int
    definition: str = DEFINITION


def simplex_barrier(
    objective: Objective,
    simplex: Simplex,
    *,
    metric: str = "loss",
    steps: int = 6,
    tolerance: float = 1e-3,
    cache: CacheArgument = None,
    progress: Progress | None = None,
) -> SimplexBarrier:
    r"""The supremum over the simplex of :math:`L(\sum_m \lambda_m \theta_m) - \sum_m \lambda_m L(\theta_m)`.

    For two models it is the excess barrier of their line. All shares that are multiples of 1 / steps are measured, then
    the best point climbs by moving ever smaller shares from one model to another. What is found is a lower bound.

    Args:
        objective: What to evaluate.
        simplex: Of M models.
        metric: Its name.
        steps: Of the lattice, which has (steps + M - 1 over M - 1) points.
        tolerance: The smallest share that is moved.
        cache: Where measured values are remembered; as in `sample`.
        progress: Called after every evaluation with (evaluated, points of the lattice).

    Raises:
        ValueError: An unknown metric; fewer than two steps; a value is not finite.

    Example:
        >>> import lwidgets as lw, torch
        >>> dome = lw.Objective.from_function(lambda u: -(u**2).sum(dim=1), dim=2)
        >>> simplex = Simplex(*torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        >>> found = simplex_barrier(dome, simplex)
        >>> round(found.value, 6), [round(share, 2) for share in found.shares]
        (0.5, [0.0, 0.5, 0.5])
    """
    if metric not in objective.names:
        raise ValueError(
            f"simplex_barrier: metric must be among {', '.join(objective.names)}, got {metric!r}. Use one."
        )
    if steps < 2 or not 0 < tolerance < 1:
        raise ValueError(
            f"simplex_barrier: steps must be at least 2 and tolerance a share in (0, 1), got {steps} and {tolerance}. "
            "Use for example steps=6, tolerance=1e-3."
        )
    simplex = simplex.bound(objective.space, objective.device)
    measure = Measure(objective, simplex, cache=cache)
    column, count = objective.names.index(metric), len(simplex.vertices)
    shares = lattice(count, steps)
    evaluated = 0

    def values(rows: Array) -> Array:
        nonlocal evaluated
        found = []
        for row, measured in zip(rows, measure(rows), strict=True):
            if not np.isfinite(measured[column]):
                raise ValueError(
                    f"simplex_barrier: {metric} must be finite on the simplex, got {measured[column]} at shares "
                    f"{row.round(4).tolist()}. Look at its faces."
                )
            found.append(measured[column])
            evaluated += 1
            if progress is not None:
                progress(evaluated, len(shares))
        return np.array(found)

    corners = values(np.eye(count))
    heights = values(shares) - shares @ corners
    top = int(heights.argmax())
    best, height, step = shares[top], float(heights[top]), 0.5 / steps
    moves = np.array([np.eye(count)[i] - np.eye(count)[j] for i, j in itertools.permutations(range(count), 2)])
    while step >= tolerance:
        around = np.array([row for row in best + step * moves if row.min() >= -1e-12]).clip(0)
        risen = values(around) - around @ corners
        if risen.max() > height:
            best, height = around[int(risen.argmax())], float(risen.max())
        else:
            step /= 2
    return SimplexBarrier(
        value=height,
        shares=tuple(map(float, best)),
        gained=height - float(heights[top]),
        metric=metric,
        batchnorm=objective.resolve(simplex.between_models),
        split=objective.split,
        lattice=len(shares),
        evaluations=evaluated,
    )


def lattice(count: int, steps: int) -> Array:
    """All shares of ``count`` models that are multiples of 1 / steps, exactly; shape (P, count).

    >>> lattice(2, 2).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    chosen = itertools.combinations_with_replacement(range(count), steps)
    return np.array([np.bincount(c, minlength=count) for c in chosen]) / steps
