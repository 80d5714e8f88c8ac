"""Where to measure next, and how wrong the pixels that were not measured can be.

Grids are nested: each level's interpolant predicts the values that the next level measures, so its error is seen, not
assumed. Before a level is paid for, a few of its nodes are probed, where the interpolant has changed most and evenly
over the picture; when their residuals are small enough the level is not needed.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from lwidgets.sampling.grids import Nodes, finite_share, interpolate, mask_of, nested_grids

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

PROBES = ((40, 3.0), (100, 2.0), (0.75, 1.5))
"""Turns of probing a plane: how many nodes of the next level, or what share of them, and how many times the largest
residual seen the estimate then is. The more was looked at, the less can be hidden."""
LINE_PROBES = ((8, 3.0), (0.75, 1.5))
UNPROBED = 2.0
"""Before anything was probed, the estimate is this many times the error of the level before."""
GAIN = 0.25
"""An estimate is at least this share of the coarser level's error: kinks converge slowly, whatever a few probes say."""
_HOPE = 10.0  # a level is probed when its predecessor's error over this would pass; cubic splines gain up to 16 a level
_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # of the largest value: below this a landscape is noise, not structure


@dataclass(frozen=True)
class Picture:
    """What is known after a step.

    Attributes:
        values: Metric -> value at every pixel, measured or interpolated; nan where neither can be.
        evaluated: Pixels that were measured.
        error: Metric -> estimate of the largest error among the other pixels; nan: not known yet; 0: none are left.
        level: Points an axis of the finest complete grid.
        settled: The tolerance is met, or every pixel is measured.
    """

    values: Mapping[str, Array]
    evaluated: Mask
    error: Mapping[str, float]
    level: tuple[int, ...]
    settled: bool


def refine(
    shape: Sequence[int],
    names: Sequence[str],
    tolerance: float,
    *,
    deciding: Sequence[str],
    log: bool = False,
    always: Sequence[tuple[int, ...]] = (),
) -> Generator[tuple[NDArray[np.intp], Picture | None], Mapping[str, Array], Picture]:
    """Plan the measuring of a pixel grid; a coroutine that asks for pixels and is told their values.

    Args:
        shape: Of the pixel grid, one or two axes.
        names: Metrics that are measured; every one gets its own error estimate.
        tolerance: Largest error relative to the metric's range over the picture; with ``log``, relative to the range of
            the logarithm. 0 measures every pixel.
        deciding: The metrics that must meet the tolerance; the worst of them decides.
        log: Interpolate and judge the logarithm of metrics that are positive everywhere measured.
        always: Pixels that are measured whatever happens: where the models are.

    Yields:
        (pixels, picture): indices to measure next, int of shape (m, axes), most useful first, and the picture so far,
        once after each completed step (None in between). Send back metric -> values, shape (m,), or fewer to end early.

    Returns:
        The last picture.
    """
    field = _Field({name: np.full(tuple(shape), np.nan) for name in names}, np.zeros(tuple(shape), dtype=bool))
    grids = nested_grids(shape)
    guess: dict[str, Array] = {}
    error = dict.fromkeys(names, np.nan)
    logs: frozenset[str] = frozenset()
    picture: Picture | None = None
    for depth, nodes in enumerate(grids):
        level = tuple(len(n) for n in nodes)
        wanted = np.argwhere(mask_of(nodes, shape) & ~field.evaluated)
        told = yield wanted, picture
        complete = field.take(wanted, told)
        scale = field.positive() if log else frozenset()
        if scale != logs:  # a metric turned out not to be positive: what was predicted in logarithm says nothing
            logs, guess = scale, {}
        if not complete:  # the budget is spent; what was measured still says how good the guess was
            seen = _residuals(guess, field, wanted[: len(next(iter(told.values())))], logs)
            error = {name: np.fmax(error[name], UNPROBED * seen.get(name, np.nan)) for name in names}
            return _picture(field, guess, error, level, logs, settled=False)
        if depth == len(grids) - 1:
            break
        before, guess = guess, {name: interpolate(nodes, _to(field.values[name], name in logs)) for name in names}
        coarser = _residuals(before, field, wanted, logs) if before else error
        error = {name: UNPROBED * coarser[name] for name in names}
        allowed = field.allowed(tolerance, logs)
        picture = _picture(field, guess, error, level, logs, settled=False)
        models = np.array([pixel for pixel in always if not field.evaluated[pixel]], dtype=np.intp)
        if len(models) and depth == 0 and not field.take(models, (yield models, picture)):
            return _picture(field, guess, error, level, logs, settled=False)
        if not before or tolerance == 0 or any(not coarser[n] <= _HOPE * allowed[n] for n in deciding):
            continue
        finer = np.argwhere(mask_of(grids[depth + 1], shape) & ~field.evaluated)
        change = np.sum([np.nan_to_num(_gap(guess[n], before[n])) / allowed[n] for n in deciding], axis=0)
        order = _order(finer, change[tuple(finer.T)], shape)
        seen = dict.fromkeys(names, 0.0)
        used = 0
        for size, safety in PROBES if len(shape) > 1 else LINE_PROBES:
            count = size if isinstance(size, int) else round(size * len(finer))
            probes = finer[order[used:count]]
            if not len(probes):
                continue
            told = yield probes, picture
            complete = field.take(probes, told)
            found = _residuals(guess, field, probes[: len(next(iter(told.values())))], logs)
            seen = {name: float(np.fmax(seen[name], found[name])) for name in names}
            used += len(probes)
            error = {name: float(np.fmax(safety * seen[name], GAIN * coarser[name])) for name in names}
            picture = _picture(field, guess, error, level, logs, settled=False)
            if not complete:
                return picture
            if all(error[name] <= allowed[name] for name in deciding):
                wanted = _rims(field, guess, nodes)
                if len(wanted):
                    complete = field.take(wanted, (yield wanted, picture))
                return _picture(field, guess, error, level, logs, settled=complete)
            if any(seen[name] > allowed[name] for name in deciding):
                break  # no number of probes will do: the level itself is needed
        picture = None
    return _picture(field, guess, dict.fromkeys(names, 0.0), tuple(shape), frozenset(), settled=True)


@dataclass(frozen=True)
class _Field:
    """The measured values, filled in place while a refinement runs."""

    values: dict[str, Array]
    evaluated: Mask

    def take(self, pixels: NDArray[np.intp], told: Mapping[str, Array]) -> bool:
        """Enter values; False when there were fewer than asked for."""
        count = min(len(values) for values in told.values())
        at = tuple(pixels[:count].T)
        for name, values in told.items():
            self.values[name][at] = values[:count]
        self.evaluated[at] = True
        return count == len(pixels)

    def positive(self) -> frozenset[str]:
        """Metrics whose logarithm exists wherever they were measured."""
        return frozenset(name for name, v in self.values.items() if (v[self.evaluated & np.isfinite(v)] > 0).all())

    def allowed(self, tolerance: float, logs: frozenset[str]) -> dict[str, float]:
        """Largest error each metric may have, in the scale that is judged; never below rounding."""
        limits = {}
        for name, values in self.values.items():
            finite = _to(values[self.evaluated & np.isfinite(values)], name in logs)
            rounding = _ROUNDING * np.abs(finite).max(initial=0.0)
            limits[name] = float(
                max(tolerance * (np.ptp(finite) if len(finite) else 0.0), rounding, np.finfo(float).tiny)
            )
        return limits


def _residuals(
    guess: Mapping[str, Array], field: _Field, pixels: NDArray[np.intp], logs: frozenset[str]
) -> dict[str, float]:
    """Largest difference between what was predicted and what was measured there; nan where nothing can be compared."""
    at = tuple(pixels.T)
    largest = {}
    for name in guess:
        gaps = _gap(guess[name][at], _to(field.values[name][at], name in logs))
        largest[name] = float(np.max(gaps[np.isfinite(gaps)], initial=0.0)) if np.isfinite(gaps).any() else np.nan
    return largest


def _rims(field: _Field, guess: Mapping[str, Array], nodes: Nodes) -> NDArray[np.intp]:
    """Pixels between finite and non-finite nodes: nothing can be interpolated there."""
    rims = np.zeros(field.evaluated.shape, dtype=bool)
    for name, filled in guess.items():
        rims |= np.isnan(filled) & (finite_share(nodes, field.values[name]) > 0)
    return np.argwhere(rims & ~field.evaluated)


def _gap(a: Array, b: Array) -> Array:
    with np.errstate(invalid="ignore"):  # inf - inf is nan, as it should be
        return np.abs(a - b)


def _order(pixels: NDArray[np.intp], change: Array, shape: Sequence[int]) -> NDArray[np.intp]:
    """The order in which to probe pixels: alternately where the interpolant changed most, and evenly over the list.

    The first kind keeps a distance from its predecessors, so that one cliff does not take all probes; the second
    follows the golden-ratio sequence, whose every beginning is even.
    """
    count = min(len(pixels), 100)
    apart = 0.5 * np.sqrt(np.prod(shape) / count) if len(shape) > 1 else 0.0
    steep: list[int] = []
    for candidate in np.argsort(-change, kind="stable"):
        if all(np.linalg.norm(pixels[candidate] - pixels[earlier]) >= apart for earlier in steep):
            steep.append(int(candidate))
        if len(steep) >= count:
            break
    even = (np.arange(1, 4 * len(pixels) + 1) * 0.6180339887498949 % 1.0 * len(pixels)).astype(int)
    mixed = [i for pair in zip_longest(steep, even[: 2 * count]) for i in pair if i is not None]
    return np.array(list(dict.fromkeys([*mixed, *range(len(pixels))])), dtype=np.intp)


def _picture(
    field: _Field,
    guess: Mapping[str, Array],
    error: Mapping[str, float],
    level: tuple[int, ...],
    logs: frozenset[str],
    *,
    settled: bool,
) -> Picture:
    values, errors = {}, {}
    for name, measured in field.values.items():
        filled = np.exp(guess[name]) if name in logs else guess.get(name, measured)
        values[name] = np.where(field.evaluated, measured, filled)
        errors[name] = float(error[name])
        if name in logs:  # an error e of the logarithm is at most v (exp(e) - 1) of the value
            unmeasured = filled[~field.evaluated & np.isfinite(filled)]
            errors[name] = float(np.expm1(error[name]) * unmeasured.max(initial=0.0))
        if field.evaluated.all():
            errors[name] = 0.0
    return Picture(values, field.evaluated.copy(), errors, level, settled)


def _to(values: Array, log: bool) -> Array:
    if not log:
        return values
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(values)
