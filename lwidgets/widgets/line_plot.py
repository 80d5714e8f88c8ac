"""Curves with axes and a legend, drawn by bqplot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

import bqplot
import ipywidgets as W
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lwidgets.landscape import drawable
from lwidgets.palette import BLUE
from lwidgets.widgets.parts import close_with_parts

_LEGEND_WIDTH, _LEGEND_ROW = 0.4, 20  # a share of the figure, and pixels
_USUAL = 320.0  # pixels, where another unit was given for the height
_CLOSER = 64  # points of a line for which room is left
_SMALL = "font-size: 12px; line-height: 1.4; margin: 0 16px 4px 12px"


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
        self._height = float(height.removesuffix("px")) if height.endswith("px") else _USUAL
        self._x = bqplot.LinearScale()
        self._y: dict[bool, bqplot.Scale] = {False: bqplot.LinearScale(), True: bqplot.LogScale()}
        self._log = False
        self._groups: dict[str, list[bqplot.Mark]] = {}
        self._series: dict[str, tuple[Series, ...]] = {}
        self._words = ""
        ink = "var(--jp-ui-font-color1)"  # bqplot's own is orange in a dark theme
        grid = {"grid_lines": "solid", "grid_color": "rgba(128,128,128,0.2)"}
        self.x_axis = bqplot.Axis(scale=self._x, label=x_label, label_color=ink, **grid)
        self._y_axes = {
            log: bqplot.Axis(scale=scale, label=y_label, label_color=ink, side="left", label_offset="50px", **grid)
            for log, scale in self._y.items()
        }
        self.y_axis = self._y_axes[False]
        self.figure = bqplot.Figure(
            axes=[self.x_axis, self.y_axis],
            fig_margin={"top": 12, "bottom": 44, "left": 68, "right": 16},
            legend_location="top-right",
            legend_style={"stroke-width": 0, "fill": "transparent"},
            background_style={"fill": "transparent"},
            layout=W.Layout(width="calc(100% - 4px)", height=height, min_width="280px"),
            animation_duration=0,
        )
        self.caption = W.HTML()
        super().__init__([self.figure, self.caption])
        self.add_class("lwidgets-figure")

    def label(self, y_label: str, *, log: bool) -> None:
        """Name the vertical axis and choose its scale."""
        self.y_axis = self._y_axes[log]
        self.y_axis.label = f"{y_label} (log scale)" if log else y_label
        if log == self._log:
            return
        self._log = log  # `fit` shows the other axis; what is drawn now may have no place there
        before, self.figure.marks = self.figure.marks, []
        self._groups.clear()
        self._series.clear()
        for mark in before:
            mark.close()

    def fit(self, x: ArrayLike, *ys: ArrayLike) -> None:
        """Choose both ranges, a little wider than the data, and round ticks inside them."""
        shown = drawable(np.concatenate([np.empty(0), *map(np.ravel, ys)]), self._log)
        finite = shown[np.isfinite(shown)]
        low, high = (finite.min(), finite.max()) if len(finite) else (0.1, 1.0)
        for scale, axis, ends, log in (
            (self._x, self.x_axis, (np.min(x), np.max(x)), False),
            (self._y[self._log], self.y_axis, (low, high), self._log),
        ):
            start, end = padded(*map(float, ends), log=log)
            with scale.hold_sync():
                scale.min, scale.max = start, end
            ticks = round_ticks(start, end, log=log)
            axis.tick_format = tick_format(ticks, log=log)  # first: bqplot draws new values in the format it knows
            axis.tick_values = ticks
        if self.figure.axes[1] is not self.y_axis:
            self.figure.axes = [self.x_axis, self.y_axis]

    def draw(self, group: str, series: Sequence[Series]) -> None:
        """Replace a group; marks are reused, so an update is one small message a mark."""
        self._series[group] = tuple(series)
        self.figure.legend_location = self._corner()
        marks = self._groups.get(group, [])
        if [_kind(mark) for mark in marks] != [_drawn_as(one) for one in series]:
            self._groups[group] = [self._mark(one) for one in series]
            self.figure.marks = [mark for members in self._groups.values() for mark in members]
            for mark in marks:
                mark.close()
            return
        for mark, one in zip(marks, series, strict=True):
            x, y = _arrays(one)
            with mark.hold_sync():
                mark.x, mark.y = x, y
            if list(mark.labels or []) != _labels(one):
                mark.labels, mark.display_legend = _labels(one), bool(one.label)

    def describe(self, text: str) -> None:
        """One sentence below the figure, which is also its accessible name."""
        self._words = text
        self.caption.value = f'<div class="lwidgets-caption" style="{_SMALL}">{escape(text)}</div>'

    def picture(self) -> dict[str, Any]:
        """What is on show, as plain values and arrays: axes, ranges, series, caption, the legend's corner."""
        scale = self._y[self._log]
        return {
            "x_label": self.x_axis.label,
            "y_label": self.y_axis.label,
            "log": self._log,
            "x_range": [self._x.min, self._x.max],
            "y_range": [scale.min, scale.max],
            "caption": self._words,
            "legend": self.figure.legend_location,
            "series": [
                {**asdict(one), "x": np.asarray(one.x, dtype=np.float64), "y": np.asarray(one.y, dtype=np.float64)}
                for group in self._series.values()
                for one in group
            ],
        }

    @property
    def aside(self) -> list[W.Widget]:
        """What is not on the page now: the vertical axis of the other scale."""
        return [*self._y_axes.values(), *self._y.values()]

    def close(self) -> None:
        """Give back the figure, its marks, both vertical axes and every scale."""
        close_with_parts(self)

    def _corner(self) -> str:
        """Where the legend hides least of what is drawn."""
        scale = self._y[self._log]
        if self._x.min is None or scale.min is None:
            return "top-right"
        ends = np.array([[self._x.min, self._x.max], [scale.min, scale.max]])
        drawn = [one for group in self._series.values() for one in group]
        places = [_along(one.x, drawable(one.y, self._log)) for one in drawn if one.style in ("solid", "dashed")]
        if self._log:
            places, ends[1] = [np.stack([x, np.log(y)]) for x, y in places], np.log(ends[1])
        shares = [(place - ends[:, :1]) / np.diff(ends) for place in places]
        height = _LEGEND_ROW * (1 + sum(bool(one.label) for one in drawn)) / self._height
        return roomiest_corner(np.concatenate([np.empty((2, 0)), *shares], axis=1), _LEGEND_WIDTH, height)

    def _scales(self) -> dict[str, bqplot.Scale]:
        return {"x": self._x, "y": self._y[self._log]}

    def _mark(self, one: Series) -> bqplot.Mark:
        x, y = _arrays(one)
        common = {"x": x, "y": y, "scales": self._scales(), "labels": _labels(one), "display_legend": bool(one.label)}
        if one.style == "points":
            return bqplot.Scatter(
                colors=[one.color],
                default_size=max(8, int(8 * one.width)),
                opacities=[one.opacity],
                stroke_width=0,
                **common,
            )
        if one.style == "band":
            return bqplot.Lines(
                colors=[one.color] * 2,
                fill="between",
                fill_colors=[one.color],
                fill_opacities=[0.15],
                stroke_width=0.5,
                **common,
            )
        return bqplot.Lines(
            colors=[one.color], line_style=one.style, stroke_width=one.width, opacities=[one.opacity], **common
        )


def roomiest_corner(points: NDArray[np.float64], width: float, height: float) -> str:
    """The corner of a picture with the fewest points, top right before the others.

    >>> roomiest_corner(np.array([[0.1, 0.5, 0.9], [0.1, 0.5, 0.9]]), 0.4, 0.3)
    'top-left'

    Args:
        points: Shape (2, n), as shares of the width from the left and of the height from below.
        width: Of a corner, as a share.
        height: As a share.
    """
    x, y = points
    crowds = {
        f"{upper}-{side}": np.sum(
            (y > 1 - height if upper == "top" else y < height) & (x > 1 - width if side == "right" else x < width)
        )
        for upper in ("top", "bottom")
        for side in ("right", "left")
    }
    return min(crowds, key=lambda corner: int(crowds[corner]))


def padded(low: float, high: float, *, log: bool = False) -> tuple[float, float]:
    """A range a few per cent wider, so that nothing is cut off at the frame; a single value gets some room.

    >>> padded(0.0, 1.0)
    (-0.03, 1.03)
    """
    if log:
        ratio = max(high / low, 1.2) ** 0.03
        return low / ratio, high * ratio
    room = 0.03 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room


def round_ticks(low: float, high: float, *, log: bool = False) -> NDArray[np.float64]:
    """Between three and nine round numbers inside a range: steps of 1, 2 or 5 times a power of ten.

    >>> round_ticks(-0.03, 1.03).tolist()
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> round_ticks(0.5, 2000.0, log=True).tolist()
    [1.0, 10.0, 100.0, 1000.0]
    """
    if log:
        exponents = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        exponents = exponents[:: max(1, len(exponents) // 8)]
        for steps in ((1,), (1, 3), (1, 2, 5)):
            ticks = np.array([step * 10.0**e for e in exponents for step in steps])
            ticks = ticks[(ticks >= low) & (ticks <= high)]
            if len(ticks) >= 3:
                return ticks
    power = 10.0 ** np.floor(np.log10((high - low) / 4))
    step = next(power * m for m in (1, 2, 5, 10) if (high - low) / (power * m) <= 7)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    rounded: NDArray[np.float64] = np.round(np.arange(first, last + 1) * step, 15)
    return rounded + 0.0  # no minus zero


def tick_format(ticks: NDArray[np.float64], *, log: bool = False) -> str:
    """As many digits as tell the ticks apart, in d3's notation."""
    if log or np.abs(ticks).max(initial=0.0) >= 1e5 or np.ptp(ticks) < 1e-4:
        return ".3~g"
    step = np.diff(ticks).min(initial=1.0)
    return f".{max(0, -int(np.floor(np.log10(step) + 1e-9)))}f"


def _arrays(one: Series) -> tuple[np.ndarray, np.ndarray]:
    """Without what bqplot would place at NaN: points that are not finite, and ends of a line."""
    x, y = np.asarray(one.x, dtype=np.float64), np.asarray(one.y, dtype=np.float64)
    finite = np.isfinite(y)
    if one.style == "points":
        return x[finite], y[finite]
    if one.style != "band" and len(x):
        kept = np.flatnonzero(finite)
        ends = slice(kept[0], kept[-1] + 1) if len(kept) else slice(0)
        return x[ends], y[ends]
    return x, y


def _along(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """Points close together on a line, shape (2, n), whatever its own are; none on an upright one, a cursor."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(xs) < 2 or np.ptp(xs) == 0:
        return np.empty((2, 0))
    closer = np.linspace(0, len(xs) - 1, _CLOSER)
    each = np.arange(len(xs))
    return np.stack([np.interp(closer, each, xs), np.interp(closer, each, ys)])


def _labels(one: Series) -> list[str]:
    return [one.label] if one.label else []


def _drawn_as(one: Series) -> tuple[str, str]:
    return ("Scatter", "") if one.style == "points" else ("Lines", "solid" if one.style == "band" else one.style)


def _kind(mark: bqplot.Mark) -> tuple[str, str]:
    return ("Scatter", "") if isinstance(mark, bqplot.Scatter) else ("Lines", mark.line_style)
