"""A small still of what a study shows, for places that draw nothing else."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from lwidgets.export.record import Picture, Recording
from lwidgets.export.stills import Still, encoded, figure, fit_height, plain
from lwidgets.landscape import Landscape

_WIDTH, _DPI = 5.0, 96  # inches and pixels an inch: about as wide as the live picture of a narrow cell
_SMALL = 8.0  # points
_LETTERS: dict[str, Any] = {"fontsize": _SMALL - 1, "parse_math": False}
_LONGEST = 40  # letters of a name


def thumbnail(recording: Recording) -> bytes | None:
    """The first picture of the first frame as a PNG file; None where there is nothing to draw yet."""
    for kind, picture in zip(recording.kinds, recording.frames[0], strict=True):
        if picture and kind != "text":
            still = _surface(picture) if kind == "height_field" else _curves(picture)
            return encoded(still, format="png", dpi=_DPI)
    return None


def _surface(picture: Picture) -> Still:
    frame = picture["frame"]
    metrics = frame["metrics"]
    shown = Landscape(
        coords=tuple(frame[axis].astype(np.float64) for axis in "xy"),
        axes=("x", "y"),
        labels=tuple(frame["labels"]),
        values={name: grid.astype(np.float64) for name, grid in zip(metrics, frame["values"], strict=True)},
        evaluated=frame["evaluated"].astype(bool),
        evaluations=int(frame["evaluated"].sum()),
        error={name: float(np.nan if e is None else e) for name, e in zip(metrics, frame["errors"], strict=True)},
        final=frame["final"],
    )
    still: Still = figure(  # type: ignore[assignment]
        shown, frame["metric"], log=frame["log"], width=_WIDTH, colormap=frame["colormap"]
    )
    _draw_paths(still.axes[0], picture["paths"])
    _draw_markers(still.axes[0], picture["markers"])
    if still.axes[0].get_legend():
        fit_height(still)
    return still


def _draw_paths(axes: Axes, paths: Sequence[dict[str, Any]]) -> None:
    """As wide and with such a halo as on the live map; the names of those inside it stand above it."""
    named: list[tuple[Line2D, str]] = []
    for path in paths:
        light = np.dot(to_rgb(path["color"]), (0.299, 0.587, 0.114)) > 0.55
        halo = withStroke(linewidth=3.4, foreground=(0, 0, 0, 0.6) if light else (1, 1, 1, 0.85))
        look = {"linestyle": (0, (3.5, 2)) if path["dashed"] else "-", "linewidth": 1.5, "color": path["color"]}
        (line,) = axes.plot(path["x"], path["y"], path_effects=[halo], zorder=3, **look)
        if path["label"] and line.get_path().intersects_bbox(axes.viewLim, filled=False):
            named.append((line, plain(path["label"], _LONGEST)))
    if named:
        lines, names = zip(*named, strict=True)
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
        legend = axes.legend(lines, [" "] * len(lines), ncols=2, frameon=False, fontsize=_SMALL - 1, **place)
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set(text=name, parse_math=False)  # as it is: in a label, "_" would mean that there is none


def _draw_markers(axes: Axes, markers: Sequence[dict[str, Any]]) -> None:
    """The named places inside the map; a name goes to the side where there is room."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for marker in markers:
        x, y = marker["x"], marker["y"]
        if not (left <= x <= right and low <= y <= high):
            continue
        axes.plot(x, y, "D", markersize=4.5, color="white", markeredgecolor="#111", clip_on=False, zorder=4)
        beyond = x > (left + right) / 2
        axes.annotate(
            plain(marker["label"], _LONGEST),
            (x, y),
            xytext=(-5 if beyond else 5, 5),
            textcoords="offset points",
            ha="right" if beyond else "left",
            path_effects=[withStroke(linewidth=2.5, foreground=(1, 1, 1, 0.82))],
            zorder=5,
            **_LETTERS,
        )


def _curves(picture: Picture) -> Still:
    """A line plot as the live one draws it: the same ranges, colours, legend and caption."""
    still = Still(figsize=(_WIDTH, 0.72 * _WIDTH), layout="constrained")
    axes = still.add_subplot()
    letters: dict[str, Any] = {"fontsize": _SMALL, "parse_math": False}
    axes.set(xlim=picture["x_range"], ylim=picture["y_range"], yscale="log" if picture["log"] else "linear")
    axes.set_xlabel(picture["x_label"], **letters)
    axes.set_ylabel(picture["y_label"], **letters)
    axes.tick_params(labelsize=_SMALL - 1)
    axes.grid(alpha=0.2)
    for one in picture["series"]:
        look = {"color": one["color"], "label": one["label"] or "_", "alpha": one["opacity"]}
        if one["style"] == "band":
            axes.fill_between(one["x"], *one["y"], **(look | {"alpha": 0.15}))
        elif one["style"] == "points":
            axes.plot(one["x"], one["y"], "o", markersize=1.5 * one["width"] ** 0.5, **look)
        else:
            line = "--" if one["style"] == "dashed" else "-"
            axes.plot(one["x"], one["y"], line, linewidth=0.75 * one["width"], **look)
    if any(one["label"] for one in picture["series"]):
        for text in axes.legend(fontsize=_SMALL - 1, frameon=False).get_texts():
            text.set_parse_math(False)
    still.supxlabel(textwrap.fill(picture["caption"], 80, max_lines=4), ha="left", x=0.02, **letters)
    return still
