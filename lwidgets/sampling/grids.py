"""Nested grids of pixels, and the step of interpolation from each to the next.

Source: de Boor, "A Practical Guide to Splines", 1978, chapter IV, for not-a-knot cubic splines; tensor products of them
for two axes, chapter XVII.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import pairwise, zip_longest

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.ndimage import distance_transform_edt

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]
Nodes = tuple[Index, ...]
"""One index set for each axis; the nodes are their product."""


def nested_levels(size: int) -> list[Index]:
    """Index sets of 3, 5, 9, ... points (sizes 2^k + 1 halve exactly), each holding the one before, ending with all.

    >>> [level.tolist() for level in nested_levels(7)]
    [[0, 3, 6], [0, 1, 3, 4, 6], [0, 1, 2, 3, 4, 5, 6]]
    """
    level = np.unique([0, (size - 1) // 2, size - 1])
    levels = [level]
    while len(level) < size:
        level = np.unique(np.concatenate([level, (level[:-1] + level[1:]) // 2]))
        levels.append(level)
    return levels


def nested_grids(shape: Sequence[int]) -> list[Nodes]:
    """Products of nested levels, coarse to every pixel; an axis that is full waits for the others."""
    each = [nested_levels(size) for size in shape]
    last = [levels[-1] for levels in each]
    return [
        tuple(full if level is None else level for level, full in zip(step, last, strict=True))
        for step in zip_longest(*each)
    ]


def mask_of(nodes: Nodes, shape: Sequence[int]) -> Mask:
    """True at the nodes of a pixel grid."""
    mask = np.zeros(tuple(shape), dtype=bool)
    mask[np.ix_(*nodes)] = True
    return mask


@dataclass(frozen=True)
class Step:
    """From one grid to the next; tensor products of one matrix, or one pair of index sets, for each axis.

    Attributes:
        nodes: The finer grid.
        at: The same as an index of pixels.
        new: Nodes of the finer grid that are not in the coarser one.
        cubic: Not-a-knot splines, shape (finer, coarser). As the knots are nested, a fine grid filled from a coarse one
            has the coarse one's spline.
        linear: The same for linear interpolation.
        below: Coarser node at or before each finer one.
        above: Coarser node at or after each finer one.
    """

    nodes: Nodes
    at: tuple[Index, ...]
    new: Mask
    cubic: tuple[Array, ...]
    linear: tuple[Array, ...]
    below: Nodes
    above: Nodes

    def predict(self, values: Array, finite: Array) -> tuple[Array, Array]:
        """Interpolate values on the coarser grid, some of which may not be finite.

        A spline is global and one infinity would spoil it, so holes are bridged by their nearest finite value first.

        Args:
            values: On the coarser grid.
            finite: How sure it is that these are finite, from 0 to 1; those below 1 are holes.

        Returns:
            (values, finite) on the finer grid, the first by splines and by linear interpolation, so of shape (2, ...);
            where the second is below 1, the first is part of a bridge.
        """
        share = np.ones(self.new.shape)
        if not (finite == 1).all():
            share = product(self.linear, finite)
            share[share > 1 - 1e-9] = 1.0
            if not (finite == 1).any():
                return np.zeros((2, *share.shape)), share
            nearest = distance_transform_edt(finite < 1, return_distances=False, return_indices=True)
            values = values[tuple(nearest)]
        return np.stack([product(self.cubic, values), product(self.linear, values)]), share

    def inherit(self, heights: Array) -> Array:
        """Largest of the coarser grid's values at the corners of the cell each finer node lies in; on the last axes."""
        for axis, (below, above) in enumerate(zip(self.below, self.above, strict=True), -len(self.nodes)):
            heights = np.maximum(heights.take(below, axis), heights.take(above, axis))
        return heights


def interpolate(nodes: Nodes, values: Array) -> Array:
    """Fill a pixel grid from its values at the nodes.

    Args:
        nodes: One index set for each axis, 1 or 2 axes.
        values: On the pixel grid; only the nodes are read. Float64.

    Returns:
        A new array of the same shape, exact at the nodes; nan at other pixels whose linear interpolation needs a node
        that is not finite.
    """
    known = values[np.ix_(*nodes)]
    pixels = tuple(np.arange(size) for size in values.shape)
    predicted, finite = _step(nodes, pixels).predict(known, np.isfinite(known).astype(float))
    filled = np.where(finite < 1, np.nan, predicted[0])
    filled[np.ix_(*nodes)] = known
    return filled


def product(matrices: Sequence[Array], values: Array) -> Array:
    """Apply one matrix along each axis, of one or two."""
    applied: Array = matrices[0] @ values
    return applied if len(matrices) == 1 else applied @ matrices[1].T


@lru_cache(maxsize=16)
def nested_steps(shape: tuple[int, ...]) -> tuple[Step, ...]:
    """The steps from each of the `nested_grids` to the next."""
    return tuple(_step(coarse, fine) for coarse, fine in pairwise(nested_grids(shape)))


def _step(coarse: Nodes, fine: Nodes) -> Step:
    pairs = list(zip(coarse, fine, strict=True))
    old = (np.isin(f, c) for c, f in pairs)
    return Step(
        nodes=fine,
        at=np.ix_(*fine),
        new=~reduce(np.logical_and.outer, old),
        cubic=tuple(_spline(c, f, 3) for c, f in pairs),
        linear=tuple(_spline(c, f, 1) for c, f in pairs),
        below=tuple(np.searchsorted(c, f, side="right") - 1 for c, f in pairs),
        above=tuple(np.searchsorted(c, f, side="left") for c, f in pairs),
    )


def _spline(coarse: Index, fine: Index, degree: int) -> Array:
    """The spline through the coarse nodes as a matrix, exact at nodes in common."""
    matrix: Array = make_interp_spline(coarse, np.eye(len(coarse)), k=min(degree, len(coarse) - 1))(fine)
    matrix[np.isin(fine, coarse)] = np.eye(len(coarse))
    return matrix
