"""A model put together of two, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Literal

import ipywidgets as W
import numpy as np
from torch import nn

from lwidgets.explorers import checks
from lwidgets.explorers.curve import TOLERANCE_HELP
from lwidgets.explorers.splits import splits
from lwidgets.landscape import Landscape, drawable
from lwidgets.objective import Objective
from lwidgets.palette import BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from lwidgets.parameters import Source
from lwidgets.sampling import stream
from lwidgets.sampling.measure import Measure
from lwidgets.study import Check, Study
from lwidgets.subspaces import Grouping, Layerwise
from lwidgets.widgets.line_plot import LinePlot, Series
from lwidgets.widgets.study import StudyWidget

_POINTS = 17  # of a layer's curve: measured, a line between two models needs no more
_COLORS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
_STYLES: tuple[Literal["solid", "dashed"], ...] = ("solid", "dashed")  # when there are more layers than colours


class LayerwiseExplorer(StudyWidget):
    """A slider for every layer, from one model's to the other's: what the mixture loses, and what each layer adds.

    Traits (all keywords of the constructor): mix, one alpha for each group of parameters; data; metric; log;
    tolerance, of the interpolation.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(hidden=(16,), steps=20)
        >>> explorer = lw.LayerwiseExplorer(objective, a, b, mix=(0.0, 1.0))
        >>> explorer.wait(60), list(explorer.landscapes)
        (True, ['0', '2'])
        >>> explorer.close()
    """

    def __init__(
        self,
        objective: Objective,
        a: Source,
        b: Source,
        *,
        by: Grouping = "layer",
        test: Any = None,
        title: str = "",
        **sliders: Any,
    ) -> None:
        """Explore the mixtures of two models.

        Args:
            objective: What to evaluate.
            a: The model where every alpha is 0: module, state dict or checkpoint.
            b: The model where every alpha is 1.
            by: What has an alpha of its own: "layer", "block", or a mapping or function of parameter names.
            test: Held-out data, where the objective has none.
            title: Shown above.
            **sliders: Where the sliders start.
        """
        self._objectives = splits(objective, test)
        self._joined = joined = Layerwise(a, b, by).bound(objective.space, objective.device)
        self._mixture = Mixture()
        study = Study(title or "Layer by layer")
        study.slider("data", next(iter(self._objectives)), options=tuple(self._objectives))
        study.slider("metric", objective.names[0], options=objective.names)
        study.slider("tolerance", 1e-2, low=0.0, high=1.0, help=TOLERANCE_HELP)
        study.slider("log", False, label="log height")

        @study.node(keep=1)
        def layers() -> Layerwise:
            return joined

        self._mixture.add_to(study, self._objectives, joined.names)
        self._add_checks(study)
        super().__init__(study, **sliders)

    @property
    def landscapes(self) -> dict[str, Landscape]:
        """Group -> the curve along its alpha, the others where the sliders are; waits for all."""
        return dict(self.latest("layer_curves"))

    def model_at(self, mix: tuple[float, ...]) -> nn.Module:
        """The mixture with these alphas as a new module in eval mode, BatchNorm as in the picture."""
        objective = next(iter(self._objectives.values()))
        return objective.model_at(self._joined.point(mix), objective.resolve(self._joined.between_models))

    def close(self) -> None:
        """Close the curves too, which are on the page only while there are any."""
        if self._open:
            self._mixture.close()
        super().close()

    def summary(self) -> str:
        """Of the curves for the status bar."""
        try:
            curves = self.study["layer_curves"]
        except KeyError:
            return ""
        return f"{sum(one.evaluations for one in curves.values())} evaluations for {len(curves)} curves"

    def _add_checks(self, study: Study) -> None:
        joined, objectives = self._joined, self._objectives

        @study.check
        def ends_reproduce(data: str) -> Check:
            """All alphas 0 and all 1 are the two models."""
            line = joined.line()
            *_, whole = stream(objectives[data], line, resolution=3, tolerance=0.0)
            return checks.reproduces(objectives[data], line, whole)

        @study.check
        def is_deterministic(data: str) -> Check:
            """The data are the same in every pass."""
            return checks.deterministic(objectives[data], joined.vertices[0])

        @study.check
        def models_differ() -> Check:
            """The models are two."""
            return checks.apart(joined.line())

        @study.check
        def statistics(layer_curves: dict[str, Landscape]) -> Check:
            """BatchNorm."""
            return checks.batchnorm_mode(next(iter(layer_curves.values())))

        @study.check
        def all_finite(layer_curves: dict[str, Landscape]) -> Check:
            """Every value is finite."""
            return checks.finite(*layer_curves.values())

        @study.check
        def error_known(layer_curves: dict[str, Landscape], tolerance: float) -> Check:
            """The interpolation error meets the tolerance."""
            return checks.error_estimate(tolerance, *layer_curves.values())


class Mixture:
    """The part of a study in which layers have alphas of their own: a bank of sliders, curves, and what it loses.

    Attributes:
        plot: A curve for every layer, the others where the sliders are.
        readout: What the mixture itself measures.
        box: Both, while there is something to show.
    """

    def __init__(self) -> None:
        """Nothing is computed or shown yet."""
        self.plot = LinePlot("alpha of one layer, the others where they are (0 = a, 1 = b)")
        self.readout = W.HTML()
        self.box = W.VBox()

    def add_to(
        self, study: Study, objectives: Mapping[str, Objective], names: tuple[str, ...], *, when: str = ""
    ) -> None:
        """Add the bank, its nodes and its view to a study.

        Args:
            study: With sliders data, metric, tolerance and log, and a node ``layers``: a `Layerwise`, or None while
                there is nothing to mix.
            objectives: Data -> what to evaluate.
            names: Of the groups.
            when: The toggle with which the bank is shown; always, if there is none.
        """
        study.slider(
            "mix",
            (0.0,) * len(names),
            low=0.0,
            high=1.0,
            step=0.01,
            limits=(-100.0, 100.0),
            parts=names,
            label="all layers",
            help="How far each layer is on its way from a (0) to b (1)",
            when=when,
        )

        @study.node(keep=64)
        def mixed(layers: Layerwise | None, mix: tuple[float, ...], data: str) -> dict[str, float]:
            if layers is None:
                return {}
            row = next(Measure(objectives[data], layers)(layers.coefficients([mix])))
            return dict(zip(objectives[data].names, map(float, row), strict=True))

        @study.node(keep=64)
        def layer_curves(
            layers: Layerwise | None, mix: tuple[float, ...], data: str, tolerance: float, log: bool, progress: Any
        ) -> Iterator[dict[str, Landscape]]:
            found: dict[str, Landscape] = {}
            yield found
            options: dict[str, Any] = {"resolution": _POINTS, "tolerance": tolerance, "log": log, "progress": progress}
            for name in names if layers is not None else ():
                line = layers.line(name, at=dict(zip(names, mix, strict=True)))  # type: ignore[union-attr]
                *_, found[name] = stream(objectives[data], line, **options)
                yield dict(found)

        @study.view(widget=self.box)
        def draw_mixture(
            layer_curves: dict[str, Landscape],
            mixed: dict[str, float],
            mix: tuple[float, ...],
            metric: str,
            log: bool,
        ) -> None:
            shown = bool(layer_curves and mixed)
            self.box.children = [self.plot, self.readout] if shown else []
            if not shown:
                return
            told = ", ".join(f"{name} {value:.4g}" for name, value in mixed.items())
            self.readout.value = (
                '<div class="lwidgets-readout" aria-live="polite" style="margin: 0 12px">'
                f"<b>this mixture</b>: {escape(told)} (measured)</div>"
            )
            self.plot.label(metric, log=log)
            level = drawable([mixed[metric]], log)
            lines, dots = [], []
            for i, (name, one) in enumerate(layer_curves.items()):
                color, style = _COLORS[i % len(_COLORS)], _STYLES[i // len(_COLORS) % len(_STYLES)]
                lines.append(Series(one.coords[0], drawable(one.values[metric], log), name, color, style))
                dots.append(Series(mix[i : i + 1], level, "", color, "points", width=6))
            self.plot.fit([0.0, 1.0, *mix[: len(layer_curves)]], level, *(line.y for line in lines))
            self.plot.draw("lines", [Series([0.0, 1.0], np.repeat(level, 2), "", GRAY, "dashed", width=1.0), *lines])
            self.plot.draw("dots", dots)
            self.plot.describe(_least_and_most(layer_curves, metric, mixed[metric]))

    def close(self) -> None:
        """Close what is on the page only while it is drawn."""
        self.plot.close()
        self.readout.close()


def _least_and_most(curves: dict[str, Landscape], metric: str, level: float) -> str:
    """Which layer lowers a metric most by itself, and which can raise it most."""
    told = [f"{metric} of this mixture {level:.4g}"]
    points = [
        (value, name, alpha)
        for name, one in curves.items()
        for value, alpha in zip(drawable(one.values[metric], log=False), one.coords[0], strict=True)
        if np.isfinite(value)
    ]
    for words, best in (("lowest", min), ("highest", max)) if points else ():
        value, name, alpha = best(points)
        told.append(f"{words} by moving one layer alone {value:.4g}, {name} at {alpha:.2g}")
    return "; ".join(told) + "."
