"""A bank of alphas, one for each layer, as part of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Literal

import ipywidgets as W
import numpy as np

from lwidgets.landscape import Landscape, drawable
from lwidgets.objective import Objective
from lwidgets.palette import BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from lwidgets.progress import Progress
from lwidgets.sampling import stream
from lwidgets.sampling.measure import measured
from lwidgets.study import Study
from lwidgets.subspaces import Layerwise
from lwidgets.widgets.line_plot import LinePlot, Series
from lwidgets.widgets.parts import AtTimes

_POINTS = 17  # of a layer's curve: measured, a line between two models needs no more
_COLORS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
_STYLES: tuple[Literal["solid", "dashed"], ...] = ("solid", "dashed")  # when there are more layers than colours
_NAMED = 4  # layers
_MORE = 1.25  # times as many curves are there when all are drawn again, so that drawing takes no longer than computing

Layers = tuple[Layerwise, Mapping[str, Objective]]
"""Two models and what may be mixed of them; data -> what is evaluated on a mixture."""


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
        self.box = AtTimes(self.plot, self.readout)

    def add_to(self, study: Study, names: tuple[str, ...], *, when: str = "") -> None:
        """Add the bank, its nodes and its view to a study.

        Args:
            study: With sliders data, metric, tolerance and log, and a node ``layers``: `Layers`, or None while
                there is nothing to mix.
            names: Of the groups; where a rewritten network is mixed, some may have no parameters there.
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
            when={when: (True,)} if when else {},
        )

        @study.node(keep=64)
        def mixed(layers: Layers | None, mix: tuple[float, ...], data: str) -> dict[str, float]:
            if layers is None:
                return {}
            mixture, objectives = layers
            return measured(objectives[data], mixture, [mix[names.index(name)] for name in mixture.names])

        @study.node(keep=64)
        def layer_curves(
            layers: Layers | None, mix: tuple[float, ...], data: str, tolerance: float, log: bool, progress: Progress
        ) -> Iterator[dict[str, Landscape]]:
            found: dict[str, Landscape] = {}
            yield found
            options: dict[str, Any] = {"resolution": _POINTS, "tolerance": tolerance, "log": log, "progress": progress}
            if layers is None:
                return
            mixture, objectives = layers
            at = dict(zip(names, mix, strict=True))
            alphas, shown = {name: at[name] for name in mixture.names}, 0
            for name in alphas:
                *_, found[name] = stream(objectives[data], mixture.line(name, at=alphas), **options)
                if len(found) in (len(alphas), max(shown + 1, round(_MORE * shown))):
                    shown = len(found)
                    yield dict(found)

        @study.view(widget=self.box)
        def draw_mixture(
            layers: Layers | None,
            layer_curves: dict[str, Landscape],
            mixed: dict[str, float],
            mix: tuple[float, ...],
            metric: str,
            log: bool,
        ) -> None:
            shown = layers is not None and bool(layer_curves and mixed)
            self.box.show(shown)
            if layers is None or not shown:
                return
            told = ", ".join(f"{name} {value:.4g}" for name, value in mixed.items())
            self.readout.value = (
                '<div class="lwidgets-readout" aria-live="polite" style="margin: 0 12px">'
                f"<b>this mixture</b>: {escape(told)} (measured){escape(_elsewhere(names, layers[0].names))}</div>"
            )
            self.plot.label(metric, log=log)
            level = drawable([mixed[metric]], log)
            lines, dots = [], []
            at = dict(zip(names, mix, strict=True))
            alphas = [at[name] for name in layer_curves]
            for i, (name, one) in enumerate(layer_curves.items()):
                color, style = _COLORS[i % len(_COLORS)], _STYLES[i // len(_COLORS) % len(_STYLES)]
                lines.append(Series(one.coords[0], drawable(one.values[metric], log), name, color, style))
                dots.append(Series(alphas[i : i + 1], level, "", color, "points", width=6))
            self.plot.fit([0.0, 1.0, *alphas], level, *(line.y for line in lines))
            self.plot.draw("lines", [Series([0.0, 1.0], np.repeat(level, 2), "", GRAY, "dashed", width=1.0), *lines])
            self.plot.draw("dots", dots)
            self.plot.describe(_least_and_most(layer_curves, metric, mixed[metric]))


def _elsewhere(names: tuple[str, ...], mixed: tuple[str, ...]) -> str:
    """Which layers have nothing to be moved.

    >>> _elsewhere(("embed", "norm", "head"), ("embed", "head"))
    '; the parameters of norm are part of other layers here'
    """
    gone = [name for name in names if name not in mixed]
    more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
    return f"; the parameters of {', '.join(gone[:_NAMED])}{more} are part of other layers here" if gone else ""


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
