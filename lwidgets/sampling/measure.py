"""What measures, put together: remembered values first, then this process or an executor's workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

from lwidgets.objective import Objective
from lwidgets.sampling.cache import Cache, Remembered, resolve_cache
from lwidgets.sampling.evaluate import Array, Evaluate, Local
from lwidgets.sampling.executors import Spread
from lwidgets.sampling.identity import identity
from lwidgets.subspaces import Subspace

CacheArgument = Cache | str | os.PathLike[str] | bool | None
"""Where measured values are remembered: in this process (None), in a folder too (its path), nowhere (False)."""


class Measure:
    """An `Evaluate` for an objective over a subspace."""

    def __init__(
        self, objective: Objective, subspace: Subspace, *, executor: Executor | None = None, cache: CacheArgument = None
    ) -> None:
        """Nothing is computed yet.

        Args:
            objective: What to evaluate.
            subspace: Bound to its space.
            executor: Where to compute; None is here.
            cache: Where to look first.

        Raises:
            TypeError: Executor or cache is of another kind.
            NotADirectoryError: The cache's path is a file.
        """
        basis, batchnorm = subspace.basis, objective.resolve(subspace.between_models)
        self._source: Local | Spread = (
            Local(objective, basis, batchnorm) if executor is None else Spread(objective, basis, batchnorm, executor)
        )
        store = resolve_cache(cache)
        self._remembered = store and Remembered(
            self._source, store, identity(objective, basis, batchnorm), len(objective.names)
        )

    def __call__(self, coefficients: Array) -> Iterator[Array]:
        """Rows of metrics for rows of coefficients."""
        evaluate: Evaluate = self._remembered or self._source
        return evaluate(coefficients)

    def facts(self) -> dict[str, Any]:
        """For provenance: how points were evaluated, and how many were not because they were known."""
        remembered = self._remembered.remembered if self._remembered else 0
        return {**self._source.facts(), "remembered": remembered}


def measured(objective: Objective, subspace: Subspace, point: Sequence[float]) -> dict[str, float]:
    """Metrics at one point.

    Args:
        objective: What to evaluate.
        subspace: Bound to its space.
        point: Its coordinates.
    """
    row = next(Measure(objective, subspace)(subspace.coefficients([point])))
    return dict(zip(objective.names, map(float, row), strict=True))
