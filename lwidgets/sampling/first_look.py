"""A first look at an expensive landscape: its shape from a part of the data, its level from all of them.

The loss on a part of the data differs from the loss on all of them by something smoother than either. So a coarse grid
on the part is shown as soon as there is one, moved to where the full data were measured, and is replaced by what the
full data say as they come in. It is never more than a look: no error is claimed for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lwidgets.objective import Objective
from lwidgets.sampling.evaluate import Local
from lwidgets.sampling.grids import Nodes, interpolate, mask_of, nested_grids
from lwidgets.sampling.refine import Picture
from lwidgets.subspaces import Subspace

_SLOW = 0.02  # seconds an evaluation; nine of them, the coarsest grid, are then too long to look at nothing
_SHARE = 16  # of the data: 25 points on a sixteenth cost less than two on all
_FEWEST = 64  # samples of which a part must at least consist
_POINTS = 5  # an axis


@dataclass(frozen=True)
class FirstLook:
    """The landscape of a part of the data.

    Attributes:
        values: Metric -> value at every pixel, interpolated from a coarse grid.
        nodes: That grid.
        samples: How many samples it saw.
        total: Of how many.
    """

    values: Mapping[str, NDArray[np.float64]]
    nodes: Nodes
    samples: int
    total: int

    def under(self, picture: Picture) -> Picture:
        """The picture with this shape between its nodes, while its grid is coarser than this one's."""
        size = tuple(len(n) for n in self.nodes)
        grid = next((g for g in nested_grids(picture.evaluated.shape) if tuple(map(len, g)) == picture.level), None)
        if grid is None or all(n >= m for n, m in zip(picture.level, size, strict=True)):
            return picture
        values = {}
        for name, shown in picture.values.items():
            shaped = shown + self.values[name] - interpolate(grid, self.values[name])
            values[name] = np.where(picture.evaluated | ~np.isfinite(shaped), shown, shaped)
        return replace(picture, values=values, error=dict.fromkeys(picture.error, np.nan))

    def at(self, pixel: NDArray[np.intp], measured: Mapping[str, float]) -> Picture:
        """A picture moved to what the full data give at one pixel."""
        mask = np.zeros(next(iter(self.values.values())).shape, dtype=bool)
        mask[tuple(pixel)] = True
        values = {name: v + np.nan_to_num(measured[name] - v[tuple(pixel)]) for name, v in self.values.items()}
        for name, v in values.items():
            v[mask] = measured[name]
        return Picture(values, mask, dict.fromkeys(values, np.nan), (0,) * mask.ndim, settled=False)


def look_first(
    objective: Objective, subspace: Subspace, coords: Sequence[NDArray[np.float64]], batchnorm: str, seconds: float
) -> Iterator[FirstLook | None]:
    """Evaluate a part of the data on a coarse grid, if it is worth it.

    Args:
        objective: With all of the data.
        subspace: Bound to it.
        coords: The pixels' coordinates on each axis.
        batchnorm: A resolved mode.
        seconds: What one evaluation on all of the data took.

    Yields:
        None after every evaluation, so that the caller can stop, and the look at the end; nothing if it does not pay.
    """
    total = len(objective.data) if hasattr(objective, "data") else 0
    samples = max(_FEWEST, total // _SHARE)
    part = objective.part(samples) if seconds > _SLOW and total >= 4 * samples else None
    shape = tuple(len(c) for c in coords)
    grids = [g for g in nested_grids(shape) if max(map(len, g)) <= _POINTS]
    if part is None or not grids:
        return
    nodes = grids[-1]
    pixels = np.argwhere(mask_of(nodes, shape))
    points = np.stack([c[i] for c, i in zip(coords, pixels.T, strict=True)], axis=-1)
    values = {name: np.full(shape, np.nan) for name in objective.names}
    for pixel, row in zip(pixels, Local(part, subspace.basis, batchnorm)(subspace.coefficients(points)), strict=True):
        for name, value in zip(objective.names, row, strict=True):
            values[name][tuple(pixel)] = value
        yield None
    yield FirstLook({name: interpolate(nodes, v) for name, v in values.items()}, nodes, samples, total)
