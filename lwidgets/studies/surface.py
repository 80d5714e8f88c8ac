"""The loss on a plane around a model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from lwidgets.directions import NORMALIZATIONS, Normalization
from lwidgets.landscape import Landscape, drawable
from lwidgets.objective import Objective
from lwidgets.palette import BLUE, COLORMAPS, GRAY
from lwidgets.parameters import Source, State
from lwidgets.pictures import Curves, Marker, Series, Surface
from lwidgets.progress import Progress
from lwidgets.sampling import stream
from lwidgets.sampling.identity import version
from lwidgets.studies.parts import checks
from lwidgets.studies.parts.sliders import add_log_height, add_metric, add_tolerance, scale
from lwidgets.studies.parts.splits import beside_cells
from lwidgets.study import Check, Study
from lwidgets.subspaces import Line, Plane, Subspace

_ENVELOPE_POINTS = 33
_SURFACES_KEPT = 64  # 65x65 pixels of two metrics are 75 KB
_ANY_INTEGER = (-(2**63), 2**63)
_ENVELOPE_HELP = "How many random directions to compare along one axis"


def surface(objective: Objective, model: Source | Subspace | None = None, *, title: str = "") -> Study:
    """A map with contours and a 3-D surface of the loss around a model, side by side and linked.

    Args:
        objective: What to evaluate.
        model: The model in the centre, by default the objective's own; or a plane to explore as it is, for example
            `Plane.through(a, b, c)`, whose seeds and normalisation are then its own business.
        title: Shown above.

    Returns:
        A study with the views ``surface_picture`` and ``envelope_picture``.
    """
    beside_cells(objective)
    if model is None and not objective.has_model:
        model = Subspace.identity(objective.space.size, names=objective.coordinate_names)
    study = Study(title or "Loss surface", version=partial(version, objective))
    centre = None
    if isinstance(model, Subspace):
        _add_given_plane(study, objective, model)
    else:
        centre = State.of(model if model is not None else objective.module)
        _add_random_plane(study, objective, centre)
    _add_surface(study, objective)
    if centre is not None:
        _add_envelope(study, objective, centre)
    _add_checks(study, objective)
    return study


def _add_given_plane(study: Study, objective: Objective, given: Subspace) -> None:
    """A plane that is explored as it is."""
    low, high = given.axes[0].low, given.axes[0].high
    ends = {"low": min(-2.0, low), "high": max(3.0, high), "step": 0.05, "limits": (-1e9, 1e9)}
    study.slider("span", (low, high), **ends, help="Extent of both axes")
    study.given("plane", given.bound(objective.space, objective.device))


def _add_random_plane(study: Study, objective: Objective, centre: State) -> None:
    """A plane of two random directions."""
    seeds = {"low": 0, "high": 99, "limits": _ANY_INTEGER}
    study.slider("seed_x", 0, **seeds, label="seed x", help="Of the horizontal direction")
    study.slider("seed_y", 1, **seeds, label="seed y", help="Of the vertical direction")
    ends = {"low": 0.05, "high": 3.0, "step": 0.05, "limits": (1e-9, 1e9)}
    study.slider("span", 1.0, **ends, help="Half the width, in units of the normalised directions")
    study.slider("normalize", "filter", options=NORMALIZATIONS, help="What a unit of the axes is")

    @study.node(keep=1)
    def plane(seed_x: int, seed_y: int, normalize: Normalization) -> Subspace:
        return Plane.random(centre, (seed_x, seed_y), normalize).bound(objective.space, objective.device)


def _add_surface(study: Study, objective: Objective) -> None:
    """The surface over the plane, and its picture."""
    study.slider("resolution", 65, low=9, high=129, step=8, limits=(3, 2049), help="Pixels an axis")
    add_metric(study, objective.names)
    study.slider("colormap", "viridis", options=COLORMAPS, label="colours")
    add_tolerance(study, 1e-2)
    add_log_height(study)
    study.slider("show_points", False, label="evaluated points")

    @study.node(keep=_SURFACES_KEPT)
    def surface(
        plane: Subspace,
        span: float | tuple[float, float],
        resolution: int,
        tolerance: float,
        log_height: bool,
        progress: Progress,
    ) -> Iterator[Landscape]:
        plane.basis  # noqa: B018  made here, once for every span, and not at all for a surface that is remembered
        as_it_is = span == (plane.axes[0].low, plane.axes[0].high)  # a given plane keeps its own extents till then
        placed = plane if as_it_is else plane.over(span)
        options: dict[str, Any] = {"resolution": resolution, "tolerance": tolerance, "log": log_height}
        yield from stream(objective, placed, progress=progress, **options)

    @study.view
    def surface_picture(surface: Landscape, metric: str, log_height: bool, colormap: str, show_points: bool) -> Surface:
        looks: dict[str, Any] = {"log": log_height, "colormap": colormap, "show_points": show_points}
        return Surface(surface, metric, description="Loss surface", **looks)

    @study.view(on="surface_picture")
    def models(plane: Subspace) -> Surface:
        return Surface(
            None,
            markers=[
                Marker(x, y, vertex.label.partition(":")[0] if plane.between_models else "model")
                for (x, y), vertex in plane.models.items()
            ],
        )

    def summary() -> str:
        found: Landscape | None = study.get("surface")
        values = study.values
        return "" if found is None else found.accuracy(values["metric"], log=values["log_height"])

    study.summary = summary


def _add_envelope(study: Study, objective: Objective, centre: State) -> None:
    """Curves along many random directions: how much does the direction matter?"""
    study.slider("envelope", 0, low=0, high=16, limits=(0, 256), label="compare seeds", help=_ENVELOPE_HELP)

    @study.node
    def directions(
        envelope: int, normalize: Normalization, span: float, tolerance: float, progress: Progress
    ) -> Iterator[tuple[Landscape, ...]]:
        curves: tuple[Landscape, ...] = ()
        yield curves
        for seed in range(envelope):
            line = Line.random(centre, seed, normalize, span=span)
            *_, curve = stream(objective, line, resolution=_ENVELOPE_POINTS, tolerance=tolerance, progress=progress)
            curves = (*curves, curve)
            yield curves

    @study.view
    def envelope_picture(directions: tuple[Landscape, ...], metric: str, log_height: bool) -> Curves | None:
        return _envelope(directions, metric, log_height) if directions else None


def _envelope(directions: tuple[Landscape, ...], metric: str, log_height: bool) -> Curves:
    """Curves along directions, what is between them, and their median."""
    x = directions[0].coords[0]
    ys = drawable(np.array([one.values[metric] for one in directions]), log_height)
    with np.errstate(all="ignore"):
        low, high, middle = np.fmin.reduce(ys), np.fmax.reduce(ys), np.nanmedian(ys, axis=0)
        ends = ys[:, [0, -1]]
        told = (
            f"{metric} along {len(directions)} random directions (seeds 0 to {len(directions) - 1}): at the ends "
            f"between {np.nanmin(ends):.3g} and {np.nanmax(ends):.3g}, median {np.nanmedian(ends):.3g}."
        )
    return Curves(
        [
            *(Series(x, y, "", GRAY, width=1.0, opacity=0.6) for y in ys),
            Series(x, np.stack([low, high]), "", BLUE, "band"),
            Series(x, middle, "median", BLUE, width=2.5),
        ],
        x="distance along one direction",
        y=metric,
        log=scale(log_height),
        caption=told,
    )


def _add_checks(study: Study, objective: Objective) -> None:
    @study.check
    def centre_reproduces(surface: Landscape, plane: Subspace) -> Check:
        """The picture contains the model itself."""
        return checks.reproduces(objective, plane, surface)

    @study.check
    def is_deterministic(plane: Subspace) -> Check:
        """The data are the same in every pass."""
        return checks.deterministic(objective, plane.vertices[0])

    @study.check
    def axes_differ(plane: Subspace) -> Check:
        """The axes are two directions."""
        cosine = plane.cosine() or 0.0
        least = 0.99 if plane.between_models else 0.1
        return Check.that(abs(cosine) < least, f"cosine of their angle {cosine:.4f}", "warn")

    @study.check
    def biases(plane: Subspace) -> Check:
        """Biases and norm scales."""
        zeroed = plane.provenance()["zeroed"]
        count = f"{len(zeroed)} one-dimensional parameters stay where they are"
        return Check("info", count if zeroed else "move like everything else")

    @study.check
    def zero_weights(plane: Subspace) -> Check:
        """Weights of zero."""
        return Check.that(not plane.unmoved, plane.told_unmoved() or "all that is drawn moves", "warn")

    checks.add_sampled(study, "surface")
