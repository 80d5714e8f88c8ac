"""Affine subspaces: lines, planes and simplices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from lwidgets.directions import Direction, Gaussian, Given, Normalization
from lwidgets.parameters import Source, State
from lwidgets.subspaces.base import Axis, Span, Subspace, extents, joined, letters, space_of

S = TypeVar("S", bound=Subspace)


class Line(Subspace):
    """A line: between two models (alpha 0 and 1), or through one along a random direction."""

    def __init__(self, a: Source, b: Source, *, span: Span = (0.0, 1.0)) -> None:
        """Join two models.

        Args:
            a: The model at alpha 0.
            b: The model at alpha 1. What an objective's ``params`` leaves out may be missing or of another shape; it
                stays a's.
            span: (low, high) of alpha; beyond [0, 1] the line is extended.
        """
        _init_hull(self, (a, b), ("alpha",), span, "line")

    @classmethod
    def random(
        cls,
        origin: Source,
        seed: int = 0,
        normalize: Normalization = "filter",
        *,
        span: Span = 1.0,
        zero_1d: bool = True,
    ) -> Self:
        """A line through one model along a Gaussian direction."""
        return _around(cls, origin, (Gaussian(seed, normalize, zero_1d),), ("x",), span, False, "random line")


class Plane(Subspace):
    """A plane: around one model along two directions, or through three models."""

    @classmethod
    def random(
        cls,
        origin: Source,
        seeds: tuple[int, int] = (0, 1),
        normalize: Normalization = "filter",
        *,
        span: Span = 1.0,
        orthogonal: bool = False,
        zero_1d: bool = True,
    ) -> Self:
        """A plane around one model along two Gaussian directions.

        Source: Li et al. 2018, section 4.

        Args:
            origin: The model in the centre.
            seeds: One for each axis; of equal seeds the second axis takes the second draw, so it differs.
            normalize: "filter", "layer", "model" or "none".
            span: s for [-s, s], or (low, high), in units of the normalised directions.
            orthogonal: Make the second direction orthogonal to the first, after normalising.
            zero_1d: Leave biases and norm scales where they are (the reference code's ``biasbn``).

        Raises:
            ValueError: There are not two seeds, or the normalisation is unknown.
        """
        if len(seeds) != 2:
            raise ValueError(f"Plane.random: seeds must be two integers, got {seeds}. Use for example (0, 1).")
        draws = (0, int(seeds[0] == seeds[1]))
        directions = tuple(Gaussian(seed, normalize, zero_1d, draw) for seed, draw in zip(seeds, draws, strict=True))
        return _around(cls, origin, directions, ("x", "y"), span, orthogonal, "random plane")

    @classmethod
    def spanned(cls, origin: Source, x: Source, y: Source, *, span: Span = 1.0, orthogonal: bool = False) -> Self:
        """A plane around one model along two given directions, for example Hessian eigenvectors."""
        directions = (Given(State.of(x), "x direction"), Given(State.of(y), "y direction"))
        return _around(cls, origin, directions, ("x", "y"), span, orthogonal, "spanned plane")

    @classmethod
    def through(cls, a: Source, b: Source, c: Source, *, span: Span = (-0.25, 1.25)) -> Self:
        """The plane through three models: a at (0, 0), b at (1, 0), c at (0, 1).

        Coordinates are barycentric, so the three models are grid points and are evaluated exactly; the axes are in
        general not orthogonal, and the cosine of their angle is part of the provenance.
        """
        plane = object.__new__(cls)
        _init_hull(plane, (a, b, c), ("x", "y"), span, "plane through three models")
        return plane


class Simplex(Subspace):
    """The simplex of some models: a line for two, a triangle in the plane through three, and so on.

    Coordinates are barycentric, u_m the share of model m + 1; inside, they are at least 0 and add up to at most 1.
    """

    def __init__(self, *vertices: Source, span: Span = (0.0, 1.0)) -> None:
        """Join models.

        Args:
            *vertices: Two or more.
            span: (low, high) of every coordinate.

        Raises:
            ValueError: There are fewer than two, or one does not fit the first.
        """
        if len(vertices) < 2:
            raise ValueError(
                f"Simplex: vertices must be two models or more, got {len(vertices)}. Pass Simplex(a, b, c)."
            )
        names = {2: ("alpha",), 3: ("x", "y")}.get(len(vertices), tuple(f"x{i}" for i in range(1, len(vertices))))
        _init_hull(self, vertices, names, span, "simplex")

    def face(self, *which: int) -> Simplex:
        """The simplex of some of the vertices, counted from 0: three of them can be drawn.

        Raises:
            ValueError: There is no such vertex.
        """
        if not all(0 <= i < len(self.vertices) for i in which):
            raise ValueError(
                f"Simplex.face: which must count vertices from 0 to {len(self.vertices) - 1}, got {which}. "
                "Use for example face(0, 1, 2)."
            )
        models = (replace(v, label=v.label.partition(": ")[2]) for v in (self.vertices[i] for i in which))
        return Simplex(*models).bound(self.space)

    def draw(self, count: int, seed: int = 0) -> NDArray[np.float64]:
        """Coordinates of points drawn uniformly from the inside, float64 of shape (count, n).

        Shares are normalised exponentials, which is Dirichlet(1, ..., 1).
        """
        shares = np.random.default_rng(seed).exponential(size=(count, len(self.vertices)))
        return np.asarray(shares[:, 1:] / shares.sum(axis=1, keepdims=True))

    def log_volume(self) -> float:
        r"""Natural logarithm of the n-dimensional volume, :math:`\tfrac12 \log\det(E E^\top) - \log n!`; -inf if flat.

        The rows of E are the edges from the first vertex. Equal to the Cayley-Menger determinant of the distances.
        """
        _, slopes = self._affine()
        sign, log = np.linalg.slogdet(slopes @ self.basis.gram() @ slopes.T)
        return float(log / 2 - math.lgamma(len(self.vertices))) if sign > 0 else -math.inf


def _init_hull(subspace: Subspace, sources: Sequence[Source], names: Sequence[str], span: Span, kind: str) -> None:
    known = letters(len(sources))
    space, vertices = joined(sources, known)
    Subspace.__init__(
        subspace,
        space=space,
        vertices=vertices,
        directions=(),
        axes=tuple(
            Axis(name, f"{name} (0 = {known[0]}, 1 = {letter})", low, high, (0.0, 1.0))
            for name, letter, (low, high) in zip(names, known[1:], extents(span, len(names)), strict=True)
        ),
        kind=kind,
    )


def _around(
    cls: type[S],
    origin: Source,
    directions: tuple[Direction, ...],
    names: Sequence[str],
    span: Span,
    orthogonal: bool,
    kind: str,
) -> S:
    state = State.of(origin)
    axes = tuple(
        Axis(name, f"{name} ({d.label})", low, high, (0.0,))
        for name, d, (low, high) in zip(names, directions, extents(span, len(names)), strict=True)
    )
    subspace = object.__new__(cls)
    space = space_of(origin, state)
    Subspace.__init__(subspace, space, (space.select(state),), directions, axes, orthogonal, kind)
    return subspace
