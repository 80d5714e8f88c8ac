"""What a notebook keeps of a picture: one to turn without a kernel, a still, and a line of text."""

from __future__ import annotations

import base64
import json
import warnings
from dataclasses import replace
from typing import Any

from lwidgets.export.document import MIME, document
from lwidgets.export.recording import Recording, picture_of, recording_of, snapshot
from lwidgets.export.stills import DPI, still_of
from lwidgets.landscape import Landscape
from lwidgets.pictures import Picture, Words
from lwidgets.pictures.stills import png
from lwidgets.study import Study
from lwidgets.where import in_notebook

BUDGET = 1_000_000
"""Characters of an interactive picture in a notebook; a larger one is kept with fewer pixels."""
_TOO_LARGE = "This picture is too large for a notebook to keep. Run the cell again, or use to_html."
_UNFINISHED = "This picture was not finished when the notebook was saved. Run the cell again to see it."
_STEPS = (1, 4, 16)  # each a tenth of the size of the one before


def bundle(landscape: Landscape) -> dict[str, Any]:
    """MIME type -> data, for ``_repr_mimebundle_``; outside a notebook the line of text alone.

    JupyterLab and Notebook 7 with our extension show the companion document; others, and web pages that render
    notebooks, the still.

    Warns:
        UserWarning: The interactive picture is larger than `BUDGET`, and kept with fewer pixels.
    """
    if not in_notebook():
        return {"text/plain": repr(landscape)}
    return _bundle(recording_of(picture_of(landscape)), repr(landscape), png(landscape, dpi=DPI))


def bundle_of_study(study: Study, text: str, live: dict[str, Any], *, still: bool) -> dict[str, Any]:
    """MIME type -> data of a study: what it shows now for when its kernel is gone, and the widget while it is there.

    Args:
        study: Running.
        text: The line of text.
        live: What it is shown by while it is alive: `where.WIDGET` or `where.LIVE` -> data, or nothing.
        still: Whether to draw a still as well, which takes a fifth of a second.

    Warns:
        UserWarning: As `bundle`.
    """
    shown = snapshot(study)
    if not shown.panels:
        shown = replace(recording_of(Words(_UNFINISHED, tone="note")), title=shown.title, fixed=shown.fixed)
    return _bundle(shown, text, still_of(shown) if still else None) | live


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
    return document([recording_of(Words(_TOO_LARGE, tone="note"))], "")


def _thinned(recording: Recording, step: int) -> Recording:
    def thin(picture: Picture | None) -> Picture | None:
        return None if picture is None else picture.thin(step)

    return replace(recording, frames=tuple(tuple(map(thin, frame)) for frame in recording.frames))
