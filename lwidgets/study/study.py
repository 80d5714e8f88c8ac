"""The study itself: what is declared in it, what a person moves, and what can be read off."""

from __future__ import annotations

import itertools
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lwidgets.check import Check, Report, Verified
from lwidgets.doors import through
from lwidgets.failures import words_of
from lwidgets.pictures.base import Picture
from lwidgets.study.declare import Declares
from lwidgets.study.graph import PROGRESS, Function, Graph, Panel, Pushed
from lwidgets.study.part import Part, renaming
from lwidgets.study.sliders import PositionArgument, Slider, positions_of, value_text
from lwidgets.study.worker import Status, Worker, kept_in_bounds
from lwidgets.where import Run, run_that_declares


class Study(Declares):
    """A title, sliders, and functions of them.

    Attributes:
        title: Shown above it.
        paper: The paper or page it belongs to; `Study.source` declares what is pushed.
        claim: What it shows, in a sentence.
        limits: What it does not show.
        citation: How to cite it.
        values: Slider name -> value.
        held: Panel -> what a person holds of its picture, such as the camera.
        summary: Tells one line about the present picture, beside its status; by default nothing.

    Example:
        >>> study = Study("Parabola")
        >>> _ = study.slider("steepness", 2.0, low=0.0, high=5.0)
        >>> @study.node
        ... def height(steepness):
        ...     return steepness * 0.5**2
        >>> @study.check
        ... def is_known(height):
        ...     "The height at one half is a quarter of the steepness"
        ...     return Check.that(height == 0.5, f"height {height}")
        >>> @study.oracle(tol=1e-12)
        ... def slope(height, steepness):
        ...     "The slope at one half is the steepness"
        ...     return 4 * height, steepness
        >>> print(study.verify())
        pass The height at one half is a quarter of the steepness: height 0.5
        pass The slope at one half is the steepness: found 2, expected 2 (relative 0, tolerance 1e-12)
        >>> study.set(steepness=4.0)
        >>> study.wait(10), study["height"]
        (True, 1.0)
        >>> study.close()
    """

    def __init__(
        self,
        title: str,
        *,
        source: str = "",
        claim: str = "",
        limits: str = "",
        citation: str = "",
        version: Callable[[], Any] = lambda: None,
    ) -> None:
        """An empty study.

        Args:
            title: Shown above it.
            source: The paper or page it belongs to.
            claim: What it shows, in a sentence.
            limits: What it does not show.
            citation: How to cite it.
            version: Of what nodes use besides sliders: whenever it returns something else, they are computed anew.
        """
        self.title = title
        self.paper = source
        self.claim = claim
        self.limits = limits
        self.citation = citation
        self.values: dict[str, Any] = {}
        self.held: dict[str, dict[str, Any]] = {}
        self.summary: Callable[[], str] = str
        self._graph = Graph()
        self._pushed: dict[str, Pushed] = {}
        self._versions = itertools.count(1)
        self._declared: dict[str, tuple[str, Run | None]] = {}  # name -> what it is, and the run of which cell says so
        self._listeners: list[Callable[[Study], None]] = []
        self._followers: list[Callable[[dict[str, Any]], None]] = []
        self._lock = threading.RLock()
        self._work = Worker(self._graph, title, version, told=self._tell)

    # --- declaring ---

    def add(self, part: Part, *, prefix: str = "", uses: Mapping[str, str] | None = None) -> dict[str, str]:
        """Declare everything that a part declares.

        Args:
            part: Can be added again under another prefix.
            prefix: Before its names (with "_" for blanks), and before labels and titles as it is.
            uses: Port -> the study's name for it, where that is another.

        Returns:
            Name in the part -> name in the study.

        Raises:
            ValueError: A port is not there, ``uses`` names no port, or a name is taken.
        """
        names = renaming(part, prefix, uses or {})
        for port in part.ports:
            if names[port] not in self._graph:
                raise ValueError(
                    f"Study.add: {part.title!r} needs {names[port]!r} for its port {port!r}, which is not there. Known "
                    f"are {', '.join(self._graph.names()) or 'none so far'}. Declare it first, or pass "
                    f"uses={{{port!r}: ...}}."
                )
        run = run_that_declares("")
        for name in part.names:
            self._may_claim(names[name], None, run)
        for declare in part.declarations:
            declare(self, names.__getitem__, prefix)
        return {name: names[name] for name in part.names}

    def _add_slider(self, slider: Slider) -> None:
        for other, values in slider.when.items():
            if other not in self._graph.sliders:
                raise ValueError(
                    f"Study: when must name earlier sliders, got {other!r} for {slider.name!r}. "
                    f"Declare {other!r} first."
                )
            if isinstance(values, str):
                raise ValueError(f"Study: when must list values of {other!r}, got {values!r}. Pass ({values!r},).")
            for one in values:
                self._graph.sliders[other].coerce(one)
        with self._lock:
            self._claim(slider.name, "slider", "")
            self._graph.sliders = {**self._graph.sliders, slider.name: slider}
            self.values[slider.name] = self._work.current[slider.name] = slider.value
            self._declared_anew(slider.name)

    def _add_given(self, name: str, value: Any) -> None:
        with self._lock:
            self._claim(name, "given", "")
            self._graph.givens = {**self._graph.givens, name: value}
            self._declared_anew(name)

    def _add_source(self, name: str, value: Any) -> None:
        with self._lock:
            self._claim(name, "source", "")
            self._graph.sources = {**self._graph.sources, name: None}
            self._pushed[name] = self._work.current[name] = Pushed(value, next(self._versions))
            self._declared_anew(name)

    def _add_function(self, function: Function, filename: str) -> None:
        with self._lock:
            run = self._may_claim(function.name, function.role, run_that_declares(filename))
            self._graph.put(function)
            self._declared[function.name] = function.role, run
            self.held = {panel.name: self.held.get(panel.name, {}) for panel in self._graph.panels}
            self._go_on()

    def _claim(self, name: str, role: str, filename: str) -> None:
        self._declared[name] = role, self._may_claim(name, role, run_that_declares(filename))

    def _may_claim(self, name: str, role: str | None, run: Run | None) -> Run | None:
        """Refuse a name that is taken, except by an earlier run of the cell that is running."""
        if name == PROGRESS or not name.isidentifier():
            raise ValueError(
                f"Study: {name!r} must be a new name and an identifier other than {PROGRESS!r}. Choose another."
            )
        if name in self._declared:
            known, before = self._declared[name]
            if run is None or role not in (None, known) or not run.repeats(before):
                again = "" if run is None else ", or run the cell again that declares it"
                raise ValueError(
                    f"Study: {name!r} must be a new name, got a second {role or 'one'} where there is a {known}. "
                    f"Choose another{again}."
                )
        return run

    def _declared_anew(self, name: str) -> None:
        """What depends on a slider, given or source of this name is out of date."""
        dependents = self._graph.dependents(name)
        if dependents:
            self._graph.renew(dependents)
        self._go_on()

    def _go_on(self) -> None:
        if self._work.latest.begun and not self._work.latest.closed:
            self._work.latest.request({})

    # --- what there is ---

    @property
    def sliders(self) -> dict[str, Slider]:
        """Name -> slider."""
        return self._graph.sliders

    @property
    def panels(self) -> list[Panel]:
        """Places for pictures, in the order of declaration."""
        return list(self._graph.panels)

    @property
    def layers(self) -> dict[str, Picture | None]:
        """View -> the newest picture that it has returned, or None."""
        return {view.name: self._work.layers.get(view.name) for view in self._graph.views}

    @property
    def pictures(self) -> dict[str, Picture | None]:
        """Panel -> its layers laid over each other; None where nothing is shown.

        A picture whose layers have not changed is the same object.
        """
        return {panel.name: self._work.pictures.get(panel.name) for panel in self._graph.panels}

    @property
    def checks(self) -> dict[str, Check]:
        """Title -> outcome, at the position that was dealt with last."""
        return self._work.checks

    @property
    def status(self) -> Status:
        """What it is doing."""
        return self._work.status

    @property
    def error(self) -> BaseException | None:
        """What the function raised that failed."""
        return self._work.error

    # --- using ---

    def set(self, **values: Any) -> None:
        """Move sliders; returns at once, and the worker follows.

        Raises:
            KeyError: No slider of that name.
            ValueError: A value its slider does not allow.
            RuntimeError: The study was closed.
        """
        moved = self.coerce(values)
        with self._lock:
            after = kept_in_bounds(self._graph, {**self.values, **moved})
            changed = [name for name in after if after[name] != self.values[name]]
            if self._work.painters and changed:
                first = next((name for name in moved if name in changed), changed[0])
                self._work.travel = (first, self.values[first])
                self._work.moved_at = time.monotonic()
            moved |= {name: after[name] for name in changed}
            self.values.update(moved)
            self._work.latest.request(moved)
        for follower in list(self._followers):
            follower(moved)

    def push(self, **values: Any) -> None:
        """Send new values of sources; from any thread, and returns at once. A closed study takes no notice.

        What depends on them is computed for the newest only. A value must not be changed after it was pushed.

        Raises:
            KeyError: No source of that name.
        """
        for name in values:
            if name not in self._graph.sources:
                known = ", ".join(self._graph.sources) or "none so far"
                raise KeyError(f"Study.push: name must be one of the sources, {known}, got {name!r}. Declare it first.")
        with self._lock:
            pushed = {name: Pushed(value, next(self._versions)) for name, value in values.items()}
            self._pushed.update(pushed)
            self._work.latest.request(pushed)

    def coerce(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values as their sliders hold them; nothing is moved. Raises as `set` does."""
        self._require_open("set")
        for name in values:
            if name not in self.sliders:
                raise KeyError(
                    f"Study.set: name must be one of {', '.join(self.sliders)}, got {name!r}. Check the spelling."
                )
        moved = {name: self.sliders[name].coerce(value) for name, value in values.items()}
        for name, value in moved.items():
            bounds = self.sliders[name].bounds
            if bounds is None:
                continue
            low, high = {**self.values, **moved}[bounds]
            if not low <= value <= high:
                raise ValueError(
                    f"Study.set: {name} must lie in {bounds}, [{low:g}, {high:g}], got {value!r}. Widen {bounds} first."
                )
        return moved

    def __getitem__(self, name: str) -> Any:
        """The newest value of a slider, source, given or node.

        Raises:
            KeyError: There is none yet, or no such name.
        """
        if name in self.values:
            return self.values[name]
        if name in self._pushed:
            return self._pushed[name].value
        if name in self._graph.givens:
            return self._graph.givens[name]
        if name in self._work.world:
            return self._work.world[name].value
        state = "not computed yet" if name in self._graph else f"not one of {', '.join(self._graph.names())}"
        raise KeyError(f"Study: {name!r} is {state}. Call wait() first, or check the spelling.")

    def get(self, name: str, default: Any = None) -> Any:
        """The newest value of a slider, source, given or node; the default while there is none."""
        try:
            return self[name]
        except KeyError:
            return default

    def result(self, node: str) -> Any:
        """The value of a node for the present sliders; one that is still being improved, if there is none other.

        Raises:
            KeyError: No such node, or it has not been computed yet.
            RuntimeError: There is none for the present sliders, because computing was stopped or closed.
            BaseException: What was raised by computing the node, or a node that it takes.
        """
        failures = self._work.failures
        line = self._graph.line_of(node) if node in self._graph.functions else []
        failed = next((function.name for function in line if function.name in failures), None)
        if failed is not None:
            raise failures[failed][1]
        if node in self._work.world and not self.is_current(node):
            raise RuntimeError(
                f"Study: {node} must have been computed for the present sliders, got a stop before. "
                + ("Make a new one." if self._work.latest.closed else "Move a slider, or call start() and wait().")
            )
        return self[node]

    def start(self) -> None:
        """Begin computing.

        Raises:
            RuntimeError: The study was closed.
            ValueError: The bounds of a slider are none.
        """
        self._require_open("start")
        for slider in self.sliders.values():
            if slider.bounds and (slider.bounds not in self.sliders or self.sliders[slider.bounds].kind != "pair"):
                raise ValueError(
                    f"Study: bounds must name a slider that holds a pair, got {slider.bounds!r} for {slider.name!r}. "
                    "Declare it."
                )
        self._work.latest.request({})

    def show(self) -> Any:
        """The study as a widget, with a control for every slider; a study that ends a cell shows itself."""
        return through("study.show")(self)

    def to_html(self, path: str | Path, sliders: Mapping[str, PositionArgument] | None = None, **options: Any) -> Path:
        """Write the study as one HTML file, in which the sliders named stay alive without a kernel.

        Args:
            path: Of the file.
            sliders: Name -> positions, for example ``{"seed_x": range(20), "span": 5, "metric": None}``; the others
                stay as they are. See `write_page`.
            **options: Those of `write_page`: title, abstract, caption, citation, kind, exact, budget, progress.

        Raises:
            RuntimeError: The study failed at a position.
            ValueError: As `write_page`.
        """
        written: Path = through("study.to_html")(self, path, sliders, **options)
        return written

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.show())  # type: ignore[no-untyped-call]

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the newest slider values have been dealt with; False when the time, in seconds, ran out first.

        Where what nodes use besides sliders has changed since they were computed, they are computed anew.
        """
        latest = self._work.latest
        if not latest.closed and latest.wait(0) and self._work.version_has_changed():
            latest.request({})
        return latest.wait(timeout)

    def stop(self) -> None:
        """Stop computing within one batch of data; what is there stays."""
        self._work.latest.stop()

    def close(self) -> None:
        """Stop for good, within one batch of data; returns at once. Values, checks and status can still be read."""
        self._work.latest.close()
        self._work.report(Status("closed"))

    def verify(self, timeout: float | None = None, *, at: Mapping[str, PositionArgument] | None = None) -> Report:
        """Run every node, view, oracle and check at the present sliders, without showing anything.

        Args:
            timeout: Seconds, for all positions together.
            at: Slider -> positions: at every combination of them instead. The sliders are put back.

        Raises:
            TimeoutError: It took longer than ``timeout`` seconds.
            RuntimeError: The study was closed, or stopped before the end.
            KeyError: No slider of that name.
            ValueError: A position that its slider does not allow.
        """
        last = None if timeout is None else time.monotonic() + timeout
        if at is None:
            return Report(dict(self._verified(timeout, last)))
        positions = positions_of(self.sliders, at, "Study.verify")
        began = {name: self.values[name] for name in positions}
        found: list[Verified] = []
        try:
            for values in itertools.product(*positions.values()):
                moved = dict(zip(positions, values, strict=True))
                self.set(**moved)
                words = ", ".join(
                    f"{self.sliders[name].title} = {value_text(self.sliders[name], value)}"
                    for name, value in moved.items()
                )
                found += [Verified(words, name, check) for name, check in self._verified(timeout, last)]
        finally:
            if not self._work.latest.closed:
                self.set(**began)
        return Report.over(tuple(found))

    def _verified(self, timeout: float | None, last: float | None) -> Iterator[tuple[str, Check]]:
        """What was found at the present sliders; ``last`` is the moment when time is up."""
        self.start()
        if not self.wait(None if last is None else max(0.0, last - time.monotonic())):
            raise TimeoutError(f"Study.verify: checks must end within {timeout} s, got no end. Give it more time.")
        if self.status.phase in ("stopped", "closed"):
            raise RuntimeError("Study.verify: checks must run to their end, got a stop. Call verify() again.")
        yield from self.checks.items()
        for name, (_, error) in self._work.failures.items():
            what = "view" if self._graph.functions[name].role == "view" else "computing"
            yield f"{what} {name}", Check("fail", words_of(error))

    def watch(self, painter: Callable[[Study, str], None]) -> Callable[[], None]:
        """Call ``painter(study, view)`` whenever a view has a new picture, or none any more, on the worker's thread.

        A study that somebody watches computes the next positions of a slider ahead, and lets slow nodes wait until the
        sliders rest.

        Returns:
            What ends it.
        """
        call = partial(painter, self)
        self._work.painters.append(call)

        def end() -> None:
            if call in self._work.painters:
                self._work.painters.remove(call)

        return end

    def listen(self, listener: Callable[[Study], None]) -> None:
        """Call ``listener(study)`` whenever status or checks change, on the thread where they do."""
        self._listeners.append(listener)

    def follow(self, follower: Callable[[dict[str, Any]], None]) -> None:
        """Call ``follower(values)`` whenever sliders move, with those that did, on the thread that moved them."""
        self._followers.append(follower)

    def is_current(self, node: str) -> bool:
        """Whether a node or view has a value for the present sliders, final or on its way."""
        entry = self._work.world.get(node)
        present = {**self.values, **self._pushed}
        return entry is not None and entry.key == self._work.key(self._graph.functions[node], present)

    def _tell(self) -> None:
        for listener in list(self._listeners):
            try:
                listener(self)
            except Exception:  # a broken listener must not end the worker
                traceback.print_exc()

    def _require_open(self, what: str) -> None:
        if self._work.latest.closed:
            raise RuntimeError(
                f"Study.{what}: study must be open, got the closed {self.title!r}. Make a new one; "
                "the last results can still be read."
            )


def together(streams: Mapping[str, Iterator[Any]]) -> Iterator[dict[str, Any]]:
    """Streams side by side: after every round, the newest value of each. For nodes that show several things at once.

    >>> list(together({"a": iter([1, 2, 3]), "b": iter([4])}))
    [{'a': 1, 'b': 4}, {'a': 2, 'b': 4}, {'a': 3, 'b': 4}]
    """
    newest: dict[str, Any] = {}
    running = dict(streams)
    while running:
        for name, values in list(running.items()):
            try:
                newest[name] = next(values)
            except StopIteration:
                del running[name]
        if running:
            yield dict(newest)
