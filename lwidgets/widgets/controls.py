"""A control for every kind of slider: those of ipywidgets, and a bank of theirs."""

from __future__ import annotations

import math
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
_STEPS = 200  # of a control that has none of its own, and to which a button takes a number at most
_INTERVAL = 100  # milliseconds from one to the next


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
    if slider.play:
        control = PlayedSlider(control, layout=common["layout"])
    control.add_class(f"lwidgets-{slider.name.replace('_', '-')}")
    return control


def range_of(control: W.DOMWidget) -> tuple[float, float]:
    """What a control offers, in the unit of its value; a field for numbers without ends offers all."""
    if isinstance(control, W.FloatText | W.IntText) and not hasattr(control, "min"):
        return -math.inf, math.inf
    if isinstance(control, PlayedSlider):
        return range_of(control.slider)
    if isinstance(control, W.FloatLogSlider):
        return control.base**control.min, control.base**control.max
    return control.min, control.max


def set_range(control: W.DOMWidget, low: float, high: float) -> None:
    """Give a control other bounds without a moment in which they contradict each other or its value."""
    if isinstance(control, PlayedSlider):
        set_range(control.slider, low, high)
        return
    if np.allclose((low, high), range_of(control), rtol=1e-12, atol=0):
        return
    if isinstance(control, W.FloatLogSlider):
        low, high = _exponents(low, high)
    if low > control.max:
        control.max, control.min = high, low
    else:
        control.min, control.max = low, high


def is_rounding(control: W.DOMWidget, value: Any) -> bool:
    """Whether a control only shows a value as its nearest step: browsers do, and say so as if a person had moved it.

    Args:
        control: Of a slider.
        value: The slider's.

    Example:
        >>> control = control_for(Slider("third", 1 / 3, low=0.0, high=1.0, step=0.01))
        >>> for control.value in (0.33, 0.34):
        ...     print(is_rounding(control, 1 / 3))
        True
        False
    """
    if isinstance(control, PlayedSlider):
        return is_rounding(control.slider, value)
    shown, step = control.value, getattr(control, "step", None)
    if not step or isinstance(value, bool | str):
        return False
    if isinstance(control, W.FloatLogSlider):
        shown, value = np.log10([shown, value])
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

        self.step = step
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
        return float(round(sum(value) / len(value) / self.step) * self.step)

    def _take(self, value: tuple[float, ...]) -> None:
        if not self._busy:
            self.value = value

    def _take_one(self, i: int, change: Any) -> None:
        if not is_rounding(change["owner"], self.value[i]):
            self._take((*self.value[:i], change["new"], *self.value[i + 1 :]))

    def _show(self, change: Any) -> None:
        self._busy = True  # else every slider that follows would speak for all before they have moved
        try:
            for one, at in zip(self._each, change["new"], strict=True):
                one.value = at
            self._all.value = self._middle(change["new"])
        finally:
            self._busy = False


class PlayedSlider(W.HBox):
    """A slider with a button that moves it along, from where it is to its end.

    Attributes:
        value: The slider's.
        slider: It.
        button: Counts the places to which it takes the slider.
    """

    value = traitlets.Any()

    def __init__(self, slider: W.DOMWidget, *, layout: W.Layout) -> None:
        """A button before a slider.

        Args:
            slider: Of a number, with a step.
            layout: Of both.
        """
        self.slider = slider
        self._places = _places(slider)
        self.button = W.Play(
            self._nearest(slider.value), min=0, max=len(self._places) - 1, interval=_INTERVAL, show_repeat=False
        )
        self.button.layout.width = "auto"
        slider.layout = W.Layout(width="auto", flex="1 1 auto")
        self._busy = False
        super().__init__([self.button, slider], layout=layout)
        self.value = slider.value
        slider.observe(self._slid, "value")
        slider.observe(self._ranged, ("min", "max"))
        self.button.observe(self._played, "value")
        self.observe(self._show, "value")

    def _nearest(self, value: float) -> int:
        return int(np.abs(self._places - value).argmin())

    def _slid(self, change: Any) -> None:
        if not self._busy:
            self.value = change["new"]

    def _ranged(self, _: Any) -> None:
        """The slider has other ends, and other places between them."""
        self._places, busy = _places(self.slider), self._busy
        self._busy = True
        try:
            self.button.max = len(self._places) - 1  # which may take its value along
            self.button.value = self._nearest(self.slider.value)
        finally:
            self._busy = busy

    def _played(self, change: Any) -> None:
        if not self._busy:
            self.slider.value = self._places[change["new"]].item()

    def _show(self, change: Any) -> None:
        self._busy = True
        try:
            self.slider.value = change["new"]
            self.button.value = self._nearest(change["new"])  # it goes on from here
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
    if slider.log:
        first, last = _exponents(slider.low, slider.high)
        step = slider.step or (last - first) / _STEPS
        return W.FloatLogSlider(min=first, max=last, step=step, readout_format=".3g", **common)
    if slider.step is not None and None not in (slider.low, slider.high):
        return _range(W.FloatSlider, readout_format=".3g")(slider, common)
    low, high = slider.limits or (slider.low, slider.high)
    if low is None or high is None:
        return W.FloatText(step=slider.step, **common)
    return W.BoundedFloatText(min=low, max=high, step=slider.step, **common)


def _integer(slider: Slider, common: dict[str, Any]) -> W.DOMWidget:
    if None in (slider.low, slider.high):
        return W.IntText(step=int(slider.step or 1), **common)
    return _range(W.IntSlider)(slider, common)


def _exponents(low: Any, high: Any) -> tuple[float, float]:
    """Decades between which every power of ten lies between two numbers: a control that rounds up offers too much.

    >>> first, last = _exponents(0.3, 0.7)
    >>> 0.3 <= 10**first < 0.3 + 1e-12, 0.7 - 1e-12 < 10**last <= 0.7
    (True, True)
    """
    first, last = math.log10(low), math.log10(high)
    while 10.0**first < low:
        first = math.nextafter(first, math.inf)
    while 10.0**last > high:
        last = math.nextafter(last, -math.inf)
    return first, last


def _places(slider: W.DOMWidget) -> np.ndarray:
    """Where a button takes a number: a step on, and another, so many at once that there are not too many."""
    steps = max(1, math.floor((slider.max - slider.min) / slider.step * (1 + 1e-12)))
    places = slider.min + slider.step * np.arange(0, steps + 1, math.ceil(steps / _STEPS))
    if isinstance(slider, W.FloatLogSlider):
        return np.asarray(slider.base**places)
    return np.asarray(places if isinstance(slider, W.IntSlider) else places.round(12))


_MAKERS: dict[str, Callable[[Slider, dict[str, Any]], W.DOMWidget]] = {
    "choice": lambda slider, common: W.Dropdown(options=slider.options, **common),
    "toggle": lambda slider, common: W.Checkbox(indent=False, **common),
    "integer": _integer,
    "number": _number,
    "bank": _bank,
    "pair": _range(W.FloatRangeSlider, readout_format=".2f"),
}
