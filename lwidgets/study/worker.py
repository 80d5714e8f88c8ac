"""What runs a study: settle what is plain, stream what improves, leave aside what is slow, look ahead when idle.

All of it happens on one thread that always works for the newest positions (`LatestWins`); only a slow node has a thread
of its own, and hands what it finds back to this one.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import queue
import time
import traceback
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lwidgets.check import Check
from lwidgets.failures import contextmanager, words_of
from lwidgets.pauses import heard_by
from lwidgets.pictures.base import Picture, checked
from lwidgets.study.graph import PROGRESS, Function, Graph, Key, Panel, Pushed
from lwidgets.study.latest import LatestWins, Stopped, Superseded
from lwidgets.study.threads import ThreadChoice

_SLOW = 1.0  # seconds without a report after which one comes between two batches
_STATUS_INTERVAL = 0.05  # seconds between progress reports: 20 a second are smooth and cost nothing
_PREFETCHED = 2.0  # seconds to compute: what takes longer is not ready when wanted, and would keep a machine hot
_HEAVY = 0.05  # seconds: what takes longer waits for all that takes less, and is felt if it cannot give way
_RELEASE = 0.25  # seconds without news after which a slider is taken to be let go


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


@dataclass
class Entry:
    """The newest value of a function: for what key, from which inputs, and whether it will still improve."""

    value: Any
    key: Key
    final: bool
    serial: int
    inputs: tuple[Any, ...] | None


@dataclass
class _Run:
    """A function that is running on the worker's thread."""

    function: Function
    key: Key
    gives_way: bool  # whether news of its sliders ends it
    stepped: float = field(default_factory=time.monotonic)  # when the last step was
    steps: int = 0
    step_took: float = 0.0

    def seconds_a_step(self) -> float:
        return max(self.step_took, time.monotonic() - self.stepped)


class _Ahead(Exception):
    """A value that is not computed before somebody asks for it."""


class Worker:
    """Keeps the values of a graph's functions up to date with the newest positions.

    Attributes:
        latest: The thread, and the note of what is newest.
        world: Function -> its newest value.
        layers: View -> its newest picture.
        pictures: Panel -> its layers over one another.
        failures: Function -> for which key it failed, and how.
        checks: Title -> outcome, at the last position that was dealt with.
        status: What it is doing.
        error: Of the function that failed first.
    """

    def __init__(self, graph: Graph, title: str, version: Callable[[], Any], *, told: Callable[[], None]) -> None:
        """Nothing is computed before the first request.

        Args:
            graph: What to compute.
            title: Of the study; names the thread.
            version: Of what functions use besides sliders and sources.
            told: Called whenever status or checks change.
        """
        self._graph = graph
        self._told = told
        self.world: dict[str, Entry] = {}
        self.layers: dict[str, Picture | None] = {}
        self.pictures: dict[str, Picture | None] = {}
        self.failures: dict[str, tuple[Key, BaseException]] = {}
        self.checks: dict[str, Check] = {}
        self.status = Status()
        self.error: BaseException | None = None
        self.painters: list[Callable[[str], None]] = []
        self.travel: tuple[str, Any] | None = None  # the slider moved last on show, and from where
        self.moved_at = -math.inf
        self.current: dict[str, Any] = {}  # slider values and pushed values the worker is working for
        self._read_version, self.version = version, version()
        self._memo: defaultdict[Function, OrderedDict[Key, Any]] = defaultdict(OrderedDict)
        self._seconds: dict[Function, float] = {}  # that computing a node took last time
        self._paused: set[Function] = set()  # functions in which something listens between two batches
        self._threads = ThreadChoice()
        self._seen: dict[str, tuple[Any, ...]] = {}  # inputs a view was last given
        self._in_vain: dict[str, tuple[Key, Any]] = {}  # for which coarse inputs a node has failed
        self._unlaid: dict[str, BaseException] = {}  # why a view's picture does not lie on its panel
        self._laid: dict[str, tuple[Picture | None, ...]] = {}
        self._judged: dict[str, tuple[Picture, Check | None]] = {}
        self._serials = itertools.count(1)
        self._running: list[_Run] = []  # the innermost last: a node can be computed within a step of another
        self._slow: _Slow | None = None
        self._unsettled = False  # there was news that did not end what runs
        self._reported = 0.0
        self.latest = LatestWins(self._work, name=f"lwidgets: {title}", leisure=self._prefetch)

    # --- what is asked from outside ---

    def key(self, function: Function, values: Mapping[str, Any] | None = None) -> Key:
        """What tells two values of a function apart; for the values that the worker works for, or others."""
        return self._graph.key(function, self.current if values is None else values, self.version)

    def version_has_changed(self) -> bool:
        """Whether what functions use besides sliders is not what it was when they were computed."""
        return bool(self._read_version() != self.version)

    def report(self, status: Status) -> None:
        """Say what the worker is doing."""
        self._reported = time.monotonic()
        self.status = status
        self._told()

    # --- bringing everything up to date ---

    def _work(self) -> None:
        self._forget_what_was_replaced()
        for name in self.failures:
            self._seen.pop(name, None)  # a view that failed is tried again
        self.failures.clear()
        self._in_vain.clear()
        self._take()
        self.report(Status("running"))
        self.version = self._read_version()
        try:
            with heard_by(self._heed):
                while not (self._done() and self._is_steady()):
                    pass
        except Stopped:
            self._end_slow()
            self.report(Status("closed" if self.latest.closed else "stopped"))
            raise
        for name, refusal in self._unlaid.items():
            if name in self._graph.functions:
                self.failures.setdefault(name, (self.key(self._graph.functions[name]), refusal))
        where, (_, self.error) = next(iter(self.failures.items()), ("", ((), None)))
        if self.error is None:
            self.report(Status("done"))
        else:
            self.report(Status("failed", where=where, message=words_of(self.error)))

    def _take(self) -> None:
        """Work for the newest values from here on."""
        taken = self.latest.take()
        self.current.update(taken)
        self.failures = {
            name: (key, error)
            for name, (key, error) in self.failures.items()
            if name in self._graph.functions and key == self.key(self._graph.functions[name])
        }
        pushed = {name for name, value in taken.items() if isinstance(value, Pushed)}
        for function in self._graph.functions.values() if pushed else ():
            if not pushed.isdisjoint(function.depends):
                self._memo.pop(function, None)  # an earlier version never comes back
        if self._slow is not None and self._is_stale(self._slow):
            self._slow.end()

    def _forget_what_was_replaced(self) -> None:
        known = set(self._graph.functions.values())
        for function in (self._memo.keys() | self._seconds.keys()) - known:
            self._memo.pop(function, None)
            self._seconds.pop(function, None)
        self._paused &= known

    def _is_steady(self) -> bool:
        """Whether what nodes use besides sliders is what it was when they were computed; it is read anew."""
        before, self.version = self.version, self._read_version()
        return bool(before == self.version)

    def _done(self) -> bool:
        """Compute the next thing that is due; whether nothing was left but the checks, and these were run."""
        with contextlib.suppress(Superseded):
            self._settle()
            node = next((n for n in self._graph.nodes if n.streams and not n.slow and self._is_due(n)), None)
            if node is not None:
                self._stream(node)
                return False
            self._run_checks()
            slow = next((n for n in self._graph.nodes if n.slow and self._is_due(n)), None)
            if slow is None:
                return True
            self._attend(slow)
        return False

    def _settle(self) -> None:
        """Compute the plain nodes that have what they need, even if it will still improve; and make the pictures.

        What is known to take long comes after all that is not, and after its pictures.
        """
        again = True
        while again:
            again, heavy = False, None
            for node in self._graph.nodes:
                if not self._recall(node):
                    continue
                if self._seconds.get(node, 0.0) > _HEAVY:
                    heavy = heavy or node
                elif not self._compute(node):
                    again = True
            if not self._make_pictures():
                again = True
            if heavy is not None:
                again = True
                if self._recall(heavy):
                    self._compute(heavy)
            if self._unsettled:  # news was taken while something ran that it does not concern
                self._unsettled, again = False, True

    def _recall(self, node: Function) -> bool:
        """Whether a plain node must be computed; what is remembered is shown."""
        key, entry = self.key(node), self.world.get(node.name)
        if any(run.function is node for run in self._running):
            return False
        if entry is not None and entry.key == key and entry.final:
            return False
        memo = self._memo[node]
        if key in memo:
            memo.move_to_end(key)
            self.world[node.name] = Entry(memo[key], key, True, next(self._serials), None)
            return False
        inputs = self._inputs(node)
        if node.streams or node.slow or inputs is None or node.name in self.failures:
            return False
        if self._in_vain.get(node.name) == (key, inputs) and not self._inputs_final(node):
            return False
        if entry is not None and entry.key == key and entry.inputs == inputs:
            if self._inputs_final(node):  # what it was computed from has turned out to be final
                entry.final = True
                self._remember(node, key, entry.value)
            return False
        return True

    def _compute(self, node: Function) -> bool:
        """Run a plain node; False where news has ended it."""
        key, inputs, final = self.key(node), self._inputs(node), self._inputs_final(node)
        began = time.monotonic()
        try:
            value, error = self._call(node, key)
        except Superseded:
            return False
        self._seconds[node] = time.monotonic() - began
        if error is None:
            self.world[node.name] = Entry(value, key, final, next(self._serials), inputs)
            if final:
                self._remember(node, key, value)
        elif final:
            self.failures[node.name] = (key, error)
        else:  # what fails for a coarse value may still succeed for the final one
            self._in_vain[node.name] = (key, inputs)
        return True

    def _stream(self, node: Function) -> None:
        """Run a generator node and show each of its values."""
        key, inputs, began = self.key(node), self._inputs(node), time.monotonic()
        value = None
        try:
            with self._within(node, key), self._threads.chosen(node):
                for value in node.function(**self._arguments(node)):
                    self.world[node.name] = Entry(value, key, False, next(self._serials), inputs)
                    self._settle()
                    self._progress(0, 0)
        except (Superseded, Stopped):
            raise
        except BaseException as error:  # as in _call
            self.failures[node.name] = (key, error)
        else:
            self._finish(node, key, inputs, value, time.monotonic() - began)

    def _finish(self, node: Function, key: Key, inputs: tuple[Any, ...] | None, value: Any, seconds: float) -> None:
        """Keep the last value of a node, which is its final one."""
        last = self.world.get(node.name)
        same = last is not None and last.value is value and last.key == key
        serial = last.serial if same and last is not None else next(self._serials)
        self.world[node.name] = Entry(value, key, True, serial, inputs)
        self._remember(node, key, value)
        self._seconds[node] = seconds

    @contextmanager
    def _within(self, function: Function, key: Key) -> Iterator[None]:
        run = _Run(function, key, function.streams or function.reports or function.role in ("check", "oracle"))
        self._running.append(run)
        try:
            yield
        finally:
            self._running.pop()

    def _call(self, function: Function, key: Key) -> tuple[Any, BaseException | None]:
        """What a function returns, or what it raised: an interrupt inside it is its failure, not the worker's end."""
        try:
            with self._within(function, key), self._threads.chosen(function):
                return function.function(**self._arguments(function)), None
        except (Superseded, Stopped):
            raise
        except BaseException as error:
            return None, error

    # --- between two steps ---

    def _heed(self) -> None:
        """Between two batches: give up if stale or stopped; other news waits for the end of the step."""
        news = self.latest.poll()
        if not self._running:
            return
        run = self._running[-1]
        self._paused.add(run.function)
        if news and run.gives_way:  # one that does not ends first; the note stays, and the worker comes back to it
            self._take()
            self._unsettled = True
        if run.gives_way and self._is_stale(run):
            raise Superseded
        if time.monotonic() - self._reported > _SLOW:  # a step that takes long says so
            self.report(replace(self.status, seconds=run.seconds_a_step()))

    def _is_stale(self, run: _Run | _Slow) -> bool:
        function = self._graph.functions.get(run.function.name)
        return function is None or self.key(function) != run.key

    def _progress(self, done: int, total: int) -> None:
        """Between two steps: give up if stale or stopped, deal with other news, report now and then."""
        self._heed()
        if self._unsettled:
            self._unsettled = False
            self._settle()
            self._heed()  # what was computed meanwhile may have taken more news
        run = self._running[-1] if self._running else None
        if run is None:
            return
        now = time.monotonic()
        if done > run.steps:
            run.step_took = (now - run.stepped) / (done - run.steps)
            run.stepped, run.steps = now, done
        if total and now - self._reported > _STATUS_INTERVAL:
            self.report(Status("running", done, total, seconds=run.seconds_a_step()))

    # --- slow nodes ---

    def _attend(self, node: Function) -> None:
        """See to it that a slow node is computed on its own thread, and wait for what comes first: news, or a value."""
        self._collect()
        if self._slow is not None:  # also one that nobody wants, and that has not noticed yet
            rest = None
        else:
            rest = self._until_release()
            if not rest:
                slow = self._slow = _Slow(node, self.key(node), self._inputs(node), self.latest)
                arguments, threads = self._arguments(node), self._threads.chosen(node)
                self.latest.beside(lambda: slow.run(arguments, threads))
                rest = None
        if self.latest.rest(rest):
            self._take()
        self._collect()

    def _until_release(self) -> float:
        """Seconds until the sliders are taken to be let go; none where a program waits, or nobody watches."""
        if self.latest.awaited or not self.painters:
            return 0.0
        return max(0.0, _RELEASE - (time.monotonic() - self.moved_at))

    def _collect(self) -> None:
        """Take over what a slow node has found since the last look."""
        slow = self._slow
        if slow is None:
            return
        wanted = not slow.ended and not self._is_stale(slow)
        for kind, value in slow.news():
            if kind != "value":
                self._slow = None
            if not wanted:
                continue
            if kind == "value":
                entry = Entry(value, slow.key, False, next(self._serials), slow.inputs)
                self.world[slow.function.name] = entry
            elif kind == "done":
                self._finish(slow.function, slow.key, slow.inputs, value, time.monotonic() - slow.began)
            elif kind == "failed":
                self.failures[slow.function.name] = (slow.key, value)
        if self._slow is not None and wanted and time.monotonic() - self._reported > _STATUS_INTERVAL:
            self.report(Status("running", slow.done, slow.total))

    def _end_slow(self) -> None:
        if self._slow is not None:
            self._slow.end()
            self._collect()

    # --- pictures ---

    def _make_pictures(self) -> bool:
        """Run the views that have new inputs, and lay their panels anew; False where news has ended one.

        A panel is painted once all its layers are made: one that was painted layer by layer would be laid out anew for
        each, and bqplot loses marks that come while it does so.
        """
        made = True
        for panel in self._graph.panels:
            before = {name: self.layers.get(name) for name in panel.layers}
            for name in panel.layers:
                view = self._graph.functions[name]
                inputs = self._inputs(view)
                if inputs is None or any(run.function is view for run in self._running):
                    continue
                seen = (view.serial, *inputs)
                if self._seen.get(name) != seen:
                    made = self._make_picture(view, seen) and made
                elif name not in self.failures:
                    entry = self.world.get(name)
                    if entry is not None and entry.key == self.key(view):
                        entry.final = self._inputs_final(view)
            self._lay(panel)
            self._paint([name for name in panel.layers if self.layers.get(name) is not before[name]])
        return made

    def _paint(self, views: Sequence[str]) -> None:
        for name in views:
            for painter in list(self.painters):
                try:
                    painter(name)
                except Exception:  # a broken one must not end the worker
                    traceback.print_exc()

    def _make_picture(self, view: Function, seen: tuple[Any, ...]) -> bool:
        self._seen[view.name], key = seen, self.key(view)
        try:
            picture, error = self._call(view, key)
        except Superseded:
            del self._seen[view.name]
            return False
        if error is None and picture is not None:
            try:
                checked(picture, f"Study: view {view.name}")
                if view.function.__doc__ and not view.on:
                    picture = picture.called(view.title)
            except (TypeError, ValueError) as refusal:
                error = refusal
        if error is not None:
            self.failures[view.name] = (key, error)
            return True
        self.failures.pop(view.name, None)
        self.world[view.name] = Entry(picture, key, self._inputs_final(view), next(self._serials), seen)
        self.layers[view.name] = picture
        return True

    def _lay(self, panel: Panel) -> None:
        """Lay the layers of a panel over each other, if one of them is new."""
        layers = tuple(self.layers.get(name) for name in panel.layers)
        before = self._laid.get(panel.name)
        if (
            before is not None
            and len(before) == len(layers)
            and all(a is b for a, b in zip(before, layers, strict=True))
        ):
            return
        base, *more = layers
        picture = base
        for name, layer in zip(panel.layers[1:], more, strict=True):
            self._unlaid.pop(name, None)
            if base is None or picture is None or layer is None:
                continue
            if layer.kind != base.kind:
                self._unlaid[name] = TypeError(
                    f"Study: view {name} must return what can be laid over {panel.name}, {type(base).__name__}, got "
                    f"{type(layer).__name__}. Return the same kind, or give it a panel of its own."
                )
                continue
            try:
                picture = layer.over(picture)
            except Exception as error:
                self._unlaid[name] = error
        self._laid[panel.name] = layers
        self.pictures[panel.name] = picture

    # --- checks ---

    def _run_checks(self) -> None:
        found: dict[str, Check] = {}
        for function in self._graph.judges:
            outcome = self._judge(function) if function.role == "view" else self._check(function)
            if outcome is not None:
                found[function.title] = outcome
        self.checks = found

    def _check(self, check: Function) -> Check | None:
        """None where it does not apply, or would speak of other sliders."""
        if self._inputs(check) is None or not self._inputs_final(check):
            return None
        key, memo = self.key(check), self._memo[check]
        if key in memo:
            memo.move_to_end(key)
            outcome: Check | None = memo[key]
            return outcome
        outcome, error = self._call(check, key)
        if error is not None:
            return Check("fail", f"could not be run: {words_of(error)}")
        self._remember(check, key, outcome)
        return outcome

    def _judge(self, view: Function) -> Check | None:
        """What a view's picture claims of itself, when it is final."""
        entry = self.world.get(view.name)
        if view.name in self.failures or entry is None or entry.key != self.key(view) or not entry.final:
            return None
        picture: Picture | None = entry.value
        if picture is None:
            return None
        known, outcome = self._judged.get(view.name, (None, None))
        if known is not picture:
            try:
                outcome = picture.judge()
            except Exception as error:
                outcome = Check("fail", f"could not be judged: {words_of(error)}")
            self._judged[view.name] = (picture, outcome)
        return outcome

    # --- idle time ---

    def _prefetch(self) -> None:
        """At leisure, compute what the slider moved last would show next, into the memos alone."""
        if self.travel is None or not self.painters or self.status.phase != "done":
            return
        name, before = self.travel
        if name not in self._graph.sliders:
            return
        places = self._graph.sliders[name].neighbours(self.current[name], before)
        nodes = [node for node in self._graph.nodes if name in node.depends and self._may_be_ahead(node)]
        if sum(self._seconds.get(node, math.inf) for node in nodes) > _PREFETCHED:
            return
        for place in places:
            values = kept_in_bounds(self._graph, {**self.current, name: place})
            known = {PROGRESS: self._give_way}
            for node in nodes:
                if node.keep <= len(places):  # no room for the present value and for all of these
                    continue
                try:
                    with heard_by(self._give_way):
                        self._imagine(node.name, values, known)
                except Superseded:
                    return
                except Stopped:
                    raise
                except BaseException:  # shown when somebody goes there
                    continue

    def _may_be_ahead(self, node: Function) -> bool:
        """Whether nobody would be kept waiting by it: it takes no time, or gives way."""
        if node.slow:
            return False
        gives_way = node.streams or node.reports or node in self._paused
        return gives_way or self._seconds.get(node, math.inf) <= _HEAVY

    def _imagine(self, name: str, values: Mapping[str, Any], known: dict[str, Any]) -> Any:
        """What something would be at other slider values, from a memo or computed, and noted in ``known``."""
        if name in known:
            return known[name]
        node = self._graph.functions.get(name)
        if node is None:
            known[name] = self._constant(name, values)
            return known[name]
        key, memo = self.key(node, values), self._memo[node]
        if key in memo:
            known[name] = memo[key]
            return known[name]
        if not self._may_be_ahead(node):
            raise _Ahead
        arguments = {argument: self._imagine(taken, values, known) for argument, taken in node.takes.items()}
        self._give_way()
        with self._threads.chosen(node, learn=False):
            value = node.function(**arguments)
            known[name] = self._last(value) if node.streams else value
        self._remember(node, key, known[name])
        return known[name]

    def _last(self, stream: Iterator[Any]) -> Any:
        last = None
        for value in stream:
            self._give_way()
            last = value
        return last

    def _give_way(self, done: int = 0, total: int = 0) -> None:
        """The ``progress`` of what nobody has asked for: any news ends it."""
        if self.latest.poll():
            raise Superseded

    # --- values ---

    def _constant(self, name: str, values: Mapping[str, Any]) -> Any:
        """The value of a slider, source or given."""
        if name in self._graph.givens:
            return self._graph.givens[name]
        value = values[name]
        return value.value if isinstance(value, Pushed) else value

    def _arguments(self, function: Function) -> dict[str, Any]:
        return {
            argument: self._progress
            if name == PROGRESS
            else self.world[name].value
            if name in self._graph.functions
            else self._constant(name, self.current)
            for argument, name in function.takes.items()
            if argument not in function.optional or self._is_there(name)
        }

    def _inputs(self, function: Function) -> tuple[Any, ...] | None:
        """What a function would be given now: positions, versions and serial numbers; None when one is not there."""
        inputs: list[Any] = []
        for argument, name in function.takes.items():
            if name in self._graph.functions:
                if self._is_there(name):
                    inputs.append(self.world[name].serial)
                elif argument in function.optional:
                    inputs.append(None)
                else:
                    return None
            elif name in self.current:
                value = self.current[name]
                inputs.append(value.version if isinstance(value, Pushed) else value)
        return tuple(inputs)

    def _is_there(self, name: str) -> bool:
        """Whether a function has a value for where the sliders are; what is no function always has."""
        taken, entry = self._graph.functions.get(name), self.world.get(name)
        return taken is None or (entry is not None and entry.key == self.key(taken))

    def _inputs_final(self, function: Function) -> bool:
        taken = [name for name in function.takes.values() if name in self._graph.functions]
        return all(self._is_there(name) and self.world[name].final for name in taken)

    def _is_due(self, node: Function) -> bool:
        entry = self.world.get(node.name)
        if node.name in self.failures or (entry is not None and entry.key == self.key(node) and entry.final):
            return False
        return self._inputs(node) is not None and self._inputs_final(node)

    def _remember(self, function: Function, key: Key, value: Any) -> None:
        memo, present = self._memo[function], self.key(function)
        memo[key] = value
        if present in memo:
            memo.move_to_end(present)  # what is computed ahead does not displace what is on show
        while len(memo) > function.keep:
            memo.popitem(last=False)


class _Slow:
    """One run of a slow node on a thread of its own.

    Attributes:
        function: The node.
        key: For which it runs.
        inputs: That it was given.
        began: When.
        ended: Whether nobody wants it any more.
        done: Steps taken.
        total: Of how many.
    """

    def __init__(self, function: Function, key: Key, inputs: tuple[Any, ...] | None, latest: LatestWins) -> None:
        self.function, self.key, self.inputs = function, key, inputs
        self.began = time.monotonic()
        self.ended = False
        self.done = self.total = 0
        self._latest, self._told = latest, self.began
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def end(self) -> None:
        """Let it end at its next step."""
        self.ended = True

    def news(self) -> Iterator[tuple[str, Any]]:
        """What is new: ("value", v), and at the end ("done", v), ("failed", error) or ("ended", None)."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._news.get_nowait()

    def run(self, arguments: Mapping[str, Any], threads: contextlib.AbstractContextManager[None]) -> None:
        """Compute; on its own thread."""
        try:
            with heard_by(self._heed), threads:
                self._heed()
                value = self.function.function(
                    **{a: self._progress if self.function.takes[a] == PROGRESS else v for a, v in arguments.items()}
                )
                if self.function.streams:
                    value = self._last(value)
        except (Superseded, Stopped):
            self._tell("ended", None)
        except BaseException as error:
            self._tell("failed", error)
        else:
            self._tell("done", value)

    def _last(self, stream: Iterator[Any]) -> Any:
        last = None
        for value in stream:
            self._heed()
            self._tell("value", value)
            last = value
        return last

    def _tell(self, kind: str, value: Any) -> None:
        self._news.put((kind, value))
        self._latest.nudge()

    def _heed(self) -> None:
        if self.ended or self._latest.ending:
            raise Superseded

    def _progress(self, done: int, total: int) -> None:
        self._heed()
        self.done, self.total = done, total
        if time.monotonic() - self._told > _STATUS_INTERVAL:
            self._told = time.monotonic()
            self._latest.nudge()


def kept_in_bounds(graph: Graph, values: Mapping[str, Any]) -> dict[str, Any]:
    """Slider values of which those with a bound stay in it: a bound that moves in takes its slider along."""
    kept = dict(values)
    for name, slider in graph.sliders.items():
        if slider.bounds is not None:
            low, high = kept[slider.bounds]
            kept[name] = min(max(kept[name], low), high)
    return kept
