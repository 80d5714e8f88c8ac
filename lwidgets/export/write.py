"""Writing companions: from studies on show to one HTML file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from lwidgets.doors import through
from lwidgets.export.document import document, size_of
from lwidgets.export.page import page, size_of_scripts
from lwidgets.export.recording import OnFrame, Recording, picture_of, record, recording_of, snapshot
from lwidgets.export.stills import SMALL, small_still
from lwidgets.files import write_whole
from lwidgets.landscape import Landscape
from lwidgets.progress import Progress
from lwidgets.study import Study
from lwidgets.study.sliders import PositionArgument, positions_of
from lwidgets.where import in_notebook

_MB = 1_000_000
_HOPELESS = 1.5  # times the budget at which an estimate from the first frames ends the work
_ROUNDED = (
    "Numbers are rounded to 1 part in 13,000, or finer, of the range that each curve or surface covers: of values on a "
    "linear scale, of their logarithms on a logarithmic one."
)

Kind = Literal["figure", "page"]
"""What draws: our own views with native controls, or the very widgets of the notebook."""


class Shows(Protocol):
    """What shows a study, as an explorer does."""

    study: Study


Alive = Mapping[str, PositionArgument] | None
"""Slider name -> positions, of those that stay alive."""


def study_to_html(study: Study, path: str | Path, sliders: Alive = None, **options: Any) -> Path:
    """Write a study as one HTML file; see `write_page` for the options, of which title is the study's by default."""
    return write_page(path, [(study, sliders)], **{"title": study.title, **options})


def landscape_to_html(
    landscape: Landscape,
    path: str | Path,
    *,
    metric: str | None = None,
    log: bool = False,
    title: str = "",
    **options: Any,
) -> Path:
    """Write a landscape as one HTML file; see `Landscape.to_html`."""
    settings: dict[str, Any] = {"exact": True, "budget": 50.0, **options}
    return write(path, [recording_of(picture_of(landscape, metric=metric, log=log))], title=title, **settings)


def write_page(
    path: str | Path,
    studies: Sequence[tuple[Study | Shows, Alive]],
    *,
    title: str,
    abstract: str = "",
    caption: str = "",
    citation: str = "",
    kind: Kind = "figure",
    exact: bool = False,
    budget: float = 3.0,
    progress: Progress | None = None,
) -> Path:
    """Write a page with the pictures of some studies, in which the sliders named stay alive without a kernel.

    Args:
        path: Of the HTML file; an existing one is replaced once the new one is complete.
        studies: Studies, on show or not, and explorers, each with the sliders that stay alive: name -> positions. A
            number asks for so many, evenly spaced; None for every option of a choice or both states of a toggle. All
            combinations are computed. A number's slider moves continuously where mixing neighbouring positions was
            found to be right to 0.5 % of the range, and from position to position otherwise.
        title: Plain text.
        abstract: Markdown with maths ($...$), above the pictures.
        caption: The same, below.
        citation: The same, at the end.
        kind: "figure" for our own views with the browser's controls, small enough for a paper; "page" for the very
            widgets of the notebook, ipywidgets' controls and bqplot's curves, 0.7 MB more.
        exact: Store float32 values; they are rounded otherwise, to 1 part in 13,000 or finer of the range that each
            curve or surface covers, and the page says so.
        budget: Most megabytes.
        progress: Called after every frame; in a notebook, a bar is shown by default.

    Returns:
        The path.

    Raises:
        KeyError: A name that is not a slider's.
        ValueError: A position that a slider does not allow, another kind, or a page larger than the budget.
        RuntimeError: A study failed at a position.
    """
    _check(kind)
    asked = [(study, positions_of(study.sliders, alive or {})) for study, alive in map(_study, studies)]
    recordings: list[Recording] = []
    with _shown(progress, lambda: expected(studies, kind=kind)) as tell:
        for study, positions in asked:
            recordings.append(record(study, positions, _within(budget, kind, tell)))
    prose = {"abstract": abstract, "caption": caption, "citation": citation}
    return write(path, recordings, title=title, kind=kind, exact=exact, budget=budget, **prose)


@dataclass(frozen=True)
class Expected:
    """What a page will hold.

    Attributes:
        frames: How many are computed, for each study.
        size: Bytes at most, about: as if every frame took as much as the present one, and none were like another.
    """

    frames: tuple[int, ...]
    size: int

    def __str__(self) -> str:
        count = sum(self.frames)
        return f"{count:,} frame{'s' * (count > 1)}, at most about {self.size / _MB:.2g} MB"


def _study(asked: tuple[Study | Shows, Alive]) -> tuple[Study, Alive]:
    shown, alive = asked
    return (shown if isinstance(shown, Study) else shown.study), alive


def expected(studies: Sequence[tuple[Study | Shows, Alive]], *, kind: Kind = "figure") -> Expected:
    """How large a page would be, from what its studies show now; nothing is computed but that.

    Args:
        studies: As for `write_page`.
        kind: The same.

    Raises:
        KeyError: A name that is not a slider's.
        ValueError: A position that a slider does not allow.
    """
    frames, size = [], size_of_scripts(widgets=kind == "page") + SMALL
    for study, alive in map(_study, studies):
        study.start()
        study.wait()
        count = math.prod(len(values) for values in positions_of(study.sliders, alive or {}).values())
        frames.append(count)
        size += count * size_of([snapshot(study)])
    return Expected(tuple(frames), size)


def write(
    path: str | Path,
    recordings: Sequence[Recording],
    *,
    title: str,
    kind: Kind = "figure",
    exact: bool,
    budget: float,
    **prose: str,
) -> Path:
    """Write recordings as a page; see `write_page`."""
    _check(kind)
    note = "" if exact else _ROUNDED
    content = document(recordings, title, exact=exact, still=small_still(recordings[0]))
    widgets = through("page widgets")(recordings, content) if kind == "page" else None
    text = page(content, title=title, note=note, widgets=widgets, **prose)
    size = len(text.encode())
    frames = sum(len(recording.frames) for recording in recordings)
    if size > budget * _MB:
        scripts = size_of_scripts(widgets=kind == "page") / _MB
        told = f"{size / _MB:.2f} MB for {frames:,} frame{'s' * (frames > 1)}, {scripts:.2f} MB of them scripts"
        raise _too_large(budget, kind, told)
    return write_whole(path, text)


def _check(kind: str) -> None:
    if kind not in get_args(Kind):
        raise ValueError(
            f'to_html: kind must be one of {", ".join(get_args(Kind))}, got {kind!r}. Use "page" for the widgets '
            'of the notebook, "figure" for a small file.'
        )


def _within(budget: float, kind: Kind, tell: Progress) -> OnFrame:
    """Reports progress, and ends the work when its first frames show that the budget will not do."""
    scripts = size_of_scripts(widgets=kind == "page")

    def on_frame(done: int, total: int, so_far: Callable[[], Recording]) -> None:
        tell(done, total)
        if done in (2, 8) and total > done:
            recording = so_far()
            first = size_of([replace(recording, frames=recording.frames[:1])])
            each = (size_of([recording]) - first) / (done - 1)
            expected = scripts + first + (total - 1) * each
            if expected > _HOPELESS * budget * _MB:
                raise _too_large(
                    budget,
                    kind,
                    f"about {expected / _MB:.1f} MB ({scripts / 1e3:.0f} kB of scripts + {first / 1e3:.0f} kB for the "
                    f"first frame + {total - 1:,} frames x {each / 1e3:.1f} kB)",
                )

    return on_frame


def _too_large(budget: float, kind: Kind, got: str) -> ValueError:
    smaller = 'use kind="figure", ' if kind == "page" else ""
    return ValueError(
        f"to_html: page must stay within {budget:g} MB, got {got}. Ask for fewer positions, lower the resolution, "
        f"{smaller}or raise budget=."
    )


@contextmanager
def _shown(progress: Progress | None, expectation: Callable[[], Expected]) -> Iterator[Progress]:
    """The caller's progress, or a bar in the cell that asked, which begins with what is to be expected."""
    if progress is not None or not in_notebook():
        yield progress or (lambda done, total: None)
        return
    page = expectation()
    with through("progress bar")(str(page)) as show:
        yield lambda done, total: show(done, total, f"frame {done:,} of {total:,} ({page})")
