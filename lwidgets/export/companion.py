"""Companions: what one person explored live, for readers who have no kernel.

A companion document holds what the views of a study show at every position of the sliders that stay alive. It is JSON,
drawn by ``js/src/core/companion.ts`` in a page of its own or in JupyterLab.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lwidgets.export.arrays import ArrayTable, Coding
from lwidgets.export.record import Picture, Recording
from lwidgets.study.sliders import Slider, value_text

FORMAT, VERSION = "lwidgets.companion", 1
MIME = "application/vnd.lwidgets.companion.v1+json"

_BY_METRIC = ("metrics", "values", "errors")  # fields of a frame that have an entry for each metric
_LONG = 10_000  # characters of a text; nobody reads more, and a file must not be made of it


def document(recordings: Sequence[Recording], title: str, *, exact: bool = False) -> dict[str, Any]:
    """The companion document of some studies.

    Args:
        recordings: The studies at all their positions.
        title: Of the whole.
        exact: Keep float32 values; otherwise they are rounded to 65,533 steps over their range, or over that of their
            logarithm where that is on show.

    Returns:
        Plain JSON values.
    """
    arrays = ArrayTable()
    studies = [_study(k, recording, arrays, exact) for k, recording in enumerate(recordings)]
    specs, data = arrays.encoded()
    return {
        "format": FORMAT,
        "version": VERSION,
        "title": _text(title),
        "studies": studies,
        "arrays": specs,
        "data": base64.b64encode(data).decode("ascii"),
    }


def size_of(recordings: Sequence[Recording]) -> int:
    """Bytes of the document."""
    return len(json.dumps(document(recordings, "")))


def _study(index: int, recording: Recording, arrays: ArrayTable, exact: bool) -> dict[str, Any]:
    pictures: dict[str, int] = {}  # equal pictures are kept once
    kept: list[dict[str, Any]] = []
    frames = []
    shown = [{p["frame"]["metric"] for p in view if p and "frame" in p} for view in zip(*recording.frames, strict=True)]
    for frame in recording.frames:
        told: list[int | None] = []
        for view, picture in enumerate(frame):
            if picture is None:
                told.append(None)
                continue
            plain = _plain(recording.kinds[view], _pruned(picture, shown[view]), arrays, (index, view), exact)
            key = json.dumps(plain, sort_keys=True)
            if key not in pictures:
                pictures[key] = len(kept)
                kept.append(plain)
            told.append(pictures[key])
        frames.append(told)
    return {
        "title": _text(recording.title),
        "source": _text(recording.source),
        "sliders": [
            {
                "name": slider.name,
                "label": slider.title,
                "kind": "choice" if slider.kind == "bank" else slider.kind,
                "positions": _positions(slider, recording.positions[slider.name]),
                "start": recording.starts[slider.name],
                "between": recording.between[slider.name],
                "help": _text(slider.help),
            }
            for slider in recording.sliders
        ],
        "fixed": [
            {"label": slider.title, "value": _text(value_text(slider, value))} for slider, value in recording.fixed
        ],
        "views": [{"kind": kind} for kind in recording.kinds],
        "frames": frames,
        "pictures": kept,
    }


def _positions(slider: Slider, values: Sequence[Any]) -> list[Any]:
    """As JSON; a bank is chosen from a list, by its words."""
    return [value_text(slider, value) for value in values] if slider.kind == "bank" else list(values)


def _pruned(picture: Picture, metrics: set[str]) -> Picture:
    """Without the metrics that are on show at no position."""
    if "frame" not in picture:
        return picture
    frame = picture["frame"]
    kept = [k for k, metric in enumerate(frame["metrics"]) if metric in metrics]
    return {**picture, "frame": {**frame, **{name: [frame[name][k] for k in kept] for name in _BY_METRIC}}}


def _plain(kind: str, picture: Picture, arrays: ArrayTable, role: tuple[Any, ...], exact: bool) -> dict[str, Any]:
    """A picture as JSON, its arrays in the table."""

    def add(values: Any, log: bool, *part: Any) -> dict[str, int]:
        return {"array": arrays.add(values, "f4" if exact else _coding(values, log), (*role, log, *part))}

    if kind == "text":
        return {"text": _text(picture["text"])}
    if kind == "line_plot":
        series = []
        for k, one in enumerate(picture["series"]):
            x = {"array": arrays.add(one["x"], "f4")}
            series.append({**one, "label": _text(one["label"]), "x": x, "y": add(one["y"], picture["log"], k)})
        words = {name: _text(picture[name]) for name in ("x_label", "y_label", "caption")}
        return {**picture, **words, "series": series}
    frame = dict(picture["frame"])
    values = [add(v, frame["log"], metric) for v, metric in zip(frame["values"], frame["metrics"], strict=True)]
    return {
        **picture,
        "paths": [
            {**path, "label": _text(path["label"]), **{axis: {"array": arrays.add(path[axis], "f4")} for axis in "xy"}}
            for path in picture["paths"]
        ],
        "description": _text(picture["description"]),
        "frame": {
            **frame,
            "metrics": [_text(metric) for metric in frame["metrics"]],
            "metric": _text(frame["metric"]),
            "labels": [_text(label) for label in frame["labels"]],
            "tag": 0,
            "x": {"array": arrays.add(frame["x"], "f4")},
            "y": {"array": arrays.add(frame["y"], "f4")},
            "values": {"arrays": [value["array"] for value in values]},
            "evaluated": {"array": arrays.add(frame["evaluated"], "u1")},
        },
    }


def _coding(values: Any, log: bool) -> Coding:
    array = np.asarray(values)
    return "l2" if log and not (array < 0).any() else "q2"


def _text(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(text):,} characters)"
