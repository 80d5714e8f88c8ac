"""Any study as a widget: its sliders, its views, what it is doing, and whether its picture is right."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as W
import traitlets

from lwidgets.export.mime import bundle_of_study
from lwidgets.export.write import study_to_html
from lwidgets.study import Report, Status, Study
from lwidgets.study.sliders import PositionArgument, Slider
from lwidgets.where import WIDGET, in_notebook
from lwidgets.widgets.checks import ChecksPanel
from lwidgets.widgets.controls import control_for, is_rounding, range_of, set_range
from lwidgets.widgets.output import Output
from lwidgets.widgets.panels import Panels
from lwidgets.widgets.parts import close_with_parts
from lwidgets.widgets.status import StatusBar

_shown: weakref.WeakSet[StudyWidget] = weakref.WeakSet()
_numbers = itertools.count()
_RANGED = ("integer", "number", "pair")  # kinds of sliders whose controls have a range that code may go beyond


class _SliderTrait(traitlets.TraitType[Any, Any]):
    """A slider of the study as a trait; the value is the study's."""

    def get(self, obj: Any, cls: Any = None) -> Any:
        """Where the slider is."""
        return obj.study.values[self.name]

    def set(self, obj: Any, value: Any) -> None:
        """Move it, or refuse with the study's own words."""
        try:
            obj.study.set(**{str(self.name): value})
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from error


class StudyWidget(W.VBox):
    """A study on show. Every slider is a trait of the same name, kept equal to its control.

    Attributes:
        study: What is shown.
        panels: Its pictures: ``panels.places[name].view`` draws that of a view.
        controls: Slider name -> ipywidgets control.
        status_bar: Progress, error estimate, stop button, and an exception's words.
        checks_panel: "Is my picture right?"
    """

    _output: Output | None = None  # of the cells that show it
    _open = False  # until it is whole: a widget that could not be made is still finalised

    def __init__(self, study: Study, **sliders: Any) -> None:
        """Show a study and start it.

        Args:
            study: Its panels are laid out in the order of declaration.
            **sliders: Values to start from.

        Raises:
            TypeError: A keyword is not a slider's name.
        """
        for name in sliders:
            if name not in study.sliders:
                raise TypeError(
                    f"{type(self).__name__}: {name!r} must be one of the sliders {', '.join(study.sliders)}. "
                    "Check the spelling."
                )
        self.study = study
        self._number = next(_numbers)
        if sliders:
            study.set(**sliders)
        self.controls = {name: control_for(_as_it_stands(study, name)) for name in study.sliders}
        self.status_bar = StatusBar()
        self.checks_panel = ChecksPanel()

        self.panels = Panels(study.panels)
        self._told = dict(study.values)
        self._showing = threading.RLock()  # controls are moved, and held values put, by one thread at a time
        self._mover: int | None = None  # the thread that does
        self._painting = threading.Lock()
        words = [f"<p>{escape(told)}</p>" for told in (study.claim, study.paper) if told]
        head = f"<h3>{escape(study.title)}</h3>{''.join(words)}"
        after = [("Limits", study.limits), ("Citation", study.citation)]
        foot = "".join(f"<p><b>{name}.</b> {escape(told)}</p>" for name, told in after if told)
        super().__init__(
            [
                W.HTML(head, layout=W.Layout(display="" if words else "none")),
                W.GridBox(
                    list(self.controls.values()),
                    layout=W.Layout(
                        grid_template_columns="repeat(auto-fit, minmax(min(330px, 100%), 1fr))", width="100%"
                    ),
                ),
                self.panels,
                self.status_bar,
                self.checks_panel,
                W.HTML(foot, layout=W.Layout(display="" if foot else "none")),
            ],
            layout=W.Layout(width="100%"),
        )
        self.add_class("lwidgets-explorer")
        self.add_traits(**{name: _SliderTrait() for name in self.controls})
        for name, control in self.controls.items():
            self._join(name, control)
            self._show_value(name)
        self._open = True
        study.follow(self._moved)
        self._moved(study.values)  # since the controls were made
        self.status_bar.on_stop(study.stop)
        study.listen(self._show_state)
        study.watch(self._paint)
        for panel in study.panels:
            self._paint(study, panel.name)  # of a study that has already been computed
        try:
            study.start()
        except BaseException:
            self._open = False
            self._give_back()
            raise
        _shown.add(self)

    @staticmethod
    def on_show() -> list[StudyWidget]:
        """Every study that is on show in this process, in the order in which they were made."""
        return sorted((widget for widget in _shown if widget._open), key=lambda widget: widget._number)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the picture for the present sliders is final, or has failed.

        Returns:
            False when ``timeout`` seconds were not enough.

        Raises:
            RuntimeError: The widget was closed.
        """
        self._require_open("wait")
        return self.study.wait(timeout)

    def verify(self, timeout: float | None = None, *, at: Mapping[str, PositionArgument] | None = None) -> Report:
        """Run the study's checks; see `Study.verify`."""
        return self.study.verify(timeout, at=at)

    def to_html(self, path: str | Path, sliders: Mapping[str, PositionArgument] | None = None, **options: Any) -> Path:
        """Write what is on show as one HTML file, in which the sliders named stay alive without a kernel.

        Args:
            path: Of the file.
            sliders: Name -> positions, for example ``{"seed_x": range(20), "span": 5, "metric": None}``; the others
                stay as they are. See `write_page`.
            **options: Those of `write_page`: title, abstract, caption, citation, kind, exact, budget, progress.

        Raises:
            RuntimeError: The widget was closed, or the study failed at a position.
            ValueError: As `write_page`.
        """
        self._require_open("to_html")
        return study_to_html(self.study, path, sliders, **options)

    def bundle(self, *, still: bool = True, live: str | None = WIDGET) -> dict[str, Any]:
        """MIME type -> data: the live widget while it is open; and for a notebook without a kernel what it shows now.

        Args:
            still: Also a PNG, for pages without our extension.
            live: The type under which the widget itself is there, `where.WIDGET` for anybody or `where.LIVE` for our
                extension alone; None: nowhere.

        Warns:
            UserWarning: The picture is too large for a notebook, and kept with fewer pixels.
        """
        alive = super()._repr_mimebundle_() if self._open and live else {}
        return bundle_of_study(
            self.study, repr(self), {live: alive[WIDGET]} if live and WIDGET in alive else {}, still=still
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return self.bundle()

    def _ipython_display_(self) -> None:
        if not in_notebook():
            print(repr(self))
            return
        if self._output is None:
            self._output = Output(self)
        self._output.show()

    def __repr__(self) -> str:
        sliders = ", ".join(f"{name}={value!r}" for name, value in self.study.values.items())
        return f"{type(self).__name__}({self.study.title!r}: {sliders})"

    def close(self) -> None:
        """Stop computing and give everything in the browser back; results can still be read. Twice is harmless.

        Returns at once: a computation ends at its next batch of data.
        """
        if not self._open:
            return
        self._open = False
        self.status_bar.on_stop(self.study.stop, remove=True)
        self.study.close()
        self._give_back()

    def _give_back(self) -> None:
        close_with_parts(self)

    def latest(self, node: str) -> Any:
        """The value of a node for the present sliders; waits for it, and raises as `Study.result` does."""
        if self._open:
            self.study.wait()
        return self.study.result(node)

    def _require_open(self, what: str) -> None:
        if not self._open:
            raise RuntimeError(
                f"{type(self).__name__}.{what}: widget must be open, got a closed one. Make a new one; its "
                "results can still be read."
            )

    def _join(self, name: str, control: W.DOMWidget) -> None:
        def from_control(change: Any) -> None:
            value = self.study.values[name]
            told_by_us = self._mover == threading.get_ident()
            if not told_by_us and change["new"] != value and not is_rounding(control, value):
                self.study.set(**{name: change["new"]})

        control.observe(from_control, "value")

    def _moved(self, moved: Mapping[str, Any]) -> None:
        """Sliders have moved, whoever did it: show it, and tell who observes the traits, once."""
        if not self._open:
            return
        for name in moved:
            if name not in self.controls:
                continue  # declared since; a study that is shown again has it
            with self._showing:
                before, now = self._told[name], self.study.values[name]
                if before == now:
                    continue
                self._told[name] = now
                self._show_value(name)
            self.notify_change(traitlets.Bunch(name=name, old=before, new=now, owner=self, type="change"))

    def _show_value(self, name: str) -> None:
        """Let controls show where a slider is; what they say to that is no news."""
        with self._showing:
            before, self._mover = self._mover, threading.get_ident()
            try:
                control, value = self.controls[name], self.study.values[name]
                if self.study.sliders[name].kind in _RANGED:
                    set_range(control, *_holding(value, *range_of(control)))
                if control.value != value:
                    control.value = value
                for other, slider in self.study.sliders.items():
                    if other in self.controls and slider.bounds == name:
                        set_range(self.controls[other], *value)
                    if other in self.controls and name in slider.when:
                        shown = slider.is_shown(self.study.values)
                        self.controls[other].layout.display = "" if shown else "none"
            finally:
                self._mover = before

    def _paint(self, study: Study, view: str) -> None:
        """A view has a new picture."""
        if not self._open:
            self._give_back()  # what was still being painted when it was closed
            return
        name = next((panel.name for panel in study.panels if view in panel.layers), "")
        if name not in self.panels.places:
            return  # declared since; a study that is shown again has it
        with self._painting:
            if self.panels.show(name, study.pictures[name]):
                self._hold(name, self.panels.places[name].view)

    def _hold(self, name: str, view: Any) -> None:
        """What a person holds in a picture is the study's to know, and a program's to set."""
        if not view.has_trait("held"):
            return
        with self._showing:
            view.held = dict(self.study.held.get(name, {}))
            view.observe(partial(_note_held, weakref.ref(self.study), name), "held")

    def hold(self, panel: str, **held: Any) -> None:
        """Put what a person can hold in a picture: ``camera`` and ``point`` of a surface.

        Args:
            panel: Name of the view.
            **held: What to put where.

        Raises:
            KeyError: No panel of that name.
        """
        if panel not in self.panels.places:
            names = ", ".join(self.panels.places) or "none"
            raise KeyError(
                f"{type(self).__name__}.hold: panel must be one of {names}, got {panel!r}. Check the spelling."
            )
        with self._showing:
            known = {**self.study.held.get(panel, {}), **held}
            view = self.panels.places[panel].view
            if view is not None:
                view.held = known
            self.study.held[panel] = known

    def _show_state(self, study: Study) -> None:
        if not self._open:
            self._give_back()  # what a view was still painting when it was closed
            return
        status = study.status
        self.status_bar.status = {
            "phase": status.phase,
            "done": status.done,
            "total": status.total,
            "text": " · ".join(filter(None, [study.summary(), _pace(status)])),
            "message": status.message,
            "where": status.where,
        }
        pending = status.phase == "running"
        self.checks_panel.checks = [
            {"name": name, "state": "pending" if pending else check.state, "detail": check.detail}
            for name, check in study.checks.items()
        ]


def _note_held(study: weakref.ref[Study], panel: str, change: Any) -> None:
    """What a person holds, for the study, which the picture does not keep alive: anywidget keeps its widgets."""
    known = study()
    if known is not None:
        known.held[panel] = dict(change["new"])


def _pace(status: Status) -> str:
    """How long a step takes, where a person would ask.

    >>> _pace(Status("running", 1, 4225, seconds=10.2)), _pace(Status("running", 1, 4225, seconds=0.1))
    ('10 s a step, at most 4,224 more', '')
    """
    if status.phase != "running" or status.seconds < 1:
        return ""
    left = f", at most {status.total - status.done:,} more" if status.total > status.done else ""
    return f"{status.seconds:.0f} s a step{left}"


def _as_it_stands(study: Study, name: str) -> Slider:
    """The slider with the value it has now, and a range that holds it."""
    slider, value = study.sliders[name], study.values[name]
    low, high = study.values.get(slider.bounds or "", (slider.low, slider.high))
    if slider.kind in _RANGED and low is not None and high is not None:
        low, high = _holding(value, low, high)
    return replace(slider, value=value, low=low, high=high)


def _holding(value: Any, low: float, high: float) -> tuple[float, float]:
    """A range that holds a number or a pair, too: code may set more than a control offers.

    >>> _holding(5.0, 0.0, 3.0), _holding((-2.0, 1.0), 0.0, 3.0)
    ((0.0, 5.0), (-2.0, 3.0))
    """
    ends = value if isinstance(value, tuple) else (value,)
    return min(low, *ends), max(high, *ends)
