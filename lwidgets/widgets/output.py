"""The output of a cell that shows a study: the widget, and with it what a notebook shows when the kernel is gone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lwidgets.export.notebook import somebody_is_there
from lwidgets.study import Study

if TYPE_CHECKING:
    from lwidgets.widgets.study import StudyWidget

_REST = 1.0  # seconds that a picture must have been final before the notebook keeps it
_PATIENCE = 60.0  # seconds to wait for it in a run that nobody watches


class Output:
    """Publishes a widget, and what it shows again whenever that has come to rest.

    The first time in any page. Later, after a slider was moved, only where the page says that it keeps the widget as it
    is meanwhile (`StatusBar.keeps`): another would make it anew under the finger.
    """

    def __init__(self, widget: StudyWidget) -> None:
        """Nothing is shown yet.

        Args:
            widget: A study on show.
        """
        self._widget = widget
        self._id = f"lwidgets-{uuid4().hex}"
        self._timer: threading.Timer | None = None
        self._whole = False  # what is in the notebook has a final picture and a still
        self._lock = threading.Lock()
        self._follows = False

    def show(self) -> None:
        """Publish it in the present cell: at once, or in a run that nobody watches when its picture is there."""
        if not somebody_is_there():
            self._widget.study.wait(_PATIENCE)
        self._publish(update=False, still=not somebody_is_there())
        if not self._follows:
            self._follows = True
            self._widget.study.listen(self._follow)
        self._follow(self._widget.study)

    def _follow(self, _study: Study) -> None:
        """Renew the picture once nothing has happened for a while."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._due():
                self._timer = threading.Timer(_REST, self._renew)
                self._timer.daemon = True
                self._timer.start()

    def _due(self) -> bool:
        return self._widget.study.status.phase == "done" and (self._widget.status_bar.keeps or not self._whole)

    def _renew(self) -> None:
        if self._due():
            self._publish(update=True, still=True)

    def _publish(self, *, update: bool, still: bool) -> None:
        from IPython.display import display

        data: dict[str, Any] = self._widget.bundle(still=still)
        done = self._widget.study.status.phase == "done"
        if update and not done:
            return  # a slider has moved meanwhile: what was taken down may be of two pictures
        self._whole = done and still
        display(data, raw=True, display_id=self._id, update=update)  # type: ignore[no-untyped-call]
