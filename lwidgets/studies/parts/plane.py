"""What is drawn on a plane through models: where they are, and ways between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lwidgets.distances import l2
from lwidgets.pictures import Path
from lwidgets.subspaces import Subspace

PLANE: dict[str, Any] = {"resolution": 33, "tolerance": 2e-2}
"""How finely a plane beside curves is sampled."""

_STEPS = 65  # points of a path
_OFF = 1e-5  # of a path's size: less off a plane is rounding


def seen_from_above(path: Subspace, plane: Subspace, *, label: str, color: str) -> Path:
    """A path between models, where the nearest points of a plane are.

    Dashed if it leaves the plane, for then its loss is not that of the picture below it.

    Args:
        path: Of one coordinate, whose points are mixtures of its vertices: a line or a curve.
        plane: In the same parameters.
        label: Of the path.
        color: As #rrggbb.

    Raises:
        ValueError: The path has more coordinates, or directions.

    Example:
        >>> import torch, lwidgets as lw
        >>> a, b, c = (torch.tensor(x) for x in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]))
        >>> way = seen_from_above(lw.Chain(a, c, b), lw.Plane.through(a, b, c), label="round", color="#000000")
        >>> way.x[::32].tolist(), way.y[::32].tolist(), way.dashed
        ([0.0, 0.0, 1.0], [0.0, 1.0, 0.0], False)
    """
    if len(path.axes) != 1 or path.directions:
        raise ValueError(
            f"seen_from_above: path must have one coordinate and be between models, got a {path.kind} of "
            f"{len(path.axes)}. Use Line(a, b) or a curve."
        )
    corners, off = plane.project([*path.vertices])
    axis = path.axes[0]
    x, y = (path.coefficients(np.linspace(axis.low, axis.high, _STEPS)[:, None]) @ corners).T
    size = max(l2(path.vertices[0], vertex, plane.space.moved) for vertex in path.vertices)
    return Path(x, y, label, color, dashed=bool(off.max() > _OFF * size))
