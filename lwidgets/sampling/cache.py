"""Measured values, remembered in memory and on disk.

A value is found by what it is a value of (an identity, see ``identity.py``) and the coefficients of the point. In
memory the identities used last are kept, within a number of bytes. On disk there is a folder for each identity, and in
it a file for each process that has measured something:

    <folder>/<shelf>/<writer>.values
    file:    b"lwvalue1", the 16 bytes of the shelf's name; then records
    record:  K coefficients and M values, little-endian float64; 8 bytes of BLAKE2b over them, keyed by the shelf's name

A shelf's name is the BLAKE2b hash of identity, K and M, in hexadecimal; a writer's is random. Nobody writes to the file
of another and nobody locks. Each row is written at once, by one append. A record is believed if its checksum is right,
so a torn or damaged one costs its own evaluation and nothing else. The folder may be deleted at any time.

Source of the hash: RFC 7693. Eight bytes of it let one damaged record in 2^64 through.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from lwidgets.failures import contextmanager
from lwidgets.sampling.evaluate import Array, Evaluate

_MAGIC = b"lwvalue1"
_CHECK = 8  # bytes of checksum
# Of CPython: tests/sampling/test_cache.py compares what they add up to with what tracemalloc counts.
_ROW = 80  # bytes that a row takes besides its key and value: the slots of a dict, and what the allocator rounds up
_MOMENT = 0.05  # seconds of measuring after which what was measured is stored; a choice: what an abrupt end may cost
_SHELF = 700  # bytes of a shelf without rows


class Cache:
    """Where measured values are remembered. Threads may share one, and processes a folder.

    A folder that cannot be written to (a full disk, missing rights) stops nothing: values are remembered in memory
    from there on, with one RuntimeWarning.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, budget: int = 64 << 20) -> None:
        """Nothing is read or written yet.

        Args:
            path: Folder on disk, made when it is needed; None remembers in memory only.
            budget: Bytes in memory; what was used last stays. There is no limit on disk.

        Raises:
            NotADirectoryError: The path is a file, or leads through one.
            ValueError: The budget is negative.
        """
        if budget < 0:
            raise ValueError(f"Cache: budget must be bytes, 0 or more, got {budget}. Use for example 2**26.")
        self.path = None if path is None else Path(os.path.abspath(Path(path).expanduser()))
        self.budget = budget
        for part in (self.path, *self.path.parents) if self.path else ():
            if os.path.isfile(part):
                raise NotADirectoryError(
                    f"Cache: path must be a folder, got {os.fspath(path or '')!r}, where {part.name!r} is a file. "
                    "Name a folder; it is made when it is needed."
                )
        self._shelves: OrderedDict[bytes, _Shelf] = OrderedDict()
        self._size = 0
        self._lock = threading.RLock()
        self._token = uuid4().hex
        self._writable = self.path is not None
        self._warned = False

    def __repr__(self) -> str:
        where = "memory" if self.path is None else f"memory and {os.fspath(self.path)!r}"
        return f"Cache({self._size / 2**20:.1f} of {self.budget / 2**20:.1f} MiB in memory; {where})"

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self._size

    def _find(self, place: _Place, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Values of those keys that are known, what other processes have written by now included."""
        with self._lock:
            shelf = self._shelf(place)
            found = {key: shelf.rows[key] for key in keys if key in shelf.rows}
            wanted = set(keys)
            for key, value in self._unread(place, shelf):
                self._keep(shelf, key, value)  # which may put it out again at once, if there is no room
                if key in wanted:
                    found.setdefault(key, value)
            return found

    @contextmanager
    def _writing(self, place: _Place) -> Iterator[Callable[[bytes, bytes], None]]:
        """Within: a function that stores one row, in memory and on disk."""
        file: int | None = None

        def store(key: bytes, value: bytes) -> None:
            nonlocal file
            with self._lock:
                self._keep(self._shelf(place), key, value)
                if not self._writable:
                    return
                try:
                    if file is not None and not os.fstat(file).st_nlink:  # somebody has deleted it
                        os.close(file)
                        file = None
                    if file is None:
                        file = self._open(place)
                    _append(file, key + value + place.check(key + value))
                except OSError as error:
                    self._writable = False  # what follows half a record in a file could not be found again
                    self._warn(error)

        try:
            yield store
        finally:
            if file is not None:
                with suppress(OSError):
                    os.close(file)

    def _shelf(self, place: _Place) -> _Shelf:
        if place.name not in self._shelves:
            self._shelves[place.name] = _Shelf()
            self._size += _SHELF
        self._shelves.move_to_end(place.name)
        shelf = self._shelves[place.name]
        self._make_room(shelf)
        return shelf

    def _forget(self, place: _Place) -> None:
        """Drop the rows of an identity that this process has measured or read, in memory and in its own file."""
        with self._lock:
            old = self._shelves.pop(place.name, None)
            self._size -= old.size if old is not None else 0
            if self.path is not None:
                with suppress(OSError):
                    (self.path / place.name.hex() / self._writer()).unlink()

    def _keep(self, shelf: _Shelf, key: bytes, value: bytes) -> None:
        """Put a row into the shelf that is in use."""
        if key not in shelf.rows:
            shelf.rows[key] = value
            size = _bytes(key, value)
            shelf.size += size
            self._size += size
            self._make_room(shelf)

    def _make_room(self, shelf: _Shelf) -> None:
        """Drop the shelves that were used longest ago, but not this one; of this one, what was put in first."""
        while self._size > self.budget and len(self._shelves) > 1:
            _, old = self._shelves.popitem(last=False)
            self._size -= old.size
        while self._size > self.budget and shelf.rows:
            oldest = next(iter(shelf.rows))
            size = _bytes(oldest, shelf.rows.pop(oldest))
            shelf.size -= size
            self._size -= size
            shelf.partial = True

    def _unread(self, place: _Place, shelf: _Shelf) -> Iterator[tuple[bytes, bytes]]:
        """Rows on disk that have not been read yet."""
        if self.path is None:
            return
        if shelf.partial:
            shelf.read.clear()
            shelf.partial = False
        try:
            with os.scandir(self.path / place.name.hex()) as listing:
                files = sorted((file.name, file.path) for file in listing if file.name.endswith(".values"))
        except FileNotFoundError:
            return
        except OSError as error:
            self._warn(error)
            return
        for name, path in files:
            if not (name == self._writer() and name in shelf.read):
                yield from _read(place, path, name, shelf.read)

    def _open(self, place: _Place) -> int:
        """This process's file for a shelf, open for appending."""
        assert self.path is not None
        folder = self.path / place.name.hex()
        folder.mkdir(parents=True, exist_ok=True)
        path, flags = folder / self._writer(), os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return os.open(path, flags)
        self._shelf(place).read.setdefault(path.name, len(place.header))
        _append(file, place.header)
        return file

    def _writer(self) -> str:
        return f"{self._token}-{os.getpid():x}.values"  # a forked process has the token, too

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"Cache: path must be a folder that can be read and written, got {os.fspath(self.path or '')!r}: "
                f"{error.strerror or error}. New values are remembered in memory only; make room or choose another "
                "folder to keep them.",
                RuntimeWarning,
                stacklevel=2,
            )


class Remembered:
    """An `Evaluate` that measures only what is not known yet.

    Unknown rows are given to the inner evaluation in one call. They are stored as soon as it is certain that what is
    measured has not changed meanwhile, at the latest when the call ends: who is killed loses a moment's work, and who
    stops loses nothing.

    Attributes:
        evaluated: Rows passed on that were measured for it.
        remembered: Rows passed on that were known.

    Example:
        >>> import lwidgets as lw
        >>> from lwidgets.sampling.evaluate import local
        >>> from lwidgets.sampling.identity import identity
        >>> bowl, plane = lw.Objective.from_function(lambda u: (u**2).sum(dim=1), dim=2), lw.Subspace.identity(2)
        >>> name = identity(bowl, plane.basis, "none")
        >>> evaluate = Remembered(local(bowl, plane.basis, "none"), Cache(), name, metrics=1)
        >>> for points in ([[3.0, 4.0]], [[1.0, 0.0], [3.0, 4.0]]):
        ...     print([row.tolist() for row in evaluate(plane.coefficients(points))])
        [[25.0]]
        [[1.0], [25.0]]
        >>> evaluate.evaluated, evaluate.remembered
        (2, 1)
    """

    def __init__(
        self,
        evaluate: Evaluate,
        cache: Cache,
        identity: str,
        metrics: int,
        steady: Callable[[], bool] = lambda: True,
    ) -> None:
        """Nothing is looked up yet.

        Args:
            evaluate: What measures.
            cache: Where to look and to store.
            identity: Of what is measured; any text.
            metrics: M.
            steady: Whether that still is what it is, looked at anew.
        """
        self.evaluated = self.remembered = 0
        self._steady = steady
        self._evaluate, self._cache, self._identity, self._metrics = evaluate, cache, identity, metrics

    def known(self, coefficients: Array) -> NDArray[np.bool_]:
        """Which points would not be measured. Coefficients of shape (P, K) -> shape (P,)."""
        place, keys = self._place(coefficients)
        found = self._cache._find(place, keys)
        return np.array([key in found for key in keys], dtype=np.bool_)

    def __call__(self, coefficients: Array) -> Iterator[Array]:
        """Rows of metrics for rows of coefficients."""
        place, keys = self._place(coefficients)
        found = self._cache._find(place, keys)
        unknown = {key: i for i, key in reversed(list(enumerate(keys))) if key not in found}
        first = sorted(unknown.values())
        measured = self._evaluate(coefficients[first]) if first else iter(())
        new: dict[bytes, bytes] = {}
        began = time.perf_counter()
        with self._cache._writing(place) as store:

            def keep() -> None:
                if new and self._steady():
                    for key, value in new.items():
                        store(key, value)
                new.clear()

            try:
                for key in keys:
                    if key in found:
                        self.remembered += 1
                        yield np.frombuffer(found[key], dtype="<f8").astype(np.float64)
                    else:
                        row = next(measured, None)
                        if row is None:
                            return
                        found[key] = new[key] = np.asarray(row, dtype="<f8").reshape(self._metrics).tobytes()
                        if time.perf_counter() - began > _MOMENT:
                            keep()
                            began = time.perf_counter()
                        self.evaluated += 1
                        yield row
            finally:
                if hasattr(measured, "close"):
                    measured.close()
                keep()

    def forget(self, coefficients: Array) -> None:
        """Drop what is remembered of this identity: it turned out not to be right. Coefficients of shape (P, K)."""
        self._cache._forget(self._place(coefficients)[0])

    def _place(self, coefficients: Array) -> tuple[_Place, list[bytes]]:
        """The shelf, and a key for each row; -0.0 is 0.0."""
        table = np.asarray(coefficients, dtype="<f8") + 0.0
        raw, width = table.tobytes(), 8 * table.shape[1]
        keys = [raw[i : i + width] for i in range(0, len(raw), width)]
        return _Place.of(self._identity, table.shape[1], self._metrics), keys


def resolve_cache(cache: Cache | str | os.PathLike[str] | bool | None) -> Cache | None:
    """The cache that an argument means.

    Args:
        cache: None or True: one in memory that the whole process shares; a folder: one that the whole process shares
            for it; False: none; or a Cache.

    Raises:
        TypeError: It is none of these.
        NotADirectoryError: It is a file.
    """
    if isinstance(cache, Cache):
        return cache
    if cache is False:
        return None
    if cache is None or cache is True:
        return _shared_for(None)
    if isinstance(cache, str | os.PathLike):
        return _shared_for(os.path.abspath(Path(cache).expanduser()))
    raise TypeError(
        f"sample: cache must be a folder, a Cache, None or False, got {type(cache).__name__}. Use for example "
        'cache="measured".'
    )


_shared: dict[str | None, Cache] = {}
_shared_lock = threading.Lock()


def _shared_for(path: str | None) -> Cache:
    with _shared_lock:
        if path not in _shared:
            _shared[path] = Cache(path)
        return _shared[path]


@dataclass
class _Shelf:
    """What is in memory of one identity.

    Attributes:
        rows: Coefficients -> values, both as bytes.
        read: File's name -> bytes of it that have been read; -1 for a file that is not ours.
        size: Bytes in memory.
        partial: Whether rows were put out that may still be on disk.
    """

    rows: dict[bytes, bytes] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)
    size: int = _SHELF
    partial: bool = False


class _Place(NamedTuple):
    """Where the rows of one identity are.

    Attributes:
        name: Of the shelf, 16 bytes.
        key: Bytes of K coefficients.
        value: Bytes of M values.
    """

    name: bytes
    key: int
    value: int

    @classmethod
    def of(cls, identity: str, vectors: int, metrics: int) -> _Place:
        name = blake2b(f"{vectors} {metrics} {identity}".encode(), digest_size=16).digest()
        return cls(name, 8 * vectors, 8 * metrics)

    @property
    def header(self) -> bytes:
        return _MAGIC + self.name

    def check(self, row: bytes) -> bytes:
        return blake2b(row, digest_size=_CHECK, key=self.name).digest()


def _read(place: _Place, path: str, name: str, read: dict[str, int]) -> Iterator[tuple[bytes, bytes]]:
    """Rows of one file from where reading has stopped; what is damaged or belongs to something else is left out."""
    start = read.get(name, 0)
    if start < 0:
        return
    try:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read()
    except OSError:
        return
    at = 0
    if not start:
        at = len(place.header)
        if len(data) < at:  # its writer has only begun
            return
        if data[:at] != place.header:
            read[name] = -1
            return
    body = place.key + place.value
    length = body + _CHECK
    while at + length <= len(data):
        row = data[at : at + body]
        if place.check(row) == data[at + body : at + length]:
            yield row[: place.key], row[place.key :]
        at += length
    read[name] = start + at


def _bytes(key: bytes, value: bytes) -> int:
    return key.__sizeof__() + value.__sizeof__() + _ROW


def _append(file: int, data: bytes) -> None:
    if os.write(file, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
