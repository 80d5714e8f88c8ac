"""Writing companions: from studies on show to one HTML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lwidgets.export.companion import document, size_of
from lwidgets.export.notebook import in_notebook
from lwidgets.export.page import page
from lwidgets.export.record import OnFrame, PositionArgument, Recording, positions_of, record
from lwidgets.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lwidgets.widgets.study import StudyWidget

_MB = 1_000_000
_SCRIPT = 60_000  # bytes of a page that are not data, about
_HOPELESS = 1.5  # times the budget at which an estimate from the first frames ends the work
_ROUNDED = "Numbers are rounded to 1 part in 131,000 of their range."

Progress = Callable[[int, int], None]
"""``progress(done, total)``, called after every frame; raise in it to stop."""


def write_page(
    path: str | Path,
    studies: Sequence[tuple[StudyWidget, Mapping[str, PositionArgument] | None]],
    *,
    title: str,
    abstract: str = "",
    caption: str = "",
    citation: str = "",
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
        exact: Store float32 values; they are rounded to 1 part in 131,000 of their range otherwise, and the page says
            so.
        budget: Most megabytes.
        progress: Called after every frame; in a notebook, a bar is shown by default.

    Returns:
        The path.

    Raises:
        KeyError: A name that is not a slider's.
        ValueError: A position that a slider does not allow, or a page larger than the budget.
        RuntimeError: A study failed at a position.
    """
    asked = [(widget, positions_of(widget.study.sliders, alive or {})) for widget, alive in studies]
    recordings: list[Recording] = []
    with _shown(progress) as tell:
        for widget, positions in asked:
            recordings.append(record(widget, positions, _within(budget, tell)))
    prose = {"abstract": abstract, "caption": caption, "citation": citation}
    return write(path, recordings, title=title, exact=exact, budget=budget, **prose)


def write(
    path: str | Path, recordings: Sequence[Recording], *, title: str, exact: bool, budget: float, **prose: str
) -> Path:
    """Write recordings as a page; see `write_page`."""
    note = "" if exact else _ROUNDED
    text = page(document(recordings, title, exact=exact), title=title, note=note, **prose)
    size = len(text.encode())
    frames = sum(len(recording.frames) for recording in recordings)
    if size > budget * _MB:
        raise _too_large(budget, f"{size / _MB:.2f} MB for {frames:,} frame{'s' * (frames > 1)}")
    return write_whole(path, text)


def _within(budget: float, tell: Progress) -> OnFrame:
    """Reports progress, and ends the work when its first frames show that the budget will not do."""

    def on_frame(done: int, total: int, so_far: Callable[[], Recording]) -> None:
        tell(done, total)
        if done in (2, 8) and total > done:
            recording = so_far()
            first = size_of([replace(recording, frames=recording.frames[:1])])
            each = (size_of([recording]) - first) / (done - 1)
            expected = _SCRIPT + first + (total - 1) * each
            if expected > _HOPELESS * budget * _MB:
                raise _too_large(
                    budget,
                    f"about {expected / _MB:.1f} MB ({first / 1e3:.0f} kB for the first frame + {total - 1:,} frames x "
                    f"{each / 1e3:.1f} kB)",
                )

    return on_frame


def _too_large(budget: float, got: str) -> ValueError:
    return ValueError(
        f"to_html: page must stay within {budget:g} MB, got {got}. Ask for fewer positions, lower the resolution, or "
        "raise budget=."
    )


@contextmanager
def _shown(progress: Progress | None) -> Iterator[Progress]:
    """The caller's progress, or a bar in the cell that asked."""
    if progress is not None or not in_notebook():
        yield progress or (lambda done, total: None)
        return
    import ipywidgets as W
    from IPython.display import display

    bar, label = W.IntProgress(), W.Label()
    box = W.HBox([bar, label])
    display(box)  # type: ignore[no-untyped-call]

    def tell(done: int, total: int) -> None:
        bar.max, bar.value, label.value = total, done, f"frame {done:,} of {total:,}"

    try:
        yield tell
    finally:
        for part in (bar, label, box):
            part.close()
