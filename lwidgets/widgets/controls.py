"""A control for every kind of slider: those of ipywidgets, and a bank of theirs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as W
import numpy as np
import traitlets

from lwidgets.study.sliders import Slider

_WIDE = {"width": "auto", "max_width": "460px"}
_NARROW = {"width": "auto", "margin": "2px 12px 2px 108px"}
_LAYOUTS = {"toggle": _NARROW, "bank": {**_WIDE, "max_height": "420px", "overflow": "hidden auto"}}
_STYLE = {"description_width": "104px"}


def control_for(slider: Slider) -> W.DOMWidget:
    """The control a slider is set with; its ``value`` is the slider's."""
    common: dict[str, Any] = {
        "value": slider.value,
        "description": slider.title,
        "tooltip": slider.help or None,
        "style": dict(_STYLE),
        "layout": W.Layout(**_LAYOUTS.get(slider.kind, _WIDE)),
    }
    control = _MAKERS[slider.kind](slider, common)
    control.add_class(f"lwidgets-{slider.name.replace('_', '-')}")
    return control


def set_range(control: W.DOMWidget, low: float, high: float) -> None:
    """Give a control other bounds without a moment in which they contradict each other or its value."""
    if (low, high) == (control.min, control.max):
        return
    if low > control.max:
        control.max, control.min = high, low
    else:
        control.min, control.max = low, high


def is_rounding(shown: Any, value: Any, step: float | None) -> bool:
    """Whether a control only shows a value as its nearest step: browsers do, and say so as if a person had moved it.

    >>> is_rounding(0.33, 1 / 3, 0.01), is_rounding(0.34, 1 / 3, 0.01), is_rounding(0.33, 0.325, None)
    (True, False, False)
    """
    if not step or isinstance(value, bool | str):
        return False
    gaps = np.abs(np.subtract(shown, value))
    return bool(0 < gaps.max(initial=0.0) <= step / 2 * (1 + 1e-9))


class SliderBank(W.VBox):
    """Several numbers under one name, each with a slider of its own; one more moves them all.

    Attributes:
        value: The numbers, in the order of the parts.
    """

    value = traitlets.Tuple()

    def __init__(
        self,
        value: tuple[float, ...],
        parts: tuple[str, ...],
        *,
        min: float,
        max: float,
        step: float,
        description: str,
        tooltip: str | None,
        style: dict[str, Any],
        layout: W.Layout,
    ) -> None:
        """One slider a part.

        Args:
            value: Numbers to start from.
            parts: Names.
            min: Least value of each.
            max: Greatest.
            step: Of each.
            description: What they are together, the name of the first slider.
            tooltip: One sentence.
            style: Of each.
            layout: Of the whole.
        """
        common: dict[str, Any] = {"min": min, "max": max, "step": step, "readout_format": ".3g", "tooltip": tooltip}

        def slider(name: str, at: float) -> W.FloatSlider:
            return W.FloatSlider(at, description=name, style=dict(style), layout=W.Layout(width="auto"), **common)

        self._step = step
        self._all = slider(description, self._middle(value))
        self._each = [slider(name, at) for name, at in zip(parts, value, strict=True)]
        super().__init__([self._all, *self._each], layout=layout)
        self._busy = False
        self.value = value
        self.observe(self._show, "value")
        self._all.observe(lambda change: self._take((change["new"],) * len(self._each)), "value")
        for i, one in enumerate(self._each):
            one.observe(partial(self._take_one, i), "value")

    def _middle(self, value: tuple[float, ...]) -> float:
        """Where the slider of all stands: on a step, or the browser would move it to one, and all others with it."""
        return float(round(sum(value) / len(value) / self._step) * self._step)

    def _take(self, value: tuple[float, ...]) -> None:
        if not self._busy:
            self.value = value

    def _take_one(self, i: int, change: Any) -> None:
        if not is_rounding(change["new"], self.value[i], self._step):
            self._take((*self.value[:i], change["new"], *self.value[i + 1 :]))

    def _show(self, change: Any) -> None:
        self._busy = True  # else every slider that follows would speak for all before they have moved
        try:
            for one, at in zip(self._each, change["new"], strict=True):
                one.value = at
            self._all.value = self._middle(change["new"])
        finally:
            self._busy = False


def _bank(slider: Slider, common: dict[str, Any]) -> SliderBank:
    spread: dict[str, Any] = {"parts": slider.parts, "min": slider.low, "max": slider.high, "step": slider.step}
    return SliderBank(**spread, **common)


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
    "bank": _bank,
    "pair": _range(W.FloatRangeSlider, readout_format=".2f"),
}
