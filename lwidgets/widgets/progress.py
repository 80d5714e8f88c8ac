"""A bar in the cell that asked for something long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ipywidgets as W


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar; what comes out takes (done, total, text). It is gone at the end.

    Args:
        text: Beside it at first.
    """
    from IPython.display import display

    bar, label = W.IntProgress(), W.Label(text)
    box = W.HBox([bar, label])
    display(box)  # type: ignore[no-untyped-call]

    def show(done: int, total: int, text: str) -> None:
        bar.max, bar.value, label.value = total, done, text

    try:
        yield show
    finally:
        for part in (bar, label, box):
            part.close()
