"""From coefficients to values: functions of one shape, so that they nest.

An `Evaluate` is what measures. `Local` is the one that computes in this process; remembering (``cache.py``) and sending
points elsewhere (``executors.py``) wrap one into another of the same shape.

How to compute is chosen by measurement, on points that are wanted anyway: first the plain loop, with the user's number
of threads and with fewer; once that has taken a while, the traced graphs, without and with folding, and many points at
once. What differs from the loop by more than rounding, or fails, is left out, and the reason is kept for provenance.

A graph is a program of what the code was when it was traced. So a plan belongs to a `Meaning`, and is made anew when
what the code reads has changed; and a graph is compared with the loop at points far apart before it is used, at one
point whenever a picture begins, and at random ones while it is used.

Source: Frigo and Johnson, "The Design and Implementation of FFTW3", Proceedings of the IEEE 93, 2005, for programs that
time their own variants. New here: on work that is wanted anyway, and again and again, since a shared machine changes.

The constants are choices: by them trying costs little against what it can save. `benchmarks/table.py` tells what comes
of them, on five models.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from lwidgets.basis import Basis
from lwidgets.failures import discreet
from lwidgets.metrics import counts_samples
from lwidgets.objective import Objective, modelled
from lwidgets.sampling.identity import Meaning, meaning
from lwidgets.sampling.threads import thread_counts, using_threads
from lwidgets.sampling.traced import Programs, Traced
from lwidgets.sampling.tracing import Untraceable

Array = NDArray[np.float64]
Evaluate = Callable[[Array], Iterator[Array]]
"""Coefficients of shape (P, K) -> P rows of shape (M,), the metrics in the objective's order, each as soon as it is
known. Whoever stops iterating stops the computing."""

Strategy = Literal["loop", "traced", "folded", "batched"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
"""The module itself at every point; its traced graph; the graph with the first products folded; many points at once."""

_TRACE = 0.2  # seconds that tracing takes, about
_TRIED = 10  # points' worth of time that trying the traced strategies takes
_WORTH = 3.0  # they are tried when so many times as long has been spent, or is still to be spent, in the loop
_TRIALS = 2  # points by which each candidate is timed before any is preferred
# Points by which a strategy is known: being interrupted once or twice by other programs makes none slow ...
_RECENT = 5
_MOMENT = 0.05  # ... unless it takes so many seconds, as when threads wait for each other on a core that is taken
_RETRY = 20  # one that was slow of late is tried again after so many times as long
_LARGE = 1 << 28  # bytes that move from which on the loop's own copy of them is worth avoiding at once
_TINY = 2e-3  # seconds a point below which calling the operations takes longer than the operations
_STEP = 0.05  # seconds that a batch of points may take, so that progress is seen and a stop is prompt
_AGREES = 0.3  # of the root of the last bit's worth, 1e-4 in float32: rounding, far from any error of meaning
_PROBES = 3  # points far apart at which a graph must agree before it is used
_AGAIN = 1 / 64  # share of a graph's points that are compared again
_FAILURES = 3  # points at which a graph may fail where the loop does not, before it is given up
_FLIPS = 3  # samples near a tie that rounding may count otherwise in a metric such as the error


@dataclass
class _Arm:
    """One way to compute, and how long it took.

    Attributes:
        best: Seconds a point at best.
        now: Seconds a point to be expected: the fastest of those that took the last moment, because noise only adds.
        recent: The last few.
        tried: When it was last used, in seconds of work.
    """

    best: float = float("inf")
    now: float = float("inf")
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    tried: float = 0.0

    def took(self, seconds: float) -> None:
        """Enter seconds a point."""
        self.best = min(self.best, seconds)
        self.recent.append(seconds)
        self.now, together = float("inf"), 0.0
        for each in reversed(self.recent):
            self.now, together = min(self.now, each), together + each
            if together > _MOMENT:
                break


@dataclass
class Plan:
    """What measuring has found about an objective, for one BatchNorm mode and one set of moving parameters.

    Attributes:
        arms: (strategy, threads) -> times.
        failed: Strategy -> why it is not used.
        verified: Strategies that agreed with the loop.
        worked: Seconds of work so far.
        chunk: Points at once.
        programs: The traced graphs, once traced.
        meaning: What the code was when all this was found.
    """

    meaning: Meaning = field(default_factory=lambda: Meaning(""))

    arms: dict[tuple[Strategy, int], _Arm] = field(default_factory=dict)
    failed: dict[Strategy, str] = field(default_factory=dict)
    verified: set[Strategy] = field(default_factory=set)
    worked: float = 0.0
    chunk: int = 8
    programs: Programs | None = None

    def next(self, strategies: Sequence[Strategy], counts: Sequence[int]) -> tuple[Strategy, int]:
        """With which strategy and how many threads to evaluate next.

        The fastest of late; but one that was faster once is tried again now and then, because what slowed it down,
        another program on the same cores, may be gone. Such trials take at most a twentieth of the time.

        Args:
            strategies: Those that come into question; the first is tried with every number of threads.
            counts: Numbers of threads to choose from.
        """
        for strategy in strategies:
            best = min(counts, key=lambda n: self._expected(strategies[0], n))
            for n in counts if strategy == strategies[0] else [best]:
                if len(self._arm(strategy, n).recent) < _TRIALS:
                    return strategy, n
        fastest = min(strategies, key=lambda s: min(self._expected(s, n) for n in counts))
        for n in counts:
            if len(self._arm(fastest, n).recent) < _TRIALS:
                return fastest, n
        usable = [(s, n) for s in strategies for n in counts if self._arm(s, n).recent]
        current = min(usable, key=lambda key: self.arms[key].now)
        for key in usable:
            arm = self.arms[key]
            if arm.best < 0.9 * self.arms[current].now and self.worked - arm.tried > _RETRY * arm.now:
                return key
        return current

    def took(self, strategy: Strategy, threads: int, seconds: float, points: int) -> None:
        """Enter a time."""
        arm = self._arm(strategy, threads)
        self.worked += seconds
        arm.took(seconds / points)
        arm.tried = self.worked

    def _arm(self, strategy: Strategy, threads: int) -> _Arm:
        key = strategy, threads
        if key not in self.arms:
            self.arms[key] = _Arm()
        return self.arms[key]

    def _expected(self, strategy: Strategy, threads: int) -> float:
        return self._arm(strategy, threads).now


_plans: WeakKeyDictionary[Objective, dict[Any, Plan]] = WeakKeyDictionary()
_lock = threading.Lock()


def plans_of(objective: Objective) -> dict[Any, Plan]:
    """What has been found out about an objective, by kind of evaluation, kept as long as the objective is.

    It is kept for the thing itself, not for what is equal to it: the same model on other data (`Objective.on`) and
    another model on the same data (`Objective.with_model`) are other objectives and begin with nothing, since a graph
    has in it what it was traced with.
    """
    with _lock:
        return _plans.setdefault(objective, {})


class Distrusted(Exception):
    """A strategy that had agreed with the loop does not any more: what it gave is to be measured again.

    Attributes:
        why: The strategy, and the values that differ.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class Local:
    """An `Evaluate` that computes in this process."""

    def __init__(
        self,
        objective: Objective,
        basis: Basis,
        batchnorm: str,
        *,
        strategy: Strategy | None = None,
        threads: int = 0,
        read: Meaning | None = None,
    ) -> None:
        """Nothing is computed yet.

        Args:
            objective: What to evaluate; M metrics.
            basis: K vectors, bound to the objective's space.
            batchnorm: A resolved mode.
            strategy: Use this one; by default the fastest is found by measurement.
            threads: Use so many; by default found by measurement.
            read: The objective's meaning, where it has just been read.
        """
        self.objective, self.basis, self.batchnorm = objective, basis, batchnorm
        self.used: Counter[str] = Counter()
        self._strategy, self._threads = strategy, threads
        self._traced: dict[bool, Traced] = {}
        self._read = read or meaning(objective, batchnorm)
        self._compared: set[Strategy] = set()  # that have agreed with the loop in this picture
        self._failures: Counter[Strategy] = Counter()
        self._chance = np.random.default_rng()  # no seed: what is compared must not be the same at every visit

    def facts(self) -> dict[str, Any]:
        """For provenance: points by strategy and threads, and why others were not used."""
        failed = {} if self.objective.at_once else self.plan.failed
        return {"strategies": dict(self.used), **({"not used": dict(failed)} if failed else {})}

    def __call__(self, coefficients: Array) -> Iterator[Array]:
        """Rows of metrics for rows of coefficients."""
        if not len(coefficients):
            return
        if self.objective.at_once:
            self.used["function"] += len(coefficients)
            for values in self.objective.evaluate(self.basis, coefficients):
                yield np.array(list(values.values()), dtype=np.float64)
            return
        loop = _Loop(self.objective, self.basis, self.batchnorm)
        try:
            i = 0
            while i < len(coefficients):
                rows, label = self._some(coefficients[i:], loop)
                for row in rows:
                    i += 1
                    self.used[label] += 1
                    yield row
        finally:
            loop.close()

    @property
    def plan(self) -> Plan:
        """What all evaluations of this kind share, so that a slider that moves on measures nothing again."""
        kind = self.objective.device.type  # a graph keeps the casts of the context that it was traced in
        casts = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        key = self.batchnorm, self.basis.moving, casts
        plans = plans_of(self.objective)
        plan = plans.get(key)
        if plan is None or plan.meaning != self._read:
            plan = plans[key] = Plan(failed=_not_to_trace(self._read), meaning=self._read)
        return plan

    def _some(self, left: Array, loop: _Loop) -> tuple[Array, str]:
        """Values of the first point, or of the first few."""
        if self.basis.vector_at(left[0]) is not None:  # its own loss, to the last bit
            return loop(left[0])[None], "loop"
        plan = self.plan
        counts = [self._threads] if self._threads else thread_counts()
        strategy, threads = plan.next(self._strategies(plan, len(left)), counts)
        if strategy == "loop":
            return self._timed(plan, strategy, threads, lambda: loop(left[0])[None]), _label(strategy, threads)
        try:
            if strategy not in plan.verified and self._strategy is None:
                known = self._verify(plan, strategy, threads, left, loop)
                if known is not None:
                    return known, "loop"
            values = self._timed(plan, strategy, threads, lambda: self._by_graph(plan, strategy, left))
        except Exception as error:  # whatever it is, the loop still works; if not, the user sees that
            if self._strategy is not None:
                raise
            self._failures[strategy] += 1
            if strategy in plan.verified and self._failures[strategy] < _FAILURES:
                return loop(left[0])[None], "loop"  # a point where an operation fails, and the code may catch that
            plan.failed[strategy] = _told(error)
            return self._some(left, loop)
        if self._strategy is None:
            self._compare(plan, strategy, left, values, loop)
        return values, _label(strategy, threads)

    def _compare(self, plan: Plan, strategy: Strategy, left: Array, values: Array, loop: _Loop) -> None:
        """Measure one of a graph's points again by the loop: the first of a picture, and now and then another.

        Raises:
            Distrusted: They differ by more than rounding.
        """
        due = strategy not in self._compared or self._chance.random() < _AGAIN * len(values)
        if not due or self._large():  # where a copy of the model is worth avoiding, the first comparison must do
            return
        i = int(self._chance.integers(len(values)))
        try:
            known = loop(left[i])
            self._agree(values[i], known)
        except Untraceable as error:
            plan.failed[strategy] = str(error)
            raise Distrusted(f"{strategy} {error}") from error
        self._compared.add(strategy)
        values[i] = known

    def _strategies(self, plan: Plan, left: int) -> list[Strategy]:
        """Those that come into question for the points that are left."""
        if self._strategy is not None:
            return [self._strategy]
        if self._large() and "traced" not in plan.failed:
            return ["traced"]
        found: list[Strategy] = ["loop"]
        point = min((arm.best for arm in list(plan.arms.values())), default=float("inf"))
        price = _TRACE + _TRIED * point
        if self._traced or (left > 2 * len(self.basis.vectors) and max(plan.worked, left * point) >= _WORTH * price):
            found += ["traced", "folded"]
            found += ["batched"] if point < _TINY or self.objective.device.type != "cpu" else []
        return [strategy for strategy in found if strategy not in plan.failed]

    def _large(self) -> bool:
        """Whether what moves is so large that a copy of it is worth avoiding."""
        return sum(self.basis.origin.parameters[name].nbytes for name in self.basis.moving) >= _LARGE

    def _verify(self, plan: Plan, strategy: Strategy, threads: int, left: Array, loop: _Loop) -> Array | None:
        """Compare with the loop at a few points far apart; for a large model at vectors of the basis, not copied then.

        Tracing and allocating happen here, so this is not timed.

        Returns:
            The loop's values, if they are of the first point that is left.

        Raises:
            Untraceable: They differ by more than rounding.
        """
        large = self._strategies(plan, len(left)) == ["traced"]
        probes = np.eye(left.shape[1])[[-1]] if large else left[_far_apart(left, _PROBES)]
        first: Array | None = None
        for probe in probes:
            with using_threads(threads):
                values = self._by_graph(plan, strategy, probe[None])
            known = loop(probe)
            if large:  # a direction that was drawn or widened for this, all of it
                loop.close()
            self._agree(values[0], known)
            if large or np.isfinite(known).all():  # agreement about infinity says little: another point will tell
                plan.verified.add(strategy)
            first = known if first is None else first
        return None if large or first is None else first[None]

    def _agree(self, values: Array, known: Array) -> None:
        """Raise `Untraceable` where values differ from the loop's by more than rounding."""
        dtypes = {self.basis.origin.parameters[name].dtype for name in self.basis.moving}
        last_bit = max((torch.finfo(dtype).eps for dtype in dtypes), default=0.0)
        samples = self.objective.samples
        flips = np.array([_FLIPS / samples if counts_samples(value, samples) else 0.0 for value in known])
        allowed = _AGREES * last_bit**0.5 * (np.abs(known) + 0.01) + flips
        same = (np.abs(values - known) <= allowed) | (values == known) | (np.isnan(values) & np.isnan(known))
        for value, right in zip(values[~same], known[~same], strict=True):
            raise Untraceable(f"differs from the loop: {value:.9g} instead of {right:.9g}")

    @staticmethod
    def _timed(plan: Plan, strategy: Strategy, threads: int, compute: Callable[[], Array]) -> Array:
        began = time.perf_counter()
        with using_threads(threads):
            values = compute()
        seconds = time.perf_counter() - began
        plan.took(strategy, threads, seconds, len(values))
        if strategy == "batched":
            plan.chunk = max(1, min(4 * plan.chunk, round(_STEP * len(values) / max(seconds, 1e-9)), 4096))
        return values

    def _by_graph(self, plan: Plan, strategy: Strategy, left: Array) -> Array:
        fold = strategy == "folded" or (strategy == "batched" and "folded" not in plan.failed)
        if fold not in self._traced:
            if plan.programs is None:
                plan.programs = Programs(modelled(self.objective, "sample"), self.batchnorm, self.basis.moving)
            memory = free_memory(self.objective.device) / 4
            self._traced[fold] = Traced(plan.programs, self.basis, fold=fold, memory=memory)
        traced = self._traced[fold]
        if strategy == "folded" and not traced.folds:
            raise Untraceable("no product of data and parameters can be folded")
        if strategy != "batched":
            return traced.row(left[0])[None]
        fits = max(1, int(free_memory(self.objective.device) / 4 / max(1, traced.bytes)))
        while True:
            chunk = left[: min(plan.chunk, fits)]
            models = [i for i, row in enumerate(chunk) if self.basis.vector_at(row) is not None]
            try:
                return traced.rows(chunk[: models[0]] if models else chunk)
            except torch.OutOfMemoryError:
                if plan.chunk == 1:
                    raise
                plan.chunk //= 2


def _far_apart(rows: Array, count: int) -> list[int]:
    """The first row, and again and again the one farthest from those chosen."""
    chosen = [0]
    distance = np.linalg.norm(rows - rows[0], axis=1)
    while len(chosen) < count and distance.max() > 0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(rows - rows[chosen[-1]], axis=1))
    return chosen


def _not_to_trace(read: Meaning) -> dict[Strategy, str]:
    """Why no graph may be used, where what it depends on cannot be followed."""
    why = ""
    if read.unread:
        why = f"what it depends on cannot be followed: {', '.join(read.unread)}"
    elif read.compiled:
        why = "torch.compile has made a part of it"
    return {strategy: why for strategy in STRATEGIES if why and strategy != "loop"}


def _label(strategy: Strategy, threads: int) -> str:
    return f"{strategy}, {threads} thread{'s' * (threads != 1)}"


local = Local


class _Loop:
    """The objective's own loop, one row at a time when it is asked for."""

    def __init__(self, objective: Objective, basis: Basis, batchnorm: str) -> None:
        self._row = np.empty(0)
        self._start = partial(objective.evaluate, basis, self._asked(), batchnorm=batchnorm)
        self._values = self._start()

    def _asked(self) -> Iterator[Array]:
        while True:
            yield self._row

    def close(self) -> None:
        """Give the replica back now: collected later, it might be in the middle of a trace."""
        self._values.close()
        self._values = self._start()  # which has nothing yet, and may be asked again

    def __call__(self, row: Array) -> Array:
        self._row = row
        try:
            values = next(self._values)
        except BaseException:  # it ends the generator, but not the loop
            self._values = self._start()
            raise
        return np.array(list(values.values()), dtype=np.float64)


def free_memory(device: torch.device) -> float:
    """Bytes that can be had on a device; on the CPU, of physical memory."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError, AttributeError):  # not Linux
        return float(4 << 30)


def _told(error: Exception) -> str:
    return (str(error).partition("\n")[0] if isinstance(error, Untraceable) else discreet(error))[:200]
