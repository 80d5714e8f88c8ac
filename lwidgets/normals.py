"""Standard normal numbers that are the same to the bit on every machine, in Python and in TypeScript.

A number depends on (seed, name, draw, its place) and on nothing else: neither a library's version nor a mathematical
library, neither the number of threads nor what was drawn before. ``js/src/engine/normals.ts`` is the same once more.

- **Bits**: word w of the stream is word w mod 4 of Philox4x64-10 with counter (w div 4, draw, 0, 0). Philox is a
  published function of a counter and a key (Salmon et al. 2011), not a state that a version may walk through otherwise.
- **Key**: the text "seed in hexadecimal, NUL, name", in UTF-8, with a byte 1 at its end and zeros up to a multiple of
  32 bytes, is a row of counters; the key is 0, and with each counter becomes the first half of what Philox makes of it.
- **Numbers**: each takes two 16-bit parts i and j of the stream, lowest first, and is 20/29 q_i + 21/29 q_j, where q
  are the means of the 65,536 equally likely parts of the standard normal law, in ascending order. Both products stand
  in tables, rounded to float32, and their sum is rounded to float32 once.

A rotation of two independent normals is normal (20, 21 and 29 are the sides of a right triangle), so the law of a
number is the normal's but for what is lost within the outermost parts. It is symmetric, its distribution function is
nowhere further than 2e-7 from the normal's, its variance 1 - 1.5e-6 and its excess kurtosis -8.4e-5: ten million
numbers show none of it. Numbers beyond 4 are rarer than they should be by 0.5 %, beyond 5 by 10 %, and none is beyond
6.2035.

Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import operator
from functools import cache

import numpy as np
from numpy.typing import NDArray

GENERATOR = "philox4x64-10, two quantiles"
"""The name that provenance gives it; another way to a number has another name."""

_BLOCK = 1 << 14  # numbers at a time, so that what is between bits and numbers stays in the processor's cache


def normals(seed: int, name: str, count: int, draw: int = 0) -> NDArray[np.float32]:
    """The first numbers of a stream.

    Args:
        seed: Any integer, of any size and sign.
        name: Of what they are for; streams of different seeds, names or draws are independent.
        count: How many. A longer stream begins with the shorter one.
        draw: Which of the streams of this seed and name, from 0 on.

    Returns:
        Float32, shape (count,).

    Raises:
        ValueError: The draw is not in [0, 2**64).

    Example:
        >>> normals(0, "weight", 3).tolist()
        [-0.016142666339874268, -1.2159392833709717, 0.9639552235603333]
        >>> normals(-(2**200), "weight", 3, draw=1).tolist()
        [0.0267370343208313, 1.9224402904510498, 1.8114736080169678]
    """
    if not 0 <= draw < 2**64:
        raise ValueError(f"normals: draw must be at least 0 and less than 2**64, got {draw}. The first is 0.")
    stream, (first, second) = _philox(_key(seed, name), draw << 64), _tables()
    numbers = np.empty(count, dtype=np.float32)
    for start in range(0, count, _BLOCK):
        block = numbers[start : start + _BLOCK]
        words = stream.random_raw((len(block) + 1) // 2).astype("<u8", copy=False)
        i, j = words.view("<u2").reshape(-1, 2)[: len(block)].T
        np.add(first.take(i, mode="clip"), second.take(j, mode="clip"), out=block)
    return numbers


def _philox(key: int, counter: int) -> np.random.Philox:
    """The stream from a counter on; NumPy's adds one before it makes its first words."""
    return np.random.Philox(key=key, counter=(counter - 1) % 2**256)


def _key(seed: int, name: str) -> int:
    """128 bits from any integer and any name."""
    text, key = f"{operator.index(seed):x}\0{name}\1".encode(), 0
    for start in range(0, len(text), 32):
        low, high = _philox(key, int.from_bytes(text[start : start + 32], "little")).random_raw(2).tolist()
        key = low | high << 64
    return key


@cache
def _tables() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the two parts of the stream add to a number, shape (65536,) each."""
    upper = _quantiles()
    q = np.concatenate([-upper[::-1], upper])
    return (20 / 29 * q).astype(np.float32), (21 / 29 * q).astype(np.float32)


def _quantiles() -> NDArray[np.float64]:
    r"""Means of the upper 32,768 of 65,536 equally likely parts of the standard normal law, in ascending order.

    With :math:`I(p) = \varphi(\Phi^{-1}(p))` the mean of a part from p to p + h is :math:`(I(p) - I(p + h)) / h`, and
    :math:`I'' = -1 / I`, which leapfrog solves from the middle, :math:`I = 1/\sqrt{2\pi}`, to the end, I = 0, in eight
    steps a part: sums, products and quotients alone, in a fixed order, so that they are the same wherever float64 is
    IEEE 754's. The means are right to 5e-8, in the last ten parts to 1e-4.
    """
    parts, step = 1 << 15, 2.0**-19
    profile = 0.3989422804014327
    slope = 0.5 * step / profile  # leapfrog: half a step ahead
    profiles = np.zeros(parts + 1)
    for part in range(parts):
        profiles[part] = profile
        for _ in range(8):
            profile -= step * slope
            slope += step / profile
    return (profiles[:-1] - profiles[1:]) * 2.0**16
