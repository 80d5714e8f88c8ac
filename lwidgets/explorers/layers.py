"""A model put together of two, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any, Literal

import ipywidgets as W
import numpy as np
from torch import nn

from lwidgets.explorers import checks
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

    Traits (all keywords of the constructor): mix, one alpha for each group of parameters; metric; log; tolerance, of
    the interpolation.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(hidden=(16,), steps=20)
        >>> explorer = lw.LayerwiseExplorer(objective, a, b, mix=(0.0, 1.0))
        >>> explorer.wait(60), list(explorer.landscapes)
        (True, ['0', '2'])
        >>> explorer.close()
    """

    def __init__(
        self, objective: Objective, a: Source, b: Source, *, by: Grouping = "layer", title: str = "", **sliders: Any
    ) -> None:
        """Explore the mixtures of two models.

        Args:
            objective: What to evaluate.
            a: The model where every alpha is 0: module, state dict or checkpoint.
            b: The model where every alpha is 1.
            by: What has an alpha of its own: "layer", "block", or a mapping or function of parameter names.
            title: Shown above.
            **sliders: Where the sliders start.
        """
        self._objective = objective
        self._joined = joined = Layerwise(a, b, by).bound(objective.space, objective.device)
        self.plot = LinePlot("alpha of one layer, the others where they are (0 = a, 1 = b)")
        self.readout = W.HTML()
        super().__init__(self._study(joined, title), **sliders)

    @property
    def landscapes(self) -> dict[str, Landscape]:
        """Group -> the curve along its alpha, the others where the sliders are; waits for all."""
        return dict(self.latest("curves"))

    def model_at(self, mix: tuple[float, ...]) -> nn.Module:
        """The mixture with these alphas as a new module in eval mode, BatchNorm as in the picture."""
        return self._objective.model_at(self._joined.point(mix), self._objective.resolve(self._joined.between_models))

    def summary(self) -> str:
        """Of the curves for the status bar."""
        try:
            curves = self.study["curves"]
        except KeyError:
            return ""
        return f"{sum(one.evaluations for one in curves.values())} evaluations for {len(curves)} curves"

    def _study(self, joined: Layerwise, title: str) -> Study:
        objective, names = self._objective, joined.names
        study = Study(title or "Layer by layer")
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
        )
        study.slider("metric", objective.names[0], options=objective.names)
        study.slider(
            "tolerance",
            1e-2,
            low=0.0,
            high=1.0,
            help="Largest error of an interpolated value, relative to the range; 0 measures all",
        )
        study.slider("log", False, label="log height")

        @study.node(keep=64)
        def here(mix: tuple[float, ...]) -> dict[str, float]:
            row = next(Measure(objective, joined)(joined.coefficients([mix])))
            return dict(zip(objective.names, map(float, row), strict=True))

        @study.node(keep=64)
        def curves(
            mix: tuple[float, ...], tolerance: float, log: bool, progress: Any
        ) -> Iterator[dict[str, Landscape]]:
            found: dict[str, Landscape] = {}
            at = dict(zip(names, mix, strict=True))
            for name in names:
                line = joined.line(name, at=at)
                *_, found[name] = stream(
                    objective, line, resolution=_POINTS, tolerance=tolerance, log=log, progress=progress
                )
                yield dict(found)

        @study.view(widget=self.plot)
        def draw(
            curves: dict[str, Landscape], here: dict[str, float], mix: tuple[float, ...], metric: str, log: bool
        ) -> None:
            self.plot.label(metric, log=log)
            level = drawable([here[metric]], log)
            lines, dots = [], []
            for i, (name, one) in enumerate(curves.items()):
                color, style = _COLORS[i % len(_COLORS)], _STYLES[i // len(_COLORS) % len(_STYLES)]
                lines.append(Series(one.coords[0], drawable(one.values[metric], log), name, color, style))
                dots.append(Series(mix[i : i + 1], level, "", color, "points", width=6))
            self.plot.fit([0.0, 1.0, *mix[: len(curves)]], level, *(line.y for line in lines))
            self.plot.draw("lines", [Series([0.0, 1.0], np.repeat(level, 2), "", GRAY, "dashed", width=1.0), *lines])
            self.plot.draw("dots", dots)
            self.plot.describe(_least_and_most(curves, metric, here[metric]))

        @study.view(widget=self.readout)
        def read(here: dict[str, float], mix: tuple[float, ...]) -> None:
            told = ", ".join(f"{name} {value:.4g}" for name, value in here.items())
            self.readout.value = (
                '<div class="lwidgets-readout" aria-live="polite" style="margin: 0 12px">'
                f"<b>this mixture</b>: {escape(told)} (measured)</div>"
            )

        @study.check
        def ends_reproduce() -> Check:
            """All alphas 0 and all 1 are the two models."""
            line = joined.line()
            *_, whole = stream(objective, line, resolution=3, tolerance=0.0)
            return checks.reproduces(objective, line, whole)

        @study.check
        def is_deterministic() -> Check:
            """The data are the same in every pass."""
            return checks.deterministic(objective, joined.vertices[0])

        @study.check
        def models_differ() -> Check:
            """The models are two."""
            return checks.apart(joined.line())

        @study.check
        def statistics(curves: dict[str, Landscape]) -> Check:
            """BatchNorm."""
            return checks.batchnorm_mode(next(iter(curves.values())))

        @study.check
        def all_finite(curves: dict[str, Landscape]) -> Check:
            """Every value is finite."""
            return checks.finite(*curves.values())

        @study.check
        def error_known(curves: dict[str, Landscape], tolerance: float) -> Check:
            """The interpolation error meets the tolerance."""
            return checks.error_estimate(tolerance, *curves.values())

        return study


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
