"""Axes of a picture: ranges, round ticks, and where a legend hides least."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def roomiest_corner(points: NDArray[np.float64], width: float, height: float) -> str:
    """The corner of a picture with the fewest points, top right before the others.

    >>> roomiest_corner(np.array([[0.1, 0.5, 0.9], [0.1, 0.5, 0.9]]), 0.4, 0.3)
    'top-left'

    Args:
        points: Shape (2, n), as shares of the width from the left and of the height from below.
        width: Of a corner, as a share.
        height: As a share.
    """
    x, y = points
    crowds = {
        f"{upper}-{side}": np.sum(
            (y > 1 - height if upper == "top" else y < height) & (x > 1 - width if side == "right" else x < width)
        )
        for upper in ("top", "bottom")
        for side in ("right", "left")
    }
    return min(crowds, key=lambda corner: int(crowds[corner]))


def padded(low: float, high: float, *, log: bool = False) -> tuple[float, float]:
    """A range a few per cent wider, so that nothing is cut off at the frame; a single value gets some room.

    >>> padded(0.0, 1.0)
    (-0.03, 1.03)
    """
    if log:
        ratio = max(high / low, 1.2) ** 0.03
        return low / ratio, high * ratio
    room = 0.03 * (high - low) or 0.05 * abs(high) or 0.5
    return low - room, high + room


def round_ticks(low: float, high: float, *, log: bool = False) -> NDArray[np.float64]:
    """Between three and nine round numbers inside a range: steps of 1, 2 or 5 times a power of ten.

    >>> round_ticks(-0.03, 1.03).tolist()
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> round_ticks(0.5, 2000.0, log=True).tolist()
    [1.0, 10.0, 100.0, 1000.0]
    """
    if log:
        exponents = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
        exponents = exponents[:: max(1, len(exponents) // 8)]
        for steps in ((1,), (1, 3), (1, 2, 5)):
            ticks = np.array([step * 10.0**e for e in exponents for step in steps])
            ticks = ticks[(ticks >= low) & (ticks <= high)]
            if len(ticks) >= 3:
                return ticks
    power = 10.0 ** np.floor(np.log10((high - low) / 4))
    step = next(power * m for m in (1, 2, 5, 10) if (high - low) / (power * m) <= 7)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    rounded: NDArray[np.float64] = np.round(np.arange(first, last + 1) * step, 15)
    return rounded + 0.0  # no minus zero


def tick_format(ticks: NDArray[np.float64], *, log: bool = False) -> str:
    """As many digits as tell the ticks apart, in d3's notation."""
    if log or np.abs(ticks).max(initial=0.0) >= 1e5 or np.ptp(ticks) < 1e-4:
        return ".3~g"
    step = np.diff(ticks).min(initial=1.0)
    return f".{max(0, -int(np.floor(np.log10(step) + 1e-9)))}f"
