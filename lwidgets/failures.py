"""What is said about an exception that is not ours, and what it is given to carry."""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, Generic, Literal, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_QUOTED = re.compile(r"(['\"])[^'\"\n]*[/\\][^'\"\n]*\1")  # a path may hold spaces
_PLACE = re.compile(r"[^\s'\"(),;]*[/\\][^\s'\"(),;]*")
_LEFT_OUT = "..."


def words_of(error: BaseException) -> str:
    """Type and text of an exception, also of one whose text cannot be had.

    >>> words_of(ValueError("too large"))
    'ValueError: too large'
    >>> class Mute(Exception):
    ...     def __str__(self):
    ...         raise RuntimeError
    >>> words_of(Mute())
    'Mute, which raises RuntimeError when it is asked for its text'
    """
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception as other:
        return f"{name}, which raises {type(other).__name__} when it is asked for its text"


def hand_over(error: BaseException, note: str, **carried: Any) -> None:
    """Add a note and attributes to an exception, also to one that refuses attributes (a frozen dataclass).

    Args:
        error: Whoever catches it finds them there.
        note: Shown below its text.
        **carried: Name -> value.

    Example:
        >>> class Frozen(Exception):
        ...     def __setattr__(self, name, value):
        ...         raise AttributeError
        >>> error = Frozen()
        >>> hand_over(error, "at x = 1", landscape="the picture")
        >>> error.landscape, error.__notes__
        ('the picture', ['at x = 1'])
    """
    own = vars(error)
    notes = own.get("__notes__") or []
    own.update(carried, __notes__=notes if note in notes else [*notes, note])


def discreet(error: BaseException) -> str:
    """The `words_of` an exception as they may be saved and passed on: one line, `without_places`.

    >>> discreet(FileNotFoundError(2, "No such file or directory", "cache.bin"))
    'FileNotFoundError: No such file or directory'
    """
    bare = isinstance(error, OSError) and error.strerror
    text = f"{type(error).__name__}: {bare}" if bare else words_of(error)
    return without_places(text.strip().partition("\n")[0])


def without_places(text: str) -> str:
    r"""A text without paths, without the user's name and without the machine's: one that may be passed on.

    >>> without_places("No such file or directory: '/home/ada/my kernels/cache.bin'")
    'No such file or directory: ...'
    >>> without_places(r"cannot import C:\Users\ada\net.py (line 3)")
    'cannot import ... (line 3)'
    """
    text = _PLACE.sub(_LEFT_OUT, _QUOTED.sub(_LEFT_OUT, text))
    for name in _own_names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", _LEFT_OUT, text)
    return text


def _own_names() -> list[str]:
    """The user's and the machine's; a short one, or root, would be found in words that mean something else."""
    names = [socket.gethostname()]
    with contextlib.suppress(KeyError, OSError):  # none is known
        names.append(getpass.getuser())
    return [name for name in names if len(name) > 2 and name not in ("root", "user", "localhost")]


class _Context(AbstractContextManager[T], Generic[T]):
    def __init__(self, steps: Iterator[T]) -> None:
        self._steps: Any = steps

    def __enter__(self) -> T:
        entered: T = next(self._steps)
        return entered

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> Literal[False]:
        if error is None:
            next(self._steps, None)
            return False
        try:
            self._steps.throw(error)
        except BaseException as raised:
            if raised is not error:
                raise
        return False


def contextmanager(function: Callable[P, Iterator[T]]) -> Callable[P, AbstractContextManager[T]]:
    """`contextlib.contextmanager` for what other people's exceptions pass through, and are never swallowed by.

    That one sets ``__traceback__``, and raises another exception in place of one that refuses attributes.

    Example:
        >>> @contextmanager
        ... def within():
        ...     yield "inside"
        >>> with within() as where:
        ...     where
        'inside'
    """

    @wraps(function)
    def made(*args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        return _Context(function(*args, **kwargs))

    return made
