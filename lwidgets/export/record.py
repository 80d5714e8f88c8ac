"""What the views of a study show, at every position of the sliders that stay alive."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from typing import Any, Literal

import ipywidgets as W
import numpy as np

from lwidgets.landscape import Landscape, drawable
from lwidgets.study import Study
from lwidgets.study.sliders import Slider
from lwidgets.widgets.height_field import HeightField, frame_of, unpacked
from lwidgets.widgets.line_plot import LinePlot, Series, padded
from lwidgets.widgets.study import StudyWidget

Picture = dict[str, Any]
"""What one view shows, as plain values and arrays; see `HeightField.picture` and `LinePlot.picture`."""
_Frame = dict[int, tuple[str, Picture]]  # id of a view -> its kind, and what it shows
Between = Literal["snap", "interpolate"]

_CLOSE = 0.005  # of an array's range: what mixing two neighbouring positions may be wrong by
_CHECKED = 3  # places between positions at which mixing is compared with the truth


@dataclass(frozen=True)
class Recording:
    """A study at all positions.

    Attributes:
        title: Of the study.
        source: The paper or page it belongs to.
        sliders: Those that stay alive, at the value where the page opens.
        positions: Slider name -> its values.
        starts: Slider name -> index of the position at which the page opens.
        between: Slider name -> whether the page mixes neighbouring positions or goes to the nearest.
        fixed: The other sliders.
        kinds: Of each view: "height_field", "line_plot" or "text".
        frames: For each combination of positions, the last slider fastest: a picture for each view, or None.
    """

    title: str
    source: str
    sliders: tuple[Slider, ...]
    positions: Mapping[str, tuple[Any, ...]]
    starts: Mapping[str, int]
    between: Mapping[str, Between]
    fixed: tuple[tuple[Slider, Any], ...]
    kinds: tuple[str, ...]
    frames: tuple[tuple[Picture | None, ...], ...]


OnFrame = Callable[[int, int, Callable[[], Recording]], None]
"""``on_frame(done, total, so_far)``; what was recorded so far is put together when it is asked for."""


def record(
    widget: StudyWidget,
    positions: Mapping[str, tuple[Any, ...]],
    on_frame: OnFrame,
) -> Recording:
    """Move the sliders through all combinations of positions, and take down what the views show.

    The study is driven as by a person, so what it has shown before costs nothing; its sliders are put back at the end.

    Args:
        widget: A study on show.
        positions: As from `positions_of`.
        on_frame: Called after every frame; raise in it to stop.

    Raises:
        RuntimeError: The study failed at a position; the message says where.
    """
    study = widget.study
    began = {name: study.values[name] for name in positions}
    combinations = list(itertools.product(*positions.values()))
    frames: list[_Frame] = []

    def at(values: Sequence[Any]) -> _Frame:
        moved = dict(zip(positions, values, strict=True))
        study.set(**moved)
        study.wait()
        if study.status.phase in ("failed", "stopped", "closed"):
            where = ", ".join(f"{name} = {value!r}" for name, value in moved.items()) or "the present sliders"
            told = f"{study.status.where}: {study.status.message}" if study.error else f"it was {study.status.phase}"
            raise RuntimeError(
                f"to_html: the study must work at every position, got a failure at {where} ({told}). "
                "Leave that position out, or mend what failed."
            ) from study.error
        return _frame(widget)

    def recording(between: Mapping[str, Between]) -> Recording:
        starts = {name: values.index(_nearest(values, began[name])) for name, values in positions.items()}
        return _recording(study, positions, starts, between, frames)

    try:
        for done, values in enumerate(combinations):
            frames.append(at(values))
            on_frame(done + 1, len(combinations), lambda: recording(dict.fromkeys(positions, "snap")))
        return recording({name: _between(study.sliders[name], name, positions, began, at) for name in positions})
    finally:
        study.set(**began)


def snapshot(widget: StudyWidget) -> Recording:
    """What the views show now, finished or not, and no slider."""
    return _recording(widget.study, {}, {}, {}, [_frame(widget)])


def _frame(widget: StudyWidget) -> _Frame:
    return {id(view): (kind, picture) for view, kind, picture in _pictures(widget)}


def _recording(
    study: Study,
    positions: Mapping[str, tuple[Any, ...]],
    starts: Mapping[str, int],
    between: Mapping[str, Between],
    frames: Sequence[_Frame],
) -> Recording:
    views = {key: kind for frame in frames for key, (kind, _) in frame.items()}
    return Recording(
        title=study.title,
        source=study.paper,
        sliders=tuple(study.sliders[name] for name in positions),
        positions=dict(positions),
        starts=starts,
        between=between,
        fixed=tuple(
            (slider, study.values[name])
            for name, slider in study.sliders.items()
            if name not in positions and slider.is_shown(study.values)
        ),
        kinds=tuple(views.values()),
        frames=tuple(tuple(frame[key][1] if key in frame else None for key in views) for frame in frames),
    )


def recording_of(landscape: Landscape, *, metric: str | None = None, log: bool = False) -> Recording:
    """A landscape by itself: its picture, and no slider.

    Args:
        landscape: Of one or two axes.
        metric: By default the first.
        log: Logarithmic height.

    Raises:
        ValueError: No metric of that name.
    """
    shown = metric or landscape.metrics[0]
    if shown not in landscape.metrics:
        raise ValueError(
            f"to_html: metric must be one of {', '.join(landscape.metrics)}, got {metric!r}. Use one of these."
        )
    kind, picture = _field(landscape, shown, log) if len(landscape.coords) == 2 else _curve(landscape, shown, log)
    return Recording("", "", (), {}, {}, {}, (), (kind,), ((picture,),))


def _field(landscape: Landscape, metric: str, log: bool) -> tuple[str, Picture]:
    packed = frame_of(landscape, metric, log=log)
    return "height_field", {"frame": unpacked(packed), "markers": [], "paths": [], "description": metric}


def _curve(landscape: Landscape, metric: str, log: bool) -> tuple[str, Picture]:
    x, y, points = landscape.coords[0], drawable(landscape.values[metric], log), landscape.evaluated
    finite = y[np.isfinite(y)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.1, 1.0)
    series = [Series(x, y, metric), Series(x[points], y[points], "", style="points", width=1.5)]
    return "line_plot", {
        "x_label": landscape.labels[0],
        "y_label": f"{metric} (log scale)" if log else metric,
        "log": log,
        "x_range": padded(float(x[0]), float(x[-1])),
        "y_range": padded(low, high, log=log),
        "caption": f"{metric}: {landscape.accuracy(metric, log=log)}",
        "series": [asdict(one) for one in series],
    }


def _pictures(widget: StudyWidget) -> Iterator[tuple[W.Widget, str, Picture]]:
    """Every view on show, and what it shows."""
    seen: set[int] = set()

    def walk(view: Any) -> Iterator[tuple[W.Widget, str, Picture]]:
        if id(view) in seen:
            return
        seen.add(id(view))
        if isinstance(view, HeightField):
            if view.frame:
                yield view, "height_field", view.picture()
        elif isinstance(view, LinePlot):
            yield view, "line_plot", view.picture()
        elif isinstance(view, W.HTML | W.Label):
            yield view, "text", {"text": text_of(view.value)}
        else:
            for child in getattr(view, "children", ()):
                yield from walk(child)

    for view in widget.study.views.values():
        if view is not None:
            yield from walk(view)


def _between(
    slider: Slider,
    name: str,
    positions: Mapping[str, tuple[Any, ...]],
    began: Mapping[str, Any],
    at: Callable[[Sequence[Any]], _Frame],
) -> Between:
    """Whether the page may mix neighbouring positions: it may where that was compared and is close."""
    values = sorted(positions[name]) if slider.kind == "number" else []
    if len(values) < 3 or list(positions[name]) != values:
        return "snap"
    start = {other: _nearest(positions[other], began[other]) for other in positions}
    for k in np.unique(np.linspace(0, len(values) - 2, _CHECKED).round().astype(int)):
        low, high = values[k], values[k + 1]
        middle = slider.coerce((low + high) / 2)
        share = (middle - low) / (high - low)
        a, b, truth = (at([{**start, name: value}[other] for other in positions]) for value in (low, high, middle))
        if not all(_mixes(a[key][1], b[key][1], truth[key][1], share) for key in truth if key in a and key in b):
            return "snap"
    return "interpolate"


def _nearest(positions: Sequence[Any], value: Any) -> Any:
    if value in positions or isinstance(value, str | bool):
        return value if value in positions else positions[0]
    return min(positions, key=lambda place: float(np.abs(np.subtract(place, value)).sum()))


def _mixes(a: Picture, b: Picture, truth: Picture, share: float) -> bool:
    """Whether a mixture of two pictures is close to the truth, array by array."""
    arrays = [list(_arrays(picture)) for picture in (a, b, truth)]
    if len({tuple(x.shape for x in each) for each in arrays}) != 1:
        return False
    for x, y, right in zip(*arrays, strict=True):
        with np.errstate(invalid="ignore"):
            gap = np.abs((1 - share) * x + share * y - right)
        finite = np.isfinite(right)
        extent = np.ptp(right[finite]) if finite.any() else 0.0
        if (np.isfinite(gap) != finite).any() or gap[finite].max(initial=0.0) > _CLOSE * max(extent, 1e-12):
            return False
    return True


def _arrays(picture: Any) -> Iterator[np.ndarray]:
    """Every array of a picture that is mixed, in order: which points were evaluated is not."""
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8:
            yield picture.astype(np.float64)
    elif isinstance(picture, Mapping):
        for value in picture.values():
            yield from _arrays(value)
    elif isinstance(picture, list | tuple):
        for value in picture:
            yield from _arrays(value)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self.parts.append(_ENDS.get(tag, ""))


_ENDS = {
    **dict.fromkeys(("td", "th"), " | "),
    **dict.fromkeys(("tr", "caption", "p", "div", "summary", "li"), "\n"),
}


def text_of(html: str) -> str:
    r"""What a reader sees of a piece of HTML.

    >>> text_of("<b>alpha 0.5</b>: loss 1 &lt; 2")
    'alpha 0.5: loss 1 < 2'
    >>> text_of("<table><tr><th>path</th><td>barrier</td></tr><tr><th>straight</th><td>0.9</td></tr></table>")
    'path | barrier\nstraight | 0.9'
    """
    parser = _Text()
    parser.feed(html)
    parser.close()
    lines = "".join(parser.parts).split("\n")
    return "\n".join(line.strip().removesuffix(" |") for line in lines if line.strip())
