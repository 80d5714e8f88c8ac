"""Groups of matrices, and their elements.

An element g of a group acts on activations as h -> S h. A weight's axis that counts h is covariant (S) where h comes
out and dual (S^-T) where h goes in, so that W h is unchanged.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

import torch
from torch import Tensor


class Level(Enum):
    """How much freedom a group has: matrix groups, ordered by inclusion.

    Example:
        >>> Level.ORTHOGONAL.meet(Level.SCALED), Level.SIGNED <= Level.ORTHOGONAL
        (Level.PERMUTATION, True)
    """

    GENERAL = "general linear"
    ORTHOGONAL = "orthogonal"
    SCALED = "positive scaling and permutation"
    SIGNED = "signed permutation"
    PERMUTATION = "permutation"
    FIXED = "fixed"

    def __repr__(self) -> str:
        return f"Level.{self.name}"

    def __le__(self, other: Level) -> bool:
        return self in _WITHIN[other]

    def meet(self, other: Level) -> Level:
        """The largest level within both: the intersection of the two groups of matrices."""
        return max(_WITHIN[self] & _WITHIN[other], key=lambda level: len(_WITHIN[level]))


_WITHIN = {Level.FIXED: frozenset({Level.FIXED})}
_WITHIN[Level.PERMUTATION] = _WITHIN[Level.FIXED] | {Level.PERMUTATION}
_WITHIN[Level.SIGNED] = _WITHIN[Level.PERMUTATION] | {Level.SIGNED}
_WITHIN[Level.SCALED] = _WITHIN[Level.PERMUTATION] | {Level.SCALED}
_WITHIN[Level.ORTHOGONAL] = _WITHIN[Level.SIGNED] | {Level.ORTHOGONAL}
_WITHIN[Level.GENERAL] = frozenset(Level)


@dataclass(frozen=True, eq=False)
class Permutation:
    """A permutation, with signs or scales where its group has them: y[i] = scales[i] x[indices[i]].

    Attributes:
        indices: int64, shape (n,), or (copies, n) in a group with one matrix for each copy.
        scales: float64 of the same shape; None for ones.
    """

    indices: Tensor
    scales: Tensor | None = None

    @property
    def matrix(self) -> Tensor:
        """The same as dense float64 matrices, shape (n, n) or (copies, n, n)."""
        dense = torch.nn.functional.one_hot(self.indices, self.indices.shape[-1]).double()
        return dense if self.scales is None else dense * self.scales[..., None]

    @property
    def dual(self) -> Permutation:
        """The inverse transpose."""
        return self if self.scales is None else Permutation(self.indices, self.scales.reciprocal())

    @property
    def inverse(self) -> Permutation:
        """What undoes it."""
        back = self.indices.argsort(-1)
        return Permutation(back, None if self.scales is None else self.scales.reciprocal().gather(-1, back))

    def after(self, other: Value) -> Value:
        """First the other, then this."""
        if isinstance(other, Matrix):
            return Matrix(self.matrix @ other.matrix)
        scales = None if other.scales is None else other.scales.gather(-1, self.indices)
        if self.scales is not None:
            scales = self.scales if scales is None else self.scales * scales
        return Permutation(other.indices.gather(-1, self.indices), scales)

    def copies(self, order: Tensor) -> Permutation:
        """Copy i of the result is copy order[i]."""
        return Permutation(self.indices[order], None if self.scales is None else self.scales[order])

    def act(self, tensor: Tensor, dim: int, along: int | None = None) -> Tensor:
        """Act on one dimension of a tensor; with copies, the one for each index of the dimension `along`."""
        if along is None:
            acted = tensor.index_select(dim, self.indices.to(tensor.device))
            if self.scales is None:
                return acted
            scaled: Tensor = acted * self.scales.to(tensor.device).reshape(-1, *[1] * (tensor.ndim - 1)).movedim(0, dim)
            return scaled
        rows = tensor.movedim((along, dim), (0, 1))
        acted = rows[torch.arange(len(rows))[:, None], self.indices.to(tensor.device)]
        if self.scales is not None:
            acted = acted * self.scales.to(tensor.device).reshape(*self.scales.shape, *[1] * (tensor.ndim - 2))
        return acted.movedim((0, 1), (along, dim))


@dataclass(frozen=True, eq=False)
class Matrix:
    """An invertible matrix.

    Attributes:
        matrix: float64, shape (n, n), or (copies, n, n) in a group with one matrix for each copy.
    """

    matrix: Tensor

    @functools.cached_property
    def inverse(self) -> Matrix:
        """What undoes it."""
        return Matrix(torch.linalg.inv(self.matrix))

    @property
    def dual(self) -> Matrix:
        """The inverse transpose."""
        return Matrix(self.inverse.matrix.mT)

    def after(self, other: Value) -> Value:
        """First the other, then this."""
        return Matrix(self.matrix @ other.matrix)

    def copies(self, order: Tensor) -> Matrix:
        """Copy i of the result is copy order[i]."""
        return Matrix(self.matrix[order])

    def act(self, tensor: Tensor, dim: int, along: int | None = None) -> Tensor:
        """Act on one dimension of a tensor; with copies, the one for each index of the dimension `along`."""
        matrix = self.matrix.to(tensor.device)
        if along is None:
            acted: Tensor = torch.tensordot(matrix, tensor.double(), dims=([1], [dim])).movedim(0, dim)
            return acted
        rows = tensor.double().movedim((along, dim), (0, 1))
        return torch.einsum("cij,cj...->ci...", matrix, rows).movedim((0, 1), (along, dim))


Value = Permutation | Matrix


@dataclass(frozen=True)
class Group:
    """Reparametrisations of one space of activations.

    Attributes:
        name: Unique in its spec.
        size: Dimension n of the space.
        level: Which n x n matrices.
        reason: The operation that set the level, and where it is.
        copies: Name of a group that permutes (or keeps) several such spaces, as the heads of an attention; there is
            one matrix for each of them. None: one matrix. Where a tensor has several axes of such copies, the last one
            before the space counts.
    """

    name: str
    size: int
    level: Level = Level.PERMUTATION
    reason: str = "given"
    copies: str | None = None

    def identity(self, copies: int | None = None) -> Permutation:
        """The element that changes nothing; `copies` is how many matrices it has."""
        indices = torch.arange(self.size)
        return Permutation(indices if copies is None else indices.expand(copies, -1))

    def random(self, seed: int, copies: int | None = None) -> Value:
        """An element far from the identity and well-conditioned, from a private generator of (seed, name).

        Matrices have singular values between 0.6 and 1.6, scales too; no permutation is the
        identity, so that one element tells whether a group of two is one.
        """
        digest = hashlib.blake2b(f"{seed}\0{self.name}".encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
        many = () if copies is None else (copies,)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*many, *shape, generator=generator, dtype=torch.float64)

        def rotation() -> Tensor:
            noise = torch.randn(*many, self.size, self.size, generator=generator, dtype=torch.float64)
            turned: Tensor = torch.linalg.qr(noise).Q
            return turned

        if self.level is Level.FIXED:
            return self.identity(copies)
        if self.level is Level.ORTHOGONAL:
            return Matrix(rotation())
        if self.level is Level.GENERAL:
            return Matrix((rotation() * (uniform(1, self.size) - 0.5).exp()) @ rotation())
        start = torch.arange(self.size)
        indices = uniform(self.size).argsort(-1)
        indices = torch.where((indices == start).all(-1, keepdim=True), start.roll(1), indices)
        if self.level is Level.SCALED:
            return Permutation(indices, (uniform(self.size) - 0.5).exp())
        if self.level is Level.SIGNED:
            return Permutation(indices, torch.where(uniform(self.size) < 0.5, -1.0, 1.0).double())
        return Permutation(indices)

    def fault(self, value: Value, copies: int | None = None) -> str | None:
        """What is wrong with a value as an element of this group, or None."""
        shape = (self.size,) if copies is None else (copies, self.size)
        if isinstance(value, Matrix):
            if tuple(value.matrix.shape) != (*shape, self.size):
                return f"a matrix of shape {tuple(value.matrix.shape)}, not {(*shape, self.size)}"
            if self.level not in (Level.GENERAL, Level.ORTHOGONAL):
                return f"a matrix, where the level is {self.level.value}"
            gram = value.matrix @ value.matrix.mT
            if self.level is Level.ORTHOGONAL and (gram - torch.eye(self.size).to(gram)).abs().max() > 1e-6:
                return "a matrix that is not orthogonal"
            return None if value.matrix.isfinite().all() else "a matrix that is not finite"
        if tuple(value.indices.shape) != shape:
            return f"indices of shape {tuple(value.indices.shape)}, not {shape}"
        if not torch.equal(value.indices.sort(-1).values, torch.arange(self.size).expand(shape)):
            return "indices that are not a permutation"
        if value.scales is None:
            moved = not torch.equal(value.indices, torch.arange(self.size).expand(shape))
            return "a permutation, where the level is fixed" if moved and self.level is Level.FIXED else None
        if value.scales.shape != value.indices.shape:
            return f"scales of shape {tuple(value.scales.shape)}, not {shape}"
        if not (value.scales.isfinite() & (value.scales != 0)).all():
            return "scales that are zero or not finite"
        needed = Level.GENERAL
        if (value.scales.abs() == 1).all():
            needed = Level.PERMUTATION if (value.scales == 1).all() else Level.SIGNED
        elif (value.scales > 0).all():
            needed = Level.SCALED
        return None if needed <= self.level else f"scales, where the level is {self.level.value}"


@dataclass(frozen=True, eq=False)
class Element:
    """One reparametrisation: an element of every group.

    Attributes:
        groups: Those of the spec it belongs to.
        values: Group name -> its element; a group that is missing is left alone.
    """

    groups: Mapping[str, Group] = field(repr=False)
    values: Mapping[str, Value]

    def __post_init__(self) -> None:
        """Check every value against its group.

        Raises:
            ValueError: A name is unknown, or a value is not in its group.
        """
        for name, value in self.values.items():
            if name not in self.groups:
                raise ValueError(
                    f"Element: values must belong to groups of the spec, got {name!r}. Its groups are "
                    f"{', '.join(self.groups) or 'none'}."
                )
            group = self.groups[name]
            copies = None if group.copies is None else self.groups[group.copies].size
            if fault := group.fault(value, copies):
                raise ValueError(
                    f"Element: the value of group {name!r} must be in it (size {group.size}, {group.level.value}), "
                    f"got {fault}. See spec.table() for sizes and levels."
                )

    def __repr__(self) -> str:
        return f"Element({', '.join(self.values) or 'identity'})"

    @property
    def inverse(self) -> Element:
        """What undoes it."""
        back = {}
        for name, value in self.values.items():
            order = self._order(name)
            back[name] = value.inverse if order is None else value.inverse.copies(order.argsort())
        return Element(self.groups, back)

    def after(self, other: Element) -> Element:
        """The composition: first the other, then this."""
        composed: dict[str, Value] = {}
        for name in {**self.values, **other.values}:
            first, then = other.values.get(name), self.values.get(name)
            order = self._order(name)
            if first is not None and order is not None:
                first = first.copies(order)
            if first is None or then is None:
                composed[name] = first or then  # type: ignore[assignment]
            else:
                composed[name] = then.after(first)
        return Element(self.groups, composed)

    def _order(self, name: str) -> Tensor | None:
        """How the copies of a group are permuted, where they are."""
        outer = self.groups[name].copies
        value = None if outer is None else self.values.get(outer)
        return value.indices if isinstance(value, Permutation) else None
