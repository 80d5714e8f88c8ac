"""A plane beside curves, as part of a study."""

from __future__ import annotations

from typing import Any

import ipywidgets as W

from lwidgets.landscape import Landscape
from lwidgets.widgets.height_field import HeightField
from lwidgets.widgets.parts import AtTimes

PLANE: dict[str, Any] = {"resolution": 33, "tolerance": 2e-2}
"""How finely the plane is sampled."""

_SIDE_BY_SIDE = "repeat(auto-fit, minmax(min(420px, 100%), 1fr))"  # where there is room


class PlaneBeside:
    """A map that stands beside other pictures while there is one.

    Attributes:
        height_field: The map.
        box: It, while there is something to show.
        pictures: The other pictures and the box.
    """

    def __init__(self, others: W.Widget, description: str) -> None:
        """Nothing is shown yet.

        Args:
            others: What it stands beside.
            description: Accessible name of the map.
        """
        self.height_field = HeightField(description=description, panes=["map"])
        self.box = AtTimes(self.height_field, layout=W.Layout(min_width="280px"))
        self.pictures = W.GridBox([others, self.box], layout=W.Layout(width="100%"))

    def draw(self, surface: Landscape | None, metric: str, *, log: bool) -> None:
        """Show a surface, or that there is none."""
        self.box.show(surface is not None)
        self.pictures.layout.grid_template_columns = "100%" if surface is None else _SIDE_BY_SIDE
        if surface is not None:
            self.height_field.draw(surface, metric, log=log)
