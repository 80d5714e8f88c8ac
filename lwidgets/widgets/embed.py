"""The widgets of the notebook for a page without one: their states, as ipywidgets sends them to a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import ipywidgets as W
import numpy as np

from lwidgets.export.recording import Recording
from lwidgets.pictures.axes import round_ticks, tick_format
from lwidgets.pictures.curves import Curves, Stroke
from lwidgets.study.sliders import Slider, value_text
from lwidgets.widgets.bqplot_curves import CurvesView
from lwidgets.widgets.controls import control_for
from lwidgets.widgets.parts import widgets_in

_DRAGS = 200  # steps of a control that moves continuously and has none of its own
_REFERENCE = "IPY_MODEL_"


def states(recordings: Sequence[Recording], document: Mapping[str, Any]) -> dict[str, Any]:
    """The widgets that show a companion document, as ipywidgets sends them to a browser.

    Args:
        recordings: What the document was made of.
        document: The companion document.

    Returns:
        ``models``: id -> state. ``studies``: for each its ``controls``, an id for each slider, and its ``looks``, for
        each view what its pictures of curves look like: picture -> ``figure``, an id, and ``ticks`` of x and y.
        Coordinates of curves are in the document alone.
    """
    with closing(_Models()) as models:
        studies = [
            {"controls": _controls(recording, models), "looks": _looks(study, models)}
            for recording, study in zip(recordings, document["studies"], strict=True)
        ]
        return {"models": models.states, "studies": studies}


class _Models:
    """States of widgets and of all that they refer to, with ids that are the same in every run."""

    def __init__(self) -> None:
        self.states: dict[str, dict[str, Any]] = {}
        self._ids: dict[str, str] = {}
        self._added: list[W.Widget] = []

    def add(self, widget: W.Widget) -> str:
        """The id of a widget in the page."""
        key = _REFERENCE + widget.model_id
        if key not in self._ids:
            self._ids[key] = f"w{len(self._ids)}"
            self._added.append(widget)
            for name in widget.keys:
                for other in widgets_in(getattr(widget, name)):
                    self.add(other)
            self.states[self._ids[key]] = self._plain(widget.get_state())
        return self._ids[key]

    def close(self) -> None:
        """Give back the widgets, which were made for their states alone."""
        for widget in self._added:
            widget.close()

    def _plain(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if isinstance(value.get("value"), memoryview):  # an array
                return np.frombuffer(value["value"], value["dtype"]).reshape(value["shape"]).tolist()
            return {name: self._plain(each) for name, each in value.items()}
        if isinstance(value, list | tuple):
            return [self._plain(each) for each in value]
        return _REFERENCE + self._ids[value] if isinstance(value, str) and value in self._ids else value


def _controls(recording: Recording, models: _Models) -> list[str]:
    found = []
    for slider in recording.sliders:
        positions, start = recording.positions[slider.name], recording.starts[slider.name]
        continuous = recording.between[slider.name] == "interpolate"
        found.append(models.add(_control(slider, positions, start, continuous)))
    return found


def _control(slider: Slider, positions: tuple[Any, ...], start: int, continuous: bool) -> W.DOMWidget:
    """The notebook's control, restricted to the positions; those at no even distance become a slider over texts."""
    slider = replace(slider, value=positions[start])
    if slider.kind == "toggle":
        control = control_for(slider)
    elif slider.kind == "choice":
        control = control_for(replace(slider, options=positions))
    elif slider.kind in ("integer", "number") and (step := _step(positions, slider.step, continuous)):
        control = control_for(replace(slider, low=positions[0], high=positions[-1], step=step))
    else:
        texts = tuple(value_text(slider, value) for value in positions)
        control = control_for(replace(slider, value=texts[start], options=texts))
        if len(positions) > 1 and slider.kind in ("integer", "number", "pair"):
            control = _as_slider(control, start)
    control.disabled = len(positions) < 2
    return control


def _as_slider(choice: W.Dropdown, start: int) -> W.SelectionSlider:
    with closing(choice):
        shared = {
            name: getattr(choice, name) for name in ("options", "description", "tooltip", "layout", "_dom_classes")
        }
        style = {"description_width": choice.style.description_width}
        return W.SelectionSlider(index=start, style=style, **shared)


def _step(positions: tuple[Any, ...], wanted: float | None, continuous: bool) -> Any:
    """The step of a control that reaches all positions, where there is one: theirs, or a part of it."""
    gaps = np.diff(positions).tolist()
    even = bool(gaps) and gaps[0] > 0 and np.allclose(gaps, gaps[0], rtol=1e-6, atol=0)
    if not continuous:
        return gaps[0] if even else None
    extent = positions[-1] - positions[0]
    whole = gaps[0] if even else extent
    return whole / max(1, round(whole / (wanted or extent / _DRAGS)))


def _looks(study: Mapping[str, Any], models: _Models) -> list[dict[str, Any]]:
    """Figures are few: pictures that differ in nothing but numbers share one."""
    found: list[dict[str, Any]] = []
    frames = study["frames"]["pictures"]
    for panel, shown in enumerate(study["panels"]):
        figures: dict[str, str] = {}
        looks = {}
        pictures = {frame[panel] for frame in frames} - {None} if shown["kind"] == Curves.kind else set()
        for index in sorted(pictures):
            picture = study["pictures"][index]
            series = [{name: one[name] for name in one if name not in ("x", "y")} for one in picture["series"]]
            axes = ("x", "y", "x_log", "y_log", "equal", "legend")
            ends = [picture["x_range"], picture["y_range"]] if picture["equal"] else []  # they make the figure's shape
            key = json.dumps([*(picture[name] for name in axes), *ends, series])
            if key not in figures:
                figures[key] = _figure(picture, series, models)
            ranges = [(*picture[f"{axis}_range"], picture[f"{axis}_log"]) for axis in "xy"]
            looks[str(index)] = {"figure": figures[key], "ticks": [_ticks(*one) for one in ranges]}
        found.append(looks)
    return found


def _figure(picture: Mapping[str, Any], series: Sequence[Mapping[str, Any]], models: _Models) -> str:
    strokes = [Stroke(np.empty(0), np.empty((2, 0) if one["style"] == "band" else 0), **one) for one in series]
    log = "".join(axis for axis in "xy" if picture[f"{axis}_log"])
    with closing(CurvesView()) as view:
        view.axes(picture["x"], picture["y"], log)  # type: ignore[arg-type]
        view.fit(picture["x_range"], picture["y_range"], equal=picture["equal"])
        view.draw(strokes)
        view.figure.legend_location = picture["legend"]
        view.figure.display_toolbar = False  # its buttons show letters of a font that a page does not have
        return models.add(view.figure)


def _ticks(low: float, high: float, log: bool) -> dict[str, Any]:
    ticks = round_ticks(low, high, log=log)
    return {"tick_format": tick_format(ticks, log=log), "tick_values": ticks.tolist()}
