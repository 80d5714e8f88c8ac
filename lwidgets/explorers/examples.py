"""Which examples make a barrier, as part of a study."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lwidgets.connectivity.attribution import Attribution, attribution
from lwidgets.explorers.route import Route
from lwidgets.study import Study
from lwidgets.subspaces import Line
from lwidgets.widgets.line_plot import LinePlot, Series
from lwidgets.widgets.parts import AtTimes

_NAMED = 5  # examples
_HALF = 0.5


class Examples:
    """Every example's own excess over its chord at alpha, the largest first, on every straight path.

    Attributes:
        plot: Excess over the share of examples.
        box: It, while there is something to show.
    """

    def __init__(self, colors: Mapping[str, str]) -> None:
        """Nothing is computed or shown yet.

        Args:
            colors: Of the paths.
        """
        self._colors = colors
        self.plot = LinePlot("share of the examples, the largest excess first", "excess of one example", height="260px")
        self.box = AtTimes(self.plot)

    def add_to(self, study: Study) -> None:
        """Add the toggle, its node and its view to a study.

        Args:
            study: With sliders data and alpha, and a node ``paths``: name -> `Route`.
        """
        study.slider("by_example", False, help="Which examples make the loss rise above its chord at alpha")

        @study.node(keep=64)
        def excesses(
            by_example: bool, paths: dict[str, Route], data: str, alpha: float
        ) -> dict[str, Attribution] | str:
            lines = {name: route for name, route in paths.items() if by_example and isinstance(route.path, Line)}
            try:
                return {
                    name: attribution(route.objectives[data], route.path.vertices[0], route.path.vertices[1], alpha)
                    for name, route in lines.items()
                }
            except ValueError as error:  # a loss that is not the cross-entropy has no such parts
                return str(error)

        @study.view(widget=self.box)
        def draw_examples(excesses: dict[str, Attribution] | str, alpha: float) -> None:
            self.box.show(bool(excesses))
            if not excesses:
                return
            if isinstance(excesses, str):
                self.plot.draw("examples", [])
                self.plot.describe(f"Not by example: {excesses}")
                return
            heights = {name: found.excess[found.order()] for name, found in excesses.items()}
            share = {name: (np.arange(len(y)) + 1) / len(y) for name, y in heights.items()}
            self.plot.label("excess of one example", log=False)
            self.plot.fit([0.0, 1.0], *heights.values())
            self.plot.draw(
                "examples", [Series(share[name], y, name, self._colors[name]) for name, y in heights.items()]
            )
            told = "; ".join(f"{name} {_concentration(found)}" for name, found in excesses.items())
            self.plot.describe(f"Excess of the loss over the chord at alpha {alpha:.3g}, by example: {told}.")


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
