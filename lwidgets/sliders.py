"""What a person can set: a value, the values it may take, and the words for a control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal


@dataclass(frozen=True)
class Slider:
    """One thing a person can set.

    Attributes:
        name: Argument name in nodes, views and checks, and trait of the widget.
        value: Where it starts.
        low: Least value the control offers; for a number or a pair.
        high: Greatest.
        step: Of the control.
        options: For a choice; then low, high and step are not used.
        label: For the control; by default the name.
        help: One sentence, shown as a tooltip.
        bounds: Name of a slider holding (low, high) that this one must stay in.
        limits: Values that code may set, where that is more than the control offers.
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

    @property
    def kind(self) -> Literal["choice", "toggle", "pair", "integer", "number"]:
        """What control it takes."""
        if self.options is not None:
            return "choice"
        if isinstance(self.value, bool):
            return "toggle"
        if isinstance(self.value, tuple):
            return "pair"
        return "integer" if isinstance(self.value, int) else "number"

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
            if not isinstance(value, bool):
                raise self._refusal("be True or False", value)
            return value
        if self.kind == "pair":
            pair = tuple(value) if isinstance(value, Sequence) and len(value) == 2 else None
            if pair is None or not all(isinstance(v, Real) for v in pair) or not pair[0] < pair[1]:
                raise self._refusal("be (low, high) with low < high", value)
            return (self._within(float(pair[0])), self._within(float(pair[1])))
        if self.kind == "integer":
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise self._refusal("be an integer", value)
            return int(self._within(int(value)))
        if isinstance(value, bool) or not isinstance(value, Real):
            raise self._refusal("be a number", value)
        return self._within(float(value))

    def _within(self, value: float) -> float:
        low, high = (None, None) if self.bounds else self.limits or (self.low, self.high)
        if (low is not None and value < low) or (high is not None and value > high) or value != value:
            raise self._refusal(f"lie in [{low:g}, {high:g}]", value)
        return value

    def _refusal(self, rule: str, value: Any) -> ValueError:
        return ValueError(f"Study: {self.name} must {rule}, got {value!r}. The control offers what is allowed.")
