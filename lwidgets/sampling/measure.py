"""What measures, put together: remembered values first, then this process or an executor's workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

from lwidgets.objective import Objective
from lwidgets.sampling.cache import Cache, Remembered, resolve_cache
from lwidgets.sampling.evaluate import Array, Distrusted, Evaluate, Local
from lwidgets.sampling.executors import Spread
from lwidgets.sampling.identity import Steady, identity, notice_restless
from lwidgets.subspaces import Subspace

CacheArgument = Cache | str | os.PathLike[str] | bool | None
"""Where measured values are remembered: in this process (None), in a folder too (its path), nowhere (False)."""


class Changed(Exception):
    """What is measured is not what it was when the picture began."""


class Measure:
    """An `Evaluate` for an objective over a subspace, as long as what the objective computes does not change."""

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
        store = resolve_cache(cache)
        self._steady = Steady(objective, batchnorm)
        self._notice = partial(notice_restless, objective, basis, batchnorm)
        read = self._steady.meaning
        self._source: Local | Spread = (
            Local(objective, basis, batchnorm, read=read)
            if executor is None
            else Spread(objective, basis, batchnorm, executor, read=read)
        )
        self._unread = () if store is None else read.unread
        self._remembered = None
        if store is not None and not read.unread:
            self._remembered = Remembered(
                self._source,
                store,
                identity(objective, basis, batchnorm, read),
                len(objective.names),
                steady=partial(self._steady, now=True),
            )

    def __call__(self, coefficients: Array) -> Iterator[Array]:
        """Rows of metrics for rows of coefficients.

        Raises:
            Changed: Rows measured from now on would belong to another picture than those before.
        """
        evaluate: Evaluate = self._remembered or self._source
        rows = evaluate(coefficients)
        try:
            for row in rows:
                self.require_steady(now=False)
                yield row
        except Distrusted:
            if self._remembered is not None:
                self._remembered.forget(coefficients)
            raise
        finally:
            if hasattr(rows, "close"):
                rows.close()

    def require_steady(self, *, now: bool = True) -> None:
        """Look whether anything has changed, in any case or if that was long ago.

        Raises:
            Changed: It has.
        """
        if not self._steady(now=now):
            self._notice()
            raise Changed(
                "sample: loss, metrics and what they read must stay as they are while they are measured, got a change. "
                "Measure again."
            )

    def facts(self) -> dict[str, Any]:
        """For provenance: how points were evaluated, and how many were not because they were known."""
        remembered = self._remembered.remembered if self._remembered else 0
        facts = {**self._source.facts(), "remembered": remembered}
        if self._unread:
            facts["not remembered"] = f"it depends on {', '.join(self._unread)}, which cannot be followed"
        return facts


def measured(objective: Objective, subspace: Subspace, point: Sequence[float]) -> dict[str, float]:
    """Metrics at one point.

    Args:
        objective: What to evaluate.
        subspace: Bound to its space.
        point: Its coordinates.
    """
    row = next(Measure(objective, subspace)(subspace.coefficients([point])))
    return dict(zip(objective.names, map(float, row), strict=True))
