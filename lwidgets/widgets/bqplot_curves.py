"""Curves as bqplot draws them, live: what has changed crosses to the browser, and nothing else."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from html import escape
from typing import Any

import bqplot
import ipywidgets as W
import numpy as np

from lwidgets.pictures.axes import round_ticks, tick_format
from lwidgets.pictures.curves import Curves, Scales, Stroke
from lwidgets.widgets.parts import close_with_parts

_SMALL = "font-size: 12px; line-height: 1.4; margin: 0 16px 4px 12px"
_INK = "var(--jp-ui-font-color1)"  # bqplot's own is orange in a dark theme
_GRID = {"grid_lines": "solid", "grid_color": "rgba(128,128,128,0.2)"}


class CurvesView(W.VBox):
    """A figure that follows `Curves`; marks stay while their number and kind do, so that a move is one small message.

    Only one thread may draw at a time.
    """

    def __init__(self) -> None:
        """An empty figure."""
        scales = {axis: {False: bqplot.LinearScale(), True: bqplot.LogScale()} for axis in "xy"}
        self._scales: dict[str, dict[bool, bqplot.Scale]] = scales
        self._axes = {
            "x": {log: bqplot.Axis(scale=scale, label_color=_INK, **_GRID) for log, scale in scales["x"].items()},
            "y": {
                log: bqplot.Axis(scale=scale, label_color=_INK, side="left", label_offset="50px", **_GRID)
                for log, scale in scales["y"].items()
            },
        }
        self._log: Scales = ""
        self._drawn: list[tuple[bqplot.Mark, Stroke]] = []
        self.figure = bqplot.Figure(
            axes=self._both(),
            fig_margin={"top": 12, "bottom": 44, "left": 68, "right": 16},
            legend_location="top-right",
            legend_style={"stroke-width": 0, "fill": "transparent"},
            background_style={"fill": "transparent"},
            layout=W.Layout(width="calc(100% - 4px)", height="320px", min_width="280px"),
            animation_duration=0,
        )
        self._free = self.figure.min_aspect_ratio, self.figure.max_aspect_ratio
        self.caption = W.HTML()
        super().__init__([self.figure, self.caption])
        self.add_class("lwidgets-figure")

    def show(self, picture: Curves) -> None:
        """Draw a picture."""
        self.axes(picture.x, picture.y, picture.log)
        self.fit(*picture.ranges, equal=picture.equal)
        self.figure.legend_location = picture.legend
        self.draw(picture.strokes)
        told = f'<div class="lwidgets-caption" style="{_SMALL}">{escape(picture.caption)}</div>'
        self.caption.value = told if picture.caption else ""

    def axes(self, x: str, y: str, log: Scales) -> None:
        """Name both axes and choose their scales."""
        for axis, label in (("x", x), ("y", y)):
            self._axes[axis][axis in log].label = f"{label} (log scale)" if axis in log and label else label
        if log != self._log:
            self._log = log  # `fit` shows the other axis; what is drawn now may have no place there
            before, self._drawn = self._drawn, []
            self.figure.marks = []
            for mark, _ in before:
                mark.close()

    def fit(self, x: tuple[float, float], y: tuple[float, float], *, equal: bool = False) -> None:
        """Choose both ranges, and round ticks inside them."""
        for axis, (low, high) in (("x", x), ("y", y)):
            log = axis in self._log
            scale, shown = self._scales[axis][log], self._axes[axis][log]
            if (scale.min, scale.max) != (low, high):
                with scale.hold_sync():
                    scale.min, scale.max = low, high
                ticks = round_ticks(low, high, log=log)
                shown.tick_format = tick_format(ticks, log=log)  # first: new values are drawn in the format it knows
                shown.tick_values = ticks
        if self.figure.axes != self._both():
            self.figure.axes = self._both()
        shape = ((x[1] - x[0]) / (y[1] - y[0]),) * 2 if equal else self._free
        if (self.figure.min_aspect_ratio, self.figure.max_aspect_ratio) != shape:
            with self.figure.hold_sync():
                self.figure.max_aspect_ratio = max(shape[1], self.figure.min_aspect_ratio)
                self.figure.min_aspect_ratio = shape[0]
                self.figure.max_aspect_ratio = shape[1]

    def draw(self, strokes: Sequence[Stroke]) -> None:
        """Draw these in place of what there is; marks of the same kind are used again."""
        there: defaultdict[tuple[str, str], deque[tuple[bqplot.Mark, Stroke]]] = defaultdict(deque)
        for mark, stroke in self._drawn:
            there[_kind(stroke)].append((mark, stroke))
        drawn: list[tuple[bqplot.Mark, Stroke]] = []
        for stroke in strokes:
            alike = there[_kind(stroke)]
            if alike:
                mark, before = alike.popleft()
                _update(mark, before, stroke)
            else:
                mark = self._mark(stroke)
            drawn.append((mark, stroke))
        self._drawn = drawn
        marks = [mark for mark, _ in drawn]
        if len(marks) != len(self.figure.marks) or any(
            a is not b for a, b in zip(marks, self.figure.marks, strict=True)
        ):
            self.figure.marks = marks
        for left in there.values():
            for mark, _ in left:
                mark.close()

    @property
    def aside(self) -> list[W.Widget]:
        """What is not on the page now: the axes of the other scales."""
        return [part for parts in (self._axes, self._scales) for both in parts.values() for part in both.values()]

    def close(self) -> None:
        """Give back the figure, its marks, all axes and every scale."""
        close_with_parts(self)

    def _both(self) -> list[bqplot.Axis]:
        return [self._axes[axis][axis in self._log] for axis in "xy"]

    def _mark(self, stroke: Stroke) -> bqplot.Mark:
        x, y = _arrays(stroke)
        scales = {axis: self._scales[axis][axis in self._log] for axis in "xy"}
        kind = bqplot.Scatter if stroke.style == "points" else bqplot.Lines
        return kind(x=x, y=y, scales=scales, **_looks(stroke))


def _looks(stroke: Stroke) -> dict[str, Any]:
    """Traits of a mark but for its numbers."""
    found: dict[str, Any] = {
        "labels": [stroke.label] if stroke.label else [],
        "display_legend": bool(stroke.label),
        "colors": [stroke.color],
    }
    if stroke.style == "points":
        size = max(8, int(8 * stroke.width))
        return found | {"default_size": size, "opacities": [stroke.opacity], "stroke_width": 0}
    if stroke.style == "band":
        fill = {"fill": "between", "fill_colors": [stroke.color], "fill_opacities": [stroke.opacity]}
        return found | fill | {"colors": [stroke.color] * 2, "stroke_width": 0.5}
    return found | {"line_style": stroke.style, "stroke_width": stroke.width, "opacities": [stroke.opacity]}


def _update(mark: bqplot.Mark, before: Stroke, stroke: Stroke) -> None:
    """Make a mark show another stroke of its kind; what is as it was is not sent."""
    was, looks = _looks(before), _looks(stroke)
    same = np.array_equal(before.x, stroke.x, equal_nan=True) and np.array_equal(before.y, stroke.y, equal_nan=True)
    if not same:
        with mark.hold_sync():
            mark.x, mark.y = _arrays(stroke)
    for name, value in looks.items():
        if was[name] != value:
            setattr(mark, name, value)


def _arrays(stroke: Stroke) -> tuple[np.ndarray, np.ndarray]:
    """Without what bqplot would place at NaN: points that are not finite, and ends of a line."""
    x, y = stroke.x, stroke.y
    finite = np.isfinite(y)
    if stroke.style == "points":
        return x[finite], y[finite]
    if stroke.style != "band" and len(x):
        kept = np.flatnonzero(finite)
        ends = slice(kept[0], kept[-1] + 1) if len(kept) else slice(0)
        return x[ends], y[ends]
    return x, y


def _kind(stroke: Stroke) -> tuple[str, str]:
    return ("Scatter", "") if stroke.style == "points" else ("Lines", stroke.style)
