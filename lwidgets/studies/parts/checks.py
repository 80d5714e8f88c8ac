"""Self-checks that every explorer runs on its picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lwidgets.distances import l2
from lwidgets.landscape import Landscape
from lwidgets.objective import Objective
from lwidgets.parameters import Source
from lwidgets.study import Check, Study
from lwidgets.subspaces import Subspace

_ROUNDING = 1e-6  # relative, of float32: sums of the same numbers in another order
_NOTHING = "nothing is drawn"
_MODES = {
    "none": "The model keeps no running statistics.",
    "frozen": "Frozen: every point uses the running statistics of the model in the origin, which fit its own "
    "weights only.",
    "recalibrate": "Recalibrated: at every point statistics are reset and averaged over one pass of the training data.",
    "batch": "Batch: every point uses each batch's own statistics.",
}


def reproduces(objective: Objective, subspace: Subspace, landscape: Landscape) -> Check:
    """The grid points that are models against those models evaluated by themselves.

    Where BatchNorm is recalibrated, or frozen to another model's statistics, the values belong to other statistics
    than the model's own, and the check says how far apart they are instead of failing.
    """
    metric, mode = objective.names[0], landscape.sampling.batchnorm
    worst, told = 0.0, []
    for point, model in subspace.models.items():
        if all(c[0] <= u <= c[-1] for c, u in zip(landscape.coords, point, strict=True)):
            own = objective.measure(model)[metric]
            drawn = landscape.values[metric][landscape.pixel(point)]
            worst = max(worst, abs(drawn - own) / max(abs(own), 1e-12))
            told.append(f"{metric} {drawn:.6g} at {_name(subspace.axes[0].name, point)}, {own:.6g} by itself")
    if not told:
        return Check("info", "no model lies in the picture")
    if any(subspace.remainders):
        return Check("warn", f"{'; '.join(told)}. {subspace.warning('none')}")
    if mode == "none" or (mode == "frozen" and len(subspace.models) == 1):
        return Check.that(worst <= 1e-6, "; ".join(told))
    return Check("info" if worst <= 1e-2 else "warn", "; ".join(told) + " with its own BatchNorm statistics")


def deterministic(objective: Objective, model: Source) -> Check:
    """Two evaluations of one point."""
    first, second = (objective.measure(model)[objective.names[0]] for _ in range(2))
    same = math.isclose(first, second, rel_tol=_ROUNDING) or (math.isnan(first) and math.isnan(second))
    return Check.that(same, f"two evaluations gave {first:.9g} and {second:.9g}")


def apart(path: Subspace) -> Check:
    """How far apart the first and the last model of a path are."""
    models = list(path.models.values())
    if len(models) < 2:
        return Check("info", "the path is around one model")
    gap = l2(models[0], models[-1], path.space.moved)
    return Check.that(gap > 0, f"distance {gap:.4g}", "warn")


def add_sampled(study: Study, node: str) -> None:
    """Add what is asked of everything that is sampled: what moves, BatchNorm, finite values, the error.

    Args:
        study: With a slider tolerance.
        node: Name of a node: a Landscape, or several by name.
    """

    @study.check(shown=node)
    def what_moves(shown: Landscape | Mapping[str, Landscape]) -> Check:
        """What moves."""
        told = [one.sampling.moves for one in _each(shown)]
        return Check("info", next(filter(None, told), "every coordinate" if told else _NOTHING))

    @study.check(shown=node)
    def statistics(shown: Landscape | Mapping[str, Landscape]) -> Check:
        """BatchNorm."""
        return Check("info", _MODES[_each(shown)[0].sampling.batchnorm] if _each(shown) else _NOTHING)

    @study.check(shown=node)
    def depends(shown: Landscape | Mapping[str, Landscape]) -> Check:
        """The loss depends on what moves."""
        return _depends(_each(shown))

    @study.check(shown=node)
    def all_finite(shown: Landscape | Mapping[str, Landscape]) -> Check:
        """Every value that was measured is finite."""
        count, unknown = sum(one.nonfinite for one in _each(shown)), sum(one.unknown for one in _each(shown))
        measured = sum(int(one.evaluated.sum()) for one in _each(shown))
        told = f"{count:,} of {measured:,} measured values are not finite"
        told += f", {unknown:,} others were not measured and have none" if unknown else ""
        return Check.that(count == 0, told + (", and are left blank" if count or unknown else ""), "warn")

    @study.check(shown=node)
    def error_known(shown: Landscape | Mapping[str, Landscape], tolerance: float) -> Check:
        """The interpolation error meets the tolerance."""
        met = all(one.sampling.settled for one in _each(shown))
        told = [
            f"{one.sampling.split} {name} within {one.error[name]:.2g}" for one in _each(shown) for name in one.metrics
        ]
        told = [f"{'; '.join(told) or _NOTHING} (tolerance {tolerance:g} of the range)"]
        widest = max(_each(shown), key=lambda one: one.blind_spot, default=None)
        told += [widest.missable] if widest and widest.blind_spot else []
        return Check.that(met, "; ".join(told), "warn")


def _depends(shown: Sequence[Landscape]) -> Check:
    """Whether what decides changes from point to point; a layer without effect among others is only mentioned."""
    told, still = [], []
    for one in shown:
        metric = one.metrics[0]
        values = one.values[metric][one.evaluated & np.isfinite(one.values[metric])]
        if values.size > 1 and values.min() == values.max():
            still.append(metric in one.sampling.without_effect)
            told.append(f"{metric} is {values[0]:.6g} at all {values.size:,} points evaluated")
        elif values.size:
            told.append(f"{metric} {values.min():.6g} to {values.max():.6g}")
    flat = bool(still) and (any(still) or len(still) == len(told))
    advice = ": what moves has no effect on it" if flat else ""
    return Check.that(not flat, ("; ".join(told) or _NOTHING) + advice, "warn")


def _each(shown: Landscape | Mapping[str, Landscape]) -> list[Landscape]:
    return [shown] if isinstance(shown, Landscape) else [*shown.values()]


def _name(axis: str, point: tuple[float, ...]) -> str:
    return (
        f"{axis} = {point[0]:g}"
        if len(point) == 1
        else "the centre"
        if not any(point)
        else f"({', '.join(f'{u:g}' for u in point)})"
    )
