"""Where the pictures of a study are on the page: a place for each panel, some of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ipywidgets as W

from lwidgets.pictures import Curves, Picture
from lwidgets.study import Panel
from lwidgets.widgets.bqplot_curves import CurvesView
from lwidgets.widgets.picture import PictureView

_DRAWN_BY: dict[str, Callable[[], Any]] = {Curves.kind: CurvesView}
"""Kinds that something else than our own core draws, live."""
_SIDE_BY_SIDE = "repeat(auto-fit, minmax(min(420px, 100%), 1fr))"  # where there is room


class Place(W.VBox):
    """Where a panel is: its picture while there is one. What is laid out while hidden would draw nonsense.

    Attributes:
        view: What draws, once there has been a picture.
        aside: The same, while it is not on the page.
    """

    def __init__(self) -> None:
        """Nothing is shown yet."""
        super().__init__(layout=W.Layout(display="none", min_width="0"))
        self.view: Any = None
        self._kind = ""
        self.aside: tuple[W.Widget, ...] = ()

    def show(self, picture: Picture | None) -> bool:
        """Show a picture, or none; whether the view is a new one."""
        if picture is None:
            self.children, self.layout.display = (), "none"
            return False
        made = picture.kind != self._kind
        if made:
            before, self._kind = self.view, picture.kind
            self.view = _DRAWN_BY.get(picture.kind, PictureView)()
            self.aside = (self.view,)
            if before is not None:
                before.close()
        self.view.show(picture)
        if self.children != self.aside:
            self.layout.display, self.children = "", self.aside  # in this order: see above
        return made


class Panels(W.VBox):
    """The places of all panels of a study, in its order.

    Attributes:
        places: Panel -> its place.
    """

    def __init__(self, panels: Sequence[Panel]) -> None:
        """Nothing is shown yet.

        Args:
            panels: Of a study.
        """
        self.places = {panel.name: Place() for panel in panels}
        self._rows: dict[str, tuple[list[str], W.GridBox]] = {}
        first: dict[str, str] = {}
        for panel in panels:
            row = first[panel.name] = first.get(panel.beside, panel.name)
            if row not in self._rows:  # a box that nobody shows would stay open
                self._rows[row] = ([], W.GridBox(layout=W.Layout(width="100%")))
            self._rows[row][0].append(panel.name)
        self._row_of = first
        for names, box in self._rows.values():
            box.children = [self.places[name] for name in names]
        super().__init__([box for _, box in self._rows.values()])

    def show(self, name: str, picture: Picture | None) -> bool:
        """Show a picture in its panel, or that there is none; whether something new draws it."""
        made = self.places[name].show(picture)
        names, row = self._rows[self._row_of[name]]
        shown = sum(bool(self.places[one].children) for one in names)
        columns = _SIDE_BY_SIDE if shown > 1 else "100%"
        if row.layout.grid_template_columns != columns:
            row.layout.grid_template_columns = columns
        return made

    def views(self) -> Iterator[tuple[str, Any]]:
        """Panel -> what draws it, of those that have had a picture."""
        for name, place in self.places.items():
            if place.view is not None:
                yield name, place.view
