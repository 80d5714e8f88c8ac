"""The output of a cell that shows a study: the widget, and with it what a notebook shows when the kernel is gone."""

from __future__ import annotations

import atexit
import threading
import weakref
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lwidgets.export.notebook import LIVE, WIDGET
from lwidgets.study import Study
from lwidgets.where import Run, running_cell, somebody_is_there

if TYPE_CHECKING:
    from lwidgets.widgets.study import StudyWidget

_REST = 1.0  # seconds that a picture must have been final before the notebook keeps it
_PATIENCE = 60.0  # seconds to wait for it in a run that nobody watches
_GRACE = 5.0  # seconds that the interpreter's end waits for a still that is being drawn
_outputs: weakref.WeakSet[Output] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """Let no thread be inside a renderer when the interpreter goes: it would abort the process."""
    for output in list(_outputs):
        output.end()


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
        self._cells: dict[str, Run] = {}  # where it is on the page
        self._whole = False  # what is in the notebook has a final picture and a still
        self._live: str | None = None  # the type under which the widget itself is in it
        self._lock, self._drawing = threading.Lock(), threading.Lock()
        self._ended = False
        self._follows = False
        _outputs.add(self)

    def show(self) -> None:
        """Publish it in the present cell: at once, or in a run that nobody watches when its picture is there.

        An explorer that an earlier run of the cell has shown there, and there only, is off the page: it is closed.
        """
        run = running_cell()
        if run is not None:
            for other in list(_outputs):
                if other is not self:
                    other._replaced_by(run)
            self._cells[run.cell] = run
        if not somebody_is_there():
            self._widget.study.wait(_PATIENCE)
            self._publish(update=False, still=True)
            return
        self._publish(update=False, still=False)
        if not self._follows:
            self._follows = True
            self._widget.study.listen(self._follow)
            self._widget.status_bar.observe(lambda _: self._follow(self._widget.study), "keeps")
        self._follow(self._widget.study)

    def end(self) -> None:
        """Publish nothing more."""
        self._ended = True
        self._drawing.acquire(timeout=_GRACE)  # for good

    def _replaced_by(self, run: Run) -> None:
        """Leave a cell that is run again."""
        if self._cells.get(run.cell, run) != run:
            del self._cells[run.cell]
            if not self._cells:
                self._widget.close()

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
        as_it_should = self._whole and self._live == self._type()
        return self._widget.study.status.phase == "done" and (self._widget.status_bar.keeps or not as_it_should)

    def _type(self) -> str | None:
        """Under which the widget itself belongs into the notebook."""
        if not somebody_is_there():
            return None
        return LIVE if self._widget.status_bar.keeps else WIDGET

    def _renew(self) -> None:
        with self._drawing:
            if self._due() and not self._ended:
                self._publish(update=True, still=True)

    def _publish(self, *, update: bool, still: bool) -> None:
        from IPython.display import display

        live = self._type()
        data: dict[str, Any] = self._widget.bundle(still=still, live=live)
        done = self._widget.study.status.phase == "done"
        if update and not done:
            return  # a slider has moved meanwhile: what was taken down may be of two pictures
        self._whole, self._live = done and still, live
        display(data, raw=True, display_id=self._id, update=update)  # type: ignore[no-untyped-call]
