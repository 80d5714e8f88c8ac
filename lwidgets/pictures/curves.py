"""Curves: lines, points, bands, bars and stems over two axes, with what they are to be compared with."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lwidgets.check import Check
from lwidgets.landscape import drawable
from lwidgets.palette import GRAY
from lwidgets.pictures.axes import padded, roomiest_corner
from lwidgets.pictures.base import Keep, Picture, colored, numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Style = Literal["solid", "dashed", "points", "band", "bars", "stems"]
Sense = Literal["equal", "below", "above"]
Scales = Literal["", "x", "y", "xy"]

_FILL, _BAR = 0.15, 0.45  # how much of a band's, and of a bar's, colour is seen
_THIN, _MANY = 1.2, 8  # pixels of a line of an ensemble; lines from which on each is seen through
_LEGEND_WIDTH, _LEGEND_ROW, _TALL = 0.4, 20, 320.0  # a share of the figure, pixels, and pixels
_AROUND = 1.5  # heights of a picture from its middle: what lies further off is out of sight
_CLOSER = 64  # points of a line for which room is left
_WIDTH, _SMALL = 5.0, 8.0  # inches and points of a still


@dataclass(frozen=True, eq=False)
class Series:
    """One line, set of points, band, histogram or ensemble.

    Lists, arrays and tensors are taken, empty ones too; what is not finite leaves a gap.

    Attributes:
        x: Shape (n,); of bars the n + 1 edges; of an ensemble also (R, n).
        y: Shape (n,); of a band (2, n), its lower and upper edge; of an ensemble of R runs (R, n).
        label: In the legend; empty for none.
        color: CSS colour; by default the next of the palette.
        style: How it is drawn.
        width: Of lines in pixels; of points their size.
        opacity: 0 to 1.
        spread: Of an ensemble: the share of its runs in a band around their median, as 0.9; thin lines, if it is 0.
    """

    x: ArrayLike
    y: ArrayLike
    label: str = ""
    color: str = ""
    style: Style = "solid"
    width: float = 2.0
    opacity: float = 1.0
    spread: float = 0.0

    def __post_init__(self) -> None:
        """Take the numbers as float64.

        Raises:
            ValueError: x and y do not fit each other, a style that is none, or a spread out of range.
        """
        name = type(self).__name__
        if self.style not in get_args(Style):
            raise ValueError(
                f"{name}: style must be one of {', '.join(get_args(Style))}, got {self.style!r}. Use one of these."
            )
        if not 0 <= self.spread < 1:
            raise ValueError(f"{name}: spread must lie in [0, 1), got {self.spread!r}. Use 0.9 for 90 % of the runs.")
        x, y = numbers(self.x, f"{name}: x"), numbers(self.y, f"{name}: y")
        n = x.shape[-1] - (self.style == "bars") if x.ndim and x.size else 0
        rows = y.ndim == 2 and self.style in ("solid", "dashed") and x.shape in ((n,), y.shape)
        fits = y.shape == ((2, n) if self.style == "band" else (n,)) and x.ndim == 1
        if not x.size and not y.size:
            x, y, fits = np.empty(0), np.empty((2, 0) if self.style == "band" else 0), True
        if not fits and not (rows and y.shape[1] == n):
            edges = "n + 1 edges" if self.style == "bars" else "shape (n,)"
            wanted = "(2, n)" if self.style == "band" else "(n,), or (R, n) for an ensemble of lines"
            raise ValueError(
                f"{name}: x must have {edges} and y shape {wanted}, got x {x.shape} and y {y.shape}"
                f"{f' of {self.label!r}' if self.label else ''}. Pass one y for each x."
            )
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)


@dataclass(frozen=True, eq=False)
class Reference(Series):
    """What is known: drawn dashed, and a check of the series that it speaks of.

    Attributes:
        of: Label of that series; by default the one with this label, or the only one there is.
        tol: By how much it may be missed, relative to the largest value of the reference; with neither this nor atol it
            is drawn, and no check.
        atol: By how much in addition, in the unit of y.
        sense: Whether the series must agree with it, or lie below or above.
    """

    color: str = GRAY
    style: Style = "dashed"
    width: float = 1.5
    of: str = ""
    tol: float | None = None
    atol: float = 0.0
    sense: Sense = "equal"

    def __post_init__(self) -> None:
        """Take the numbers as float64.

        Raises:
            ValueError: As of a series, an unknown sense, or a tolerance that is none.
        """
        super().__post_init__()
        if self.sense not in get_args(Sense):
            raise ValueError(
                f"Reference: sense must be one of {', '.join(get_args(Sense))}, got {self.sense!r}. Use one of these."
            )
        if not ((self.tol is None or self.tol >= 0) and self.atol >= 0):
            raise ValueError(
                f"Reference: tolerances must be 0 or more, got tol={self.tol!r}, atol={self.atol!r}. Pass tol=1e-6."
            )

    @property
    def claims(self) -> bool:
        """Whether it is a check, rather than drawn alone."""
        return self.tol is not None or self.atol > 0


@dataclass(frozen=True)
class Rule:
    """A straight line across the picture.

    Attributes:
        x: Where it stands upright; or
        y: where it lies.
        label: In the legend.
        color: CSS colour.
    """

    x: float | None = None
    y: float | None = None
    label: str = ""
    color: str = GRAY

    def __post_init__(self) -> None:
        """Check that it is one line.

        Raises:
            ValueError: Both or none of x and y.
        """
        if (self.x is None) == (self.y is None):
            raise ValueError(f"Rule: one of x and y must be given, got x={self.x!r} and y={self.y!r}. Pass one.")


Item = Series | Rule


@dataclass(frozen=True, eq=False)
class Stroke:
    """What is drawn in the end: one line, set of points, or band.

    Attributes:
        x: Shape (n,).
        y: Shape (n,), or (2, n) of a band; NaN leaves a gap.
        label: In the legend.
        color: CSS colour.
        style: "solid", "dashed", "points" or "band".
        width: In pixels.
        opacity: Of lines and points, or of a band's fill.
    """

    x: Array
    y: Array
    label: str
    color: str
    style: Literal["solid", "dashed", "points", "band"]
    width: float
    opacity: float


@dataclass(frozen=True, eq=False)
class Curves(Picture):
    """Curves with axes, a legend and a caption.

    Attributes:
        items: Series, references and rules, in the order drawn.
        x: Name of the horizontal axis, with its unit.
        y: Name of the vertical axis.
        log: Which axes are logarithmic: "", "x", "y" or "xy".
        equal: Whether a unit is as long on both axes, as for a phase portrait.
        caption: A sentence below.
        x_range: From where to where; by default a little wider than what is drawn.
        y_range: The same.

    Example:
        >>> t = np.linspace(0, 1, 5)
        >>> picture = Curves([Series(t, t**2, "measured"), Reference(t, t**2, tol=1e-6)], x="t", y="loss")
        >>> picture.judge().state, len(picture.strokes)
        ('pass', 2)
    """

    kind: ClassVar[str] = "curves"

    items: Sequence[Item] = ()
    x: str = ""
    y: str = ""
    log: Scales = ""
    equal: bool = False
    caption: str = ""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Check what refers to what.

        Raises:
            TypeError: An item that is none.
            ValueError: An unknown scale, a logarithmic one with equal units, a range that does not increase, or a
                reference to a series that is not there.
        """
        items = (self.items,) if isinstance(self.items, Series | Rule) else tuple(self.items)
        object.__setattr__(self, "items", items)
        for k, item in enumerate(items):
            if not isinstance(item, Series | Rule):
                raise TypeError(
                    f"Curves: items must be Series, Reference or Rule, got {type(item).__name__} at {k}. "
                    "Use Series(x, y)."
                )
        if self.log not in get_args(Scales):
            raise ValueError(f'Curves: log must be one of "", "x", "y" and "xy", got {self.log!r}. Name the axes.')
        if self.equal and self.log:
            raise ValueError(f"Curves: equal must be for linear axes, got log={self.log!r}. Leave out one of them.")
        for name in ("x_range", "y_range"):
            ends = getattr(self, name)
            if ends is not None and not (np.isfinite(ends).all() and ends[0] < ends[1]):
                raise ValueError(f"Curves: {name} must be (low, high) with low < high, got {ends!r}. Leave it out.")
            if ends is not None and name[0] in self.log and ends[0] <= 0:
                raise ValueError(f"Curves: {name} must be positive on a log scale, got {ends!r}. Leave it out.")
        for item in items:
            if isinstance(item, Reference) and (item.claims or item.of):
                self._meant(item)

    # --- what is drawn ---

    @cached_property
    def ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """From where to where each axis goes."""
        parts = [_placed(item, self.log) for item in self.items]
        return tuple(  # type: ignore[return-value]
            _range([part[axis] for part in parts], "xy"[axis] in self.log, given)
            for axis, given in enumerate((self.x_range, self.y_range))
        )

    @cached_property
    def strokes(self) -> tuple[Stroke, ...]:
        """What all of it is in the end, in the order drawn."""
        return tuple(stroke for item in colored(self.items) for stroke in _strokes(item, self.log, self.ranges))

    @cached_property
    def legend(self) -> str:
        """The corner in which a legend hides least, as "top-right"."""
        named = sum(bool(stroke.label) for stroke in self.strokes)
        shares = [
            np.stack([_shares(line[k], self.ranges[k], "xy"[k] in self.log) for k in range(2)])
            for line in (_along(stroke) for stroke in self.strokes if stroke.style in ("solid", "dashed"))
        ]
        height = _LEGEND_ROW * (1 + named) / _TALL
        return roomiest_corner(np.concatenate([np.empty((2, 0)), *shares], axis=1), _LEGEND_WIDTH, height)

    # --- a picture ---

    def over(self, base: Curves) -> Curves:
        """The base's axes and curves, and then these."""
        return replace(
            base,
            items=(*base.items, *self.items),
            x=base.x or self.x,
            y=base.y or self.y,
            caption=self.caption or base.caption,
        )

    def called(self, title: str) -> Curves:
        """With a caption."""
        return self if self.caption else replace(self, caption=title)

    def judge(self) -> Check | None:
        """Whether every series agrees with its reference."""
        told: list[str] = []
        fine = True
        for item in self.items:
            if isinstance(item, Reference) and item.claims:
                series = self._meant(item)
                good, words = _agrees(series, item)
                fine, told = fine and good, [*told, words]
        return Check.that(fine, "; ".join(told)) if told else None

    def _meant(self, reference: Reference) -> Series:
        """The series that a reference speaks of."""
        series = [one for one in self.items if isinstance(one, Series) and not isinstance(one, Reference)]
        name = reference.of or reference.label
        found = [one for one in series if one.label == name]
        if found or (len(series) == 1 and not reference.of):
            return (found or series)[0]
        known = ", ".join(repr(one.label) for one in series) or "none"
        raise ValueError(
            f"Curves: a Reference must be of a series that is there, got of={name!r}, and there are {known}. "
            "Pass of= the label of one."
        )

    def plain(self, keep: Keep) -> dict[str, Any]:
        """See `Picture.plain`."""
        (x_range, y_range), log = self.ranges, "y" in self.log

        def coding(stroke: Stroke) -> Literal["f4", "l2", "q2"]:
            if _leaves(stroke.y, y_range, log):
                return "f4"  # steps of a part of it would show
            return "l2" if log and not (stroke.y < 0).any() else "q2"

        return {
            "x": self.x,
            "y": self.y,
            "x_log": "x" in self.log,
            "y_log": log,
            "equal": self.equal,
            "x_range": list(x_range),
            "y_range": list(y_range),
            "caption": self.caption,
            "legend": self.legend,
            "series": [
                {
                    "x": keep(stroke.x),
                    "y": keep(stroke.y, k, stroke.style, log, coding=coding(stroke)),
                    "label": stroke.label,
                    "color": stroke.color,
                    "style": stroke.style,
                    "width": stroke.width,
                    "opacity": stroke.opacity,
                }
                for k, stroke in enumerate(self.strokes)
            ],
        }

    def still(self) -> Figure | None:
        """As the live one draws it: the same ranges, colours, legend and caption."""
        from lwidgets.pictures.stills import Still

        if not self.items:
            return None
        still = Still(figsize=(_WIDTH, 0.72 * _WIDTH), layout="constrained")
        axes = still.add_subplot()
        letters: dict[str, Any] = {"fontsize": _SMALL, "parse_math": False}
        scales: Mapping[str, Any] = {f"{axis}scale": "log" if axis in self.log else "linear" for axis in "xy"}
        axes.set(xlim=self.ranges[0], ylim=self.ranges[1], **scales)
        if self.equal:
            axes.set_aspect("equal", adjustable="box")
        axes.set_xlabel(self.x, **letters)
        axes.set_ylabel(self.y, **letters)
        axes.tick_params(labelsize=_SMALL - 1)
        axes.grid(alpha=0.2)
        for one in self.strokes:
            look: Any = {"color": one.color, "label": one.label or "_", "alpha": one.opacity}
            if one.style == "band":
                axes.fill_between(one.x, *one.y, **look)
            elif one.style == "points":
                axes.plot(one.x, one.y, "o", markersize=1.5 * one.width**0.5, **look)
            else:
                line = "--" if one.style == "dashed" else "-"
                axes.plot(one.x, one.y, line, linewidth=0.75 * one.width, **look)
        if any(one.label for one in self.strokes):
            corner: Any = self.legend.replace("top", "upper").replace("bottom", "lower").replace("-", " ")
            # matplotlib's own search for the best place takes minutes for curves of many points
            for text in axes.legend(loc=corner, fontsize=_SMALL - 1, frameon=False).get_texts():
                text.set_parse_math(False)
        still.supxlabel(textwrap.fill(self.caption, 80, max_lines=4), ha="left", x=0.02, **letters)
        return still


def _agrees(series: Series, reference: Reference) -> tuple[bool, str]:
    """Whether a series agrees with a reference, where both are known; and how far they are apart."""
    x, y, at, known = (np.asarray(values) for values in (series.x, series.y, reference.x, reference.y))
    if y.ndim == 2 and series.style != "band" and series.spread:
        y = np.median(y, axis=0)
    if x.ndim == 2 or known.ndim == 2:
        wanted = known
    else:
        order = np.argsort(at, kind="stable")
        same = at.shape == x.shape and np.array_equal(at, x)
        wanted = known if same else np.interp(x, at[order], known[order], left=np.nan, right=np.nan)
    name = series.label or "it"
    if y.shape[-1:] != wanted.shape[-1:]:
        return False, f"{name} has {y.shape[-1]} points and its reference {wanted.shape[-1]}"
    gap = y - wanted
    inside = np.isfinite(np.broadcast_to(wanted, gap.shape))
    size = float(np.abs(known[np.isfinite(known)]).max(initial=0.0))
    room = reference.atol + (reference.tol or 0.0) * size
    over = {"equal": np.abs(gap), "below": gap, "above": -gap}[reference.sense][inside]
    worst = float(over.max(initial=0.0)) if np.isfinite(over).all() else np.inf
    if not inside.any():
        return False, f"{name} and its reference share no point"
    what = {"equal": "within", "below": "above the reference by at most", "above": "below the reference by at most"}
    relative = reference.tol is not None and size > 0
    far = f"{worst / size if relative else worst:.2g}{' of it' if relative else ''}"
    limits = ("tolerance", reference.tol), ("absolute", reference.atol or None)
    told = " and ".join(f"{words} {limit:g}" for words, limit in limits if limit is not None)
    return worst <= room, f"{name} {what[reference.sense]} {far} ({told})"


def _placed(item: Item, log: str) -> tuple[Array, Array]:
    """The coordinates along each axis that an item needs room for."""
    if isinstance(item, Rule):
        one = [np.empty(0) if v is None else np.array([v], dtype=np.float64) for v in (item.x, item.y)]
        return drawable(one[0], "x" in log), drawable(one[1], "y" in log)
    x, y = np.ravel(item.x), np.ravel(item.y)
    if item.style in ("bars", "stems") and "y" not in log and y.size:
        y = np.append(y, 0.0)
    if np.ndim(item.y) == 2 and item.spread and item.style != "band":
        y = np.ravel(_spread(np.asarray(item.y), item.spread))
    return drawable(x, "x" in log), drawable(y, "y" in log)


def _range(parts: Sequence[Array], log: bool, given: tuple[float, float] | None) -> tuple[float, float]:
    if given is not None:
        return float(given[0]), float(given[1])
    values = np.concatenate([np.empty(0), *parts])
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.1, 1.0)
    return padded(low, high, log=log)


def _strokes(item: Item, log: str, ranges: tuple[tuple[float, float], tuple[float, float]]) -> Iterable[Stroke]:
    """What an item consists of."""
    if isinstance(item, Rule):
        (x0, x1), (y0, y1) = ranges
        stands = item.x is not None
        ends = np.array([[item.x, item.x], [y0, y1]] if stands else [[x0, x1], [item.y, item.y]], dtype=np.float64)
        yield Stroke(ends[0], ends[1], item.label, item.color, "dashed", 1.0, 1.0)
        return
    x, y = drawable(item.x, "x" in log), drawable(item.y, "y" in log)
    look: dict[str, Any] = {"color": item.color, "width": item.width, "opacity": item.opacity}
    fill = look | {"style": "band", "opacity": _FILL * item.opacity}
    floor = ranges[1][0] if "y" in log else 0.0
    if item.style == "band":
        yield Stroke(*_masked(x, y), item.label, **fill)
    elif item.style == "bars":
        tops = np.repeat(y, 2)
        edges = np.repeat(x, 2)[1:-1] if x.size else x
        yield Stroke(
            *_masked(edges, np.stack([0 * tops + floor, tops])), item.label, **fill | {"opacity": _BAR * item.opacity}
        )
    elif item.style == "stems":
        upright = np.stack([np.full_like(y, floor), y, np.full_like(y, np.nan)], axis=1).ravel()
        yield Stroke(np.repeat(x, 3), upright, "", **look | {"style": "solid"})
        yield Stroke(*_masked(x, y), item.label, **look | {"style": "points", "width": 3 * item.width})
    elif y.ndim == 2 and item.spread:
        low, middle, high = _spread(y, item.spread)
        along = x if x.ndim == 1 else np.median(x, axis=0)
        yield Stroke(*_masked(along, np.stack([low, high])), "", **fill)
        yield Stroke(*_masked(along, middle), item.label, **look | {"style": item.style})
    elif y.ndim == 2:
        thin = look | {"style": item.style, "width": min(_THIN, item.width)}
        thin |= {"opacity": item.opacity * (0.5 if len(y) > _MANY else 1.0)}
        for k, row in enumerate(y):
            yield Stroke(*_masked(x if x.ndim == 1 else x[k], row), item.label if k == 0 else "", **thin)
    else:
        yield Stroke(*_masked(x, y), item.label, **look | {"style": item.style})


def _masked(x: Array, y: Array) -> tuple[Array, Array]:
    """Without a place where either has none: a gap, at a coordinate that can be drawn."""
    lost = np.isnan(x)
    if not lost.any():
        return x, y
    near = np.flatnonzero(~lost)
    beside = np.searchsorted(near, np.arange(x.size)).clip(max=near.size - 1)
    filled = x[near[beside]] if near.size else np.ones_like(x)
    return filled, np.where(lost, np.nan, y)


def _spread(y: Array, share: float) -> Array:
    """The lower edge, the median and the upper edge of so many of the runs, shape (3, n)."""
    with np.errstate(all="ignore"):
        known = np.isfinite(y).any(axis=0)
        found = np.full((3, y.shape[1]), np.nan)
        if known.any():
            found[:, known] = np.nanquantile(
                np.where(np.isfinite(y), y, np.nan)[:, known], [(1 - share) / 2, 0.5, (1 + share) / 2], axis=0
            )
    return found


def _along(stroke: Stroke) -> Array:
    """Points close together on a line, shape (2, n), whatever its own are; none on an upright one, a cursor."""
    if stroke.x.size < 2 or np.ptp(stroke.x) == 0:
        return np.empty((2, 0))
    closer, each = np.linspace(0, stroke.x.size - 1, _CLOSER), np.arange(stroke.x.size)
    return np.stack([np.interp(closer, each, stroke.x), np.interp(closer, each, stroke.y)])


def _leaves(values: Array, ends: tuple[float, float], log: bool) -> bool:
    """Whether what is on show is only a part of a line, as where the range was chosen."""
    return bool(np.isfinite(values).any() and np.nanmax(np.abs(_shares(values, ends, log) - 0.5)) > _AROUND)


def _shares(values: Array, ends: tuple[float, float], log: bool) -> Array:
    """Where values lie in a range, 0 to 1."""
    scale = np.log if log else np.asarray
    low, high = scale(ends[0]), scale(ends[1])
    return np.asarray((scale(values) - low) / (high - low))
