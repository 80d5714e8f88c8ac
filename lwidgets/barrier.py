"""Loss barriers, each with its definition and its numerical error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import make_interp_spline

BarrierKind = Literal["excess", "mean", "error"]
BARRIER_KINDS: tuple[str, ...] = get_args(BarrierKind)
DEFINITIONS = {
    "excess": "max over alpha of L(alpha) - (1 - alpha) L(0) - alpha L(1) (Entezari et al. 2022)",
    "mean": "max over alpha of L(alpha) - (L(0) + L(1)) / 2 (Ainsworth et al. 2023)",
    "error": "max over alpha of E(alpha) - (E(0) + E(1)) / 2, E the error (Frankle et al. 2020)",
}


@dataclass(frozen=True)
class Barrier:
    """The height of the path between two models, and everything needed to quote it.

    Attributes:
        value: In the metric's unit; 0.0 when nothing rises above the reference (kind "excess").
        alpha: Where the greatest height was found, in [0, 1]; a grid point unless polished.
        error: How far the path's own barrier may be from ``value``: what interpolated pixels and a maximum between the
            points can make of it, by what was seen at them. It holds for bumps wider than ``gap``.
        kind: "excess", "mean" or "error".
        definition: The kind in words, with its source.
        metric: Which metric.
        batchnorm: How BatchNorm statistics were treated.
        split: Which data, as far as known.
        points: Grid points in [0, 1].
        gap: Widest stretch of alpha in [0, 1] between exact values: a narrower bump may lie in it unseen.
        evaluations: Exact evaluations that polished it; None for a value read off the grid.
    """

    value: float
    alpha: float
    error: float
    kind: BarrierKind
    definition: str
    metric: str
    batchnorm: str = "none"
    split: str = "data"
    points: int = 0
    gap: float = 1.0
    evaluations: int | None = None


def barrier_of(
    alphas: ArrayLike,
    values: ArrayLike,
    *,
    kind: BarrierKind = "excess",
    metric: str = "loss",
    value_error: float = 0.0,
    evaluated: ArrayLike | None = None,
    batchnorm: str = "none",
    split: str = "data",
) -> Barrier:
    r"""The barrier of a sampled path.

    With L the metric along the path,

    .. math:: B_\text{excess} = \max_\alpha L(\alpha) - (1-\alpha) L(0) - \alpha L(1), \quad
              B_\text{mean} = B_\text{error} = \max_\alpha L(\alpha) - \tfrac12 (L(0) + L(1)).

    The maximum is over grid points and so a lower bound for the path's; a cubic through them tells how much may be
    missing. A mean barrier is at least \|L(0) - L(1)\| / 2 however straight the path is.

    Args:
        alphas: Strictly increasing, with 0 and 1 among them; others may lie beyond. Shape (n,).
        values: L, finite between 0 and 1. Shape (n,).
        kind: Which definition.
        metric: Name, for the record.
        value_error: Largest error of a value that was interpolated.
        evaluated: Which values were not interpolated, bool of shape (n,); by default all.
        batchnorm: For the record.
        split: For the record.

    Raises:
        ValueError: Unknown kind; 0 or 1 is not a grid point; a value between them is not finite.

    Example:
        >>> import numpy as np
        >>> alpha = np.linspace(0, 1, 65)
        >>> barrier_of(alpha, (1 - alpha) + 0.5 * np.sin(np.pi * alpha)).value
        0.5
    """
    if kind not in BARRIER_KINDS:
        raise ValueError(
            f"barrier: kind must be one of {', '.join(BARRIER_KINDS)}, got {kind!r}. The default is excess."
        )
    t, path = np.asarray(alphas, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if not (np.any(t == 0) and np.any(t == 1)):
        raise ValueError(
            f"barrier: alpha must have 0 and 1 among its grid points, got {t[0]:g} to {t[-1]:g}. "
            "Sample a line between two models over a span that contains [0, 1]."
        )
    inside = (t >= 0) & (t <= 1)
    exact = t[inside & (True if evaluated is None else np.asarray(evaluated, dtype=bool))]
    t, path = t[inside], path[inside]
    if not np.isfinite(path).all():
        first = int(np.argmin(np.isfinite(path)))
        raise not_finite(metric, path[first], t[first])
    height = path - reference(kind, t, path[0], path[-1])
    top = int(height.argmax())
    return Barrier(
        value=float(height[top]),
        alpha=float(t[top]),
        error=float(value_error + _between_points(t, height)),
        kind=kind,
        definition=DEFINITIONS[kind],
        metric=metric,
        batchnorm=batchnorm,
        split=split,
        points=len(t),
        gap=widest_gap(exact),
    )


def reference(kind: str, t: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    """What a barrier of this kind rises above: the chord, or the mean of the ends. Same shape as ``t``."""
    return (1 - t) * start + t * end if kind == "excess" else np.full_like(t, (start + end) / 2)


def widest_gap(alphas: NDArray[np.float64]) -> float:
    """Widest stretch of [0, 1] without any of these; the ends count as known.

    >>> widest_gap(np.array([0.0, 0.25, 1.0]))
    0.75
    """
    return float(np.diff(np.union1d(alphas[(alphas >= 0) & (alphas <= 1)], (0.0, 1.0))).max())


def not_finite(metric: str, value: float, alpha: float) -> ValueError:
    """Why a path has no barrier."""
    return ValueError(
        f"barrier: {metric} must be finite between the models, got {value} at alpha = {alpha:g}. "
        "A path through a non-finite value has no barrier; look at the curve."
    )


def _between_points(t: NDArray[np.float64], height: NDArray[np.float64]) -> float:
    """How much higher the path may go than its points, by a cubic; plus twice what half of the points would change."""
    if len(t) < 4:
        return float(np.ptp(height))
    tops = [_top(t[::step], height[::step]) for step in (1, 2)]
    return max(0.0, tops[0] - float(height.max())) + 2 * abs(tops[0] - tops[1])


def _top(t: NDArray[np.float64], height: NDArray[np.float64]) -> float:
    fine = np.linspace(t[0], t[-1], 16 * len(t))
    return float(make_interp_spline(t, height, k=min(3, len(t) - 1))(fine).max())
