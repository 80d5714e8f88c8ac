"""Which examples make a barrier, as part of a study."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lwidgets.connectivity.attribution import Attribution, attribution
from lwidgets.pictures import Curves, Series, Words
from lwidgets.studies.parts.route import Route, Why
from lwidgets.study import Part
from lwidgets.subspaces import Line

_NAMED = 5  # examples
_HALF = 0.5


def examples(colors: Mapping[str, str]) -> Part:
    """Every example's own excess over its chord at alpha, the largest first, on every straight path.

    Ports: ``paths``, name -> `Route`; ``data``, ``alpha``.

    Args:
        colors: Of the paths.
    """
    part = Part("examples", ports=("paths", "data", "alpha"))
    part.slider("by_example", False, help="Which examples make the loss rise above its chord at alpha")

    @part.node(keep=64)
    def excesses(by_example: bool, paths: dict[str, Route], data: str, alpha: float) -> dict[str, Attribution] | Why:
        lines = {name: route for name, route in paths.items() if by_example and isinstance(route.path, Line)}
        try:
            return {
                name: attribution(route.objectives[data], route.path.vertices[0], route.path.vertices[1], alpha)
                for name, route in lines.items()
            }
        except ValueError as error:  # a loss that is not the cross-entropy has no such parts
            return str(error)

    @part.view
    def examples_picture(excesses: dict[str, Attribution] | Why, alpha: float) -> Curves | None:
        if not excesses or isinstance(excesses, str):
            return None
        heights = {name: found.excess[found.order()] for name, found in excesses.items()}
        told = "; ".join(f"{name} {_concentration(found)}" for name, found in excesses.items())
        return Curves(
            [Series((np.arange(len(y)) + 1) / len(y), y, name, colors[name]) for name, y in heights.items()],
            x="share of the examples, the largest excess first",
            y="excess of one example",
            caption=f"Excess of the loss over the chord at alpha {alpha:.3g}, by example: {told}.",
        )

    @part.view
    def examples_refusal(excesses: dict[str, Attribution] | Why) -> Words | None:
        return Words(excesses, title="Not by example", tone="alert") if isinstance(excesses, str) else None

    return part


def _concentration(found: Attribution) -> str:
    """In words: which share of the examples makes half of the excess, and which examples have most.

    >>> _concentration(Attribution(0.5, np.array([0.0, 3.0, 0.5, 0.5]), np.zeros(4), np.zeros(4), "none"))
    '1, of which half is made by 25 % of the examples, most by 1, 2, 3, 0'
    """
    order = found.order()
    running = np.cumsum(found.excess[order])
    if found.value <= 0:
        return f"{found.value:.4g}"
    count = int(np.argmax(running >= _HALF * running[-1])) + 1
    most = ", ".join(str(i) for i in order[:_NAMED])
    share = 100 * count / len(order)
    return f"{found.value:.4g}, of which half is made by {share:.2g} % of the examples, most by {most}"
