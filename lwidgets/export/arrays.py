"""Arrays of a companion: each stored once, rounded where that does not show, and small when compressed together."""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Coding = Literal["f4", "u1", "q2", "l2"]
"""Float32; bytes; 65,533 equal steps of the values, or of their logarithms."""

_STEPS = 65532
_FILLED = 0.1  # of a range that is shared: each array is then right to 1 part in 13,000 of its own
_LOWEST, _HIGHEST, _NONE = 65533, 65534, 65535  # codes of -inf, inf and nan

Range = tuple[float, float]


@dataclass(frozen=True)
class _Stored:
    """An array as it was added."""

    array: NDArray[Any]
    coding: Coding
    role: Hashable


class ArrayTable:
    """Collects the arrays of a document.

    An array is quantised over the range that it covers. Arrays of one role (a metric of a panel at all positions) share
    a range as far as each fills a good part of it, so that each can be stored as what it differs from the one before
    by, which is small. One whose values are elsewhere, or much closer together, has a range of its own: a reader sees
    it on an axis of its own.

    Example:
        >>> table = ArrayTable()
        >>> table.add([0.0, 0.5, 1.0], "q2", "loss"), table.add([0.0, 0.5, 1.0], "q2", "loss")
        (0, 0)
        >>> specs, data = table.encoded()
        >>> specs
        [{'coding': 'q2', 'shape': [3], 'low': 0.0, 'high': 1.0, 'base': None}]
    """

    def __init__(self) -> None:
        self._stored: list[_Stored] = []
        self._index: dict[Hashable, int] = {}

    def add(self, values: ArrayLike, coding: Coding, role: Hashable = None) -> int:
        """The index of an array, which is the same for equal arrays of one role.

        Args:
            values: Any shape. For "l2", positive where they are finite.
            coding: How it is stored.
            role: What it is an instance of.
        """
        if coding in ("q2", "l2"):
            array = _as_drawn(values)
        else:
            with np.errstate(over="ignore"):  # infinite, as a browser draws it
                array = np.ascontiguousarray(values, dtype=np.uint8 if coding == "u1" else "<f4")
        key = (coding, role, array.shape, array.tobytes())
        if key not in self._index:
            self._index[key] = len(self._stored)
            self._stored.append(_Stored(array, coding, role))
        return self._index[key]

    def encoded(self) -> tuple[list[dict[str, Any]], bytes]:
        """What says how each array is stored, and all of them as one zlib stream."""
        ranges = self._ranges()
        specs: list[dict[str, Any]] = []
        parts: list[bytes] = []
        last: dict[Hashable, tuple[int, NDArray[np.uint16]]] = {}
        for index, stored in enumerate(self._stored):
            base, (low, high) = None, ranges.get(index, (0.0, 0.0))
            if stored.coding in ("q2", "l2"):
                codes = quantise(_scaled(stored.array, stored.coding), low, high)
                kind = (stored.role, stored.coding, stored.array.shape, low, high)
                base, before = last.get(kind, (None, None))
                flat = codes.ravel()
                step = flat - (np.concatenate([[np.uint16(0)], flat[:-1]]) if before is None else before.ravel())
                last[kind] = (index, codes)
                parts.append(np.ascontiguousarray(step.astype("<u2").view(np.uint8).reshape(-1, 2).T).tobytes())
            else:
                parts.append(stored.array.tobytes())
            shape = list(stored.array.shape)
            specs.append({"coding": stored.coding, "shape": shape, "low": low, "high": high, "base": base})
        return specs, zlib.compress(b"".join(parts), 9)

    def _ranges(self) -> dict[int, Range]:
        """Index -> the range that an array is quantised over."""
        own: dict[Hashable, dict[int, Range]] = {}
        for index, stored in enumerate(self._stored):
            if stored.coding in ("q2", "l2"):
                values = _scaled(stored.array, stored.coding)
                finite = values[np.isfinite(values)]
                ends = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
                own.setdefault((stored.role, stored.coding), {})[index] = ends
        return {index: ends for group in own.values() for index, ends in _shared(group).items()}


def _shared(own: dict[int, Range]) -> dict[int, Range]:
    """The ranges of some arrays, widened to a common one where each fills enough of it; so too those that are left.

    >>> _shared({0: (0.0, 2.0), 1: (0.0, 1.0), 2: (0.0, 2e7), 3: (5.0, 5.0)})
    {2: (0.0, 20000000.0), 0: (0.0, 5.0), 1: (0.0, 5.0), 3: (5.0, 5.0)}
    """
    found: dict[int, Range] = {}
    left = dict(own)
    while left:
        low, high = min(low for low, _ in left.values()), max(high for _, high in left.values())
        wide = [index for index, ends in left.items() if ends[1] - ends[0] >= _FILLED * (high - low)]
        if not wide:
            return found | left
        found |= dict.fromkeys(wide, (low, high))
        left = {index: ends for index, ends in left.items() if index not in found}
    return found


def _as_drawn(values: ArrayLike) -> NDArray[np.float64]:
    """Float64, infinite where a browser's float32 is."""
    array = np.ascontiguousarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        beyond = np.isinf(array.astype(np.float32))
    return np.where(beyond, np.copysign(np.inf, array), array)


def quantise(values: ArrayLike, low: float, high: float) -> NDArray[np.uint16]:
    """Codes of the nearest of 65,533 equal steps from low to high; -inf, inf and nan have codes of their own.

    >>> quantise([0.0, 1.0, np.nan], 0.0, 1.0).tolist()
    [0, 65532, 65535]
    """
    array = np.asarray(values, dtype=np.float64)
    finite = np.where(np.isfinite(array), array, low)
    share = (finite - low) / (high - low) if high > low else np.zeros_like(finite)
    codes = np.round(_STEPS * np.clip(share, 0, 1)).astype(np.uint16)
    codes[np.isneginf(array)], codes[np.isposinf(array)], codes[np.isnan(array)] = _LOWEST, _HIGHEST, _NONE
    return codes


def restored(codes: NDArray[np.uint16], low: float, high: float) -> NDArray[np.float64]:
    """What the codes of `quantise` stand for.

    >>> restored(quantise([0.25, np.inf], 0.0, 1.0), 0.0, 1.0).round(4).tolist()
    [0.25, inf]
    """
    values = low + (high - low) * codes.astype(np.float64) / _STEPS
    values[codes == _LOWEST], values[codes == _HIGHEST], values[codes == _NONE] = -np.inf, np.inf, np.nan
    return values


def _scaled(array: NDArray[Any], coding: Coding) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(array.astype(np.float64)) if coding == "l2" else array.astype(np.float64)
