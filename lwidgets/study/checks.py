"""What an oracle says: a number that was found beside the one that is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from lwidgets.check import Check


def agreement(told: Any, tol: float, atol: float = 0.0) -> Check | None:
    """Whether what was found is what is known, with figures; of arrays, where it is worst.

    Args:
        told: (found, known), of one shape or one number for all; or None where there is nothing to compare.
        tol: Relative to what is known.
        atol: Absolute.

    Raises:
        TypeError: It is no such pair.
        ValueError: Of two shapes.

    >>> agreement((28.8472, 28.8472), 1e-6)
    Check(state='pass', detail='found 28.8472, expected 28.8472 (relative 0, tolerance 1e-06)')
    >>> agreement(([1.0, 2.5], [1.0, 2.0]), 0.01).detail
    'found 2.5, expected 2 at [1] (relative 0.25, tolerance 0.01)'
    """
    if told is None:
        return None
    if not isinstance(told, tuple) or len(told) != 2:
        raise TypeError(
            f"an oracle must return (found, known) or None, got {type(told).__name__}. Return what was found first."
        )
    found, known = (_array(side) for side in told)
    if found.shape != known.shape and () not in (found.shape, known.shape):
        raise ValueError(
            f"an oracle must return arrays of one shape, got {found.shape} found and {known.shape} known. "
            "Compare like with like."
        )
    found, known = np.broadcast_arrays(found, known)
    if not found.size:
        raise ValueError("an oracle must return something to compare, got empty arrays. Return None instead.")
    with np.errstate(all="ignore"):
        gap = np.where(found == known, 0.0, np.abs(found - known))  # also of infinities
        allowed = atol + tol * np.abs(known)
        allowed = np.where(np.isfinite(allowed), allowed, 0.0)
        excess = np.where(np.isnan(gap), np.inf, gap - allowed)
    worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
    off, size = float(gap[worst]), float(np.abs(known[worst]))
    by = f"relative {off / size:.2g}" if size and np.isfinite(size) else f"off by {off:.2g}"
    if off and size and atol and not tol:
        by = f"off by {off:.2g}"
    limit = " and ".join(words for words, given in ((f"tolerance {tol:g}", tol), (f"absolute {atol:g}", atol)) if given)
    place = f" at [{', '.join(map(str, worst))}]" if worst else ""
    agrees = bool(excess[worst] <= 0)
    a, b = _told(found[worst], known[worst], apart=not agrees)
    return Check.that(agrees, f"found {a}, expected {b}{place} ({by}, {limit or 'to be equal'})")


def _array(side: Any) -> Any:
    """As an array of numbers; a tensor wherever it lives."""
    if hasattr(side, "detach"):
        side = side.detach().cpu().resolve_conj().numpy() if side.dtype.is_complex else side.detach().cpu().double()
    array = np.asarray(side)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"an oracle must return numbers, got {array.dtype}. Return (found, known) as numbers.")
    return array if array.dtype.kind == "c" else array.astype(np.float64)


def _told(found: Any, known: Any, *, apart: bool) -> tuple[str, str]:
    """Both with six digits, or as many as tell them apart."""
    for digits in (6, 9, 12, 17) if apart else (6,):
        a, b = f"{found:.{digits}g}", f"{known:.{digits}g}"
        if a != b:
            break
    return a, b
