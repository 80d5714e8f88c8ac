"""What it costs in accuracy that directions are kept in half precision.

`_FACTOR` was measured here, on the planes and lines that `storage_error` tells of; the other constants are choices.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lwidgets.metrics import counts_samples
from lwidgets.objective import Objective
from lwidgets.sampling.evaluate import Local
from lwidgets.subspaces import Subspace

Array = NDArray[np.float64]

_FACTOR = 2.0  # what the largest difference of a grid exceeded that of the four points by, see `storage_error`
_ALONG = (0.0, 0.25, 0.75, 1.0)  # of a line: the ends alone may by chance differ least
_TIES = 5  # samples that may fall on the other side of a tie somewhere, though at none of the four points


def storage_error(
    objective: Objective, subspace: Subspace, coords: Sequence[Array], batchnorm: str
) -> dict[str, float]:
    """How much the directions' rounding changes each metric over a grid: an estimate of the largest difference.

    Rounded directions span another plane, and it differs the more the further out. So the metrics are measured in the
    corners of a plane, or at the ends and halfway to them on a line, with the directions as they are drawn and as they
    are kept; the estimate is twice the largest difference. A metric that counts samples, such as the error, changes by
    jumps that four points can miss, and five samples are added. Over 468 planes and 792 lines around digits networks
    (MLPs and CNNs, several seeds and spans, bfloat16 and float16) the loss differed by more than that on two planes,
    by a third at most.

    Neither basis is made for it: tensors are drawn one by one, and in memory there is at most one model more. To be
    called before the subspace's own basis is made, which then comes in its place.

    Args:
        objective: What to evaluate; M metrics.
        subspace: Bound to it.
        coords: The pixels' coordinates on each axis.
        batchnorm: A resolved mode.

    Returns:
        Metric -> estimate, in its unit: 0.0 where nothing is rounded, nan where the exact value is nowhere finite, inf
        where only the exact one is.

    Example:
        >>> import lwidgets as lw, numpy as np, torch
        >>> bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
        >>> line = lw.Line.random(torch.tensor([3.0, 4.0]), zero_1d=False)
        >>> grid = [np.linspace(-1, 1, 5)]
        >>> storage_error(bowl, line, grid, "none")
        {'loss': 0.0}
        >>> 0 < storage_error(bowl, line.stored(dtype=torch.bfloat16), grid, "none")["loss"] < 1
        True
    """
    if subspace.storage.dtype is None:
        return dict.fromkeys(objective.names, 0.0)
    shares = (0.0, 1.0) if len(coords) > 1 else _ALONG
    ends = [[(1 - share) * c[0] + share * c[-1] for share in shares] for c in coords]
    rows = subspace.coefficients(np.array(list(itertools.product(*ends))))
    exact, kept = (  # by the way that is fastest and, for a large model, holds one weight at a time
        np.array(list(Local(objective, basis, batchnorm)(rows)))
        for basis in (subspace.stored().unmade, subspace.unmade)
    )
    return {
        name: _FACTOR * _largest(e, k)
        + (_TIES / objective.samples if counts_samples(np.append(e, k), objective.samples) else 0.0)
        for name, e, k in zip(objective.names, exact.T, kept.T, strict=True)
    }


def _largest(exact: Array, kept: Array) -> float:
    """Of the differences where the exact value is finite."""
    finite = np.isfinite(exact)
    gaps = np.abs(kept[finite] - exact[finite])
    return float(np.where(np.isnan(gaps), np.inf, gaps).max()) if finite.any() else float("nan")
