"""The panel "Is my picture right?": what was checked about a picture and how it went."""

from __future__ import annotations

import anywidget
import traitlets

from lwidgets.assets import script


class ChecksPanel(anywidget.AnyWidget):
    """A folded list of checks whose summary counts them.

    Attributes:
        checks: Each ``{"name": str, "state": str, "detail": str}`` with a state of ``pass``, ``warn``,
            ``fail``, ``info`` or ``pending``.
    """

    _esm = script("checks.js").read_text(encoding="utf-8")  # a path would keep every widget alive

    checks = traitlets.List(traitlets.Dict()).tag(sync=True)
