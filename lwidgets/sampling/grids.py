"""Nested index sets on a pixel grid, and interpolation from one set to all pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline, RegularGridInterpolator, make_interp_spline

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


def mask_of(nodes: Nodes, shape: Sequence[int]) -> NDArray[np.bool_]:
    """True at the nodes of a pixel grid."""
    mask = np.zeros(tuple(shape), dtype=bool)
    mask[np.ix_(*nodes)] = True
    return mask


def interpolate(nodes: Nodes, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fill a pixel grid from its values at the nodes.

    Not-a-knot cubic splines where all node values are finite. Otherwise linear, because a spline is global and one
    infinity would spoil it: then a pixel is nan when a node that has weight in it is not finite.

    Args:
        nodes: One index set for each axis, 1 or 2 axes.
        values: On the pixel grid; only the nodes are read. Float64.

    Returns:
        A new array of the same shape, exact at the nodes.
    """
    known = values[np.ix_(*nodes)]
    pixels = [np.arange(size, dtype=np.float64) for size in values.shape]
    finite = np.isfinite(known)
    if not finite.all():
        filled = _linear(nodes, np.where(finite, known, 0.0), values.shape)
        filled[finite_share(nodes, values) < 1] = np.nan
    elif len(nodes) == 1:
        filled = make_interp_spline(nodes[0], known, k=min(3, len(nodes[0]) - 1))(pixels[0])
    else:
        degrees = [min(3, len(n) - 1) for n in nodes]
        filled = RectBivariateSpline(*nodes, known, kx=degrees[0], ky=degrees[1], s=0)(*pixels)
    filled[np.ix_(*nodes)] = known
    return filled


def finite_share(nodes: Nodes, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of finite nodes in the linear interpolation of each pixel: 1 inside, 0 where all around is not finite."""
    share = _linear(nodes, np.isfinite(values[np.ix_(*nodes)]).astype(np.float64), values.shape)
    share[share > 1 - 1e-9] = 1.0
    return share


def _linear(nodes: Nodes, known: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
    linear = RegularGridInterpolator([n.astype(np.float64) for n in nodes], known)
    pixels: NDArray[np.float64] = linear(np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1))
    return pixels
