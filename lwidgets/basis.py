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

from lwidgets.directions import Made
from lwidgets.parameters import State

_BLOCK = 1 << 20  # entries per block when summing in float64, so that no tensor is doubled whole


@dataclass(frozen=True)
class Storage:
    """How the vectors of a basis are kept.

    Attributes:
        dtype: Of the directions that are drawn, bfloat16 or float16; None: that of the parameters they move.
        device: Of all of them; None: where points are evaluated.
    """

    dtype: torch.dtype | None = None
    device: torch.device | None = None

    def __post_init__(self) -> None:
        """Only half precision is smaller and still a float."""
        if self.dtype not in (None, torch.bfloat16, torch.float16):
            raise ValueError(
                f"Subspace.stored: dtype must be torch.bfloat16 or torch.float16, got {self.dtype!r}. "
                "Leave it out to keep the parameters' own."
            )

    def narrowed(self, dtype: torch.dtype) -> torch.dtype:
        """In what a direction of that dtype is kept; half precision stays what it is."""
        return self.dtype if self.dtype is not None and dtype.itemsize > self.dtype.itemsize else dtype

    def rounded(self, vector: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The vector as it is kept, each tensor when it is asked for."""

        def make(name: str) -> Tensor:
            tensor = vector[name]
            return tensor.to(self.narrowed(tensor.dtype))

        return Made(vector, make)

    def provenance(self) -> dict[str, str]:
        """What is not as usual, as plain values."""
        told = {"directions": str(self.dtype).removeprefix("torch."), "device": str(self.device)}
        return {key: value for key, value in told.items() if value != "None"}


IN_FULL = Storage()
"""In the parameters' own dtypes, where points are evaluated."""


@dataclass(frozen=True, eq=False, repr=False)
class Basis:
    """K vectors over the parameters that move.

    Attributes:
        vectors: K mappings, name -> tensor; a missing name is a block of zeros. Their dtypes and device may differ from
            the origin's (`Storage`).
        origin: Supplies the parameters that do not move, and the buffers.
        vertices: How many of the leading vectors are models whose coefficients sum to one at every point; 0: not known.
    """

    vectors: tuple[Mapping[str, Tensor], ...]
    origin: State
    vertices: int = 0

    def __repr__(self) -> str:
        return f"Basis({len(self.vectors)} vectors over {len(self.names)} parameters)"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters that some vector moves, in the first one's order."""
        return tuple(dict.fromkeys(name for vector in self.vectors for name in vector))

    @cached_property
    def moving(self) -> tuple[str, ...]:
        """Names whose tensors differ from point to point: in a direction, or not the same in all vertices."""
        anchors, directions = self.vectors[: self.vertices], self.vectors[self.vertices :]
        return tuple(
            name
            for name in self.names
            if any(name in direction for direction in directions)
            or not all(name in v and torch.equal(v[name], self.origin.parameters[name]) for v in anchors)
        )

    @torch.no_grad()
    def combine(self, coefficients: Sequence[float] | NDArray[np.float64], out: Mapping[str, Tensor]) -> None:
        """Write sum_k c_k V_k into ``out``, in place, for every moving name; see `combination`.

        Args:
            coefficients: c, shape (K,).
            out: Name -> tensor to overwrite; every moving name must be there.
        """
        for name in self.moving:
            combination(coefficients, [vector.get(name) for vector in self.vectors], out[name])

    def vector_at(self, coefficients: Sequence[float] | NDArray[np.float64]) -> Mapping[str, Tensor] | None:
        """The vector that a point is, if its coefficients are one-hot: a model, to the last bit."""
        some = np.flatnonzero(coefficients)
        return self.vectors[some[0]] if len(some) == 1 and coefficients[some[0]] == 1 else None

    def point(self, coefficients: Sequence[float] | NDArray[np.float64]) -> State:
        """The combination as a State of its own; what does not move comes from the origin, shared."""
        moved = {name: torch.empty_like(self.origin.parameters[name]) for name in self.moving}
        self.combine(coefficients, moved)
        return self.origin.with_parameters(moved, "point")

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


def combination(
    coefficients: Sequence[float] | NDArray[np.float64], tensors: Sequence[Tensor | None], out: Tensor
) -> None:
    """Write sum_k c_k T_k into ``out``, in place.

    A coefficient of exactly 0 leaves its tensor out, so a one-hot row copies a tensor to the last bit and an infinite
    weight elsewhere cannot turn 0 * inf into nan. Half precision is combined in float32, on the device of ``out``; a
    tensor travels there in its own dtype.

    Args:
        coefficients: c, shape (K,).
        tensors: K tensors of the shape of ``out``, in any dtype and on any device; None is zero.
        out: Overwritten.
    """
    terms = [(float(c), t) for c, t in zip(coefficients, tensors, strict=True) if c != 0 and t is not None]
    wide = torch.promote_types(out.dtype, torch.float32)
    total = out if out.dtype == wide else torch.empty_like(out, dtype=wide)
    if not terms:
        total.zero_()
    else:
        (first, tensor), *rest = terms
        if first == 1.0 and rest and tensor.dtype == wide and tensor.device == total.device:
            (second, other), *rest = rest
            torch.add(tensor, other.to(total.device), alpha=second, out=total)
        else:
            total.copy_(tensor)
            if first != 1.0:
                total.mul_(first)
        for c, tensor in rest:
            total.add_(tensor.to(total.device), alpha=c)
    if total is not out:
        out.copy_(total)


def inner(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Inner product over the names both have, accumulated in float64."""
    total = 0.0
    for name in a.keys() & b.keys():
        for p, q in zip(a[name].reshape(-1).split(_BLOCK), b[name].reshape(-1).split(_BLOCK), strict=True):
            total += torch.dot(p.to(torch.float64), q.to(p.device).to(torch.float64)).item()
    return total
