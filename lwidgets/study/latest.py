"""One worker thread that always works on the newest request.

A slider callback must return at once, and may run on any thread; so it only leaves a note here. The worker looks for
notes between evaluation steps and decides whether what it is doing has become stale.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any


class Superseded(GeneratorExit):
    """Raised inside a computation that newer values have made stale: as in a generator, nobody wants the rest.

    Not an Exception, so that no handler of errors in between takes it for one.
    """


class Stopped(GeneratorExit):
    """Raised inside a computation that was stopped or closed."""


_PATIENCE = 5.0  # seconds without a request after which the thread ends
_GRACE = 5.0  # seconds that the interpreter's end waits for a thread inside a batch

_open: weakref.WeakSet[LatestWins] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End every worker before the interpreter goes: a thread inside a torch kernel would abort the process."""
    workers = list(_open)
    for worker in workers:
        worker.close()
    last = time.monotonic() + _GRACE
    for worker in workers:
        worker.join(max(0.0, last - time.monotonic()))


class LatestWins:
    """A daemon thread, the newest values, and a way to wait until they have been dealt with."""

    def __init__(
        self,
        work: Callable[[], None],
        name: str,
        leisure: Callable[[], None] = lambda: None,
        pace: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; the thread starts with the first request.

        Args:
            work: Brings everything up to date; reads the newest values with `take`, calls `poll` between steps, and
                lets Stopped through.
            name: Of the thread.
            leisure: Called each time nothing is left to do, which it does not keep anybody from being told. Calls
                `poll` between steps, returns as soon as there is news, and lets Stopped through.
            pace: Called at every step of the worker, before it looks for news: to go step by step.
        """
        self.pace = pace
        self._work = work
        self._leisure = leisure
        self._name = name
        self._news = threading.Condition()
        self._pending: dict[str, Any] = {}
        self._wanted = self._begun = False
        self._stopping = False
        self._closed = False
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None
        self._beside: set[threading.Thread] = set()
        self._waiting = 0
        self._nudged = False
        _open.add(self)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def begun(self) -> bool:
        """Whether anything was ever asked for."""
        return self._begun

    @property
    def ending(self) -> bool:
        """Whether the present computation is to be given up."""
        return self._stopping or self._closed

    @property
    def awaited(self) -> bool:
        """Whether somebody is in `wait`."""
        return self._waiting > 0

    def request(self, values: Mapping[str, Any]) -> None:
        """Ask for new values; returns at once. Values not yet taken are merged, the newest of each name wins."""
        with self._news:
            if self._closed:
                return
            self._pending.update(values)
            self._wanted, self._stopping, self._begun = True, False, True
            self._idle.clear()
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
                self._thread.start()
            self._news.notify_all()

    def take(self) -> dict[str, Any]:
        """The values requested since the last call; called by the worker."""
        with self._news:
            taken, self._pending = self._pending, {}
            self._wanted = False
            return taken

    def poll(self) -> bool:
        """Whether there is news; called by the worker between steps.

        Raises:
            Stopped: The computation was stopped or closed.
        """
        self.pace()
        if self.ending:
            raise Stopped
        return self._wanted

    def rest(self, timeout: float | None = None) -> bool:
        """Wait until there is news, a `nudge`, or no time left, in seconds; called by the worker.

        Returns:
            Whether there is news.

        Raises:
            Stopped: The computation was stopped or closed.
        """
        with self._news:
            self._news.wait_for(lambda: self._wanted or self.ending or self._nudged, timeout)
            self._nudged = False
        return self.poll()

    def nudge(self) -> None:
        """Let the worker look around, where it rests."""
        with self._news:
            self._nudged = True
            self._news.notify_all()

    def beside(self, work: Callable[[], None]) -> threading.Thread:
        """Start a thread that does something for the worker, which nudges it; it counts as part of it."""

        def run() -> None:
            try:
                work()
            finally:
                with self._news:
                    self._beside.discard(thread)
                self.nudge()

        thread = threading.Thread(target=run, name=f"{self._name} (beside)", daemon=True)
        with self._news:
            self._beside.add(thread)
        thread.start()
        return thread

    def stop(self) -> None:
        """Give up the present computation within one step; later requests start anew."""
        with self._news:
            self._stopping = True
            self._news.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Block until nothing is left to do; False when the time ran out first.

        Raises:
            RuntimeError: Called by the work itself, which would wait for its own end.
        """
        if threading.current_thread() in {self._thread, *self._beside}:
            raise RuntimeError(
                "Study.wait: caller must be outside the study's functions, got the worker's own thread. "
                "Take what you need as an argument."
            )
        if self._idle.is_set() or timeout == 0:
            return self._idle.is_set()
        with self._news:
            self._waiting += 1
            self._nudged = True
            self._news.notify_all()
        try:
            return self._idle.wait(timeout)
        finally:
            with self._news:
                self._waiting -= 1

    def close(self) -> None:
        """Tell the thread to end within one step, and return at once; safe to call twice and from any thread."""
        with self._news:
            self._closed = True
            self._news.notify_all()
            self._idle.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of its threads, after `close`; False when the time, in seconds, ran out first."""
        last = None if timeout is None else time.monotonic() + timeout
        with self._news:
            threads = [thread for thread in (self._thread, *self._beside) if thread is not None]
        for thread in threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(None if last is None else max(0.0, last - time.monotonic()))
        return not any(thread.is_alive() for thread in threads if thread is not threading.current_thread())

    def _loop(self) -> None:
        while self._next_request():
            with contextlib.suppress(Stopped):
                self._work()
                if self._rests():
                    self._leisure()

    def _rests(self) -> bool:
        """Whether nothing is left to do; those who wait are told."""
        with self._news:
            if not self._wanted:
                self._idle.set()
            return not self._wanted

    def _next_request(self) -> bool:
        """Wait for one; False when the thread is to end."""
        with self._news:
            self._rests()
            while not self._wanted and not self._closed:
                if not self._news.wait(_PATIENCE) and not self._wanted:
                    self._thread = None  # nothing must keep a study alive that nobody uses; a request starts anew
                    return False
            return not self._closed
