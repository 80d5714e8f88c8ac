"""Where a long evaluation can be told to end: between two batches.

Whoever computes calls `pause`; whoever wants to be able to end it listens, and raises. What is heard is each thread's
own business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar

from lwidgets.failures import contextmanager

_listener: ContextVar[Callable[[], object] | None] = ContextVar("listener", default=None)


def pause() -> None:
    """Between two batches; raises what the listener of this thread raises, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener()


@contextmanager
def heard_by(listener: Callable[[], object]) -> Iterator[None]:
    """Within: ``listener()`` is called at every pause of this thread.

    >>> with heard_by(lambda: print("between two batches")):
    ...     pause()
    between two batches
    """
    before = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(before)
