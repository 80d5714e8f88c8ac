"""The status line of a running computation: progress, accuracy, a stop button, and the exception of a failed one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from lwidgets.assets import script


class StatusBar(anywidget.AnyWidget):
    """A progress bar with text and a stop button; shows an exception in full where a computation failed.

    In the browser it also gives the sliders and bqplot figures of its explorer (the closest element of class
    ``lwidgets-explorer``) the accessible names and keyboard marks that they lack.

    Attributes:
        status: All of it at once: ``phase`` (``idle``, ``running``, ``done``, ``stopped``, ``failed`` or
            ``closed``), ``done`` and ``total`` (evaluations), ``text`` (shown beside the bar), ``message``
            (text of the exception) and ``where`` (the step that failed).
        keeps: Whether the page keeps its explorer as it is when the cell's output is published again; the page tells.
    """

    _esm = script("status.js").read_text(encoding="utf-8")  # a path would keep every widget alive

    status = traitlets.Dict(
        default_value={"phase": "idle", "done": 0, "total": 0, "text": "", "message": "", "where": ""}
    ).tag(sync=True)

    keeps = traitlets.Bool(False).tag(sync=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stop_callbacks: list[Callable[[], object]] = []
        self.on_msg(self._receive)

    def on_stop(self, callback: Callable[[], object], remove: bool = False) -> None:
        """Call ``callback()`` when the stop button is pressed.

        Args:
            callback: Called without arguments, on the thread that handles messages: it must return at once.
            remove: Take the callback away instead.
        """
        if remove:
            self._stop_callbacks.remove(callback)
        else:
            self._stop_callbacks.append(callback)

    def _receive(self, _widget: object, content: Any, _buffers: object) -> None:
        if isinstance(content, dict) and content.get("type") == "stop":
            for callback in tuple(self._stop_callbacks):
                callback()
