"""A bank of alphas, one for each layer, as part of a study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from lwidgets.landscape import Landscape, drawable
from lwidgets.objective import Objective
from lwidgets.palette import BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from lwidgets.pictures import Curves, Series, Words
from lwidgets.progress import Progress
from lwidgets.sampling import stream
from lwidgets.sampling.measure import measured
from lwidgets.studies.parts.readings import measured_words
from lwidgets.studies.parts.sliders import scale
from lwidgets.study import Part
from lwidgets.subspaces import Layerwise

_POINTS = 17  # of a layer's curve: measured, a line between two models needs no more
_COLORS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
_STYLES: tuple[Literal["solid", "dashed"], ...] = ("solid", "dashed")  # when there are more layers than colours
_NAMED = 4  # layers
_MORE = 1.25  # times as many curves are there when all are drawn again, so that drawing takes no longer than computing

Layers = tuple[Layerwise, Mapping[str, Objective]]
"""Two models and what may be mixed of them; data -> what is evaluated on a mixture."""


def mixture(names: tuple[str, ...], *, when: str = "") -> Part:
    """Layers with alphas of their own: a bank of sliders, curves, and what the mixture loses.

    Ports: ``layers``, `Layers` or None while there is nothing to mix; ``data``, ``metric``, ``tolerance``,
    ``log_height``.

    Args:
        names: Of the groups; where a rewritten network is mixed, some may have no parameters there.
        when: The toggle with which the bank is shown; always, if there is none.
    """
    ports = ("layers", "data", "metric", "tolerance", "log_height", *([when] if when else []))
    part = Part("mixture", ports=ports)
    part.slider(
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

    _add_nodes(part, names)
    _add_views(part, names)
    return part


def _add_nodes(part: Part, names: tuple[str, ...]) -> None:
    """What the mixture loses, and a curve for every layer."""

    @part.node(keep=64)
    def mixed(layers: Layers | None, mix: tuple[float, ...], data: str) -> dict[str, float]:
        if layers is None:
            return {}
        joined, objectives = layers
        return measured(objectives[data], joined, [mix[names.index(name)] for name in joined.names])

    @part.node(keep=64)
    def layer_curves(
        layers: Layers | None, mix: tuple[float, ...], data: str, tolerance: float, log_height: bool, progress: Progress
    ) -> Iterator[dict[str, Landscape]]:
        found: dict[str, Landscape] = {}
        yield found
        if layers is None:
            return
        joined, objectives = layers
        options: dict[str, Any] = {"resolution": _POINTS, "tolerance": tolerance, "log": log_height}
        at = dict(zip(names, mix, strict=True))
        alphas, shown = {name: at[name] for name in joined.names}, 0
        for name in alphas:
            *_, found[name] = stream(objectives[data], joined.line(name, at=alphas), progress=progress, **options)
            if len(found) in (len(alphas), max(shown + 1, round(_MORE * shown))):
                shown = len(found)
                yield dict(found)


def _add_views(part: Part, names: tuple[str, ...]) -> None:
    """The curves, and what was measured."""

    @part.view
    def mixture_picture(
        layer_curves: dict[str, Landscape],
        mixed: dict[str, float],
        mix: tuple[float, ...],
        metric: str,
        log_height: bool,
    ) -> Curves | None:
        alphas = dict(zip(names, mix, strict=True))
        return _picture(layer_curves, mixed, alphas, metric, log_height) if layer_curves and mixed else None

    @part.view
    def mixture_reading(layers: Layers | None, mixed: dict[str, float]) -> Words | None:
        if layers is None or not mixed:
            return None
        return measured_words("this mixture", mixed, _elsewhere(names, layers[0].names))


def _picture(
    curves: dict[str, Landscape], mixed: dict[str, float], alphas: dict[str, float], metric: str, log_height: bool
) -> Curves:
    """A curve for every layer, the others where they are; dots where each is, at the level of the mixture."""
    level = drawable([mixed[metric]], log_height)
    lines, dots = [], []
    for i, (name, one) in enumerate(curves.items()):
        color, style = _COLORS[i % len(_COLORS)], _STYLES[i // len(_COLORS) % len(_STYLES)]
        lines.append(Series(one.coords[0], drawable(one.values[metric], log_height), name, color, style))
        dots.append(Series([alphas[name]], level, "", color, "points", width=6))
    return Curves(
        [Series([0.0, 1.0], np.repeat(level, 2), "", GRAY, "dashed", width=1.0), *lines, *dots],
        x="alpha of one layer (0 = a, 1 = b)",
        y=metric,
        log=scale(log_height),
        caption=_least_and_most(curves, metric, mixed[metric]),
    )


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
