"""What a notebook keeps of a landscape: a picture to turn without a kernel, a still, and a line of text."""

from __future__ import annotations

import base64
import json
import warnings
from typing import Any

from lwidgets.export.companion import MIME, document
from lwidgets.export.record import recording_of
from lwidgets.export.stills import png
from lwidgets.landscape import Landscape

BUDGET = 1_000_000
"""Characters of an interactive picture in a notebook; a larger one is left out, and the still stays."""


def bundle(landscape: Landscape) -> dict[str, Any]:
    """MIME type -> data, for ``_repr_mimebundle_``.

    JupyterLab and Notebook 7 with our extension show the companion document; others, and web pages that render
    notebooks, the still.

    Warns:
        UserWarning: The interactive picture is larger than `BUDGET`, and left out.
    """
    found: dict[str, Any] = {
        "text/plain": repr(landscape),
        "image/png": base64.b64encode(png(landscape, dpi=96)).decode("ascii"),
    }
    companion = document([recording_of(landscape)], "")
    size = len(json.dumps(companion))
    if size <= BUDGET:
        found[MIME] = companion
    else:
        warnings.warn(
            f"Landscape: an interactive picture in a notebook must stay within {BUDGET / 1e6:g} MB, got "
            f"{size / 1e6:.1f} MB; the notebook keeps a still. Lower the resolution, or use to_html.",
            stacklevel=2,
        )
    return found
