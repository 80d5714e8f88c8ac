"""Where to measure next, and how wrong the pixels that were not measured can be.

Grids are nested. A node that was not measured has the value that the next coarser grid predicts for it, so a fine grid
is the coarse one's spline plus what was found to differ, where it was found. How much a measured value differs from
its prediction, its surplus, tells where to look next; how wrong the picture was about values just before they were
measured tells how wrong it still is.

Surpluses know nothing of what lies between the nodes, and what vanishes on every coarse grid looks flat. So some pixels
of every round are even ones, in the middle of the largest gaps and on no grid in particular, and no picture is settled
before enough of them were as predicted. What is smaller than the gaps that are left, no sample excludes.

Sources: Bungartz and Griebel, "Sparse grids", Acta Numerica 13, 2004, for hierarchical surpluses and refining by them;
Jakeman and Roberts, "Local and Dimension Adaptive Sparse Grid Interpolation and Quadrature", 2011, for surpluses as the
local error of functions that are not smooth; Eldar et al., "The Farthest Point Strategy for Progressive Image
Sampling", IEEE Transactions on Image Processing 6, 1997, for the even pixels. New here: the grids are full tensor
products of at most two axes, a surplus belongs to a global spline, and the estimate is a statistic of residuals.

Constants without a source of their own are choices. `benchmarks/calibration.py` tells what they give, over many
landscapes: how often an estimate was exceeded, what was missed, and how many evaluations the pictures took.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, maximum_filter

from lwidgets.sampling.grids import Array, Mask, mask_of, nested_grids, nested_steps

Pixels = NDArray[np.intp]

FIRST = {1: 4, 2: 3}
"""Axes -> grids that are measured whole before anything else: up to 17 points, or 9 x 9; one fewer if a guide does.
A choice: a smooth plane needs little more for 1 %, the digits MLP of benchmarks/table.py 101."""
BATCH = {1: 8, 2: 20}
"""Axes -> fewest pixels a round ..."""
GROWTH = 0.25
"""... and their share of what was measured before it, so that the rounds are few: geometric growth makes their number
the logarithm of what is measured. A choice."""
EVEN = 0.3
"""Share of a round that is spread evenly: only these find what the surpluses do not know of. A choice between missing
small features and paying for large ones, judged by benchmarks/calibration.py."""
QUIET = {1: 4, 2: 10}
"""Axes -> even pixels that must have been as predicted before a picture is settled; a whole batch once one was not.
Where a share p of the picture is not as predicted, n of them miss it with probability (1 - p)^n at most about: 10 see
what covers a quarter in 94 of 100 pictures. Judged by benchmarks/calibration.py."""
GUIDED = 2
"""Batches of even pixels that a guided picture takes in place of the grid it does without: the part may lack what the
whole of the data has."""
FAR = 0.5
"""Even pixels are at least this share of the largest distance there is away from what was measured: near enough to the
middle of a gap to find what lies in it, free enough to lie on no coarser grid. At 1 it would be the farthest point
strategy itself, whose points fall on dyadic grids."""
FINE = 0.15
"""How much likelier an even pixel is for every odd index: a wave that vanishes at even ones is seen by no others. A
choice, judged by the waves of benchmarks/calibration.py."""
# Source: Roberts, "The Unreasonable Effectiveness of Quasirandom Sequences", 2018: multiples of 1/g, and of 1/p and
# 1/p^2, where g^2 = g + 1 and p^3 = p + 1, are even from the first on.
_SEQUENCE = {1: (0.6180339887498949,), 2: (0.7548776662466927, 0.5698402909980532)}
NEED = 0.05
"""Pixels are worth a look when the surplus expected of them is more than this share of the error that is allowed. A
choice: far below 1, since what is expected of a pixel is only as good as `DECAY`."""
DECAY = 0.25
"""Expected surplus of a node, relative to the largest around it on the grid before. A cubic spline is wrong by at most
5/384 h^4 times the largest fourth derivative, so half the step leaves 1/16; a kink leaves 1/2. This is between them.
Source: Hall and Meyer, "Optimal Error Bounds for Cubic Spline Interpolation", J. Approximation Theory 16, 1976."""
ROUNDS = 2
"""Rounds whose residuals make the estimate. A choice: one may be lucky, and older ones speak of a coarser picture."""
DOUBT = 6.0
"""An estimate is 1 + this / n^(1/3) times the largest of n residuals: few can miss what many would find. Measured here
by benchmarks/calibration.py, form and factor: no theorem bounds what was not sampled."""
EXPECTED = 1.6
"""An estimate is at least this many times the largest surplus expected of any pixel. Judged by
benchmarks/calibration.py."""
RING = 2 - 3**0.5
"""What is left one node further on of a cubic spline's ringing around a node that stands out: the pole of the filter
that makes the spline. Source: Unser, "Splines: A Perfect Fit for Signal and Image Processing", IEEE Signal Processing
Magazine 16, 1999."""
RINGING = 2.0
"""Linear interpolation replaces the spline where it was this many times better: a spline rings around a cliff. A
choice, well above 1, so that no smooth picture loses its spline by chance."""
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
        judged: Metric -> the error in the scale that is judged.
        surplus: Metric -> how far each pixel is expected to be from its value, in that scale; 0 where it was measured.
    """

    values: Mapping[str, Array]
    evaluated: Mask
    error: Mapping[str, float]
    level: tuple[int, ...]
    settled: bool
    judged: Mapping[str, float] = field(default_factory=dict)
    surplus: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Guide:
    """Something known of like shape; what a metric differs from it by is interpolated in place of the metric.

    Attributes:
        values: Metric -> value at every pixel, finite, in the scale in which the metric is judged; for some metrics.
        error: Metric -> estimate of how wrong they are where they were interpolated themselves.
        surplus: Metric -> how far they are expected to be from what they would be if measured; 0 where they were.
        evaluations: How many it took: about as many as a picture takes that has no guide.
    """

    values: Mapping[str, Array] = field(default_factory=dict)
    error: Mapping[str, float] = field(default_factory=dict)
    surplus: Mapping[str, Array] = field(default_factory=dict)
    evaluations: int = 0


def refine(
    shape: Sequence[int],
    names: Sequence[str],
    tolerance: float,
    *,
    deciding: Sequence[str],
    log: bool = False,
    always: Sequence[tuple[int, ...]] = (),
    start: Picture | None = None,
    guide: Guide | None = None,
) -> Generator[tuple[Pixels, Picture | None], Mapping[str, Array], Picture]:
    """Plan the measuring of a pixel grid; a coroutine that asks for pixels and is told their values.

    Args:
        shape: Of the pixel grid, one or two axes.
        names: Metrics that are measured; every one gets its own error estimate.
        tolerance: Largest error relative to the metric's range over the picture; with ``log``, relative to the range of
            the logarithm. 0 measures every pixel.
        deciding: The metrics that must meet the tolerance; the worst of them decides.
        log: Interpolate and judge the logarithm of metrics that are positive everywhere measured.
        always: Pixels that are measured whatever happens: where the models are.
        start: A picture whose measured values are known already.
        guide: What to follow between the measured values.

    Yields:
        (pixels, picture): indices to measure next, int of shape (m, axes), most useful first, and the picture so far,
        None before the first. Send back metric -> values, shape (m,), or fewer to end early.

    Returns:
        The last picture.
    """
    known = _Known(tuple(shape), names, log, guide)
    first = FIRST[len(shape)] - (guide is not None)  # the last of these grids only if the guide turns out not to do
    picture: Picture | None = None
    guesses: dict[str, _Guess] = {}
    allowed: dict[str, float] = {}
    error = dict.fromkeys(names, np.nan)
    rounds: list[dict[str, Array]] = []
    grid = 0  # the round that completed the last grid: what it found were the errors of the grid before
    lacking = (
        QUIET[len(shape)] if guide is None else GUIDED * BATCH[len(shape)]
    )  # even pixels that must be as predicted
    surprised = met = False  # whether one was not; whether the error is as small as it must be
    if start is not None:
        at = tuple(np.argwhere(start.evaluated).T)
        known.take(at, {name: values[at] for name, values in start.values.items()})
        guesses = {name: _guess(name, known) for name in names}
        allowed = known.allowed(tolerance)
    while True:
        level = known.level
        if level < first or tolerance == 0:
            pixels = _inside_out(np.argwhere(known.missing & (known.levels == level)), known.missing)
            pixels, even = pixels if picture is None else _union(always, pixels, known.missing), 0
        else:
            pixels, even = _choose(
                known,
                guesses,
                allowed,
                deciding,
                lacking if met else 0 if surprised else min(lacking, QUIET[len(shape)]),
                met,
            )
        told = yield pixels, picture
        count = min(len(values) for values in told.values())
        logs, at = known.logs, tuple(pixels[:count].T)
        known.take(at, told)
        if known.logs != logs:  # what was predicted in the other scale says nothing
            guesses, rounds, grid, lacking = {}, [], 0, BATCH[len(shape)]
        if guesses:
            rounds.append(_residuals(known, guesses, at))
        if guesses and even:
            last = pixels[:count][-even:]
            lacking -= even
            if any(_surprising(known.unknown(n), guesses[n].values, last, allowed[n]) for n in deciding):
                lacking, surprised = BATCH[len(shape)], True
        guesses = {name: _guess(name, known) for name in names}
        # Only where pixels are chosen for a metric do its latest residuals say more than the earlier ones.
        recent = {name: max(grid, len(rounds) - ROUNDS) if name in deciding else max(grid - 1, 0) for name in names}
        # Few of the pixels that were just measured can show the guide's largest error: its own estimate comes on top.
        inherited = {name: known.guide.error.get(name, 0.0) for name in names}
        before, error = (
            error,
            {n: _estimate([r[n] for r in rounds[recent[n] :]], guesses[n], known.missing, inherited[n]) for n in names},
        )
        if count < len(pixels):  # the few that came may have missed what the round was for
            error = {n: float(np.fmax(error[n], before[n])) for n in names}
        allowed = known.allowed(tolerance)
        met = all(error[n] <= allowed[n] or not guesses[n].interpolated(known.missing).any() for n in deciding)
        unsure = any(guess.unsure.any() for guess in guesses.values())
        first = FIRST[len(shape)] if even and not met else first
        settled = not known.missing.any() or (tolerance > 0 and met and lacking <= 0 and not unsure)
        picture = _picture(known, guesses, error, settled)
        if settled or count < len(pixels):
            return picture
        if known.level > level:
            grid = len(rounds)


class _Known:
    """The measured values, filled in place while a refinement runs."""

    def __init__(self, shape: tuple[int, ...], names: Sequence[str], log: bool, guide: Guide | None) -> None:
        self.values = {name: np.full(shape, np.nan) for name in names}
        self.missing = np.ones(shape, dtype=bool)
        self.grids = nested_grids(shape)
        self.levels = np.sum([~mask_of(nodes, shape) for nodes in self.grids], axis=0)  # the grid a pixel comes with
        self.log = log
        self._guide = guide or Guide()

    def take(self, at: tuple[Pixels, ...], told: Mapping[str, Array]) -> None:
        """Enter values."""
        for name, values in told.items():
            self.values[name][at] = values[: len(at[0])]
        self.missing[at] = False

    @property
    def level(self) -> int:
        """The first grid that is not complete."""
        return int(self.levels[self.missing].min())

    @property
    def logs(self) -> frozenset[str]:
        """Metrics that are judged by their logarithm: those positive wherever they were measured."""
        return frozenset(n for n, v in self.values.items() if self.log and not (v[~self.missing] <= 0).any())

    @property
    def guide(self) -> Guide:
        """For the metrics that are still judged in the scale that it was made for."""
        kept = [name for name in self._guide.values if (name in self.logs) == self.log]
        return Guide(
            {name: self._guide.values[name] for name in kept},
            {name: self._guide.error[name] for name in kept},
            {name: self._guide.surplus[name] for name in kept},
        )

    def scaled(self, name: str) -> Array:
        """Values in the scale that is judged."""
        return np.log(self.values[name]) if name in self.logs else self.values[name]

    def unknown(self, name: str) -> Array:
        """What is interpolated: the values in the scale that is judged, or what they differ from the guide by."""
        return self.scaled(name) - self.guide.values.get(name, 0.0)

    def allowed(self, tolerance: float) -> dict[str, float]:
        """Largest error each metric may have, in the scale that is judged; never below rounding."""
        limits = {}
        for name in self.values:
            finite = self.scaled(name)[np.isfinite(self.scaled(name))]
            rounding = _ROUNDING * np.abs(finite).max(initial=0.0)
            limits[name] = max(tolerance * np.ptp(finite) if len(finite) else 0.0, rounding, np.finfo(float).tiny)
        return limits


@dataclass(frozen=True)
class _Guess:
    """What the measured values of one metric say about all pixels.

    Attributes:
        values: Measured, interpolated, or nan where there is no value to be expected, or none is known.
        surplus: How far each missing pixel is expected to be from its value; 0 at the others.
        unsure: Missing pixels between or beside finite and other ones, where nothing can be interpolated.
    """

    values: Array
    surplus: Array
    unsure: Mask

    def interpolated(self, missing: Mask) -> Mask:
        """Missing pixels that have a value."""
        return missing & np.isfinite(self.values)


def _guess(name: str, known: _Known) -> _Guess:
    measured = known.unknown(name)
    values = measured[np.ix_(*known.grids[0])]
    finite = np.isfinite(values).astype(np.float64)
    unsure = np.zeros(measured.shape, dtype=bool)
    found = np.zeros((2, *values.shape))  # surplus of each node, of the spline and of linear interpolation
    surplus = np.zeros(measured.shape)
    for step in nested_steps(measured.shape):
        missing, told = known.missing[step.at], measured[step.at]
        predicted, share = step.predict(values, finite)
        around = maximum_filter(found, size=(1, *[3] * missing.ndim))
        for nodes in (1, 2):  # together three, where a fiftieth is left
            around[0] = np.maximum(around[0], RING**nodes * maximum_filter(around[0], size=2 * nodes + 1))
        expected = DECAY * step.inherit(around)
        values = np.where(RINGING * expected[1] < expected[0], predicted[1], predicted[0])
        values = np.where(missing, values, told)
        finite = np.where(missing, share, np.isfinite(told))
        if not (finite == 1).all():
            unsure[step.at] |= missing & _rims(finite, missing)
        found = np.abs(values - predicted)
        seen = np.where(step.new & ~missing & np.isfinite(found), found, 0.0).min(axis=0)
        found = np.where(missing | ~np.isfinite(found), expected, found)
        surplus[step.at] = np.where(step.new & missing, found.min(axis=0), surplus[step.at])
        # What no coarser node foretold may reach to nodes beside it, of its own grid and of coarser ones.
        beside = np.where(missing, DECAY * maximum_filter(seen, size=3), 0.0)
        surplus[step.at] = np.maximum(surplus[step.at], beside)
        found = np.where(step.new, found, 0.0)
    values = np.where(known.missing & ((finite < 1) | unsure), np.nan, values)
    if name in known.guide.surplus:
        surplus += np.where(known.missing, known.guide.surplus[name], 0.0)
    return _Guess(values, surplus, unsure)


def _rims(finite: Array, missing: Mask) -> Mask:
    """Nodes of a grid that are neither surely finite nor surely not, or lie beside a measured one that is otherwise.

    The latter are all there is to see of an island that no coarser grid has met.

    Args:
        finite: How sure it is that they are finite, from 0 to 1; exact where they were measured.
        missing: Those that were not.
    """
    beside_other = [(finite == sure) & maximum_filter(~missing & (finite != sure), size=3) for sure in (0, 1)]
    rims: Mask = beside_other[0] | beside_other[1] | (finite > 0) & (finite < 1)
    return rims


def _choose(
    known: _Known,
    guesses: Mapping[str, _Guess],
    allowed: Mapping[str, float],
    deciding: Sequence[str],
    lacking: int,
    met: bool,
) -> tuple[Pixels, int]:
    """Pixels of the next round: rims of what is not finite, those with the largest surplus expected, and even ones.

    Rims are measured coarse before fine, since one that is measured narrows the next.

    Args:
        known: What was measured.
        guesses: What that says about the rest.
        allowed: Largest error each metric may have.
        deciding: The metrics that are looked at.
        lacking: How many even pixels there must be at least.
        met: Whether the error is as small as it must be, so that nothing else is needed.

    Returns:
        (pixels, even): the last so many are even ones.
    """
    unsure = np.any([guess.unsure for guess in guesses.values()], axis=0)
    rims = np.argwhere(unsure & (known.levels == known.levels[unsure].min(initial=len(known.grids))))
    rest = np.argwhere(known.missing & ~unsure)
    levels = known.levels[tuple(rest.T)]
    need = np.max([guesses[name].surplus[tuple(rest.T)] / allowed[name] for name in deciding], axis=0).round(6)
    measured = known.missing.size - known.missing.sum()
    fewest = BATCH[rest.shape[1]] if lacking > 0 or not met else 0
    count = 0 if met else max(fewest, int(GROWTH * measured))
    even = max(round(EVEN * count), lacking)
    needy = min(max(0, count - even), int((need > NEED).sum()))
    worst = rest[np.lexsort((levels, -need))[:needy]]
    left = known.missing & ~unsure
    left[tuple(worst.T)] = False
    # Where the guide was measured itself, an even pixel would not find what the guide does not know.
    unknown = left & (known.guide.surplus.get(deciding[0], known.missing) > 0)
    spread = _evenly(left, unknown if unknown.any() else left, max(even, fewest - needy))
    return np.concatenate([rims, worst, spread]), len(spread)


def _evenly(missing: Mask, wanted: Mask, count: int) -> Pixels:
    """So many of the wanted pixels, or all: in the middle of the largest gaps, those far from one another first.

    Within a gap a pixel is drawn at random, the same at every call, so that all together lie on no coarser grid.
    """
    missing, wanted = missing.copy(), wanted.copy()
    steps = [1 / (size - 1) for size in missing.shape]
    turn = _SEQUENCE[1][0] * missing.sum()
    drawn = np.random.default_rng(missing.sum()).random(missing.shape)
    rank = 1 + drawn + FINE * (np.indices(missing.shape) % 2).sum(axis=0)
    chosen = [np.empty((0, missing.ndim), dtype=np.intp)]
    while count and wanted.any():
        distance = np.where(wanted, distance_transform_edt(missing, sampling=steps), 0.0)
        apart = FAR * distance.max()
        far = np.where(wanted & (distance >= apart), rank, 0.0)
        alone = maximum_filter(far, size=[2 * int(apart / step) + 1 for step in steps])
        pixels = np.argwhere((far > 0) & (far == alone))
        pixels = pixels[np.argsort((pixels @ _SEQUENCE[missing.ndim] + turn) % 1)][:count]
        missing[tuple(pixels.T)] = wanted[tuple(pixels.T)] = False
        count -= len(pixels)
        chosen.append(pixels)
    return np.concatenate(chosen)


def _residuals(known: _Known, guesses: Mapping[str, _Guess], at: tuple[Pixels, ...]) -> dict[str, Array]:
    """How wrong the guesses were about pixels just measured, nan where that cannot be said."""
    with np.errstate(invalid="ignore"):  # inf - inf is nan, as it should be
        gaps = {name: np.abs(guess.values[at] - known.unknown(name)[at]) for name, guess in guesses.items()}
    return {name: np.where(np.isfinite(gap), gap, np.nan) for name, gap in gaps.items()}


def _surprising(told: Array, guessed: Array, pixels: Pixels, allowed: float) -> bool:
    """Whether any of these pixels is off by more than is allowed, or finite where it should not be, or the reverse."""
    at = tuple(pixels.T)
    with np.errstate(invalid="ignore"):
        off = np.abs(guessed[at] - told[at]) > allowed
    return bool((off | (np.isfinite(guessed[at]) != np.isfinite(told[at]))).any())


def _estimate(rounds: Sequence[Array], guess: _Guess, missing: Mask, inherited: float) -> float:
    """The largest error to be expected among the missing pixels that have a value; nan where none has one."""
    if not guess.interpolated(missing).any():
        return np.nan if missing.any() else 0.0
    residuals = np.concatenate([*rounds, np.empty(0)])
    residuals = residuals[~np.isnan(residuals)]
    if not len(residuals):
        return np.nan
    doubt = 1 + DOUBT / np.cbrt(len(residuals))
    rounding = 64 * np.finfo(float).eps * np.abs(guess.values[np.isfinite(guess.values)]).max()
    return float(max(doubt * residuals.max(), EXPECTED * guess.surplus.max(), rounding) + inherited)


def _inside_out(pixels: Pixels, missing: Mask) -> Pixels:
    """Those nearest to the centre first: that is where the model is, or between the models."""
    shares = np.abs(pixels / (np.array(missing.shape) - 1) - 0.5)
    return pixels[np.argsort(shares.max(axis=1), kind="stable")]


def _union(first: Sequence[tuple[int, ...]], pixels: Pixels, missing: Mask) -> Pixels:
    """Missing ones of the first, then the pixels, each once."""
    both = [*(tuple(p) for p in first if missing[tuple(p)]), *map(tuple, pixels.tolist())]
    return np.array(list(dict.fromkeys(both)), dtype=np.intp).reshape(-1, missing.ndim)


def _picture(known: _Known, guesses: Mapping[str, _Guess], error: Mapping[str, float], settled: bool) -> Picture:
    values, errors = {}, dict(error)
    for name, guess in guesses.items():
        filled = guess.values + known.guide.values.get(name, 0.0)
        if name in known.logs:  # an error e of the logarithm is at most v (exp(e) - 1) of the value
            filled = np.exp(filled)
            unmeasured = filled[known.missing & np.isfinite(filled)]
            with np.errstate(over="ignore"):  # no bound that a float could hold
                errors[name] = float(np.expm1(error[name]) * unmeasured.max(initial=0.0))
        values[name] = np.where(known.missing, filled, known.values[name])
    complete = known.level - 1 if known.missing.any() else len(known.grids) - 1
    level = tuple(len(nodes) for nodes in known.grids[max(complete, 0)])
    surplus = {name: guess.surplus for name, guess in guesses.items()}
    return Picture(values, ~known.missing, errors, level, settled, dict(error), surplus)
