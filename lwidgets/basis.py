"""A few fixed parameter vectors, and the points that are linear combinations of them.

Every subspace is theta(u) = sum_k c_k(u) V_k. The vectors are named tensors, so a plane of a thousand points over
a large model costs three models and one scratch, never a copy per point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwidgets.parameters import State

_BLOCK = 1 << 20  # entries per block when summing in float64, so that no tensor is doubled whole


@dataclass(frozen=True, eq=False, repr=False)
class Basis:
    """K vectors over the parameters that move.

    Attributes:
        vectors: K mappings, name -> tensor; a missing name is a block of zeros.
        origin: Supplies the parameters that do not move, and the buffers.
    """

    vectors: tuple[Mapping[str, Tensor], ...]
    origin: State

    def __repr__(self) -> str:
        return f"Basis({len(self.vectors)} vectors over {len(self.names)} parameters)"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters that some vector moves, in the first one's order."""
        return tuple(dict.fromkeys(name for vector in self.vectors for name in vector))

    @torch.no_grad()
    def combine(self, coefficients: Sequence[float] | NDArray[np.float64], out: Mapping[str, Tensor]) -> None:
        """Write sum_k c_k V_k into ``out``, in place.

        A coefficient of exactly 0 leaves its vector out, so a one-hot row copies a vector to the last bit and an
        infinite weight elsewhere cannot turn 0 * inf into nan. Half precision is combined in float32.

        Args:
            coefficients: c, shape (K,).
            out: Name -> tensor to overwrite; every moved name must be there.
        """
        for name in self.names:
            target = out[name]
            terms = [
                (float(c), v[name]) for c, v in zip(coefficients, self.vectors, strict=True) if c != 0 and name in v
            ]
            wide = torch.promote_types(target.dtype, torch.float32)
            total = target if target.dtype == wide else torch.empty_like(target, dtype=wide)
            if not terms:
                total.zero_()
            else:
                (first, vector), *rest = terms
                total.copy_(vector)
                if first != 1.0:
                    total.mul_(first)
                for c, vector in rest:
                    total.add_(vector.to(wide), alpha=c)
            if total is not target:
                target.copy_(total)

    def point(self, coefficients: Sequence[float] | NDArray[np.float64]) -> State:
        """The combination as a State of its own; what does not move comes from the origin, shared."""
        moved = {name: torch.empty_like(self.origin.parameters[name]) for name in self.names}
        self.combine(coefficients, moved)
        return State({**self.origin.parameters, **moved}, self.origin.buffers, "point")

    def gram(self) -> NDArray[np.float64]:
        """Inner products of the vectors over the moved parameters, computed once. Float64, shape (K, K)."""
        return self._gram.copy()

    @cached_property
    def _gram(self) -> NDArray[np.float64]:
        size = len(self.vectors)
        gram = np.zeros((size, size))
        for i in range(size):
            for j in range(i, size):
                gram[i, j] = gram[j, i] = inner(self.vectors[i], self.vectors[j])
        return gram


def inner(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Inner product over the names both have, accumulated in float64."""
    total = 0.0
    for name in a.keys() & b.keys():
        for p, q in zip(a[name].reshape(-1).split(_BLOCK), b[name].reshape(-1).split(_BLOCK), strict=True):
            total += torch.dot(p.to(torch.float64), q.to(torch.float64)).item()
    return total
