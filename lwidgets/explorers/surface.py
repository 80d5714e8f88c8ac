"""The loss on a plane around a model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from lwidgets.directions import NORMALIZATIONS, Normalization
from lwidgets.explorers import checks
from lwidgets.explorers.splits import beside_cells
from lwidgets.landscape import Landscape, drawable
from lwidgets.objective import Objective
from lwidgets.palette import BLUE, COLORMAPS, GRAY
from lwidgets.parameters import Source, State
from lwidgets.progress import Progress
from lwidgets.sampling import stream
from lwidgets.sampling.identity import version
from lwidgets.study import Check, Study
from lwidgets.subspaces import Line, Plane, Subspace
from lwidgets.widgets.height_field import HeightField
from lwidgets.widgets.line_plot import LinePlot, Series
from lwidgets.widgets.parts import AtTimes
from lwidgets.widgets.study import StudyWidget

_ENVELOPE_POINTS = 33
_SURFACES_KEPT = 64  # 65x65 pixels of two metrics are 75 KB
_ENVELOPE_HELP = "How many random directions to compare along one axis"
_TOLERANCE_HELP = "Largest error of an interpolated pixel, relative to the range; 0 measures all"


class SurfaceExplorer(StudyWidget):
    """A map with contours and a 3-D surface of the loss around a model, side by side and linked.

    Traits (all keywords of the constructor): seed_x and seed_y of the two random directions; span, in units of the
    normalised directions; resolution; normalize; metric; log; colormap; show_points, the evaluated ones; envelope,
    how many random directions are compared along one axis; tolerance, of the interpolation.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(steps=20)
        >>> explorer = lw.SurfaceExplorer(objective, span=0.5, resolution=33)
        >>> explorer.wait(60), explorer.landscape.shape
        (True, (33, 33))
        >>> explorer.close()
    """

    def __init__(
        self, objective: Objective, model: Source | Subspace | None = None, *, title: str = "", **sliders: Any
    ) -> None:
        """Explore a plane.

        Args:
            objective: What to evaluate.
            model: The model in the centre, by default the objective's own; or a plane to explore as it is, for example
                `Plane.through(a, b, c)`, whose seeds and normalisation are then its own business.
            title: Shown above.
            **sliders: Where the sliders start.
        """
        beside_cells(objective)
        self._objective = objective
        self.height_field = HeightField(description="Loss surface")
        if model is None and not objective.has_model:
            model = Subspace.identity(objective.space.size, names=objective.coordinate_names)
        study = Study(title or "Loss surface", version=partial(version, objective))
        if isinstance(model, Subspace):
            self._add_given_plane(study, model)
            self._add_surface(study)
        else:
            centre = State.of(model if model is not None else objective.module)
            self._add_random_plane(study, centre)
            self._add_surface(study)
            self._add_envelope(study, centre)
        self._add_checks(study)
        super().__init__(study, **sliders)

    @property
    def landscape(self) -> Landscape:
        """The surface for the present sliders; waits for it."""
        found: Landscape = self.latest("surface")
        return found

    @property
    def point(self) -> tuple[float, float] | None:
        """The pinned point, or None."""
        return tuple(self.height_field.point) or None  # type: ignore[return-value]

    @point.setter
    def point(self, point: tuple[float, float] | None) -> None:
        self.height_field.point = list(point or ())

    def model_at(self, point: tuple[float, float]) -> nn.Module:
        """The model at a point of the plane as a new module in eval mode."""
        plane = self.latest("plane")
        return self._objective.model_at(plane.point(point), self._objective.resolve(plane.between_models))

    def summary(self) -> str:
        """Of the surface for the status bar."""
        surface: Landscape | None = self.study.get("surface")
        return "" if surface is None else surface.accuracy(self.metric, log=self.log)

    def _add_given_plane(self, study: Study, given: Subspace) -> None:
        """A plane that is explored as it is."""
        bound = given.bound(self._objective.space, self._objective.device)
        low, high = given.axes[0].low, given.axes[0].high
        study.slider(
            "span",
            (low, high),
            low=min(-2.0, low),
            high=max(3.0, high),
            step=0.05,
            limits=(-1e9, 1e9),
            help="Extent of both axes",
        )

        @study.node(keep=1)
        def plane() -> Subspace:
            return bound

    def _add_random_plane(self, study: Study, centre: State) -> None:
        """A plane of two random directions."""
        objective = self._objective
        any_integer = (-(2**63), 2**63)
        study.slider(
            "seed_x", 0, low=0, high=99, limits=any_integer, label="seed x", help="Of the horizontal direction"
        )
        study.slider("seed_y", 1, low=0, high=99, limits=any_integer, label="seed y", help="Of the vertical direction")
        study.slider(
            "span",
            1.0,
            low=0.05,
            high=3.0,
            step=0.05,
            limits=(1e-9, 1e9),
            help="Half the width, in units of the normalised directions",
        )
        study.slider("normalize", "filter", options=NORMALIZATIONS, help="What a unit of the axes is")

        @study.node(keep=1)
        def plane(seed_x: int, seed_y: int, normalize: Normalization) -> Subspace:
            return Plane.random(centre, (seed_x, seed_y), normalize).bound(objective.space, objective.device)

    def _add_surface(self, study: Study) -> None:
        """The surface over the plane, and its picture."""
        objective, names = self._objective, self._objective.names
        study.slider("resolution", 65, low=9, high=129, step=8, limits=(3, 2049), help="Pixels an axis")
        study.slider("metric", names[0], options=names)
        study.slider("colormap", "viridis", options=COLORMAPS, label="colours")
        study.slider("tolerance", 1e-2, low=0.0, high=1.0, help=_TOLERANCE_HELP)
        study.slider("log", False, label="log height")
        study.slider("show_points", False, label="evaluated points")

        @study.node(keep=_SURFACES_KEPT)
        def surface(
            plane: Subspace,
            span: float | tuple[float, float],
            resolution: int,
            tolerance: float,
            log: bool,
            progress: Progress,
        ) -> Iterator[Landscape]:
            plane.basis  # noqa: B018  made here, once for every span, and not at all for a surface that is remembered
            as_it_is = span == (plane.axes[0].low, plane.axes[0].high)  # a given plane keeps its own extents till then
            placed = plane if as_it_is else plane.over(span)
            yield from stream(objective, placed, resolution=resolution, tolerance=tolerance, log=log, progress=progress)

        @study.view(widget=self.height_field)
        def draw(surface: Landscape, metric: str, log: bool, colormap: str) -> None:
            self.height_field.draw(surface, metric, log=log, colormap=colormap)

        @study.view
        def mark_models(plane: Subspace) -> None:
            self.height_field.markers = [
                {"x": x, "y": y, "label": vertex.label.partition(":")[0] if plane.between_models else "model"}
                for (x, y), vertex in plane.models.items()
            ]

        @study.view
        def show_evaluated(show_points: bool) -> None:
            self.height_field.show_points = show_points

    def _add_envelope(self, study: Study, centre: State) -> None:
        """Curves along many random directions: how much does the direction matter?"""
        objective = self._objective
        self.envelope_plot = LinePlot("distance along one direction", height="260px")
        self.envelope_box = AtTimes(self.envelope_plot)
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

        @study.view(widget=self.envelope_box)
        def draw_directions(directions: tuple[Landscape, ...], metric: str, log: bool) -> None:
            self.envelope_box.show(bool(directions))
            if not directions:
                return
            x = directions[0].coords[0]
            ys = drawable(np.array([one.values[metric] for one in directions]), log)
            self.envelope_plot.label(metric, log=log)
            self.envelope_plot.fit(x, ys)
            with np.errstate(all="ignore"):
                low, high, middle = np.fmin.reduce(ys), np.fmax.reduce(ys), np.nanmedian(ys, axis=0)
            self.envelope_plot.draw("lines", [Series(x, y, "", GRAY, width=1.0, opacity=0.6) for y in ys])
            self.envelope_plot.draw(
                "band",
                [Series(x, np.stack([low, high]), "", BLUE, "band"), Series(x, middle, "median", BLUE, width=2.5)],
            )
            ends = ys[:, [0, -1]]
            self.envelope_plot.describe(
                f"{metric} along {len(directions)} random directions (seeds 0 to {len(directions) - 1}): "
                f"at the ends between {np.nanmin(ends):.3g} and {np.nanmax(ends):.3g}, median {np.nanmedian(ends):.3g}."
            )

    def _add_checks(self, study: Study) -> None:
        objective = self._objective

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
            return Check.that(
                abs(cosine) < (0.99 if plane.between_models else 0.1),
                f"cosine of their angle {cosine:.4f}",
                "warn",
            )

        @study.check
        def biases(plane: Subspace) -> Check:
            """Biases and norm scales."""
            zeroed = plane.provenance()["zeroed"]
            return Check(
                "info",
                f"{len(zeroed)} one-dimensional parameters stay where they are"
                if zeroed
                else "move like everything else",
            )

        @study.check
        def zero_weights(plane: Subspace) -> Check:
            """Weights of zero."""
            return Check.that(not plane.unmoved, plane.told_unmoved() or "all that is drawn moves", "warn")

        checks.add_sampled(study, "surface")
