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
_LOWEST, _HIGHEST, _NONE = 65533, 65534, 65535  # codes of -inf, inf and nan


@dataclass(frozen=True)
class _Stored:
    """An array as it was added."""

    array: NDArray[Any]
    coding: Coding
    role: Hashable


class ArrayTable:
    """Collects the arrays of a document.

    Arrays of one role (a metric of a view at all positions) are quantised over their common range, so that each can be
    stored as what it differs from the one before by, which is small.

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
        array = np.ascontiguousarray(values, dtype=np.uint8 if coding == "u1" else "<f4")
        key = (coding, role, array.shape, array.tobytes())
        if key not in self._index:
            self._index[key] = len(self._stored)
            self._stored.append(_Stored(array, coding, role))
        return self._index[key]

    def encoded(self) -> tuple[list[dict[str, Any]], bytes]:
        """What says how each array is stored, and all of them as one zlib stream."""
        ranges = {role: self._range(role) for role in {s.role for s in self._stored if s.coding in ("q2", "l2")}}
        specs: list[dict[str, Any]] = []
        parts: list[bytes] = []
        last: dict[Hashable, tuple[int, NDArray[np.uint16]]] = {}
        for index, stored in enumerate(self._stored):
            base, (low, high) = None, ranges.get(stored.role, (0.0, 0.0))
            if stored.coding in ("q2", "l2"):
                codes = quantise(_scaled(stored.array, stored.coding), low, high)
                kind = (stored.role, stored.coding, stored.array.shape)
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

    def rounding(self) -> dict[Hashable, float]:
        """Role -> how far a stored value can be from the one it stands for; for "l2", relative to the value."""
        codings = {stored.role: stored.coding for stored in self._stored if stored.coding in ("q2", "l2")}
        found: dict[Hashable, float] = {}
        for role, coding in codings.items():
            low, high = self._range(role)
            half = (high - low) / _STEPS / 2
            found[role] = float(np.expm1(half)) if coding == "l2" else half
        return found

    def _range(self, role: Hashable) -> tuple[float, float]:
        values = [_scaled(s.array, s.coding) for s in self._stored if s.role == role and s.coding in ("q2", "l2")]
        finite = np.concatenate([v[np.isfinite(v)] for v in values])
        return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


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
