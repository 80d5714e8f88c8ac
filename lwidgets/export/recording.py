"""What the panels of a study show, at every position of the sliders that stay alive."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lwidgets.check import Check
from lwidgets.landscape import Landscape, drawable
from lwidgets.pictures import Curves, Picture, Series, Surface, checked
from lwidgets.study import Study
from lwidgets.study.sliders import Slider

Between = Literal["snap", "interpolate"]
_Frame = dict[str, Picture | None]  # panel -> what it shows

_CLOSE = 0.005  # of an array's range: what mixing two neighbouring positions may be wrong by
_CHECKED = 3  # places between positions at which mixing is compared with the truth


@dataclass(frozen=True)
class Shown:
    """A panel of a recording.

    Attributes:
        name: Of the panel.
        kind: Of its pictures.
        beside: The panel it stands beside where there is room; empty for none.
    """

    name: str
    kind: str
    beside: str = ""


@dataclass(frozen=True)
class Recording:
    """A study at all positions.

    Attributes:
        title: Of the study.
        sliders: Those that stay alive, at the value where the page opens.
        positions: Slider name -> its values.
        starts: Slider name -> index of the position at which the page opens.
        between: Slider name -> whether the page mixes neighbouring positions or goes to the nearest.
        fixed: The other sliders.
        panels: What there is to be seen, in the study's order.
        frames: For each combination of positions, the last slider fastest: a picture for each panel, or None.
        words: "source", "claim", "limits" and "citation" of the study, where it has them.
        checks: Name -> outcome, where the page opens.
    """

    title: str
    sliders: tuple[Slider, ...]
    positions: Mapping[str, tuple[Any, ...]]
    starts: Mapping[str, int]
    between: Mapping[str, Between]
    fixed: tuple[tuple[Slider, Any], ...]
    panels: tuple[Shown, ...]
    frames: tuple[tuple[Picture | None, ...], ...]
    words: Mapping[str, str]
    checks: Mapping[str, Check]

    @property
    def opening(self) -> tuple[Picture | None, ...]:
        """The frame at which a page opens."""
        place = 0
        for name, values in self.positions.items():
            place = place * len(values) + self.starts[name]
        return self.frames[place]


OnFrame = Callable[[int, int, Callable[[], Recording]], None]
"""``on_frame(done, total, so_far)``; what was recorded so far is put together when it is asked for."""


def record(study: Study, positions: Mapping[str, tuple[Any, ...]], on_frame: OnFrame) -> Recording:
    """Move the sliders through all combinations of positions, and take down what the panels show.

    The study is driven as by a person, so what it has shown before costs nothing; its sliders are put back at the end.

    Args:
        study: Open.
        positions: As from `lwidgets.study.sliders.positions_of`.
        on_frame: Called after every frame; raise in it to stop.

    Raises:
        RuntimeError: The study failed at a position; the message says where.
    """
    began = {name: study.values[name] for name in positions}
    combinations = list(itertools.product(*positions.values()))
    frames: list[_Frame] = []
    opening: dict[str, Check] = {}
    starts = {name: values.index(_nearest(values, began[name])) for name, values in positions.items()}
    opens = tuple(values[starts[name]] for name, values in positions.items())

    def at(values: Sequence[Any]) -> _Frame:
        moved = dict(zip(positions, values, strict=True))
        study.set(**moved)
        study.start()
        study.wait()
        if study.status.phase in ("failed", "stopped", "closed"):
            where = ", ".join(f"{name} = {value!r}" for name, value in moved.items()) or "the present sliders"
            told = f"{study.status.where}: {study.status.message}" if study.error else f"it was {study.status.phase}"
            raise RuntimeError(
                f"to_html: the study must work at every position, got a failure at {where} ({told}). "
                "Leave that position out, or mend what failed."
            ) from study.error
        return _frame(study)

    def recording(between: Mapping[str, Between]) -> Recording:
        return _recording(study, positions, starts, between, frames, opening)

    try:
        for done, values in enumerate(combinations):
            frames.append(at(values))
            if tuple(values) == opens:
                opening.update(study.checks)
            on_frame(done + 1, len(combinations), lambda: recording(dict.fromkeys(positions, "snap")))
        return recording({name: _between(study.sliders[name], name, positions, began, at) for name in positions})
    finally:
        study.set(**began)


def snapshot(study: Study) -> Recording:
    """What the panels show now, finished or not, and no slider."""
    return _recording(study, {}, {}, {}, [_frame(study)], dict(study.checks))


def _frame(study: Study) -> _Frame:
    found: _Frame = {}
    for name, picture in study.pictures.items():
        found[name] = None if picture is None else picture.hold(study.held.get(name, {})).lean()
    return found


def _recording(
    study: Study,
    positions: Mapping[str, tuple[Any, ...]],
    starts: Mapping[str, int],
    between: Mapping[str, Between],
    frames: Sequence[_Frame],
    checks: Mapping[str, Check],
) -> Recording:
    panels = []
    for panel in study.panels:
        kinds = [frame[panel.name] for frame in frames if frame.get(panel.name) is not None]
        if kinds:
            panels.append(Shown(panel.name, kinds[0].kind, panel.beside))  # type: ignore[union-attr]
    words = {"source": study.paper, "claim": study.claim, "limits": study.limits, "citation": study.citation}
    return Recording(
        title=study.title,
        sliders=tuple(study.sliders[name] for name in positions),
        positions=dict(positions),
        starts=starts,
        between=between,
        fixed=tuple(
            (slider, study.values[name])
            for name, slider in study.sliders.items()
            if name not in positions and slider.is_shown(study.values)
        ),
        panels=tuple(panels),
        frames=tuple(tuple(frame.get(panel.name) for panel in panels) for frame in frames),
        words={name: told for name, told in words.items() if told},
        checks=dict(checks),
    )


def recording_of(picture: Picture, name: str = "picture") -> Recording:
    """A picture by itself, and no slider.

    Raises:
        TypeError: It is no picture.
        ValueError: Of a kind nobody has registered.
    """
    checked(picture, "recording_of: picture", "be")
    return Recording("", (), {}, {}, {}, (), (Shown(name, picture.kind),), ((picture,),), {}, {})


def picture_of(landscape: Landscape, *, metric: str | None = None, log: bool = False) -> Picture:
    """A landscape as a picture: a surface of two axes, a curve of one.

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
    if len(landscape.coords) == 2:
        return Surface(landscape, shown, log=log, description=shown).lean()
    x, y, points = landscape.coords[0], drawable(landscape.values[shown], log), landscape.evaluated
    return Curves(
        [Series(x, y, shown), Series(x[points], y[points], "", style="points", width=1.5)],
        x=landscape.labels[0],
        y=shown,
        log="y" if log else "",
        caption=f"{shown}: {landscape.accuracy(shown, log=log)}",
    )


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
        middle = slider.coerce((low * high) ** 0.5 if slider.log else (low + high) / 2)
        share = (middle - low) / (high - low)
        a, b, truth = (at([{**start, name: value}[other] for other in positions]) for value in (low, high, middle))
        if not all(_mixes(a.get(panel), b.get(panel), right, share) for panel, right in truth.items()):
            return "snap"
    return "interpolate"


def _nearest(positions: Sequence[Any], value: Any) -> Any:
    if value in positions or isinstance(value, str | bool):
        return value if value in positions else positions[0]
    return min(positions, key=lambda place: float(np.abs(np.subtract(place, value)).sum()))


def _mixes(a: Picture | None, b: Picture | None, truth: Picture | None, share: float) -> bool:
    """Whether a mixture of two pictures is close to the truth, array by array."""
    if a is None or b is None or truth is None:
        return True
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


def _arrays(picture: Picture) -> Iterator[NDArray[np.float64]]:
    """Every array of a picture that is mixed, in order: which points were evaluated is not."""
    found: list[NDArray[np.float64]] = []

    def keep(array: ArrayLike, *role: Any, coding: str = "f4") -> dict[str, int]:
        if coding != "u1":
            found.append(np.asarray(array, dtype=np.float64))
        return {"array": len(found)}

    picture.plain(keep)
    yield from found
