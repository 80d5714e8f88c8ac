"""What a notebook keeps of a picture: one to turn without a kernel, a still, and a line of text."""

from __future__ import annotations

import base64
import json
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lwidgets.export.companion import MIME, document
from lwidgets.export.record import Picture, Recording, recording_of, snapshot
from lwidgets.export.stills import png
from lwidgets.landscape import Landscape

if TYPE_CHECKING:
    from lwidgets.widgets.study import StudyWidget

BUDGET = 1_000_000
"""Characters of an interactive picture in a notebook; a larger one is kept with fewer pixels."""
_TOO_LARGE = "This picture is too large for a notebook to keep. Run the cell again, or use to_html."
_UNFINISHED = "This picture was not finished when the notebook was saved. Run the cell again to see it."
_STEPS = (1, 4, 16)  # each a tenth of the size of the one before


def bundle(landscape: Landscape) -> dict[str, Any]:
    """MIME type -> data, for ``_repr_mimebundle_``.

    JupyterLab and Notebook 7 with our extension show the companion document; others, and web pages that render
    notebooks, the still.

    Warns:
        UserWarning: The interactive picture is larger than `BUDGET`, and kept with fewer pixels.
    """
    return _bundle(recording_of(landscape), repr(landscape), png(landscape, dpi=96))


def bundle_of_study(widget: StudyWidget, live: dict[str, Any], *, still: bool) -> dict[str, Any]:
    """MIME type -> data of a study on show: the widget, and what it shows now for when its kernel is gone.

    Args:
        widget: The study.
        live: What it is shown by while it is alive: `notebook.WIDGET` or `notebook.LIVE` -> data, or nothing.
        still: Whether to draw a still as well, which takes a fifth of a second.

    Warns:
        UserWarning: As `bundle`.
    """
    from lwidgets.export.thumbnail import thumbnail

    shown = snapshot(widget)
    if not any(kind != "text" and picture for kind, picture in zip(shown.kinds, shown.frames[0], strict=True)):
        shown = _words(shown, _UNFINISHED)
    return _bundle(shown, repr(widget), thumbnail(shown) if still else None) | live


def _bundle(recording: Recording, text: str, still: bytes | None) -> dict[str, Any]:
    found: dict[str, Any] = {"text/plain": text, MIME: _within_budget(recording)}
    if still is not None:
        found["image/png"] = base64.b64encode(still).decode("ascii")
    return found


def _within_budget(recording: Recording) -> dict[str, Any]:
    """The recording's document; or one with fewer pixels, as few as it takes, and a word about it."""
    for step in _STEPS:
        kept = document([_thinned(recording, step)], "")
        size = len(json.dumps(kept))
        if size <= BUDGET:
            return kept
        if step == 1:
            warnings.warn(
                f"An interactive picture in a notebook must stay within {BUDGET / 1e6:g} MB, got {size / 1e6:.1f} MB; "
                "the notebook keeps it with fewer pixels. Lower the resolution, or use to_html.",
                stacklevel=2,
            )
    return document([_words(recording, _TOO_LARGE)], "")


def _thinned(recording: Recording, step: int) -> Recording:
    """With every so manieth pixel of its surfaces, and a line that says so."""
    views = list(zip(recording.kinds, recording.frames[0], strict=True))
    sizes = [picture["frame"]["shape"] for kind, picture in views if picture and kind == "height_field"]
    if step == 1 or not sizes:
        return recording
    told = f"Kept here with every {step}th of its {' x '.join(map(str, sizes[0]))} pixels along each axis."
    thin = [(kind, _every(step, p) if p and kind == "height_field" else p) for kind, p in views]
    kinds, frame = zip(*thin, ("text", {"text": told}), strict=True)
    return replace(recording, kinds=kinds, frames=(frame,))


def _every(step: int, picture: Picture) -> Picture:
    frame = picture["frame"]
    i, j = (np.linspace(0, n - 1, max(2, n // step + 1)).round().astype(int) for n in frame["shape"])
    grid = np.ix_(i, j)
    thin = {
        "shape": [len(i), len(j)],
        "x": frame["x"][i],
        "y": frame["y"][j],
        "values": [values[grid] for values in frame["values"]],
        "evaluated": frame["evaluated"][grid],
    }
    return {**picture, "frame": {**frame, **thin}}


def _words(recording: Recording, text: str) -> Recording:
    """Words in place of pictures."""
    return replace(recording, kinds=("text",), frames=(({"text": text},),))
