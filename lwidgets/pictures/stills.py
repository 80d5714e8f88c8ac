"""Stills of a landscape for papers and thumbnails: a matplotlib figure, PNG and SVG, without a browser.

pyplot is never imported: its list of figures and its backend are the user's, and belong to one thread. A landscape may
come from a stranger's file, so its names are shortened and drawn letter by letter, never read as mathematics or TeX.
"""

from __future__ import annotations

import io
import textwrap
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.textpath import text_to_path
from matplotlib.ticker import (
    FixedLocator,
    Formatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    ScalarFormatter,
)
from matplotlib.transforms import Affine2D, BboxBase
from numpy.typing import NDArray

from lwidgets.barrier import Barrier, BarrierKind, reference
from lwidgets.landscape import Landscape, drawable
from lwidgets.palette import BLUE, COLORMAPS, GRAY, VERMILLION
from lwidgets.pictures.marks import Marker, Path

Array = NDArray[np.float64]


_GROUND, _STRIPE = "#e8eaed", "#969da5"  # of what is missing, as in js/src/core/map_pane.ts
_LABEL, _TICK, _NOTE = 8.0, 7.0, 6.5  # points, for a page whose captions have 8 to 10
_SHADES = 256
_MOST_NAMES = 16  # of an axis
_LONGEST = 40  # letters of a name
_JOINT = "\u00a0"  # a space at which no line is broken
_STEPS = (1, 2, 5, 10)
_BATCHNORM = {"frozen": "frozen", "recalibrate": "recalibrated", "batch": "of each batch"}
_LETTERS: dict[str, Any] = {"parse_math": False, "usetex": False}
_SVG: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "lwidgets", "svg.id": None, "svg.image_inline": True}
_saving = threading.Lock()


class Still(Figure):
    """A figure that a notebook shows in the size it has on paper, though pyplot does not know it."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        width, height = self.get_size_inches()
        return encoded(self, format="png", dpi=200), {"width": round(96 * width), "height": round(96 * height)}


def figure(
    landscape: Landscape,
    metric: str | None = None,
    *,
    log: bool = False,
    width: float = 3.3,
    colormap: str = "viridis",
    contours: int = 12,
    show_points: bool | None = None,
    show_models: bool = True,
    barrier: BarrierKind | None = None,
    also: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw one metric of a landscape: a curve over one axis, a filled map with contour lines over two.

    Below it stands how wrong it can be, how much of it was evaluated and which BatchNorm statistics it shows. What has
    no place in the picture is hatched in a map, marked by crosses under a curve, and counted: values that are not
    finite in float32, and on a logarithmic scale those that are not positive.

    Args:
        landscape: What to draw.
        metric: By default the first.
        log: Whether height and colour are logarithmic.
        width: Of the figure, in inches; the default is a column of a paper. The height follows.
        colormap: Of a map: viridis, cividis, magma or gray.
        contours: About how many contour lines, at round values; 0 for none.
        show_points: Dots where the metric was evaluated; by default on curves only.
        show_models: Mark and name the models that span the subspace.
        barrier: On a line between models, draw and state the barrier of this definition; see `Landscape.barrier`.
        also: What else is to be said below.
        ax: Where to draw, in a figure whose size is left alone; by default a figure is made.

    Returns:
        The figure, that of ``ax`` if given.

    Raises:
        ValueError: More than two axes; coordinates that do not increase; an unknown metric or colour map; a width out
            of range; no such barrier.

    Example:
        >>> x, y = np.linspace(-1, 1, 9), np.linspace(0, 1, 5)
        >>> bowl, every = x[:, None] ** 2 + y**2, np.ones((9, 5), bool)
        >>> landscape = Landscape((x, y), ("x", "y"), ("step", "turn"), {"loss": bowl}, every, 45, {"loss": 0.0})
        >>> still = figure(landscape, log=True, width=5)
        >>> float(still.get_figwidth()), still.axes[0].get_xlabel()
        (5.0, 'step')
    """
    _check(landscape, width, contours)
    found = landscape.barrier(metric, barrier) if barrier else None
    metric = _metric(landscape, found.metric if found else metric)
    colors = _colors(colormap)
    shown = drawable(landscape.values[metric], log)
    still = Still(figsize=(width, 3 * width), layout="constrained")
    axes = still.add_subplot() if ax is None else ax
    curve = shown.ndim == 1
    aspect = 0.62 if curve else _aspect(*landscape.coords)
    if ax is None or not curve:
        axes.set_box_aspect(aspect)
    # Points for labels; in a figure of our own about what ticks and the colour bar leave.
    room = 72 * (width - (0.6 if curve else 1.3)) if ax is None else _points(axes).width
    tall = aspect * room

    if curve:
        height = _curve(axes, landscape, shown, log, dots=show_points is not False)
    else:
        height = _map(axes, landscape, shown, log, colors, contours, int(tall / 11), dots=bool(show_points))
    for axis, label, extent in zip((axes.xaxis, axes.yaxis), landscape.labels, (room, tall), strict=False):
        _style(axis, _broken(plain(label), extent, _LABEL), log=False)
    _style(height, _broken(plain(metric), tall, _LABEL), log=log)
    if found:
        _draw_barrier(axes, landscape, found, log)
    if show_models:
        _mark_models(axes, landscape, shown)
    told = " · ".join(filter(None, [note(landscape, metric, log=log, barrier=found), also]))
    if ax is not None:
        _write_below(axes, told, room)
        return cast(Figure, ax.get_figure(root=True))
    axes.set_anchor("N")  # or the layout would need several passes to settle
    still.draw_without_rendering()
    _write_below(axes, told, 72 * width - _points(axes).x0 - 4)
    fit_height(still)
    return still


def fit_height(still: Figure) -> None:
    """Make a figure as high as what is in it."""
    still.draw_without_rendering()
    still.set_figheight(still.get_tightbbox().height + 2 * 0.042)  # the layout's own margins


def png(
    landscape: Landscape,
    metric: str | None = None,
    *,
    dpi: float = 300,
    transparent: bool = False,
    **options: Any,
) -> bytes:
    """The figure as a PNG file.

    Args:
        landscape: What to draw.
        metric: By default the first.
        dpi: Pixels an inch.
        transparent: Leave out the ground.
        **options: Of `figure`.

    Raises:
        ValueError: As in `figure`; or a resolution out of range.
    """
    if not 10 <= dpi <= 1200:
        raise ValueError(f"Landscape.to_png: dpi must be between 10 and 1200, got {dpi:g}. Papers ask for 300 to 600.")
    return encoded(figure(landscape, metric, **options), format="png", dpi=dpi, transparent=transparent)


def svg(landscape: Landscape, metric: str | None = None, *, transparent: bool = False, **options: Any) -> bytes:
    """The figure as an SVG file: lines and text stay lines and text, the colours of a map are an image.

    Equal pictures give equal bytes.

    Args:
        landscape: What to draw.
        metric: By default the first.
        transparent: Leave out the ground.
        **options: Of `figure`.

    Raises:
        ValueError: As in `figure`.
    """
    return encoded(figure(landscape, metric, **options), format="svg", dpi=200, transparent=transparent)


def note(landscape: Landscape, metric: str, *, log: bool = False, barrier: Barrier | None = None) -> str:
    """What a picture does not show by itself: its error, how much was evaluated, BatchNorm, what is missing.

    Example:
        >>> x, every = np.linspace(-1, 1, 65), np.arange(65) % 4 == 0
        >>> from lwidgets.landscape import Sampling
        >>> frozen = Sampling(batchnorm="frozen")
        >>> curve = Landscape((x,), ("x",), ("x",), {"loss": x**2}, every, 17, {"loss": 0.002}, sampling=frozen)
        >>> *_, missed, batchnorm = note(curve, "loss").split(" · ")
        >>> missed, batchnorm
        ('may miss features below 4.6 % of the curve', 'BatchNorm frozen')
    """
    values, total = landscape.values[metric], landscape.evaluated.size
    told = [plain(landscape.accuracy(metric, log=log))]
    if not landscape.final:
        told.append("not final")
    batchnorm = _BATCHNORM.get(landscape.sampling.batchnorm)
    if batchnorm:
        told.append(f"BatchNorm {batchnorm}")
    if barrier:
        axis = plain(landscape.axes[0], 12)
        told.append(f"barrier ({barrier.kind}) {barrier.value:.4g} ± {barrier.error:.1g} at {axis} {barrier.alpha:.4g}")
        told.append(f"may miss bumps narrower than {barrier.gap:.2g}")
    infinite, missing = np.isnan(drawable(values, log=False)), np.isnan(drawable(values, log))
    masks = {
        "not finite": infinite & landscape.evaluated,
        "without a value, not measured": infinite & ~landscape.evaluated,
        "not positive": missing & ~infinite,
    }
    for what, mask in masks.items():
        if mask.any():
            told.append(f"{mask.sum():,} of {total:,} {what} ({'×' if values.ndim == 1 else 'hatched'})")
    return " · ".join(told)


def _check(landscape: Landscape, width: float, contours: int) -> None:
    if len(landscape.shape) not in (1, 2):
        raise ValueError(
            f"Landscape.figure: landscape must have one or two axes, got {len(landscape.shape)}. "
            "Sample a Line or a Plane."
        )
    for name, c in zip(landscape.axes, landscape.coords, strict=True):
        if len(c) < 2 or not np.isfinite(c).all() or not (np.diff(c) > 0).all():
            raise ValueError(
                f"Landscape.figure: coordinates of {plain(name)} must be two or more increasing numbers, got "
                f"{np.array2string(c, threshold=6)}. Sample the landscape again."
            )
    if not 1.5 <= width <= 40:
        raise ValueError(f"Landscape.figure: width must be between 1.5 and 40 inches, got {width:g}. A column has 3.3.")
    if not 0 <= contours <= 40:
        raise ValueError(f"Landscape.figure: contours must be between 0 and 40, got {contours}. The default is 12.")


def _metric(landscape: Landscape, name: str | None) -> str:
    """The name, checked; by default the first."""
    chosen = next(iter(landscape.values), None) if name is None else name
    if chosen not in landscape.values:
        raise ValueError(
            f"Landscape.figure: metric must be one of {plain(', '.join(map(str, landscape.values)))}, "
            f"got {plain(repr(chosen))}. Choose one of these."
        )
    return cast(str, chosen)


def _colors(name: str) -> Colormap:
    if name not in COLORMAPS:
        raise ValueError(
            f"Landscape.figure: colormap must be one of {', '.join(COLORMAPS)}, got {name!r}. Choose one of these."
        )
    # The live view's gray stops short of black and white, so that lines and paper stand out.
    return LinearSegmentedColormap.from_list("gray", ["#1a1a1a", "#fafafa"]) if name == "gray" else colormaps[name]


def _aspect(x: Array, y: Array) -> float:
    """Height by width: lengths are kept true, but a sliver would show nothing, and becomes a square."""
    ratio = float((y[-1] - y[0]) / (x[-1] - x[0]))
    return ratio if 0.5 <= ratio <= 2 else 1.0


def _curve(ax: Axes, landscape: Landscape, shown: Array, log: bool, *, dots: bool) -> Axis:
    """Draw it, and return the axis that the metric is read on."""
    x, missing = landscape.coords[0], np.isnan(shown)
    ax.plot(x, shown, color=BLUE, linewidth=1.2)
    if dots:
        ax.plot(x[landscape.evaluated], shown[landscape.evaluated], "o", color=BLUE, markersize=2.2)
    if missing.any():
        below = ax.get_xaxis_transform()
        ax.plot(x[missing], np.full(missing.sum(), 0.03), "x", color=GRAY, markersize=3, transform=below)
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(FixedLocator(_rounds(*ax.get_ylim(), log, 8)))
        ax.yaxis.set_minor_locator(LogLocator(subs=range(2, 10)))
        ax.yaxis.set_minor_formatter(NullFormatter())
    return ax.yaxis


def _map(
    ax: Axes,
    landscape: Landscape,
    shown: Array,
    log: bool,
    colors: Colormap,
    contours: int,
    most_ticks: int,
    *,
    dots: bool,
) -> Axis:
    """Draw it, and return the axis that the metric is read on, that of the colour bar."""
    x, y = landscape.coords
    ax.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=_STEPS))
    finite = shown[np.isfinite(shown)]
    if finite.size < shown.size:
        ax.patch.set(facecolor=_GROUND, edgecolor=_STRIPE, hatch="////", linewidth=0)
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (1.0, 1.0)
    low, high = _apart(least, most)
    levels = np.array([v for v in _rounds(low, high, log, contours) if least < v < most])
    inks: list[Any] = [_ink(colors(h)) for h in _heights(levels, low, high, log)]
    if finite.size:
        # Of heights, not of values: between pixels a logarithmic picture is as linear as any other.
        grid = (x, y, np.ma.masked_invalid(_heights(shown, low, high, log).T))
        shades = np.linspace(0, 1, _SHADES + 1)
        fill = ax.contourf(*grid, levels=shades, cmap=colors, vmin=0, vmax=1, corner_mask=False, antialiased=False)
        fill.set_rasterized(True)  # hundreds of areas would show seams between them
    if levels.size:
        heights = _heights(levels, low, high, log)
        ax.contour(*grid, levels=heights, colors=inks, linewidths=0.5, linestyles="solid", corner_mask=False)
    if dots:
        i, j = np.nonzero(landscape.evaluated)
        ax.plot(
            x[i], y[j], "o", markersize=1.8, color="white", markeredgecolor="black", markeredgewidth=0.3, clip_on=False
        )

    norm = LogNorm(low, high) if log else Normalize(low, high)
    ticks = FixedLocator(_rounds(low, high, log, min(contours or 10, most_ticks)) if finite.size else [])
    side = ax.inset_axes((1.04, 0, 0.05, 1))  # as high as the map, in whatever layout
    bar = ax.figure.colorbar(ScalarMappable(norm, colors), cax=side, ticks=ticks, format=_formatter(log))
    bar.minorticks_off()
    if levels.size:
        bar.add_lines(levels, inks, 0.5)
    return side.yaxis


def _draw_barrier(ax: Axes, landscape: Landscape, found: Barrier, log: bool) -> None:
    """What it rises above, and how far."""
    alphas, values = landscape.coords[0], landscape.values[found.metric]
    inside = (alphas >= 0) & (alphas <= 1)
    t, ends = alphas[inside], values[inside][[0, -1]]
    foot = float(reference(found.kind, np.array([found.alpha]), *ends)[0])
    ax.plot(t, drawable(reference(found.kind, t, *ends), log), "--", color=GRAY, linewidth=0.8)
    ax.plot([found.alpha] * 2, drawable(np.array([foot, foot + found.value]), log), color=GRAY, linewidth=1.6)


def _mark_models(ax: Axes, landscape: Landscape, shown: Array) -> None:
    for point, label in _models(landscape):
        pixel = landscape.pixel(point)
        drawn = (*point, shown[pixel])[:2]
        if all(c[k] == u for c, k, u in zip(landscape.coords, pixel, point, strict=True)) and np.isfinite(drawn).all():
            ax.plot(*[[v] for v in drawn], "o", markersize=4, color="white", markeredgecolor=VERMILLION, clip_on=False)
            ax.annotate(
                label,
                drawn,
                xytext=(0, 4.5),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=_TICK,
                bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.75, "linewidth": 0},
                **_LETTERS,
            )


def _models(landscape: Landscape) -> list[tuple[tuple[float, ...], str]]:
    """Where the vertices of the subspace are, and their letters; none for an analytic objective."""
    names = landscape.sampling.models
    if not names or landscape.sampling.kind == "identity":
        return []
    axes = len(landscape.shape)
    corners = np.vstack([np.zeros(axes), np.eye(axes)])
    letters = [plain(str(name).partition(":")[0], 12) for name in names] if len(names) > 1 else ["model"]
    return [(tuple(map(float, corner)), letter) for corner, letter in zip(corners, letters, strict=False)]


def draw_paths(axes: Axes, paths: Sequence[Path]) -> None:
    """As wide and with such a halo as on the live map; the names of those inside it stand above it."""
    named: list[tuple[Line2D, str]] = []
    for path in paths:
        light = np.dot(to_rgb(path.color), (0.299, 0.587, 0.114)) > 0.55
        halo = withStroke(linewidth=3.4, foreground=(0, 0, 0, 0.6) if light else (1, 1, 1, 0.85))
        look: dict[str, Any] = {
            "linestyle": (0, (3.5, 2)) if path.dashed else "-",
            "linewidth": 1.5,
            "color": path.color,
        }
        (line,) = axes.plot(path.x, path.y, path_effects=[halo], zorder=3, **look)
        if path.label and line.get_path().intersects_bbox(axes.viewLim, filled=False):
            named.append((line, plain(path.label, _LONGEST)))
    if named:
        lines, names = zip(*named, strict=True)
        place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
        legend = axes.legend(lines, [" "] * len(lines), ncols=2, frameon=False, fontsize=_TICK, **place)
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set(text=name, parse_math=False)  # as it is: in a label, "_" would mean that there is none


def draw_markers(axes: Axes, markers: Sequence[Marker]) -> None:
    """The named places inside the map; a name goes to the side where there is room."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for marker in markers:
        x, y = marker.x, marker.y
        if not (left <= x <= right and low <= y <= high):
            continue
        axes.plot(x, y, "D", markersize=4.5, color="white", markeredgecolor="#111", clip_on=False, zorder=4)
        beyond = x > (left + right) / 2
        axes.annotate(
            plain(marker.label, _LONGEST),
            (x, y),
            xytext=(-5 if beyond else 5, 5),
            textcoords="offset points",
            ha="right" if beyond else "left",
            path_effects=[withStroke(linewidth=2.5, foreground=(1, 1, 1, 0.82))],
            zorder=5,
            fontsize=_TICK,
            **_LETTERS,
        )


def draw_cells(
    landscape: Landscape,
    metric: str,
    names: tuple[Sequence[str], Sequence[str]] | tuple[()],
    *,
    log: bool = False,
    colormap: str = "viridis",
    width: float = 5.0,
) -> Figure:
    """A matrix: one square for each point, its names along both axes.

    Args:
        landscape: Of two axes.
        metric: Which is drawn.
        names: Of the points along both axes.
        log: Whether colour is logarithmic.
        colormap: viridis, cividis, magma or gray.
        width: In inches.
    """
    shown = drawable(landscape.values[metric], log)
    finite = shown[np.isfinite(shown)]
    low, high = _apart(float(finite.min()), float(finite.max())) if finite.size else (1.0, 2.0)
    colors, norm = _colors(colormap), LogNorm(low, high) if log else Normalize(low, high)
    still = Still(figsize=(width, 0.8 * width), layout="constrained")
    axes = still.add_subplot()
    axes.patch.set(facecolor=_GROUND, edgecolor=_STRIPE, hatch="////", linewidth=0)
    axes.imshow(np.ma.masked_invalid(shown.T), origin="lower", cmap=colors, norm=norm, aspect="auto")
    for axis, label, words in zip((axes.xaxis, axes.yaxis), landscape.labels, names, strict=True):
        step = max(1, -(-len(words) // _MOST_NAMES))
        axis.set_ticks(range(0, len(words), step), [plain(word, 12) for word in words[::step]])
        axis.set_label_text(plain(label), fontsize=_LABEL, **_LETTERS)
        axis.set_tick_params(labelsize=_TICK)
        for text in axis.get_ticklabels():
            text.set_parse_math(False)
    bar = still.colorbar(ScalarMappable(norm, colors), ax=axes, format=_formatter(log))
    _style(bar.ax.yaxis, plain(metric), log=log)
    return still


def _points(ax: Axes) -> BboxBase:
    """Where it is, in points."""
    return ax.get_window_extent().transformed(Affine2D().scale(72 / ax.figure.dpi))


def _write_below(ax: Axes, told: str, extent: float) -> None:
    """A caption under the horizontal axis' label, wherever that comes to lie; each fact on one line where it fits."""
    joined = plain(told, 400).replace(" ", _JOINT).replace(f"{_JOINT}·{_JOINT}", f"{_JOINT}· ")
    ax.annotate(
        _broken(joined, extent, _NOTE, lines=6).replace(_JOINT, " "),
        (0, 0),
        xycoords=("axes fraction", ax.xaxis.label),
        xytext=(0, -3),
        textcoords="offset points",
        va="top",
        fontsize=_NOTE,
        annotation_clip=False,
        **_LETTERS,
    )


def _style(axis: Axis, label: str, *, log: bool) -> None:
    axis.set_label_text(label, fontsize=_LABEL, **_LETTERS)
    axis.set_tick_params(labelsize=_TICK)
    axis.set_major_formatter(_formatter(log))
    axis.get_offset_text().set_fontsize(_TICK)


def _formatter(log: bool) -> Formatter:
    # matplotlib's own for logarithms writes mathematics, whose parser is not for several threads.
    return FuncFormatter(lambda value, _: _number(value)) if log else ScalarFormatter(useOffset=False)


def _number(value: float) -> str:
    """A positive round number.

    >>> _number(0.02), _number(2e-7), _number(1e12)
    ('0.02', '2×10⁻⁷', '10¹²')
    """
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    digits, _, exponent = f"{value:.5e}".partition("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if float(digits) == 1 else f"{float(digits):g}×{power}"


def _rounds(low: float, high: float, log: bool, count: int) -> list[float]:
    """Round numbers inside a range, about so many: 1, 2 or 5 times powers of ten, or multiples of one such.

    >>> _rounds(-0.03, 1.03, False, 6)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> _rounds(0.05, 30.0, True, 9)
    [0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
    """
    if not count:
        return []

    def inside(numbers: Iterable[float]) -> list[float]:
        rounded = (float(f"{v:.15g}") for v in numbers)  # 3 * 0.2 is not quite 0.6
        return [v for v in rounded if low <= v <= high]

    if log and high >= 10 * low:
        exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        choices = [((1, 2, 5), 1), ((1, 3), 1), *(((1,), every) for every in range(1, 1 + len(exponents)))]
        candidates = (
            inside(float(f"{digit}e{e}") for e in exponents if e % every == 0 for digit in digits)
            for digits, every in choices
        )
    else:
        candidates = (inside(MaxNLocator(bins, steps=_STEPS).tick_values(low, high)) for bins in range(count, 0, -1))
    found: list[float] = []
    for found in candidates:
        if len(found) <= count:
            break
    return found


def _heights(values: Array, low: float, high: float, log: bool) -> Array:
    """0 for ``low``, 1 for ``high``; same shape."""
    ends, inner = np.array([low, high]), values
    if log:
        ends, inner = np.log(ends), np.log(values)
    return np.asarray((inner - ends[0]) / (ends[1] - ends[0]))


def _apart(low: float, high: float) -> tuple[float, float]:
    """The range, with some room around a single value."""
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    room = 0.05 * abs(low) or 0.5
    return low - room, high + room


def _ink(color: tuple[float, ...]) -> tuple[float, ...]:
    """Of a line that shows on a colour: dark on light, light on dark."""
    light = float(np.dot(color[:3], (0.299, 0.587, 0.114))) > 0.37
    return (0, 0, 0, 0.6) if light else (1, 1, 1, 0.6)


def plain(text: object, longest: int = 200) -> str:
    r"""A short text without control characters, which SVG forbids.

    >>> plain("loss\n\x00 of\tmine", longest=7)
    'loss of…'
    """
    whole = str(text)
    words = "".join(c if c.isprintable() else " " for c in whole[: 4 * longest]).split()
    joined = " ".join(words)
    return joined if len(joined) <= longest and len(whole) <= 4 * longest else joined[:longest] + "…"


def _broken(text: str, extent: float, size: float, lines: int = 2) -> str:
    """A text in lines of so many points at a font size; what is left is cut off."""
    font = FontProperties(size=size)

    def points(line: str) -> float:  # letters on whole pixels are up to 8 % wider
        return 1.08 * float(text_to_path.get_text_width_height_descent(line, font, ismath=False)[0])

    letters = int(1.3 * extent / (points(text) / len(text))) if text else 1
    broken = [text]
    while letters > 4 and (len(broken) > lines or max(map(points, broken)) > extent):
        broken = textwrap.wrap(text, letters, max_lines=lines, placeholder="…")
        letters -= 1
    return "\n".join(broken)


def encoded(still: Figure, **options: Any) -> bytes:
    """A figure as the bytes of a file; options of ``savefig``, format among them."""
    buffer = io.BytesIO()
    if options["format"] == "svg":
        with _svg_settings():
            still.savefig(buffer, metadata={"Date": None}, **options)
    else:
        still.savefig(buffer, **options)
    return buffer.getvalue()


@contextmanager
def _svg_settings() -> Iterator[None]:
    """Set, and put back, how SVG is written, which matplotlib reads from one dict for the whole process."""
    with _saving:
        before = {key: rcParams[key] for key in _SVG}
        rcParams.update(_SVG)
        try:
            yield
        finally:
            rcParams.update(before)
