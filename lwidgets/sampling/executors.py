"""Points evaluated elsewhere: threads, processes or the machines of a cluster, by any `concurrent.futures.Executor`.

An executor cannot say which worker takes a task, so a task carries only coefficients and the names of what they belong
to. A worker that does not have these yet says so, and one task travels with them pickled: about once for each worker,
and never where the worker already sees them (a thread, a forked process). A name belongs to one objective or one basis
as long as it lives, so a new subspace over the same objective sends the data no second time.
"""

from __future__ import annotations

import importlib
import math
import os
import pickle
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from lwidgets.basis import Basis
from lwidgets.objective import Objective
from lwidgets.sampling.evaluate import Distrusted, Local, Strategy
from lwidgets.sampling.identity import Meaning, meaning

Array = NDArray[np.float64]

CHUNK_SECONDS = 0.075
"""Work per task: many times what sending one costs, and still smooth progress and a quick stop. A choice."""
_AHEAD = 2  # tasks out for each worker: one runs, one waits, and little is computed in vain after a stop
_WORKERS = 8  # when an executor does not tell; a choice, too many only lengthen the queue
_KEPT = 3  # objectives, bases and evaluations that a worker remembers of each
_BORN = uuid4().hex  # with the process id, what tells processes apart, on one machine (forks) and on many

_names: WeakKeyDictionary[object, str] = WeakKeyDictionary()
_tickets = count()


class Spread:
    """An `Evaluate` that computes wherever an executor runs; rows come in order, each as soon as it can.

    A worker process computes with one thread. Forked workers are safe on the CPU; with CUDA use the "spawn" context.

    Stopping it cancels what has not begun and does not wait for the rest. When a worker dies, the rows that are missing
    are evaluated in this process, with one RuntimeWarning. An exception at a point comes out after the rows before it,
    as the executor delivers it: with the worker's traceback as its cause.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> import lwidgets as lw
        >>> bowl = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2)
        >>> plane = lw.Subspace.identity(2)
        >>> with ThreadPoolExecutor(2) as pool:
        ...     evaluate = Spread(bowl, plane.basis, "none", pool)
        ...     [row.tolist() for row in evaluate(plane.coefficients([[3.0, 4.0], [0.5, 0.0]]))]
        [[25.0], [0.25]]
    """

    def __init__(
        self,
        objective: Objective,
        basis: Basis,
        batchnorm: str,
        executor: Executor,
        *,
        strategy: Strategy | None = None,
        read: Meaning | None = None,
    ) -> None:
        """Nothing is sent or computed yet.

        Args:
            objective: What to evaluate; M metrics.
            basis: K vectors, bound to the objective's space.
            batchnorm: A resolved mode.
            executor: Threads, processes, or ``client.get_executor()`` of a dask.distributed client. It stays the
                caller's: nothing here shuts it down.
            strategy: Use this one; by default every worker finds the fastest by measurement.
            read: The objective's meaning, where it has just been read.

        Raises:
            TypeError: The executor is of another kind.
        """
        if not isinstance(executor, Executor):
            raise TypeError(
                f"sample: executor must be a concurrent.futures.Executor, got {type(executor).__name__}. Pass a "
                "ThreadPoolExecutor or ProcessPoolExecutor, or client.get_executor() of a dask client."
            )
        self._used: Counter[str] = Counter()
        self._executor = executor
        read = read or meaning(objective, batchnorm)
        named = f"{_name_of(objective)} {read.digest}"  # a worker's copy is of what the code was
        self._bench = _Bench(objective, basis, batchnorm, strategy)
        self._job = _Job(uuid4().hex, named, _name_of(basis), batchnorm, strategy, _process(), read)
        self._parcels: dict[str, Any] = {}
        self._pace: float | None = None  # seconds a row, in the last task
        self._lost = False
        _live[self._job.name] = self._bench

    def facts(self) -> dict[str, Any]:
        """For provenance: the kind of executor, and points by strategy and threads."""
        here = self._bench.own().used  # after a loss
        return {"executor": type(self._executor).__name__, "strategies": dict(self._used + here)}

    def __call__(self, coefficients: Array) -> Iterator[Array]:
        """Rows of metrics for rows of coefficients.

        Raises:
            TypeError: Something that a worker process needs cannot be pickled.
            RuntimeError: The executor was shut down, or a worker cannot load what it was sent.
        """
        request = _Request(self, coefficients)
        position = 0
        try:
            while position < len(coefficients) and not self._lost:
                row = request.rows[position]
                if row is not None:
                    yield row
                    position += 1
                elif position in request.failures:
                    raise request.failures.pop(position)
                else:
                    request.submit()
                    request.collect()
                    if request.loss is not None:
                        self._lost = True
                        warnings.warn(
                            f"sample: {type(self._executor).__name__} failed ({type(request.loss).__name__}: "
                            f"{request.loss}). No point is lost: what is missing is evaluated in this process. Make a "
                            "new executor for the next picture.",
                            RuntimeWarning,
                            stacklevel=2,
                        )
        finally:
            request.cancel()
        if position < len(coefficients):
            rest = request.rows[position:]
            missing = self._bench.own()(coefficients[position:][[row is None for row in rest]])
            for row in rest:
                yield next(missing) if row is None else row

    def workers(self) -> int:
        """How many tasks can run at once; a cluster may have grown."""
        client = _client_of(self._executor)
        if client is None:
            return getattr(self._executor, "_max_workers", None) or _WORKERS
        return (sum(client.nthreads().values()) if client.status == "running" else 0) or _WORKERS

    def size(self, share: int) -> int:
        """Rows for the next task: a share of what is left, within what the time allows and what is worth a task."""
        if self._pace is None:
            return 1
        most = int(CHUNK_SECONDS / max(self._pace, 1e-9))
        return max(1, min(most, max(share, most // 8)))

    def learn(self, answer: _Answer) -> None:
        """Keep what an answer says about all requests."""
        self._pace = answer.seconds / len(answer.rows)
        self._used += answer.used

    def submit(self, coefficients: Array, missing: Sequence[str]) -> Future[_Answer]:
        """A task, together with what some worker is missing.

        Raises:
            BrokenExecutor: The workers are gone, or the client that led to them is closed.
            RuntimeError: The executor was shut down.
        """
        client = _client_of(self._executor)
        if client is not None and client.status != "running":
            raise BrokenExecutor(f"its client is {client.status}")
        parcel = {name: self._parcel(name) for name in missing}
        try:
            return self._executor.submit(_work, self._job, next(_tickets), coefficients, parcel)
        except BrokenExecutor:
            raise
        except RuntimeError as error:
            raise RuntimeError(
                f"sample: executor must accept work, got {type(self._executor).__name__} which says {str(error)!r}. "
                "Pass one that was not shut down."
            ) from error

    def _parcel(self, name: str) -> Any:
        """Something pickled; for a cluster a reference to it, because dask copies and hashes what a task carries."""
        if name not in self._parcels:
            part = ("objective", self._bench.objective) if name == self._job.objective else ("basis", self._bench.basis)
            pickled = _dumps(*part)
            client = _client_of(self._executor)
            self._parcels[name] = client.scatter(pickled, broadcast=True, hash=False) if client else pickled
        return self._parcels[name]


@dataclass(frozen=True)
class _Job:
    """What a task says about its coefficients: names, how to evaluate, the process that asks, and what it means."""

    name: str
    objective: str
    basis: str
    batchnorm: str
    strategy: Strategy | None
    home: str
    read: Meaning


@dataclass(frozen=True)
class _Answer:
    """What comes back.

    Attributes:
        worker: The process that answers.
        rows: Shape (m, M); fewer than asked when the next one raises, which then shows when it comes first in a task.
        seconds: Spent on them.
        used: Points by strategy and threads.
        missing: Names that the worker does not know; then nothing was evaluated.
    """

    worker: str
    rows: Sequence[Array] | Array = ()
    seconds: float = 0.0
    used: Counter[str] = field(default_factory=Counter)
    missing: tuple[str, ...] = ()


class _Request:
    """One array of coefficients on its way.

    Attributes:
        rows: What is known.
        failures: Row -> the exception that its evaluation raised.
        loss: Why the workers cannot be relied on any more.
    """

    def __init__(self, spread: Spread, coefficients: Array) -> None:
        self.rows: list[Array | None] = [None] * len(coefficients)
        self.failures: dict[int, BaseException] = {}
        self.loss: BaseException | None = None
        self._spread = spread
        self._coefficients = coefficients
        self._window = _AHEAD * spread.workers()
        self._todo = [(0, len(coefficients))]
        self._asked: dict[Future[_Answer], tuple[int, int]] = {}
        self._needs: dict[str, tuple[str, ...]] = {}  # worker -> what it lacks
        self._sent: dict[Future[_Answer], str] = {}  # a task with a parcel -> the worker it is meant for

    def submit(self) -> None:
        """Keep every worker busy with what comes first, but with nothing beyond a failure."""
        end = min(self.failures, default=len(self.rows))
        while self._todo and self._todo[0][0] < end and len(self._asked) < self._window:
            left = sum(stop - start for start, stop in self._todo)
            start, last = heappop(self._todo)
            stop = min(last, start + self._spread.size(math.ceil(left / self._window)))
            if stop < last:
                heappush(self._todo, (stop, last))
            worker, missing = self._needs.popitem() if self._needs else ("", ())
            try:
                future = self._spread.submit(self._coefficients[start:stop], missing)
            except BrokenExecutor as error:
                self.loss = error
                return
            self._asked[future] = (start, stop)
            if missing:
                self._sent[future] = worker

    def collect(self) -> None:
        """Wait for an answer, and take in all there are."""
        done = wait(self._asked, return_when=FIRST_COMPLETED).done
        for future in done:
            start, stop = self._asked.pop(future)
            error = CancelledError() if future.cancelled() else future.exception()
            if error is None:
                start += self._take(start, future.result())
                if start < stop:
                    heappush(self._todo, (start, stop))
            elif _is_loss(error):
                self.loss = error
            else:
                self.failures[start] = error
        for future in done:  # only now: an answer beside that of a parcel was given without it
            self._sent.pop(future, None)

    def cancel(self) -> None:
        """Drop what has not begun."""
        for future in self._asked:
            future.cancel()

    def _take(self, start: int, answer: _Answer) -> int:
        """Enter an answer; how many rows it has."""
        if answer.missing:
            if answer.worker not in self._sent.values():
                self._needs[answer.worker] = answer.missing
            return 0
        self.rows[start : start + len(answer.rows)] = answer.rows
        self._spread.learn(answer)
        return len(answer.rows)


class WorkerDiffers(Exception):
    """A worker would compute something else: it has other code, or other values of what the code reads."""


def _client_of(executor: Executor) -> Any:
    """The client of a dask executor, or None."""
    dask: Any = sys.modules.get("distributed.cfexecutor")
    return getattr(executor, "_client", None) if dask and isinstance(executor, dask.ClientExecutor) else None


def _is_loss(error: BaseException) -> bool:
    """Whether the worker failed, not the evaluation."""
    killed = getattr(sys.modules.get("distributed"), "KilledWorker", BrokenExecutor)
    return isinstance(error, BrokenExecutor | CancelledError | WorkerDiffers | killed)


# What follows, down to the pickling, runs in the workers.


class _Bench:
    """An evaluation for many threads: each has a `Local` of its own, whose scratch no other may write to."""

    def __init__(self, objective: Objective, basis: Basis, batchnorm: str, strategy: Strategy | None) -> None:
        self.objective, self.basis, self._batchnorm, self._strategy = objective, basis, batchnorm, strategy
        self._threads = threading.local()

    def own(self) -> Local:
        """This thread's; it leaves the number of torch's threads, which other threads share, as it is."""
        if not hasattr(self._threads, "local"):
            self._threads.local = Local(
                self.objective, self.basis, self._batchnorm, strategy=self._strategy, threads=torch.get_num_threads()
            )
        own: Local = self._threads.local
        return own


class _Recent:
    """The last few values by name."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Any:
        """The value, or None; it becomes the latest."""
        with self._lock:
            value = self._values.pop(name, None)
            if value is not None:
                self._values[name] = value
            return value

    def put(self, name: str, value: Any) -> None:
        """Enter a value, and drop the oldest."""
        with self._lock:
            self._values[name] = value
            while len(self._values) > _KEPT:
                del self._values[next(iter(self._values))]


_live: WeakValueDictionary[str, _Bench] = WeakValueDictionary()  # of this process, for its own threads and its forks
_benches, _objectives, _bases = _Recent(), _Recent(), _Recent()  # of other processes


def _work(job: _Job, ticket: int, coefficients: Array, parcel: Mapping[str, bytes]) -> _Answer:
    """Evaluate one chunk. The ticket makes a task unlike any other: dask answers equal calls from memory."""
    worker = _process()
    if worker != job.home:
        torch.set_num_threads(1)
    bench = _live.get(job.name) or _benches.get(job.name)
    if bench is None:
        objective, basis = _find(job.objective, _objectives, parcel), _find(job.basis, _bases, parcel)
        if objective is None or basis is None:
            parts = ((job.objective, objective), (job.basis, basis))
            return _Answer(worker, missing=tuple(name for name, part in parts if part is None))
        here = meaning(objective, job.batchnorm)
        if not job.read.unread and here.digest != job.read.digest:
            raise WorkerDiffers(
                "the code of model, loss or metrics, or something that it reads, is not the same in this worker"
            )
        bench = _Bench(objective, basis, job.batchnorm, job.strategy)
        _benches.put(job.name, bench)
    evaluate = bench.own()
    before, began = evaluate.used.copy(), time.perf_counter()
    rows = []
    try:
        for row in evaluate(coefficients):
            rows.append(row)  # noqa: PERF402  what was known before an exception is kept
    except Distrusted:
        raise
    except Exception:
        if not rows:
            raise
    return _Answer(worker, np.array(rows), time.perf_counter() - began, evaluate.used - before)


def _find(name: str, kept: _Recent, parcel: Mapping[str, bytes]) -> Any:
    """What a name stands for, or None."""
    if name not in parcel:
        return kept.get(name)
    try:
        part = pickle.loads(parcel[name])
    except Exception as error:
        raise RuntimeError(
            f"sample: executor must have workers that can load what they evaluate, got {type(error).__name__}: "
            f"{error}. Install the missing modules where the workers run, and cloudpickle here for what a notebook "
            "defines."
        ) from error
    kept.put(name, part)
    return part


def _process() -> str:
    return f"{_BORN}-{os.getpid()}"


def _name_of(thing: object) -> str:
    return _names.setdefault(thing, uuid4().hex)


def _dumps(path: str, thing: object) -> bytes:
    try:
        dumps: Callable[[object], bytes] = importlib.import_module("cloudpickle").dumps
        install = ""
    except ImportError:
        dumps, install = pickle.dumps, "install cloudpickle, "
    try:
        return dumps(thing)
    except Exception as error:
        place, culprit, reason = _culprit(path, thing, error, dumps)
        raise TypeError(
            f"sample: executor must be able to send what it evaluates, got {place} = {culprit!r:.100}, which cannot be "
            f"pickled ({type(reason).__name__}: {reason}). Define it at the top level of a file that the workers can "
            f"import, {install}or use a ThreadPoolExecutor."
        ) from error


def _culprit(
    path: str, thing: object, error: Exception, dumps: Callable[[object], bytes]
) -> tuple[str, object, Exception]:
    """A part that cannot be pickled though all of its own parts can: where it is, itself, and why."""
    seen, queue = {id(thing)}, [(path, thing, error)]
    for place, part, reason in queue:
        inner = [(place + step, child, why) for step, child in _parts(part) if (why := _refusal(child, dumps))]
        if not inner:
            return place, part, reason
        queue += [entry for entry in inner if id(entry[1]) not in seen]
        seen.update(id(child) for _, child, _ in inner)
    return queue[0]


def _refusal(thing: object, dumps: Callable[[object], bytes]) -> Exception | None:
    try:
        dumps(thing)
    except Exception as error:
        return error
    return None


def _parts(thing: object) -> list[tuple[str, object]]:
    if isinstance(thing, Mapping):
        return [(f"[{key!r}]", part) for key, part in thing.items()]
    if isinstance(thing, list | tuple):
        return [(f"[{i}]", part) for i, part in enumerate(thing)]
    return [(f".{name}", part) for name, part in getattr(thing, "__dict__", {}).items()]
