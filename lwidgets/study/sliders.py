"""What a person can set: a value, the values it may take, and the words for a control."""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

Kind = Literal["choice", "toggle", "pair", "bank", "integer", "number"]
PositionArgument = int | Iterable[Any] | None
"""Positions of a slider: so many, evenly spaced; these; or, for a choice or a toggle, all of them."""

_NEXT = (1, -1, 2)  # steps in the direction of travel
_SAME = 1e-12  # relative difference of two logarithmic positions that are one

# fmt: off
RESERVED = frozenset(
    {
        # of ipywidgets.VBox and traitlets.HasTraits: a slider is a trait of a widget, and would take their place
        "add_class", "add_traits", "blur", "box_style", "children", "class_own_trait_events", "class_own_traits",
        "class_trait_names", "class_traits", "close", "close_all", "comm", "cross_validation_lock", "focus",
        "get_manager_state", "get_state", "get_view_spec", "handle_comm_opened", "handle_control_comm_opened",
        "has_trait", "hold_sync", "hold_trait_notifications", "keys", "layout", "log", "model_id", "notify_change",
        "observe", "on_msg", "on_trait_change", "on_widget_constructed", "open", "remove_class", "send", "send_state",
        "set_state", "set_trait", "setup_instance", "style", "tabbable", "title", "titles", "tooltip",
        "trait_defaults", "trait_events", "trait_has_value", "trait_metadata", "trait_names", "trait_values",
        "traits", "unobserve", "unobserve_all", "widget_types", "widgets",
        # of the study's own widget
        "bundle", "checks_panel", "controls", "hold", "latest", "on_show", "panels", "status_bar", "study", "to_html",
        "verify", "wait",
    }
)
# fmt: on
"""Names that a study on show uses for itself."""


@dataclass(frozen=True)
class Slider:
    """One thing a person can set.

    Attributes:
        name: Argument name in nodes, views and checks, and trait of the widget; none of `RESERVED`.
        value: Where it starts. A whole number makes a slider of integers, unless step, low or high are not whole or
            it is logarithmic.
        low: Least value the control offers; for a number or a pair.
        high: Greatest.
        step: Of the control; of a logarithmic one in decades, so that 0.1 is a factor of 1.26.
        options: For a choice; then low, high and step are not used.
        label: For the control; by default the name.
        help: One sentence, shown as a tooltip.
        bounds: Name of a slider holding (low, high) that this one must stay in.
        limits: Values that code may set, where that is more than the control offers.
        parts: Names of the numbers of a bank, whose value is one number for each.
        when: Other slider -> the values of it with which this one's control is shown; always, if there is none.
        log: Whether equal ways on the control are equal factors; for a number with positive ends.
        play: Whether its control can run by itself; for a number or an integer with both ends and a step.

    Raises:
        ValueError: The name is taken by the widget, or log or play do not fit the rest.
    """

    name: str
    value: Any
    low: float | None = None
    high: float | None = None
    step: float | None = None
    options: tuple[Any, ...] | None = None
    label: str = ""
    help: str = ""
    bounds: str | None = None
    limits: tuple[float, float] | None = None
    parts: tuple[str, ...] | None = None
    when: Mapping[str, Sequence[Any]] = field(default_factory=dict, hash=False)
    log: bool = False
    play: bool = False

    def __post_init__(self) -> None:
        """Refuse what makes no control."""
        if self.name in RESERVED:
            raise ValueError(
                f"Study: a slider's name must be free in the widget, got {self.name!r}, which it uses for itself. "
                f"Choose another, for example {_other_name(self.name)!r}, and pass label={self.name!r}."
            )
        if not self.name.isidentifier() or keyword.iskeyword(self.name):
            raise ValueError(
                f"Study: a slider's name must be usable as an argument, got {self.name!r}. Choose another, and pass "
                "what a reader should see as label."
            )
        if self.log:
            self._require_logarithm()
        if self.play and (
            self.kind not in ("number", "integer")
            or self.low is None
            or self.high is None
            or (not self.step and self.kind == "number")
        ):
            raise ValueError(
                f"Study: play must be for a number or an integer with low, high and step, got {self.name}, a "
                f"{self.kind} with low={self.low}, high={self.high}, step={self.step}. Give it these, or drop play."
            )
        if self.kind == "number" and isinstance(self.value, int):
            object.__setattr__(self, "value", float(self.value))

    def _require_logarithm(self) -> None:
        if self.kind != "number":
            raise ValueError(f"Study: log must be for a number, got {self.name}, a {self.kind}. Leave log out.")
        ends = (self.low, self.high, self.value, *(self.limits or ()))
        if self.low is None or self.high is None or not all(0 < end < math.inf for end in ends if end is not None):
            raise ValueError(
                f"Study: a logarithmic slider must have positive ends and a positive value, got {self.name} from "
                f"{self.low} to {self.high} at {self.value}. Give it low > 0."
            )

    @property
    def title(self) -> str:
        """What a reader calls it."""
        return self.label or self.name.replace("_", " ")

    @property
    def kind(self) -> Kind:
        """What control it takes."""
        if self.options is not None:
            return "choice"
        if self.parts is not None:
            return "bank"
        if isinstance(self.value, bool):
            return "toggle"
        if isinstance(self.value, tuple):
            return "pair"
        whole = all(float(size).is_integer() for size in (self.step, self.low, self.high) if size is not None)
        return "integer" if isinstance(self.value, int) and whole and not self.log else "number"

    def is_shown(self, values: Mapping[str, Any]) -> bool:
        """Whether it says anything at these slider values.

        >>> Slider("keep", 0.2, low=0.0, high=1.0, when={"method": ("ties",)}).is_shown({"method": "average"})
        False
        """
        return all(values[name] in those for name, those in self.when.items())

    def coerce(self, value: Any) -> Any:
        """The value as this slider holds it.

        Raises:
            ValueError: It is not one of the options, of another type, or out of bounds.
        """
        if self.kind == "choice":
            if value not in (self.options or ()):
                raise self._refusal(f"be one of {', '.join(map(repr, self.options or ()))}", value)
            return value
        if self.kind == "toggle":
            if not isinstance(value, bool | np.bool_):
                raise self._refusal("be True or False", value)
            return bool(value)
        if self.kind == "pair":
            pair = _numbers(value, 2)
            if pair is None or not pair[0] < pair[1]:
                raise self._refusal("be (low, high) with low < high", value)
            return (self._within(pair[0]), self._within(pair[1]))
        if self.kind == "bank":
            count = len(self.parts or ())
            numbers = _numbers(value, count)
            if numbers is None:
                raise self._refusal(f"be {count} numbers", value)
            return tuple(self._within(v) for v in numbers)
        if self.kind == "integer":
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise self._refusal("be an integer", value)
            return int(self._within(int(value)))
        if isinstance(value, bool) or not isinstance(value, Real):
            raise self._refusal("be a number", value)
        return self._within(float(value))

    def position(self, value: Any) -> Any:
        """The value to a trillionth of a step: two ways to one place on a control differ by rounding.

        >>> Slider("x", 0.0, low=-1.0, high=1.0, step=0.1).position(0.1 + 0.2)
        0.3
        >>> Slider("rate", 0.1, low=1e-3, high=1.0, step=0.5, log=True).position(0.1 * 10**0.5 * 10**0.5)
        1.0
        """
        if not self.step:
            return value
        digits = 12 - math.floor(math.log10(self.step))
        if self.log:
            place = 10.0 ** round(math.log10(value), digits)
            return next((e for e in (self.low, self.high) if e and math.isclose(place, e, rel_tol=_SAME)), place)
        return tuple(round(v, digits) for v in value) if isinstance(value, tuple) else round(value, digits)

    def neighbours(self, value: Any, before: Any) -> tuple[Any, ...]:
        """Where the control goes next, likeliest first: a step on, a step back, two steps on.

        Args:
            value: Where it is.
            before: Where it came from, which tells the direction. Of several numbers, only those that moved go on.

        Returns:
            Places on the control, or where it has ``bounds``, wherever those may be; none for a number without a step.

        Example:
            >>> Slider("seed", 0, low=0, high=9).neighbours(8, before=7)
            (9, 7)
        """
        if self.kind == "toggle":
            return (not value,)
        if self.options is not None:
            at = self.options.index(value)
            way = _sign(at - self.options.index(before))
            places = [at + count * way for count in _NEXT if way]
            return tuple(self.options[i] for i in places if 0 <= i < len(self.options))
        several = isinstance(value, tuple)
        step = self.step or (1 if self.kind == "integer" else 0)
        ends, came = (value, before) if several else ((value,), (before,))
        ways = [step * _sign(end - b) for end, b in zip(ends, came, strict=True)]
        low, high = (None, None) if self.bounds else (self.low, self.high)
        found = []
        for count in _NEXT if any(ways) else ():
            moved = tuple(self._moved(end, count * way) for end, way in zip(ends, ways, strict=True))
            place = self.position(moved if several else moved[0])
            first, last = (min(place), max(place)) if several else (place, place)
            below = low is not None and first < min(low, *ends)  # code may have set more than the control offered
            above = high is not None and last > max(high, *ends)
            if not (below or above or (self.kind == "pair" and place[0] >= place[1])):
                found.append(place)
        return tuple(found)

    def _moved(self, value: Any, way: float) -> Any:
        return value * 10.0**way if self.log else value + way

    def _within(self, value: float) -> float:
        low, high = (None, None) if self.bounds else self.limits or (self.low, self.high)
        if (low is not None and value < low) or (high is not None and value > high) or value != value:
            raise self._refusal(f"lie in [{_end(low)}, {_end(high)}]", value)
        return value

    def _refusal(self, rule: str, value: Any) -> ValueError:
        return ValueError(f"Study: {self.name} must {rule}, got {value!r}. The control offers what is allowed.")


def value_text(slider: Slider, value: Any) -> str:
    """A slider's value as a reader sees it.

    >>> value_text(Slider("span", (0.0, 1.0)), (0.0, 1.5)), value_text(Slider("steep", True), True)
    ('0 to 1.5', 'yes')
    """
    return _BY_KIND[slider.kind].text(slider, value)


def positions_of(
    sliders: Mapping[str, Slider], asked: Mapping[str, PositionArgument], where: str = "to_html"
) -> dict[str, tuple[Any, ...]]:
    """The positions asked for, as the sliders hold them.

    Args:
        sliders: The study's.
        asked: Slider name -> positions. So many of a logarithmic slider are equal factors apart.
        where: Who asks, for messages.

    Raises:
        KeyError: No slider of that name.
        ValueError: A position that the slider does not allow; none; or a number of positions for a slider without
            bounds.
    """
    found = {}
    for name, wanted in asked.items():
        if name not in sliders:
            raise KeyError(f"{where}: sliders must be among {', '.join(sliders)}, got {name!r}. Check the spelling.")
        slider = sliders[name]
        if wanted is None or isinstance(wanted, int):
            values = _BY_KIND[slider.kind].spread(slider, wanted)
            if values is None:
                raise ValueError(
                    f"{where}: {name} must have its positions listed, got {wanted!r}. "
                    f"Use for example {{{name!r}: [{slider.value!r}]}}."
                )
        else:
            values = list(wanted)
        if not values:
            raise ValueError(
                f"{where}: {name} must have at least one position, got none. Leave it out to keep it fixed."
            )
        found[name] = tuple(dict.fromkeys(slider.coerce(value) for value in values))
    return found


@dataclass(frozen=True)
class _ByKind:
    """What differs from kind to kind.

    Attributes:
        text: ``(slider, value)`` in words.
        spread: ``(slider, count)`` -> so many values over the control, all where the count is None; None: it cannot.
    """

    text: Callable[[Slider, Any], str]
    spread: Callable[[Slider, int | None], Sequence[Any] | None]


def _evenly(slider: Slider, count: int | None) -> Sequence[float] | None:
    if not count or slider.low is None or slider.high is None:
        return None
    between = np.geomspace if slider.log else np.linspace
    return [float(value) for value in between(slider.low, slider.high, count)]


def _whole(slider: Slider, count: int | None) -> Sequence[int] | None:
    values = _evenly(slider, count)
    return None if values is None else [round(value) for value in values]


_BY_KIND: dict[Kind, _ByKind] = {
    "choice": _ByKind(lambda _, value: str(value), lambda slider, count: None if count is not None else slider.options),
    "toggle": _ByKind(
        lambda _, value: "yes" if value else "no", lambda _, count: None if count is not None else (False, True)
    ),
    "pair": _ByKind(lambda _, value: f"{value[0]:g} to {value[1]:g}", lambda _slider, _count: None),
    "bank": _ByKind(
        lambda slider, value: ", ".join(f"{part} {at:g}" for part, at in zip(slider.parts or (), value, strict=True)),
        lambda _slider, _count: None,
    ),
    "integer": _ByKind(lambda _, value: str(value), _whole),
    "number": _ByKind(lambda _, value: f"{value:g}", _evenly),
}


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """So many numbers out of a sequence or an array; None where it holds something else."""
    values = list(value) if isinstance(value, Sequence | np.ndarray) else []
    if len(values) != count or not all(isinstance(v, Real) and not isinstance(v, bool) for v in values):
        return None
    return tuple(float(v) for v in values)


def _other_name(name: str) -> str:
    return {"log": "log_height", "title": "heading", "keys": "which"}.get(name, f"{name}_of_it")


def _end(number: float | None) -> str:
    return "..." if number is None else f"{number:g}"


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
