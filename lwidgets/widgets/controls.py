"""An ipywidgets control for every kind of slider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as W

from lwidgets.sliders import Slider

_WIDE = {"width": "auto", "max_width": "460px"}
_NARROW = {"width": "auto", "margin": "2px 12px 2px 108px"}
_STYLE = {"description_width": "104px"}


def control_for(slider: Slider) -> W.DOMWidget:
    """The control a slider is set with; its ``value`` is the slider's."""
    common: dict[str, Any] = {
        "value": slider.value,
        "description": slider.title,
        "tooltip": slider.help or None,
        "style": dict(_STYLE),
        "layout": W.Layout(**(_NARROW if slider.kind == "toggle" else _WIDE)),
    }
    control = _MAKERS[slider.kind](slider, common)
    control.add_class(f"lwidgets-{slider.name.replace('_', '-')}")
    return control


def set_range(control: W.DOMWidget, low: float, high: float) -> None:
    """Give a control other bounds without a moment in which they contradict each other or its value."""
    if low > control.max:
        control.max, control.min = high, low
    else:
        control.min, control.max = low, high


def _range(kind: type[W.DOMWidget], **more: Any) -> Callable[[Slider, dict[str, Any]], W.DOMWidget]:
    def make(slider: Slider, common: dict[str, Any]) -> W.DOMWidget:
        return kind(min=slider.low, max=slider.high, step=slider.step, **more, **common)

    return make


def _number(slider: Slider, common: dict[str, Any]) -> W.DOMWidget:
    if slider.step is not None:
        return _range(W.FloatSlider, readout_format=".3g")(slider, common)
    low, high = slider.limits or (slider.low, slider.high)
    return W.BoundedFloatText(min=low, max=high, step=None, **common)


_MAKERS: dict[str, Callable[[Slider, dict[str, Any]], W.DOMWidget]] = {
    "choice": lambda slider, common: W.Dropdown(options=slider.options, **common),
    "toggle": lambda slider, common: W.Checkbox(indent=False, **common),
    "integer": _range(W.IntSlider),
    "number": _number,
    "pair": _range(W.FloatRangeSlider, readout_format=".2f"),
}
