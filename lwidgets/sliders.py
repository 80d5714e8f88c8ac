"""What a person can set: a value, the values it may take, and the words for a control."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

_NEXT = (1, -1, 2)  # steps in the direction of travel


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
        parts: Names of the numbers of a bank, whose value is one number for each.
        when: Other slider -> the values of it with which this one's control is shown; always, if there is none.
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

    @property
    def title(self) -> str:
        """What a reader calls it."""
        return self.label or self.name.replace("_", " ")

    @property
    def kind(self) -> Literal["choice", "toggle", "pair", "bank", "integer", "number"]:
        """What control it takes."""
        if self.options is not None:
            return "choice"
        if self.parts is not None:
            return "bank"
        if isinstance(self.value, bool):
            return "toggle"
        if isinstance(self.value, tuple):
            return "pair"
        return "integer" if isinstance(self.value, int) else "number"

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
            if not isinstance(value, bool):
                raise self._refusal("be True or False", value)
            return value
        if self.kind == "pair":
            pair = tuple(value) if isinstance(value, Sequence) and len(value) == 2 else None
            if pair is None or not all(isinstance(v, Real) for v in pair) or not pair[0] < pair[1]:
                raise self._refusal("be (low, high) with low < high", value)
            return (self._within(float(pair[0])), self._within(float(pair[1])))
        if self.kind == "bank":
            count = len(self.parts or ())
            numbers = tuple(value) if isinstance(value, Sequence) and len(value) == count else ()
            if len(numbers) != count or not all(isinstance(v, Real) for v in numbers):
                raise self._refusal(f"be {count} numbers", value)
            return tuple(self._within(float(v)) for v in numbers)
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
        """
        if not self.step:
            return value
        digits = 12 - math.floor(math.log10(self.step))
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
        pair = isinstance(value, tuple)
        step = self.step or (1 if self.kind == "integer" else 0)
        ends, came = (value, before) if pair else ((value,), (before,))
        ways = [step * _sign(end - b) for end, b in zip(ends, came, strict=True)]
        low, high = (None, None) if self.bounds else (self.low, self.high)
        found = []
        for count in _NEXT if any(ways) else ():
            moved = tuple(end + count * way for end, way in zip(ends, ways, strict=True))
            place = self.position(moved if pair else moved[0])
            first, last = (min(place), max(place)) if pair else (place, place)
            below = low is not None and first < min(low, *ends)  # code may have set more than the control offered
            above = high is not None and last > max(high, *ends)
            if not (below or above or (self.kind == "pair" and place[0] >= place[1])):
                found.append(place)
        return tuple(found)

    def _within(self, value: float) -> float:
        low, high = (None, None) if self.bounds else self.limits or (self.low, self.high)
        if (low is not None and value < low) or (high is not None and value > high) or value != value:
            raise self._refusal(f"lie in [{low:g}, {high:g}]", value)
        return value

    def _refusal(self, rule: str, value: Any) -> ValueError:
        return ValueError(f"Study: {self.name} must {rule}, got {value!r}. The control offers what is allowed.")


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
