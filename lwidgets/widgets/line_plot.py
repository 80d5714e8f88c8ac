"""Curves with axes and a legend, drawn by bqplot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import bqplot
import ipywidgets as W
import numpy as np
from numpy.typing import ArrayLike

BLUE, VERMILLION, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#808080"
"""Okabe and Ito's colours, told apart by every kind of colour vision; gray for what is not data."""


@dataclass(frozen=True)
class Series:
    """One line, set of points or band.

    Attributes:
        x: Shape (n,).
        y: Shape (n,); for a band (2, n), its lower and upper edge. Values that are not finite leave gaps.
        label: In the legend; empty for none.
        color: CSS colour.
        style: How it is drawn.
        width: Of lines, in pixels.
        opacity: 0 to 1.
    """

    x: ArrayLike
    y: ArrayLike
    label: str = ""
    color: str = BLUE
    style: Literal["solid", "dashed", "points", "band"] = "solid"
    width: float = 2.0
    opacity: float = 1.0


class LinePlot(W.VBox):
    """A figure whose groups of series are replaced one group at a time, in place.

    Only one thread may draw at a time.
    """

    def __init__(self, x_label: str, y_label: str = "", *, height: str = "320px") -> None:
        """An empty figure.

        Args:
            x_label: Of the horizontal axis.
            y_label: Of the vertical axis; `label` changes it.
            height: CSS height of the figure.
        """
        self._x = bqplot.LinearScale()
        self._y: dict[bool, bqplot.Scale] = {False: bqplot.LinearScale(), True: bqplot.LogScale()}
        self._log = False
        self._groups: dict[str, list[bqplot.Mark]] = {}
        self.x_axis = bqplot.Axis(scale=self._x, label=x_label, grid_lines="solid", grid_color="rgba(128,128,128,0.2)", num_ticks=7)
        self.y_axis = bqplot.Axis(
            scale=self._y[False],
            label=y_label,
            orientation="vertical",
            label_offset="50px",
            grid_lines="solid",
            grid_color="rgba(128,128,128,0.2)",
            num_ticks=6,
        )
        self.figure = bqplot.Figure(
            axes=[self.x_axis, self.y_axis],
            fig_margin={"top": 12, "bottom": 44, "left": 68, "right": 16},
            legend_location="top-right",
            legend_style={"stroke-width": 0, "fill": "transparent"},
            background_style={"fill": "transparent"},
            layout=W.Layout(width="100%", height=height, min_width="280px"),
            animation_duration=0,
        )
        self.caption = W.HTML()
        super().__init__([self.figure, self.caption])
        self.add_class("lwidgets-figure")

    def label(self, y_label: str, *, log: bool) -> None:
        """Name the vertical axis and choose its scale."""
        self.y_axis.label = f"{y_label} (log scale)" if log else y_label
        if log == self._log:
            return
        self._log = log
        self.y_axis.scale = self._y[log]
        for mark in self.figure.marks:
            mark.scales = self._scales()

    def draw(self, group: str, series: Sequence[Series]) -> None:
        """Replace a group; marks are reused, so an update is one small message a mark."""
        marks = self._groups.get(group, [])
        if [_kind(mark) for mark in marks] != [_drawn_as(one) for one in series]:
            marks = [self._mark(one) for one in series]
            self._groups[group] = marks
            self.figure.marks = [mark for members in self._groups.values() for mark in members]
            return
        for mark, one in zip(marks, series, strict=True):
            x, y = _arrays(one)
            with mark.hold_sync():
                mark.x, mark.y = x, y
            if list(mark.labels or []) != _labels(one):
                mark.labels, mark.display_legend = _labels(one), bool(one.label)

    def describe(self, text: str) -> None:
        """One sentence below the figure, which is also its accessible name."""
        self.caption.value = f'<p class="lwidgets-caption">{escape(text)}</p>'
        self.figure.tooltip = text

    def _scales(self) -> dict[str, bqplot.Scale]:
        return {"x": self._x, "y": self._y[self._log]}

    def _mark(self, one: Series) -> bqplot.Mark:
        x, y = _arrays(one)
        common = {"x": x, "y": y, "scales": self._scales(), "labels": _labels(one), "display_legend": bool(one.label)}
        if one.style == "points":
            return bqplot.Scatter(
                colors=[one.color], default_size=max(8, int(8 * one.width)), default_opacities=[one.opacity], stroke_width=0, **common
            )
        if one.style == "band":
            return bqplot.Lines(colors=[one.color] * 2, fill="between", fill_colors=[one.color], fill_opacities=[0.15], stroke_width=0.5, **common)
        return bqplot.Lines(colors=[one.color], line_style=one.style, stroke_width=one.width, opacities=[one.opacity], **common)


def _arrays(one: Series) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(one.x, dtype=np.float64), np.asarray(one.y, dtype=np.float64)


def _labels(one: Series) -> list[str]:
    return [one.label] if one.label else []


def _drawn_as(one: Series) -> tuple[str, str]:
    return ("Scatter", "") if one.style == "points" else ("Lines", "solid" if one.style == "band" else one.style)


def _kind(mark: bqplot.Mark) -> tuple[str, str]:
    return ("Scatter", "") if isinstance(mark, bqplot.Scatter) else ("Lines", mark.line_style)
