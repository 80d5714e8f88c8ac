"""The still of a study: what is seen of it where nothing can draw it."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from lwidgets.export.recording import Recording

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 96
"""Pixels an inch: a still is about as wide as the live picture of a narrow cell."""
SMALL = 8_000
"""Characters of a still inside a document, at most."""

# From the best to what is still a picture; the first that is small enough is taken.
_SMALLER = ((72, 32), (72, 16), (54, 16), (36, 16), (36, 8))  # pixels an inch, colours
_PNG = "data:image/png;base64,"


def still_of(recording: Recording) -> bytes | None:
    """The first picture that can be drawn of the frame at which a page opens, as a PNG file; rather no words."""
    from lwidgets.pictures.stills import encoded

    figure = _figure(recording)
    return None if figure is None else encoded(figure, format="png", dpi=DPI)


def small_still(recording: Recording) -> str:
    """The same within `SMALL` characters, in few colours, as a ``data:`` URI; empty where there is none."""
    from PIL import Image

    from lwidgets.pictures.stills import encoded

    figure = _figure(recording)
    if figure is None:
        return ""
    for dpi, colors in _SMALLER:
        image = Image.open(io.BytesIO(encoded(figure, format="png", dpi=dpi))).convert("RGB")
        buffer = io.BytesIO()
        image.quantize(colors, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        found = _PNG + base64.b64encode(buffer.getvalue()).decode("ascii")
        if len(found) <= SMALL:
            return found
    return ""


def _figure(recording: Recording) -> Figure | None:
    pictures = [picture for picture in recording.opening if picture is not None]
    for picture in sorted(pictures, key=lambda one: not one.drawn):
        figure = picture.still()
        if figure is not None:
            return figure
    return None
