"""A small still of what a study shows, for places that draw nothing else."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from lwidgets.export.record import Picture, Recording
from lwidgets.export.stills import Still, encoded, figure
from lwidgets.landscape import Landscape

_WIDTH, _DPI = 5.0, 96  # inches and pixels an inch: about as wide as the live picture of a narrow cell
_SMALL = 8.0  # points


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
    return still


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
