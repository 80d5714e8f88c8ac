"""How many threads each function of a study computes with: tried on its first runs, as sampling tries strategies.

Many small operations are faster on one thread (150 steps of Adam on a net of 64-32-10: 0.4 s instead of 4 to 8,
measured on two shared cores), a few large ones on all. Only the thread that computes is told: others keep theirs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from lwidgets.failures import contextmanager
from lwidgets.sampling.threads import thread_counts, using_threads

_KEPT = 2  # times of the last runs with each number
_INSTANT = 0.1  # seconds: what one thread does in less is not tried with more, which on a busy machine may take minutes


class ThreadChoice:
    """For each function, the seconds that its best run with so many threads took."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._seconds: WeakKeyDictionary[Any, dict[int, list[float]]] = WeakKeyDictionary()

    def next(self, function: Any) -> int:
        """How many threads the next run of a function should have: a number still to be tried, or the fastest.

        One thread comes first, then all, then one again, because the first run of all also loads and allocates.
        """
        mine, *fewer = thread_counts()
        known = self._seconds.get(function, {})
        if not fewer or 1 not in known:
            return 1 if fewer else mine
        if min(known[1]) <= _INSTANT:
            return 1
        if mine not in known:
            return mine
        if len(known[1]) < _KEPT:
            return 1
        return min(known, key=lambda count: min(known[count]))

    @contextmanager
    def chosen(self, function: Any, *, learn: bool = True) -> Iterator[None]:
        """Within: torch computes in this thread with the number chosen. What ends in an exception is not counted."""
        count = self.next(function)
        began = time.perf_counter()
        with using_threads(count):
            yield
        if learn:
            tried = self._seconds.setdefault(function, {}).setdefault(count, [])
            tried.append(time.perf_counter() - began)
            del tried[:-_KEPT]
