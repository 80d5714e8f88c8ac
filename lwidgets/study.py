"""Studies: sliders -> nodes -> views and checks, a small reactive graph that a person touches.

A node, view or check is a function; its argument names are the edges. A slider that moves recomputes what depends on
it and nothing else. Nodes that are generators show what they have after every ``yield``. In idle time, the positions
next to the slider moved last are computed ahead.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import threading
import time
import traceback
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, overload

from lwidgets.check import Check as Check
from lwidgets.check import Report as Report
from lwidgets.failures import words_of
from lwidgets.pauses import heard_by
from lwidgets.scheduler import LatestWins, Stopped, Superseded
from lwidgets.sliders import Slider

F = TypeVar("F", bound=Callable[..., Any])
Judge = TypeVar("Judge", bound="Callable[..., Check]")

PROGRESS = "progress"
"""An argument of this name receives ``progress(done, total)``, to be called between steps; it ends stale work."""

_SLOW = 1.0  # seconds without a report after which one comes between two batches
_STATUS_INTERVAL = 0.05  # seconds between progress reports: 20 a second are smooth and cost nothing
_PREFETCHED = 2.0  # seconds to compute: what takes longer is not ready when wanted, and would keep a machine hot
_CHECKS_KEPT = 64  # outcomes of a check that are remembered; they are a line of text each


@dataclass(frozen=True)
class Status:
    """What the worker is doing.

    Attributes:
        phase: "idle", "running", "done", "stopped", "failed" or "closed".
        done: Steps taken of the present node.
        total: Of how many at most.
        where: Node, view or check that failed.
        message: The exception's own words.
        seconds: What the last step took, or the present one so far where that is more.
    """

    phase: Literal["idle", "running", "done", "stopped", "failed", "closed"] = "idle"
    done: int = 0
    total: int = 0
    where: str = ""
    message: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class _Function:
    """A node, view or check and what it takes."""

    name: str
    function: Callable[..., Any]
    takes: tuple[str, ...]
    keep: int = 0
    title: str = ""
    sliders: tuple[str, ...] = ()

    @property
    def streams(self) -> bool:
        return inspect.isgeneratorfunction(self.function)


@dataclass
class _Entry:
    """The newest value of a node: for which slider values, from which inputs, and whether it will still improve."""

    value: Any
    key: tuple[Any, ...]
    final: bool
    serial: int
    inputs: tuple[Any, ...] | None


class Study:
    """A title, sliders, and functions of them.

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
        >>> bool(study.verify())
        True
        >>> study.set(steepness=4.0)
        >>> study.wait(10), study["height"]
        (True, 1.0)
        >>> study.close()
    """

    def __init__(self, title: str, *, source: str = "", version: Callable[[], Any] = lambda: None) -> None:
        """An empty study.

        Args:
            title: Shown above it.
            source: The paper or page it belongs to.
            version: Of what nodes use besides sliders: whenever it returns something else, they are computed anew.
        """
        self.title = title
        self.source = source
        self.sliders: dict[str, Slider] = {}
        self.values: dict[str, Any] = {}
        self.views: dict[str, Any] = {}  # name -> widget, or None for a view that has none of its own
        self.status = Status()
        self.error: BaseException | None = None
        self.checks: dict[str, Check] = {}
        self._nodes: dict[str, _Function] = {}
        self._painters: dict[str, _Function] = {}
        self._checkers: dict[str, _Function] = {}
        self._memo: defaultdict[_Function, OrderedDict[tuple[Any, ...], Any]] = defaultdict(OrderedDict)
        self._seconds: dict[_Function, float] = {}  # that computing a node took last time
        self._listeners: list[Callable[[Study], None]] = []
        self._followers: list[Callable[[dict[str, Any]], None]] = []
        self._world: dict[str, _Entry] = {}
        self._current: dict[str, Any] = {}  # slider values the worker is working for
        self._read_version, self._version = version, version()
        self._failures: dict[str, tuple[Any, BaseException]] = {}
        self._seen: dict[str, tuple[Any, ...]] = {}  # inputs a view was last painted with
        self._travel: tuple[str, Any] | None = None  # the slider moved last on show, and from where
        self._serials = itertools.count(1)
        self._painting = False
        self._running: _Function | None = None  # what news of its sliders ends
        self._unsettled = False  # there was news that did not end it
        self._reported = 0.0
        self._stepped, self._steps, self._step_took = 0.0, 0, 0.0  # when, how many, and how long the last
        self._lock = threading.RLock()
        self._worker = LatestWins(self._work, name=f"lwidgets: {title}", leisure=self._prefetch)

    # --- declaring ---

    def slider(self, name: str, value: Any, **spec: Any) -> Slider:
        """Declare something a person can set; see `Slider` for the keywords."""
        self._claim(name)
        if "options" in spec:
            spec["options"] = tuple(spec["options"])
        slider = Slider(name, value, **spec)
        slider.coerce(value)
        for other, values in slider.when.items():
            if other not in self.sliders:
                raise ValueError(
                    f"Study: when must name earlier sliders, got {other!r} for {name!r}. Declare {other!r} first."
                )
            if isinstance(values, str):
                raise ValueError(f"Study: when must list values of {other!r}, got {values!r}. Pass ({values!r},).")
            for one in values:
                self.sliders[other].coerce(one)
        self.sliders[name] = slider
        self.values[name] = self._current[name] = value
        return slider

    @overload
    def node(self, function: F) -> F: ...
    @overload
    def node(self, *, keep: int = 8) -> Callable[[F], F]: ...
    def node(self, function: F | None = None, *, keep: int = 8) -> F | Callable[[F], F]:
        """Declare a value computed from sliders and earlier nodes; a decorator.

        Args:
            function: Its argument names are what it takes. A generator function shows every value it yields; the last
                counts.
            keep: How many results are remembered, so that a slider that returns costs nothing. Where there is room for
                them, 4 and more, the next positions of a slider are computed ahead in idle time.
        """
        if function is None:
            return lambda f: self._add_node(f, keep)
        return self._add_node(function, keep)

    @overload
    def view(self, function: F) -> F: ...
    @overload
    def view(self, *, widget: Any = None) -> Callable[[F], F]: ...
    def view(self, function: F | None = None, *, widget: Any = None) -> F | Callable[[F], F]:
        """Declare a function that paints whenever one of its arguments has a new value; a decorator.

        Args:
            function: Paints; what it returns is not used. It runs only while the study is shown.
            widget: Where it paints; laid out by the study's widget in the order of declaration.
        """
        if function is None:
            return lambda f: self._add_view(f, widget)
        return self._add_view(function, widget)

    @overload
    def check(self, function: Judge, /) -> Judge: ...
    @overload
    def check(self, /, **names: str) -> Callable[[Judge], Judge]: ...
    def check(self, function: Judge | None = None, /, **names: str) -> Judge | Callable[[Judge], Judge]:
        """Declare a self-check, run when everything it takes is final; a decorator.

        Args:
            function: Its docstring's first line is the check's name.
            **names: Argument -> the slider or node it takes, where that has another name.
        """
        if function is None:
            return lambda f: self._add_check(f, names)
        return self._add_check(function, {})

    def _add_check(self, function: Judge, names: Mapping[str, str]) -> Judge:
        declared = self._declare(function, _CHECKS_KEPT, names)
        if any(known.title == declared.title for known in self._checkers.values()):
            raise ValueError(
                f"Study: a check must have a title of its own, got {declared.title!r} twice. Change one docstring."
            )
        self._checkers[function.__name__] = declared
        return function

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
            after = self._kept_in_bounds({**self.values, **moved})
            changed = [name for name in after if after[name] != self.values[name]]
            if self._painting and changed:
                first = next((name for name in moved if name in changed), changed[0])
                self._travel = (first, self.values[first])
            moved |= {name: after[name] for name in changed}
            self.values.update(moved)
            self._worker.request(moved)
        for follower in list(self._followers):
            follower(moved)

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
        """The newest value of a slider or node.

        Raises:
            KeyError: There is none yet, or no such name.
        """
        if name in self.values:
            return self.values[name]
        if name in self._world:
            return self._world[name].value
        known = ", ".join([*self.sliders, *self._nodes])
        state = "not computed yet" if name in self._nodes else f"not one of {known}"
        raise KeyError(f"Study: {name!r} is {state}. Call wait() first, or check the spelling.")

    def get(self, name: str, default: Any = None) -> Any:
        """The newest value of a slider or node; the default while there is none."""
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
        failed = next((name for name in self._line_of(node) if name in self._failures), None)
        if failed is not None:
            raise self._failures[failed][1]
        if node in self._world and not self.is_current(node):
            raise RuntimeError(
                f"Study: {node} must have been computed for the present sliders, got a stop before. "
                + ("Make a new one." if self._worker.closed else "Move a slider, or call start() and wait().")
            )
        return self[node]

    def _line_of(self, node: str) -> list[str]:
        """The nodes that one depends on, the furthest back first, and itself."""
        before = [name for taken in self._nodes[node].takes if taken in self._nodes for name in self._line_of(taken)]
        return [*before, node]

    def start(self, *, paint: bool = False) -> None:
        """Begin computing; with ``paint``, views are painted from now on.

        Raises:
            RuntimeError: The study was closed.
        """
        self._require_open("start")
        self._painting = self._painting or paint
        self._worker.request({})

    def show(self) -> Any:
        """The study as a widget, with a control for every slider; a study that ends a cell shows itself."""
        from lwidgets.widgets.study import StudyWidget

        return StudyWidget(self)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.show())  # type: ignore[no-untyped-call]

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the newest slider values have been dealt with; False when the time, in seconds, ran out first.

        Where what nodes use besides sliders has changed since they were computed, they are computed anew.
        """
        if not self._worker.closed and self._worker.wait(0) and self._read_version() != self._version:
            self._worker.request({})
        return self._worker.wait(timeout)

    def stop(self) -> None:
        """Stop computing within one batch of data; what is there stays."""
        self._worker.stop()

    def close(self) -> None:
        """Stop for good, within one batch of data; returns at once. Values, checks and status can still be read."""
        self._worker.close()
        self._report(Status("closed"))

    def verify(self, timeout: float | None = None) -> Report:
        """Run every check at the present sliders, without showing anything.

        Raises:
            TimeoutError: It took longer than ``timeout`` seconds.
            RuntimeError: The study was closed, or stopped before the end.
        """
        self.start()
        if not self.wait(timeout):
            raise TimeoutError(f"Study.verify: checks must end within {timeout} s, got no end. Give it more time.")
        if self.status.phase in ("stopped", "closed"):
            raise RuntimeError("Study.verify: checks must run to their end, got a stop. Call verify() again.")
        failure = {} if self.error is None else {f"computing {self.status.where}": Check("fail", self.status.message)}
        return Report({**self.checks, **failure})

    def listen(self, listener: Callable[[Study], None]) -> None:
        """Call ``listener(study)`` whenever status or checks change, on the thread where they do."""
        self._listeners.append(listener)

    def follow(self, follower: Callable[[dict[str, Any]], None]) -> None:
        """Call ``follower(values)`` whenever sliders move, with those that did, on the thread that moved them."""
        self._followers.append(follower)

    def is_current(self, node: str) -> bool:
        """Whether a node has a value for the present sliders, final or on its way."""
        entry = self._world.get(node)
        return entry is not None and entry.key == self._key(self._nodes[node], self.values)

    def _require_open(self, what: str) -> None:
        if self._worker.closed:
            raise RuntimeError(
                f"Study.{what}: study must be open, got the closed {self.title!r}. Make a new one; "
                "the last results can still be read."
            )

    # --- the worker ---

    def _work(self) -> None:
        """Bring everything up to date with the newest values."""
        for name in self._failures:
            self._seen.pop(name, None)  # a view that failed is tried again
        self._failures.clear()
        self._current.update(self._worker.take())
        self._report(Status("running"))
        self._version = self._read_version()
        try:
            with heard_by(self._heed):
                while not (self._done() and self._is_steady()):
                    pass
        except Stopped:
            self._report(Status("closed" if self._worker.closed else "stopped"))
            raise
        where, (_, self.error) = next(iter(self._failures.items()), ("", ((), None)))
        if self.error is None:
            self._report(Status("done"))
        else:
            self._report(Status("failed", where=where, message=words_of(self.error)))

    def _is_steady(self) -> bool:
        """Whether what nodes use besides sliders is what it was when they were computed; it is read anew."""
        before, self._version = self._version, self._read_version()
        return bool(before == self._version)

    def _done(self) -> bool:
        """Compute the next thing that is due; whether nothing was left but the checks, and these were run."""
        with contextlib.suppress(Superseded):
            self._settle()
            node = next((n for n in self._nodes.values() if n.streams and self._is_due(n)), None)
            if node is None:
                self._run_checks()
                return True
            self._stream(node)
        return False

    def _stream(self, node: _Function) -> None:
        """Run a generator node and show each of its values."""
        key, inputs, began = self._key(node), self._inputs(node), time.monotonic()
        value = None
        self._running = node
        self._stepped, self._steps, self._step_took = time.monotonic(), 0, 0.0
        try:
            for value in node.function(**self._arguments(node)):
                self._world[node.name] = _Entry(value, key, False, next(self._serials), inputs)
                self._settle()
                self._progress(0, 0)
        except (Superseded, Stopped):
            raise
        except BaseException as error:  # as in _call
            self._failures[node.name] = (key, error)
        else:
            last = self._world.get(node.name)
            serial = (
                last.serial if last is not None and last.value is value and last.key == key else next(self._serials)
            )
            self._world[node.name] = _Entry(value, key, True, serial, inputs)
            self._remember(node, key, value)
            self._seconds[node] = time.monotonic() - began
        finally:
            self._running = None

    def _heed(self) -> None:
        """Between two batches: give up if stale or stopped; other news waits for the end of the step."""
        news, node = self._worker.poll(), self._running
        if news and node is not None:  # a plain node ends first; the note stays, and the worker comes back to it
            before = self._key(node)
            self._current.update(self._worker.take())
            self._failures = {
                name: (key, error)
                for name, (key, error) in self._failures.items()
                if name in self._nodes and key == self._key(self._nodes[name])
            }
            if self._key(node) != before:
                raise Superseded
            self._unsettled = True
        if node is not None and time.monotonic() - self._reported > _SLOW:  # a step that takes long says so
            self._report(replace(self.status, seconds=self._seconds_a_step()))

    def _seconds_a_step(self) -> float:
        return max(self._step_took, time.monotonic() - self._stepped)

    def _progress(self, done: int, total: int) -> None:
        """Between two steps: give up if stale or stopped, deal with other news, report now and then."""
        self._heed()
        if self._unsettled:
            self._unsettled = False
            self._settle()
        now = time.monotonic()
        if done > self._steps:
            self._step_took = (now - self._stepped) / (done - self._steps)
            self._stepped, self._steps = now, done
        if total and now - self._reported > _STATUS_INTERVAL:
            self._report(Status("running", done, total, seconds=self._seconds_a_step()))

    def _settle(self) -> None:
        """Compute the plain nodes that have what they need, even if it will still improve; then paint."""
        for node in self._nodes.values():
            key, entry = self._key(node), self._world.get(node.name)
            if node is self._running or (entry is not None and entry.key == key and entry.final):
                continue
            if key in self._memo[node]:
                self._memo[node].move_to_end(key)
                self._world[node.name] = _Entry(self._memo[node][key], key, True, next(self._serials), None)
                continue
            inputs = self._inputs(node)
            if node.streams or inputs is None or node.name in self._failures:
                continue
            final = self._inputs_final(node)
            if entry is not None and entry.key == key and entry.inputs == inputs:
                if final:  # what it was computed from has turned out to be final
                    entry.final = True
                    self._remember(node, key, entry.value)
                continue
            began = time.monotonic()
            value, error = self._call(node)
            self._seconds[node] = time.monotonic() - began
            if error is not None:
                if final:  # of a coarse picture, what fails on the way may still succeed in the end
                    self._failures[node.name] = (key, error)
                continue
            self._world[node.name] = _Entry(value, key, final, next(self._serials), inputs)
            if final:
                self._remember(node, key, value)
        if self._painting:
            for view in self._painters.values():
                self._paint(view)

    def _paint(self, view: _Function) -> None:
        inputs = self._inputs(view)
        if inputs is None or self._seen.get(view.name) == inputs:
            return
        self._seen[view.name] = inputs
        _, error = self._call(view)
        if error is None:
            self._failures.pop(view.name, None)
        else:
            self._failures[view.name] = ((), error)

    def _run_checks(self) -> None:
        for check in self._checkers.values():
            if self._inputs(check) is None or not self._inputs_final(check):
                self.checks.pop(check.title, None)  # it would speak of other sliders
                continue
            key, memo = self._key(check), self._memo[check]
            self._running = check
            try:
                outcome, error = (memo[key], None) if key in memo else self._call(check)
            finally:
                self._running = None
            if error is None:
                self._remember(check, key, outcome)
            else:
                outcome = Check("fail", f"could not be run: {words_of(error)}")
            self.checks[check.title] = outcome

    def _call(self, function: _Function) -> tuple[Any, BaseException | None]:
        """What a function returns, or what it raised: an interrupt inside it is its failure, not the worker's end."""
        try:
            return function.function(**self._arguments(function)), None
        except (Superseded, Stopped):
            raise
        except BaseException as error:
            return None, error

    def _prefetch(self) -> None:
        """At leisure, compute what the slider moved last would show next, into the memos alone."""
        if self._travel is None or self.status.phase != "done":
            return
        name, before = self._travel
        places = self.sliders[name].neighbours(self._current[name], before)
        nodes = [node for node in self._nodes.values() if name in node.sliders]
        if sum(self._seconds.get(node, math.inf) for node in nodes) > _PREFETCHED:
            return
        for place in places:
            values = self._kept_in_bounds({**self._current, name: place, PROGRESS: self._give_way})
            try:
                with heard_by(self._give_way):
                    for node in nodes:
                        if node.keep > len(places):  # room for the present value and for all of these
                            self._imagine(node.name, values)
            except Superseded:
                return
            except Stopped:
                raise
            except BaseException:  # shown when somebody goes there
                continue

    def _imagine(self, name: str, values: dict[str, Any]) -> Any:
        """What a node would be at other slider values, from its memo or computed, and noted in ``values``."""
        if name not in values:
            node = self._nodes[name]
            key, memo = self._key(node, values), self._memo[node]
            if key in memo:
                values[name] = memo[key]
            else:
                arguments = {taken: self._imagine(taken, values) for taken in node.takes}
                self._give_way()
                value = node.function(**arguments)
                values[name] = self._last(value) if node.streams else value
                self._remember(node, key, values[name])
        return values[name]

    def _last(self, stream: Iterator[Any]) -> Any:
        last = None
        for value in stream:
            self._give_way()
            last = value
        return last

    def _give_way(self, done: int = 0, total: int = 0) -> None:
        """The ``progress`` of what nobody has asked for: any news ends it."""
        if self._worker.poll():
            raise Superseded

    def _report(self, status: Status) -> None:
        self._reported = time.monotonic()
        self.status = status
        for listener in list(self._listeners):
            try:
                listener(self)
            except Exception:  # a broken listener must not end the worker
                traceback.print_exc()

    # --- the graph ---

    def _add_node(self, function: F, keep: int) -> F:
        self._claim(function.__name__)
        self._nodes[function.__name__] = self._declare(function, keep)
        return function

    def _add_view(self, function: F, widget: Any) -> F:
        self._painters[function.__name__] = self._declare(function)
        self.views[function.__name__] = widget
        return function

    def _claim(self, name: str) -> None:
        if name == PROGRESS or name in self.sliders or name in self._nodes or not name.isidentifier():
            raise ValueError(
                f"Study: {name!r} must be a new name and an identifier other than {PROGRESS!r}. Choose another."
            )

    def _declare(
        self, function: Callable[..., Any], keep: int = 0, names: Mapping[str, str] | None = None
    ) -> _Function:
        for argument in names or {}:
            if argument not in inspect.signature(function).parameters:
                raise ValueError(
                    f"Study: names must be arguments of {function.__name__}, got {argument!r}. Check the spelling."
                )
        known_as = {argument: argument for argument in inspect.signature(function).parameters} | dict(names or {})
        takes = tuple(known_as.values())
        unknown = [name for name in takes if name not in {*self.sliders, *self._nodes, PROGRESS}]
        if unknown:
            known = ", ".join([*self.sliders, *self._nodes, PROGRESS])
            raise ValueError(
                f"Study: arguments of {function.__name__} must name sliders or earlier nodes, got {unknown[0]!r}. "
                f"Known are {known}."
            )
        title = (inspect.getdoc(function) or function.__name__).partition("\n")[0].rstrip(".")
        called = (lambda **taken: function(**{a: taken[name] for a, name in known_as.items()})) if names else function
        return _Function(function.__name__, called, takes, keep, title, self._sliders_of(takes))

    def _sliders_of(self, takes: Sequence[str]) -> tuple[str, ...]:
        """The sliders that what is taken depends on, however far back."""
        found: dict[str, None] = {}
        for name in takes:
            if name in self._nodes:
                found.update(dict.fromkeys(self._nodes[name].sliders))
            elif name in self.sliders:
                found[name] = None
        return tuple(found)

    def _key(self, function: _Function, values: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        """What tells two values of a function apart; of the slider values that the worker works for, or others."""
        values = self._current if values is None else values
        return self._version, *(self.sliders[name].position(values[name]) for name in function.sliders)

    def _kept_in_bounds(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Slider values of which those with a bound stay in it: a bound that moves in takes its slider along."""
        kept = dict(values)
        for name, slider in self.sliders.items():
            if slider.bounds is not None:
                low, high = kept[slider.bounds]
                kept[name] = min(max(kept[name], low), high)
        return kept

    def _inputs(self, function: _Function) -> tuple[Any, ...] | None:
        """What the function would be given now: slider values and serial numbers; None when a node is not there yet."""
        inputs: list[Any] = []
        for name in function.takes:
            if name in self._nodes:
                entry = self._world.get(name)
                if entry is None or entry.key != self._key(self._nodes[name]):
                    return None
                inputs.append(entry.serial)
            elif name != PROGRESS:
                inputs.append(self._current[name])
        return tuple(inputs)

    def _inputs_final(self, function: _Function) -> bool:
        return all(self._world[name].final for name in function.takes if name in self._nodes)

    def _is_due(self, node: _Function) -> bool:
        entry = self._world.get(node.name)
        if node.name in self._failures or (entry is not None and entry.key == self._key(node) and entry.final):
            return False
        return self._inputs(node) is not None and self._inputs_final(node)

    def _arguments(self, function: _Function) -> dict[str, Any]:
        return {
            name: self._progress
            if name == PROGRESS
            else self._world[name].value
            if name in self._nodes
            else self._current[name]
            for name in function.takes
        }

    def _remember(self, function: _Function, key: tuple[Any, ...], value: Any) -> None:
        memo, present = self._memo[function], self._key(function)
        memo[key] = value
        if present in memo:
            memo.move_to_end(present)  # what is computed ahead does not displace what is on show
        while len(memo) > function.keep:
            memo.popitem(last=False)


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
