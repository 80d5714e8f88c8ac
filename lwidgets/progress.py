"""How far something is, told while it runs."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """``progress(done, total)``, called between two steps; raise in it to end the work.

    Any function of two whole numbers will do; what it returns is ignored.

    Example:
        >>> seen = []
        >>> def progress(done: int, total: int) -> None:
        ...     seen.append(f"{done} of {total}")
        >>> report: Progress = progress
        >>> report(1, 4)
        >>> seen
        ['1 of 4']
    """

    def __call__(self, done: int, total: int, /) -> object:
        """Tell.

        Args:
            done: Steps taken.
            total: Of how many at most.
        """
