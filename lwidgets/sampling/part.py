"""The landscape of a part of the data: a first look at an expensive one, and what to follow between measured values.

The loss on a part of the data has the shape of the loss on all of them, and what they differ by is flatter than either.
So the part's landscape, moved to where the full data were measured, is a first look while these are few. Where it
follows the full data closely it then stays as a guide: what is interpolated is the difference, a control variate, which
needs far fewer evaluations of all the data.

Sources: Heinrich, "Multilevel Monte Carlo Methods", 2001, for integrals that depend on a parameter: there, as here, the
difference of two samples of unlike size is interpolated from few points, the small one from many; Peherstorfer et al.,
"Survey of Multifidelity Methods in Uncertainty Propagation, Inference, and Optimization", SIAM Review 60, 2018, for
control variates in general. New here: whether a part is followed at all is decided by measured values.

The constants are choices. `benchmarks/calibration.py` tries guides for networks of any size, and `benchmarks/table.py`
tells what they save of all the data.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lwidgets.objective import Objective
from lwidgets.sampling.grids import Array, interpolate, nested_grids, nested_steps
from lwidgets.sampling.measure import CacheArgument, Measure
from lwidgets.sampling.refine import Guide, Picture, refine
from lwidgets.subspaces import Subspace

SLOW = 0.02
"""Seconds an evaluation: nine of them, the coarsest grid, are then too long to look at nothing."""
LOOK = 5
"""Points an axis of a first look."""
_SHARE = 8  # of the data
_FEWEST = 32  # samples of which a part must at least consist
_WORK = 1e7  # samples times parameters: below it an evaluation is so short that a part's takes hardly less
_FOLLOWED = 0.5  # of the tolerance is what the part's landscape may be wrong by to be followed ...
_ROOM = 0.8  # ... and of what is allowed for all of the data, whose range may be smaller
_ROUGH = 20  # a guide pays when the coarsest grid is wrong by so many times what is allowed ...
_FLATTER = 12  # ... and wrong by so many times less about the difference from the part's landscape


@dataclass(frozen=True)
class Part:
    """The landscape of a part of the data.

    Attributes:
        picture: As far as it is known.
        samples: How many samples it saw.
        total: Of how many.
    """

    picture: Picture
    samples: int
    total: int

    @property
    def evaluations(self) -> int:
        """How many there were."""
        return int(self.picture.evaluated.sum())

    @property
    def label(self) -> str:
        """How much it saw, in words."""
        return f"{self.samples:,} of {self.total:,} samples"

    def under(self, picture: Picture) -> Picture:
        """The full data's picture with this shape between its nodes, while its grid is coarser than this one's."""
        grid = next((g for g in nested_grids(picture.evaluated.shape) if tuple(map(len, g)) == picture.level), None)
        if grid is None or all(n >= m for n, m in zip(picture.level, self.picture.level, strict=True)):
            return picture
        values = {}
        for name, shown in picture.values.items():
            shaped = shown + self.picture.values[name] - interpolate(grid, self.picture.values[name])
            values[name] = np.where(picture.evaluated | ~np.isfinite(shaped), shown, shaped)
        return replace(picture, values=values, error=dict.fromkeys(picture.error, np.nan))

    def at(self, pixel: NDArray[np.intp], measured: Mapping[str, float]) -> Picture:
        """A picture moved to what the full data give at one pixel."""
        mask = np.zeros_like(self.picture.evaluated)
        mask[tuple(pixel)] = True
        values = {n: v + np.nan_to_num(measured[n] - v[tuple(pixel)]) for n, v in self.picture.values.items()}
        for name, v in values.items():
            v[mask] = measured[name]
        return Picture(values, mask, dict.fromkeys(values, np.nan), (0,) * mask.ndim, settled=False)

    def flattens(self, picture: Picture, deciding: Sequence[str], log: bool) -> list[str]:
        """Metrics whose difference from the part's is so flat that the part is a guide; none if a deciding one is not.

        Args:
            picture: Of the full data, of the second grid at least.
            deciding: Metrics that must meet the tolerance.
            log: Whether logarithms are judged.
        """
        flat = []
        for name, values in picture.values.items():
            whole, part = (_scaled(v, log) for v in (values, self.picture.values[name]))
            if np.isfinite(part).all() and _FLATTER * _roughness(whole - part) <= _roughness(whole):
                flat.append(name)
        return flat if set(deciding) <= set(flat) else []

    def guide(
        self, picture: Picture, names: Sequence[str], deciding: Sequence[str], tolerance: float, log: bool
    ) -> Guide | None:
        """What these metrics are to follow; None where it is not exact enough for a deciding one.

        Args:
            picture: Of the full data.
            names: Metrics that the part `flattens`.
            deciding: Metrics that must meet the tolerance.
            tolerance: Relative to their range.
            log: Whether logarithms are judged.
        """
        values = {name: _scaled(self.picture.values[name], log) for name in names}
        values = {name: v for name, v in values.items() if np.isfinite(v).all()}
        measured = [_scaled(picture.values[name][picture.evaluated], log) for name in deciding]
        exact = self.picture.settled and all(
            name in values and self.picture.judged[name] <= _ROOM * tolerance * np.ptp(v)
            for name, v in zip(deciding, measured, strict=True)
        )
        error = {name: self.picture.judged[name] for name in values}
        surplus = {name: self.picture.surplus[name] for name in values}
        return Guide(values, error, surplus, self.evaluations) if exact else None


def could_guide(objective: Objective, picture: Picture, tolerance: float, deciding: Sequence[str], log: bool) -> bool:
    """Whether a guide may pay: it takes many evaluations to go on, and a part's are much shorter.

    Nothing here is timed, so that what was measured once is measured, or remembered, in the same way again.

    Args:
        objective: What is evaluated.
        picture: The picture so far.
        tolerance: Largest error relative to the range.
        deciding: Metrics that must meet it.
        log: Whether logarithms are judged.
    """
    grids = nested_grids(picture.evaluated.shape)
    if picture.settled or len(grids) < 3 or picture.level != tuple(map(len, grids[1])):
        return False
    if tolerance == 0 or not objective.samples:
        return False
    work = objective.samples * sum(p.numel() for p in objective.module.parameters())
    whole = [_scaled(picture.values[name], log)[np.ix_(*grids[1])] for name in deciding]
    wrong = [_roughness(_scaled(picture.values[name], log)) for name in deciding]
    steep = (0 < _ROUGH * tolerance * np.ptp(v) <= w for w, v in zip(wrong, whole, strict=True))  # nothing flat is
    return work >= _WORK and any(steep)


def landscapes_of_part(
    objective: Objective,
    subspace: Subspace,
    coords: Sequence[NDArray[np.float64]],
    tolerance: float,
    *,
    deciding: Sequence[str],
    log: bool,
    executor: Executor | None,
    cache: CacheArgument,
) -> Generator[Part | None, None, None]:
    """The landscape of a part of the data, coarse to fine.

    Args:
        objective: With all of the data.
        subspace: Bound to it.
        coords: The pixels' coordinates on each axis.
        tolerance: As in `refine`.
        deciding: As in `refine`, like the rest.
        log: See there.
        executor: As in `sample`.
        cache: See there.

    Yields:
        None after every evaluation, so that the caller can stop, and a Part whenever a grid or a round is complete;
        nothing where the data cannot be divided, are too few, or the objective fails on a part of them.
    """
    total = objective.samples
    samples = max(_FEWEST, total // _SHARE)
    part = objective.part(samples) if total >= 4 * samples else None
    if part is None:
        return
    shape = tuple(len(c) for c in coords)
    evaluate = Measure(part, subspace, executor=executor, cache=cache)
    plan = refine(shape, part.names, _FOLLOWED * tolerance, deciding=deciding, log=log)
    picture: Picture | None = None
    try:
        pixels, _ = next(plan)
        while True:
            rows = []
            points = np.stack([c[i] for c, i in zip(coords, pixels.T, strict=True)], axis=-1)
            for row in _rows(evaluate, subspace, points):
                rows.append(row)
                yield None
            if len(rows) < len(pixels):
                return
            pixels, picture = plan.send(dict(zip(part.names, np.array(rows).T, strict=True)))
            if picture is not None:
                yield Part(picture, samples, total)
    except StopIteration as stop:
        yield Part(stop.value, samples, total)


def _rows(evaluate: Measure, subspace: Subspace, points: Array) -> Generator[Array, None, None]:
    """Metrics at the points, up to the first where the objective fails: a loss may want all of its data."""
    values = iter(evaluate(subspace.coefficients(points)))
    while True:
        try:
            row = next(values, None)
        except Exception:
            return
        if row is None:
            return
        yield row


def _scaled(values: Array, log: bool) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values) if log else values


def _roughness(values: Array) -> float:
    """How wrong the first grid is about the second; nan where a value is not finite."""
    step = nested_steps(values.shape)[0]
    coarse = values[np.ix_(*nested_grids(values.shape)[0])]
    if not np.isfinite(coarse).all():
        return float("nan")
    predicted, _ = step.predict(coarse, np.ones_like(coarse))
    return float(np.abs(values[np.ix_(*step.nodes)] - predicted[0]).max())
