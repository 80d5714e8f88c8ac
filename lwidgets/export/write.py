"""Writing companions: from studies on show to one HTML file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from lwidgets.export.companion import document, size_of
from lwidgets.export.notebook import in_notebook
from lwidgets.export.page import page, size_of_scripts
from lwidgets.export.record import OnFrame, PositionArgument, Recording, positions_of, record, snapshot
from lwidgets.export.widgets import states
from lwidgets.files import write_whole
from lwidgets.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lwidgets.widgets.study import StudyWidget

_MB = 1_000_000
_HOPELESS = 1.5  # times the budget at which an estimate from the first frames ends the work
_ROUNDED = "Numbers are rounded to 1 part in 131,000 of their range."

Kind = Literal["figure", "page"]
"""What draws: our own views with native controls, or the very widgets of the notebook."""

"""``progress(done, total)``, called after every frame; raise in it to stop."""


def write_page(
    path: str | Path,
    studies: Sequence[tuple[StudyWidget, Mapping[str, PositionArgument] | None]],
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
        studies: Explorers or other studies on show, each with the sliders that stay alive: name -> positions. A number
            asks for so many, evenly spaced; None for every option of a choice or both states of a toggle. All
            combinations are computed. A number's slider moves continuously where mixing neighbouring positions was
            found to be right to 0.5 % of the range, and from position to position otherwise.
        title: Plain text.
        abstract: Markdown with maths ($...$), above the pictures.
        caption: The same, below.
        citation: The same, at the end.
        kind: "figure" for our own views with the browser's controls, small enough for a paper; "page" for the very
            widgets of the notebook, ipywidgets' controls and bqplot's curves, 0.7 MB more.
        exact: Store float32 values; they are rounded to 1 part in 131,000 of their range otherwise, and the page says
            so.
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
    asked = [(widget, positions_of(widget.study.sliders, alive or {})) for widget, alive in studies]
    recordings: list[Recording] = []
    with _shown(progress, lambda: expected(studies, kind=kind)) as tell:
        for widget, positions in asked:
            recordings.append(record(widget, positions, _within(budget, kind, tell)))
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


def expected(
    studies: Sequence[tuple[StudyWidget, Mapping[str, PositionArgument] | None]], *, kind: Kind = "figure"
) -> Expected:
    """How large a page would be, from what its studies show now; nothing is computed but that.

    Args:
        studies: As for `write_page`.
        kind: The same.

    Raises:
        KeyError: A name that is not a slider's.
        ValueError: A position that a slider does not allow.
    """
    frames, size = [], size_of_scripts(widgets=kind == "page")
    for widget, alive in studies:
        widget.study.wait()
        count = math.prod(len(values) for values in positions_of(widget.study.sliders, alive or {}).values())
        frames.append(count)
        size += count * size_of([snapshot(widget)])
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
    content = document(recordings, title, exact=exact)
    widgets = states(recordings, content) if kind == "page" else None
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
    import ipywidgets as W
    from IPython.display import display

    page = expectation()
    bar, label = W.IntProgress(), W.Label(str(page))
    box = W.HBox([bar, label])
    display(box)  # type: ignore[no-untyped-call]

    def tell(done: int, total: int) -> None:
        bar.max, bar.value, label.value = total, done, f"frame {done:,} of {total:,} ({page})"

    try:
        yield tell
    finally:
        for part in (bar, label, box):
            part.close()
