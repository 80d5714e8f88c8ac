"""The top of a path between two models, between the grid points of its curve.

In each gap between exact values a cubic predicts the path, and what the values are off the predictions from their own
neighbours says how wrong it can be. The path is measured where prediction and error reach highest, until they reach
nowhere much higher than the best value measured. So a bound is known at every step, a second top is measured only if it
could win, and something that the curve's own error estimate allows to hide is looked for.

Source: Piyavskii, "An algorithm for finding the absolute extremum of a function", 1972; Shubert, "A Sequential Method
Seeking the Global Maximum of a Function", SIAM Journal on Numerical Analysis 9, 1972: measure where the upper bound is
highest, until it is hardly above the best value. New here: in place of a Lipschitz constant that is known, the bound is
a cubic's prediction and what its neighbours were off theirs; so it is an estimate, as `SAFETY` says.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lwidgets.barrier import Barrier, BarrierKind, not_finite, reference, widest_gap
from lwidgets.landscape import Landscape
from lwidgets.objective import Objective
from lwidgets.progress import Progress
from lwidgets.sampling.measure import CacheArgument, Measure
from lwidgets.subspaces import Subspace

Array = NDArray[np.float64]
Index = NDArray[np.intp]

# Those without a source are choices; tests/sampling/test_polish.py holds them against tops that are known.
LIMIT = 24
"""Most evaluations. Smooth and kinked tops take one to ten; the top of a staircase is never known."""
SAFETY = 3.0
"""How many times the largest miss of its two ends a prediction may be wrong. A choice: the larger, the more evaluations
and the fewer tops that are missed."""
_FEWEST = 5  # exact values between the models, below which nothing is predicted
_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # of the largest value: below this a path is noise, not structure
_PLACES = np.linspace(0, 1, 33)[1:-1]  # where a gap is looked at, in shares of its width


def polish_barrier(
    objective: Objective,
    line: Subspace,
    curve: Landscape,
    *,
    metric: str | None = None,
    kind: BarrierKind = "excess",
    tolerance: float = 1e-4,
    cache: CacheArgument = None,
    progress: Progress | None = None,
) -> Barrier:
    """The barrier of a path to a small share of its value, by exact evaluations around the tops of its sampled curve.

    Of the curve, only what was evaluated is used, and the error estimate of the rest.

    Args:
        objective: What the curve was sampled from.
        line: Where.
        curve: What `sample` or `stream` made of them.
        metric: By default "loss", or "error" for kind "error".
        kind: Which definition; see `barrier_of`.
        tolerance: Largest error, relative to the barrier. Less is reached where that is below single precision (5e-7 of
            the largest value on the path) or takes more than `LIMIT` evaluations; the barrier's error tells.
        cache: Where measured values are remembered; as in `sample`.
        progress: Called after every evaluation with (evaluated, `LIMIT`); raise in it to stop.

    Returns:
        The greatest height that was evaluated, at the first alpha that has it. Its error is what the gaps between the
        points may still hold above it by what is seen at the points, and rounding. No sample excludes a bump that is
        narrower than the widest of these gaps, which the barrier's ``gap`` tells.

    Raises:
        ValueError: As `Landscape.barrier`; the curve is of other data or another BatchNorm mode; a value is not finite.

    Example:
        >>> import lwidgets as lw
        >>> hump = lw.Objective.from_function(lambda u: 8 * u[:, 0] * (1 - u[:, 0]) ** 2, dim=1)
        >>> line = lw.Subspace.identity(1, span=(0, 1))
        >>> barrier = polish_barrier(hump, line, lw.sample(hump, line, resolution=17))
        >>> abs(barrier.value - 32 / 27) <= barrier.error <= 1e-4 * barrier.value
        True
    """
    if not 0 <= tolerance < np.inf:
        raise ValueError(
            f"polish_barrier: tolerance must be a share of the barrier, 0 or more, got {tolerance!r}. "
            "Use for example 1e-4."
        )
    grid = curve.barrier(metric, kind)
    batchnorm = objective.resolve(line.between_models)
    if (grid.split, grid.batchnorm) != (objective.split, batchnorm):
        raise ValueError(
            f"polish_barrier: curve must be of the objective's split {objective.split!r} with BatchNorm {batchnorm!r}, "
            f"got {grid.split!r} with {grid.batchnorm!r}. Pass the objective that was sampled."
        )
    line = line.bound(objective.space, objective.device)
    known = curve.evaluated & np.isfinite(curve.values[grid.metric])
    t, path = curve.coords[0][known], curve.values[grid.metric][known]
    spacing = float(np.diff(np.union1d(t, (0, 1))).max())
    hidden = float(np.nan_to_num(curve.error[grid.metric]))  # not known yet: what the values themselves show is left
    evaluations = 0
    evaluate = Measure(objective, line, cache=cache)

    def measure(alpha: float) -> None:
        nonlocal t, path, evaluations
        value = float(next(evaluate(line.coefficients([alpha])))[objective.names.index(grid.metric)])
        if not np.isfinite(value):
            raise not_finite(grid.metric, value, alpha)
        at = int(np.searchsorted(t, alpha))
        t, path = np.insert(t, at, alpha), np.insert(path, at, value)
        evaluations += 1
        if progress is not None:
            progress(evaluations, LIMIT)

    while (needed := _needed(t)) is not None:
        measure(needed)
    while True:
        inside = (t >= 0) & (t <= 1)
        height = path - reference(kind, t, *path[inside][[0, -1]])
        top = int(np.where(inside, height, -np.inf).argmax())
        rounding = _ROUNDING * float(np.abs(path[inside]).max())
        alpha, bound = _highest(t, height, hidden, spacing, rounding)
        above = max(0.0, bound - float(height[top]))
        if above <= max(rounding, tolerance * height[top] - rounding) or evaluations >= LIMIT:
            return replace(
                grid,
                value=float(height[top]),
                alpha=float(t[top]),
                error=above + rounding,
                gap=widest_gap(t),
                evaluations=evaluations,
            )
        measure(alpha)


def _needed(t: Array) -> float | None:
    """A model that is not among the points; or the middle of the widest gap, while there are too few."""
    for model in (0.0, 1.0):
        if model not in t:
            return model
    inside = t[(t >= 0) & (t <= 1)]
    widest = int(np.diff(inside).argmax())
    return float(inside[widest : widest + 2].mean()) if len(inside) < _FEWEST else None


def _highest(t: Array, height: Array, hidden: float, spacing: float, rounding: float) -> tuple[float, float]:
    """Where in [0, 1] the path may be highest between its points, and how high.

    Args:
        t: Points, shape (n,), increasing.
        height: Exact values there.
        hidden: What the curve may be wrong by in a gap of width ``spacing``; taken to shrink with its square.
        spacing: The curve's widest gap.
        rounding: What a value may be wrong by.
    """
    left = np.flatnonzero((t[:-1] >= 0) & (t[1:] <= 1))
    right = left + 1
    width = (t[right] - t[left])[:, None]
    into, out = _lines_over(t, height, left, rounding)
    with np.errstate(divide="ignore", invalid="ignore"):
        apex = ((height[right] - height[left])[:, None] / width - out) / (into - out)
    share = np.hstack([np.tile(_PLACES, (len(left), 1)), np.where((apex > 0) & (apex < 1), apex, 0.5)])
    x = t[left, None] + width * share
    ceiling = rounding + np.minimum(
        height[left, None] + into * width * share, height[right, None] - out * width * (1 - share)
    )
    predicted = _cubic(t, height, left, right, x)
    miss, reach = _misses(t, height, rounding)
    wrong = SAFETY * np.maximum(*(miss[i, None] * np.minimum(1, width / reach[i, None]) for i in (left, right)))
    between = _between(share)
    upper = np.maximum(
        np.minimum(ceiling, predicted + wrong * between),
        np.minimum(ceiling, predicted) + hidden * (width / spacing) ** 2 * between,
    )
    highest = np.unravel_index(int(upper.argmax()), upper.shape)
    return float(x[highest]), float(upper[highest])


def _lines_over(t: Array, height: Array, left: Index, rounding: float) -> tuple[Array, Array]:
    """Slopes of the chords before and after each gap: where a path is concave, it stays below both of them.

    The two meet at a kink, which no polynomial finds.

    Returns:
        Two arrays of shape (gaps, 1); inf and -inf where the points around are not concave, or there are none.
    """
    step = np.diff(t)
    slope = np.diff(height) / step
    sag = np.diff(slope) * step[1:] * step[:-1] / (t[2:] - t[:-2])  # below the neighbours' chord
    concave = np.pad(sag <= rounding, (2, 2), constant_values=True)  # at index i + 1: beyond the ends, nothing is known
    around = np.all([concave[left + i] for i in range(4)], axis=0)
    slope = np.pad(slope, 1, constant_values=(np.inf, -np.inf))  # of the gap i at index i + 1
    return np.where(around, slope[left], np.inf)[:, None], np.where(around, slope[left + 2], -np.inf)[:, None]


def _misses(t: Array, height: Array, rounding: float) -> tuple[Array, Array]:
    """How wrong the prediction of each point from its neighbours is in the middle between them, and half of their gap.

    What is seen at the point is what `_between` leaves of it there. Two arrays of shape (n,).
    """
    inner = np.arange(1, len(t) - 1)
    gap = t[2:] - t[:-2]
    seen = np.abs(height[1:-1] - _cubic(t, height, inner - 1, inner + 1, t[inner, None])[:, 0])
    miss = np.maximum(0, seen - rounding) / _between((t[1:-1] - t[:-2]) / gap)
    return np.pad(miss, 1), np.pad(gap / 2, 1, constant_values=np.inf)


def _between(share: Array) -> Array:
    """Of the error in the middle of a gap, what there is at a share of its width: nothing at the ends."""
    return 4 * share * (1 - share)


def _cubic(t: Array, height: Array, left: Index, right: Index, x: Array) -> Array:
    """Prediction at ``x``, shape (gaps, places): the cubic through the ends of each gap and a point on either side.

    Those are at least half the gap away: closer ones would carry what is rough at a small scale far into the gap. It is
    the chord, bent by second differences; with nothing on one side a parabola.
    """
    half = (t[right] - t[left]) / 2
    before = np.searchsorted(t, t[left] - half, side="right") - 1
    after = np.searchsorted(t, t[right] + half)
    t, height = np.append(t, np.nan)[:, None], np.append(height, np.nan)[:, None]  # at -1 and n there is no point
    slope = (height[right] - height[left]) / (t[right] - t[left])
    one, other = (((height[i] - height[right]) / (t[i] - t[right]) - slope) / (t[i] - t[left]) for i in (before, after))
    one, other = np.where(np.isnan(one), other, one), np.where(np.isnan(other), one, other)
    bend = one + np.nan_to_num((x - t[before]) / (t[after] - t[before])) * (other - one)
    return np.asarray(height[left] + slope * (x - t[left]) + np.nan_to_num(bend) * (x - t[left]) * (x - t[right]))
