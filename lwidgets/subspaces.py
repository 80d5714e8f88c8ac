"""Where a landscape is sampled: a function from a few coordinates to coefficients over a basis.

A point is theta(u) = sum_k c_k(u) V_k. Here the V_k are models (vertices) and directions, and c is affine in u:

    c(u) = (1 - u_1 - ... - u_m, u_1, ..., u_m | u_{m+1}, ..., u_n)
            vertex 0             vertices 1..m   directions

so a line between two models, a plane through three, a plane around one and mixtures of them are one formula.
Coordinates along vertices are barycentric (alpha is 0 at the first model and 1 at the other); along directions they
count in units of the normalised direction.

Where c is something else, a subclass says so: on curves it is not affine, and `Layerwise` has vectors that are parts
of models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dc_fields
from functools import cached_property
from numbers import Real
from typing import Any, Self, TypeVar, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import comb
from torch import Tensor

from lwidgets.basis import IN_FULL, Basis, Storage, inner
from lwidgets.directions import Direction, Gaussian, Given, Made, Normalization
from lwidgets.parameters import VECTOR, ParameterSpace, Source, State, _wrapper

Span = float | tuple[float, float]
"""Extent of an axis: s for [-s, s], or (low, high)."""


@dataclass(frozen=True)
class Axis:
    """One coordinate.

    Attributes:
        name: Short name, "alpha" or "x".
        label: What it measures, for pictures.
        low: Where it begins.
        high: Where it ends.
        marks: Coordinates that must be grid points when they lie inside: where the models are.
    """

    name: str
    label: str
    low: float
    high: float
    marks: tuple[float, ...] = ()

    def grid(self, size: int) -> NDArray[np.float64]:
        """A uniform grid of ``size`` points on which every mark inside the axis lies exactly.

        The ends move where no uniform grid has both the marks and the ends asked for: two marks need a whole number
        of steps between them, one needs an odd size to be in the middle. They move by about a step; by more only
        where there are too few points for the marks and the span.

        >>> Axis("alpha", "", 0.0, 1.0, (0.0, 1.0)).grid(5).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
        >>> Axis("x", "", -1.5, 1.5, (0.0,)).grid(4).tolist()
        [-2.0, -1.0, 0.0, 1.0]
        """
        if size < 2:
            raise ValueError(f"Axis.grid: resolution must be at least 2, got {size}. Use an odd number such as 33.")
        inside = [m for m in self.marks if self.low <= m <= self.high]
        if not inside:
            return np.asarray(np.linspace(self.low, self.high, size), dtype=np.float64)
        if len(inside) == 1:
            step = (self.high - self.low) / (size - 1)
            before = round((inside[0] - self.low) / step)
            return np.asarray(inside[0] + (np.arange(size) - before) * step)
        gap = inside[1] - inside[0]
        best = min(
            (
                (
                    abs(inside[0] - before * gap / steps - self.low)
                    + abs(inside[0] + (size - 1 - before) * gap / steps - self.high),
                    steps,
                    before,
                )
                for steps in range(1, size)
                for before in {
                    max(0, min(size - 1 - steps, round((inside[0] - self.low) * steps / gap) + d)) for d in (-1, 0, 1)
                }
            ),
        )
        _, steps, before = best
        return np.asarray(inside[0] + gap * ((np.arange(size) - before) / steps))


@dataclass(frozen=True, eq=False, repr=False)
class Subspace:
    """An affine subspace: vertices and directions.

    Attributes:
        space: Which parameters move.
        vertices: One model or more; the first is the origin and supplies what does not move.
        directions: Recipes for the further basis vectors.
        axes: One for every coordinate, vertices first.
        orthogonal: Make the directions orthogonal in turn, after normalising.
        kind: Name for provenance.
        storage: How the basis is kept; see `stored`.
    """

    space: ParameterSpace
    vertices: tuple[State, ...]
    directions: tuple[Direction, ...]
    axes: tuple[Axis, ...]
    orthogonal: bool = False
    kind: str = "subspace"
    storage: Storage = IN_FULL

    @classmethod
    def identity(
        cls, dim: int, span: Span | Sequence[tuple[float, float]] = 1.0, names: Sequence[str] | None = None
    ) -> Subspace:
        """The coordinates of an analytic objective themselves.

        Args:
            dim: Number of coordinates, 1 or 2 for anything that is to be sampled on a grid.
            span: One extent for all axes, or (low, high) for each.
            names: Axis names; by default x, y, ...

        Example:
            >>> Subspace.identity(2).basis.gram().tolist()
            [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        """
        names = tuple(names or ("xyzw"[i] if dim <= 4 else f"x{i}" for i in range(dim)))
        origin = State.of(torch.zeros(dim), label="zero")
        units = torch.eye(dim, dtype=torch.float64)
        return cls(
            space=ParameterSpace.of_vector(dim),
            vertices=(origin,),
            directions=tuple(Given(State({VECTOR: units[i]}), names[i]) for i in range(dim)),
            axes=tuple(Axis(name, name, *extent) for name, extent in zip(names, _extents(span, dim), strict=True)),
            kind="identity",
        )

    def __repr__(self) -> str:
        axes = ", ".join(f"{axis.label} in [{axis.low:g}, {axis.high:g}]" for axis in self.axes)
        return f"{type(self).__name__}({self.kind}: {axes})"

    @property
    def between_models(self) -> bool:
        """Whether the subspace joins several models, so BatchNorm statistics of one do not fit the others."""
        return len(self.vertices) > 1

    @property
    def models(self) -> dict[tuple[float, ...], State]:
        """Where the vertices are, in coordinates; empty where the origin is no model (an analytic objective's)."""
        if not any(axis.marks for axis in self.axes):
            return {}
        corners = np.vstack([np.zeros(len(self.axes)), np.eye(len(self.axes))])
        return {tuple(map(float, corner)): vertex for corner, vertex in zip(corners, self.vertices, strict=False)}

    @cached_property
    def basis(self) -> Basis:
        """The vectors V_k; made on first use and kept."""
        return self._basis(self._kept)

    @property
    def unmade(self) -> Basis:
        """The same basis without its directions: each of their tensors is made whenever it is asked for.

        For the few points that are worth the drawing but not the memory.
        """
        return self._basis(self.storage.rounded)

    def _basis(self, keep: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]) -> Basis:
        moved = [{name: v.parameters[name] for name in self.space.moved} for v in self.vertices]
        vectors: list[Mapping[str, Tensor]] = []
        for direction, drawn in zip(self.directions, self._drawn, strict=True):
            vector = direction.vector(self.vertices[0], self.space)
            for earlier in vectors if self.orthogonal else ():
                vector = _without(vector, earlier)
            vectors.append(keep(vector) if drawn else vector)
        return Basis((*moved, *vectors), self.vertices[0], len(self.vertices))

    def _kept(self, vector: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All tensors made; each has its place before what it is made from, which then leaves no gaps in memory."""
        like, kept = self.vertices[0].parameters, {}
        for name in vector:
            kept[name] = torch.empty_like(like[name], dtype=self.storage.narrowed(like[name].dtype))
            kept[name].copy_(vector[name])
        return kept

    @property
    def _drawn(self) -> tuple[bool, ...]:
        """Which directions are made; one that was given is in memory anyway, and a smaller copy would be one more."""
        return tuple(
            not isinstance(direction, Given) or (self.orthogonal and i > 0)
            for i, direction in enumerate(self.directions)
        )

    def stored(self, *, dtype: torch.dtype | None = None, device: str | torch.device | None = None) -> Self:
        """The same subspace with a basis that takes less memory where points are evaluated.

        Models are kept as they are and reproduced to the last bit. Directions in half precision span a slightly
        different subspace; `sample` measures how different it looks, and adds that to the error. Directions that were
        given, not drawn, are in memory already and stay exact.

        Args:
            dtype: For the directions that are drawn, torch.bfloat16 or torch.float16. They are rounded one tensor after
                the other when they are made, and combined in float32.
            device: For everything. A tensor is brought to the objective's device whenever it is combined there.

        Raises:
            ValueError: Another dtype; or no direction is drawn.

        Example:
            >>> import lwidgets as lw
            >>> model = torch.nn.Linear(1000, 1000)
            >>> full = lw.Plane.random(model)
            >>> half = full.stored(dtype=torch.bfloat16, device="cpu")
            >>> [sum(t.nbytes for v in plane.basis.vectors for t in v.values()) // 10**6 for plane in (full, half)]
            [12, 8]
        """
        storage = Storage(dtype, None if device is None else torch.device(device))
        if dtype is not None and not any(self._drawn):
            raise ValueError(
                f"Subspace.stored: dtype must be left out where no direction is drawn, got {dtype} for a {self.kind}. "
                'Its vectors are in memory already; use device="cpu" to keep them elsewhere.'
            )
        return self._with(storage=storage, vertices=tuple(_on(v, storage.device) for v in self.vertices))

    def coefficients(self, coordinates: ArrayLike) -> NDArray[np.float64]:
        """c(u) for every point.

        Args:
            coordinates: u, shape (P, n) or (n,).

        Returns:
            Float64, shape (P, K); exactly one-hot where a point is a vertex.
        """
        u = self._checked(coordinates)
        joins = len(self.vertices) - 1
        return np.concatenate([1.0 - u[:, :joins].sum(axis=1, keepdims=True), u], axis=1)

    def _checked(self, coordinates: ArrayLike) -> NDArray[np.float64]:
        u = np.atleast_2d(np.asarray(coordinates, dtype=np.float64))
        if u.shape[1] != len(self.axes):
            raise ValueError(
                f"Subspace.coefficients: coordinates must have shape (P, {len(self.axes)}), got {u.shape}. "
                f"Give one number for each of {', '.join(axis.name for axis in self.axes)}."
            )
        return u

    def bound(self, space: ParameterSpace, device: torch.device | None = None) -> Self:
        """The same subspace, checked against an objective's space and restricted to what may move there.

        Args:
            space: The objective's.
            device: Where it evaluates; the models are brought there unless they are stored elsewhere.

        Raises:
            ValueError: A vertex does not fit; the message names keys and shapes.
        """
        device = self.storage.device or device
        return self._with(space=space, vertices=tuple(space.select(v, device) for v in self.vertices))

    def over(self, *spans: Span) -> Self:
        """The same subspace over other extents, one for all axes or one for each.

        >>> Subspace.identity(2).over(2.0, (0.0, 1.0)).axes[1].low
        0.0
        """
        extents = _extents(spans[0], len(self.axes)) if len(spans) == 1 else [_extents(s, 1)[0] for s in spans]
        if len(extents) != len(self.axes):
            raise ValueError(
                f"Subspace.over: spans must be one or {len(self.axes)}, got {len(spans)}. Give one for each axis."
            )
        axes = tuple(replace(axis, low=low, high=high) for axis, (low, high) in zip(self.axes, extents, strict=True))
        moved = self._with(axes=axes)
        if "basis" in self.__dict__:  # the vectors do not depend on the extent, so they are not made again
            moved.__dict__["basis"] = self.basis
        return moved

    def _with(self, **changes: Any) -> Self:
        """A copy with some fields changed; unlike dataclasses.replace it leaves subclasses their own __init__."""
        new = object.__new__(type(self))
        for field in dc_fields(self):
            object.__setattr__(new, field.name, changes.get(field.name, getattr(self, field.name)))
        return new

    def point(self, coordinates: Sequence[float]) -> State:
        """The parameters at one point, as a State."""
        return self.basis.point(self.coefficients(coordinates)[0])

    def project(self, points: Source | Sequence[Source]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        r"""Coordinates of the nearest points of the subspace, and how far away they are.

        Solves the normal equations :math:`A^\top A u = A^\top (\theta - \theta(0))` on the Gram matrix of the axes, so
        axes need be neither orthogonal nor normalised. Only parameters that move count.

        Args:
            points: One source or a sequence of P.

        Returns:
            Coordinates, float64 of shape (P, n), and Euclidean residuals, float64 of shape (P,); without the
            leading axis for a single source.

        Raises:
            ValueError: A point does not fit; or this is a curve with bends, which is not affine.
        """
        single = isinstance(points, str | torch.nn.Module | Tensor) or not isinstance(points, Sequence)
        sources = cast(list[Source], [points] if single else list(cast(Sequence[Source], points)))
        start, slopes = self._affine()
        gram = self.basis.gram()
        normal = slopes @ gram @ slopes.T
        coordinates, residuals = [], []
        device = next(iter(self.vertices[0].parameters.values())).device
        for source in sources:
            state = self.space.select(State.of(source), device)
            theta = {name: state.parameters[name] for name in self.basis.names}
            against = np.array([inner(vector, theta) for vector in self.basis.vectors])
            u = np.linalg.lstsq(normal, slopes @ (against - gram @ start), rcond=None)[0]
            nearest = self.basis.point(self.coefficients(u)[0])
            gap = {name: theta[name].to(torch.float64) - nearest.parameters[name].to(torch.float64) for name in theta}
            coordinates.append(u)
            residuals.append(np.sqrt(inner(gap, gap)))
        if single:
            return coordinates[0], np.float64(residuals[0])  # type: ignore[return-value]
        return np.array(coordinates), np.array(residuals)

    def _affine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """c(0), shape (K,), and the change of c along each axis, shape (n, K)."""
        start = self.coefficients(np.zeros(len(self.axes)))[0]
        return start, self.coefficients(np.eye(len(self.axes))) - start

    def cosine(self) -> float | None:
        """Cosine of the angle between the two axes of a plane; None for other dimensions."""
        if len(self.axes) != 2:
            return None
        _, slopes = self._affine()
        angle = slopes @ self.basis.gram() @ slopes.T
        scale = np.sqrt(angle[0, 0] * angle[1, 1])
        return float(angle[0, 1] / scale) if scale > 0 else None

    def provenance(self) -> dict[str, Any]:
        """What is needed to say where the points were, as plain values."""
        return {
            "kind": self.kind,
            "models": [vertex.label for vertex in self.vertices],
            "directions": [direction.label for direction in self.directions],
            "axes": [{"name": a.name, "label": a.label, "span": [a.low, a.high]} for a in self.axes],
            "orthogonal": self.orthogonal,
            "cosine": self.cosine(),
            "moved": list(self.space.moved) if len(self.space.moved) < len(self.space.shapes) else "all",
            "zeroed": sorted(self.space.flat) if any(getattr(d, "zero_1d", False) for d in self.directions) else [],
            **({"storage": self.storage.provenance()} if self.storage != IN_FULL else {}),
        }


class Line(Subspace):
    """A line: between two models (alpha 0 and 1), or through one along a random direction."""

    def __init__(self, a: Source, b: Source, *, span: Span = (0.0, 1.0)) -> None:
        """Join two models.

        Args:
            a: The model at alpha 0.
            b: The model at alpha 1.
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


class _Curve(Subspace):
    """From one model to another, by way of bends: one coordinate t, 0 at the first and 1 at the last point."""

    def __init__(self, *points: Source, span: Span = (0.0, 1.0)) -> None:
        """Join two models.

        Args:
            *points: The model at t = 0, any number of bends, the model at t = 1.
            span: (low, high) of t; beyond [0, 1] the curve is extended.

        Raises:
            ValueError: There are fewer than two points, or one does not fit the first.
        """
        kind = type(self).__name__
        if len(points) < 2:
            raise ValueError(f"{kind}: points must be two models or more, got {len(points)}. Pass {kind}(a, bend, b).")
        letters = ("a", *(f"bend {i}" for i in range(1, len(points) - 1)), "b")
        space, vertices = _fitted(points, letters)
        axis = Axis("t", "t (0 = a, 1 = b)", *_extents(span, 1)[0], (0.0, 1.0))
        Subspace.__init__(self, space, vertices, (), (axis,), kind=kind.lower())

    @property
    def models(self) -> dict[tuple[float, ...], State]:
        """The two ends."""
        return {(0.0,): self.vertices[0], (1.0,): self.vertices[-1]}

    @property
    def bends(self) -> tuple[State, ...]:
        """The points in between."""
        return self.vertices[1:-1]

    def coefficients(self, coordinates: ArrayLike) -> NDArray[np.float64]:
        """c(u) for every point; see `Subspace.coefficients`."""
        return self._weights(self._checked(coordinates)[:, 0])

    def _weights(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError

    def _affine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.bends:
            raise ValueError(
                f"{type(self).__name__}.project: subspace must be affine, got a curve with {len(self.bends)} bends: a "
                "point may be nearest to several of its points. Project onto Simplex(a, bend, b)."
            )
        return super()._affine()

    def provenance(self) -> dict[str, Any]:
        """What is needed to say where the points were, as plain values."""
        told = {**super().provenance(), "models": [model.label for model in self.models.values()]}
        return {**told, "bends": [bend.label for bend in self.bends]}


class Bezier(_Curve):
    r"""The Bezier curve of two models and the bends between them.

    .. math:: \theta(t) = \sum_{i=0}^{k} \binom{k}{i} t^i (1-t)^{k-i} V_i

    Source: Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", NeurIPS 2018, section 3.

    Example:
        >>> curve = Bezier(*(torch.tensor(point) for point in ([0.0, 0.0], [1.0, 2.0], [2.0, 0.0])))
        >>> curve.point([0.5]).parameters["x"].tolist()
        [1.0, 1.0]
    """

    def _weights(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        degree = len(self.vertices) - 1
        i = np.arange(degree + 1)
        return np.asarray(comb(degree, i) * t[:, None] ** i * (1 - t[:, None]) ** (degree - i))


class Chain(_Curve):
    """The polygonal chain of two models and the bends between them, each of its segments an equal share of t.

    Source: Garipov et al. 2018, section 3.

    Example:
        >>> chain = Chain(*(torch.tensor(point) for point in ([0.0, 0.0], [1.0, 2.0], [2.0, 0.0])))
        >>> chain.point([0.25]).parameters["x"].tolist()
        [0.5, 1.0]
    """

    def _weights(self, t: NDArray[np.float64]) -> NDArray[np.float64]:
        segments = len(self.vertices) - 1
        segment = np.clip(np.floor(t * segments), 0, segments - 1).astype(int)
        share = t * segments - segment
        weights = np.zeros((len(t), segments + 1))
        weights[np.arange(len(t)), segment] = 1 - share
        weights[np.arange(len(t)), segment + 1] = share
        return weights


Grouping = str | Mapping[str, str] | Callable[[str], str]
"""Which parameters move together: "layer", "block", or the group's name from the parameter's."""


@dataclass(frozen=True, eq=False, repr=False, init=False, kw_only=True)
class Layerwise(Subspace):
    r"""Between two models with an alpha for every layer, or for other groups of parameters.

    .. math:: \theta_p(u) = (1 - \alpha_g) A_p + \alpha_g B_p \text{ for } p \in g, \quad
              \alpha = \text{start} + \text{turn} \, u

    With all of its coordinates it serves `point`, `project` and sliders; `line` and `plane` are what can be drawn.

    Attributes:
        groups: Parameter name -> index of its group.
        names: Names of the G groups, in the order of the model's parameters.
        start: The groups' alphas where all coordinates are 0, shape (G,).
        turn: How they change with each coordinate, shape (G, n).

    Example:
        >>> a, b = (torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)) for _ in "ab")
        >>> layers = Layerwise(a, b)
        >>> layers.names
        ('0', '2')
        >>> bool((layers.point([0, 1]).parameters["2.weight"] == b[2].weight).all())
        True
        >>> layers.line("2")
        Layerwise(layerwise: 2 (0 = a, 1 = b) in [0, 1])
    """

    groups: Mapping[str, int]
    names: tuple[str, ...]
    start: NDArray[np.float64]
    turn: NDArray[np.float64]

    def __init__(self, a: Source, b: Source, by: Grouping = "layer", *, span: Span = (0.0, 1.0)) -> None:
        """Group the parameters.

        Args:
            a: The model where every alpha is 0.
            b: The model where every alpha is 1.
            by: "layer": the module that has the parameter; "block": its name up to the first number, such as layer1.0
                or encoder.layers.3; or a mapping or function from a parameter's name to its group's.
            span: (low, high) of every alpha.

        Raises:
            ValueError: b does not fit a; an unknown way of grouping; or a mapping without some parameter.
        """
        space, vertices = _fitted((a, b), ("a", "b"))
        if VECTOR in space.moved:
            raise ValueError("Layerwise: a and b must be models with named parameters, got vectors. Use Line(a, b).")
        found = {name: _group_of(name, by) for name in _unwrapped(space.moved)}
        names = tuple(dict.fromkeys(found.values()))
        axes = tuple(
            Axis(n, f"{n} (0 = a, 1 = b)", *e, (0.0, 1.0))
            for n, e in zip(names, _extents(span, len(names)), strict=True)
        )
        for field, value in {
            "groups": {name: names.index(group) for name, group in found.items()},
            "names": names,
            "start": np.zeros(len(names)),
            "turn": np.eye(len(names)),
        }.items():
            object.__setattr__(self, field, value)
        Subspace.__init__(self, space, vertices, (), axes, kind="layerwise")

    def line(self, *groups: str, at: float | Mapping[str, float] = 0.0, span: Span = (0.0, 1.0)) -> Layerwise:
        """Groups on their way from a to b together, the others where they are.

        Args:
            *groups: Names; none for all.
            at: The others' alpha: one for all, or by name, 0 where nothing is said.
            span: (low, high) of the alpha.

        Raises:
            ValueError: There is no such group.
        """
        return self._seen((groups or self.names,), at, span)

    def plane(
        self,
        x: str | Collection[str],
        y: str | Collection[str],
        *,
        at: float | Mapping[str, float] = 0.0,
        span: Span = (0.0, 1.0),
    ) -> Layerwise:
        """One group, or some, along each axis, the others where they are; arguments as for `line`.

        Raises:
            ValueError: There is no such group, or one is on both axes.
        """
        sets = tuple((group,) if isinstance(group, str) else tuple(group) for group in (x, y))
        if both := set(sets[0]) & set(sets[1]):
            raise ValueError(
                f"Layerwise.plane: x and y must have no group in common, got {sorted(both)} in both. "
                "Leave it out of one."
            )
        return self._seen(sets, at, span)

    def _seen(self, sets: Sequence[Collection[str]], at: float | Mapping[str, float], span: Span) -> Layerwise:
        given = dict.fromkeys(self.names, 0.0) | (
            dict(at) if isinstance(at, Mapping) else dict.fromkeys(self.names, at)
        )
        unknown = [name for name in (*(n for s in sets for n in s), *given) if name not in self.names]
        if unknown:
            raise ValueError(
                f"Layerwise: groups must be among {', '.join(self.names)}, got {unknown[0]!r}. Use one of these."
            )
        turn = np.array([[float(name in chosen) for chosen in sets] for name in self.names])
        labels = ["+".join(chosen) if len(chosen) < len(self.names) else "alpha" for chosen in sets]
        return self._with(
            start=np.where(turn.any(axis=1), 0.0, [given[name] for name in self.names]),
            turn=turn,
            axes=tuple(
                Axis(label, f"{label} (0 = a, 1 = b)", *extent, (0.0, 1.0))
                for label, extent in zip(labels, _extents(span, len(sets)), strict=True)
            ),
        )

    def alphas(self, coordinates: ArrayLike) -> NDArray[np.float64]:
        """The groups' alphas at every point, shape (P, G)."""
        return np.asarray(self.start + self._checked(coordinates) @ self.turn.T)

    def coefficients(self, coordinates: ArrayLike) -> NDArray[np.float64]:
        """1 for what stays, then what moves: its sets' shares of a, then of b. Shape (P, 1 + 2 sets)."""
        return self._shares(self.alphas(coordinates))

    @property
    def models(self) -> dict[tuple[float, ...], State]:
        """The corners: all coordinates 0, one of them 1, all 1; models made of parts of the two."""
        dim = len(self.axes)
        corners = dict.fromkeys(tuple(map(float, c)) for c in (np.zeros(dim), *np.eye(dim), np.ones(dim)))
        alphas = self.alphas(list(corners))
        return {corner: self._corner(row) for corner, row in zip(corners, alphas, strict=True)}

    def _corner(self, alphas: NDArray[np.float64]) -> State:
        """The point with these alphas, sharing the models' tensors where it is made of them, shape (G,)."""
        row, origin = self._shares(alphas[None])[0], self.basis.origin
        parts = self.basis.vector_at(row)
        point = self.basis.point(row) if parts is None else State({**origin.parameters, **parts}, origin.buffers)
        return replace(point, label=self._label(alphas))

    def _label(self, alphas: NDArray[np.float64]) -> str:
        for vertex, share in zip(self.vertices, (0.0, 1.0), strict=True):
            if (alphas == share).all():
                return vertex.label
        told = [
            f"{n} of b" if alpha == 1 else f"{n} {alpha:.3g}"
            for n, alpha in zip(self.names, alphas, strict=True)
            if alpha
        ]
        return ", ".join(told)

    @cached_property
    def _sets(self) -> tuple[list[int], list[int]]:
        """Groups that always have the same alpha are combined as one, and those that are one model's throughout never.

        Returns:
            The first group of every set, and for each group its set, or -1 where it is one model's.
        """
        rows = [(start, *turn) for start, turn in zip(self.start.tolist(), self.turn.tolist(), strict=True)]
        moving = [row for row in dict.fromkeys(rows) if any(row[1:]) or row[0] not in (0, 1)]
        return [rows.index(row) for row in moving], [moving.index(row) if row in moving else -1 for row in rows]

    def _shares(self, alphas: NDArray[np.float64]) -> NDArray[np.float64]:
        """Coefficients from the groups' alphas, shape (P, G)."""
        moving = alphas[:, self._sets[0]]
        return np.hstack([np.ones((len(alphas), 1)), 1 - moving, moving])

    def _basis(self, keep: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]) -> Basis:
        a, b = self.vertices
        firsts, sets = self._sets
        group = dict(zip(self.space.moved, map(self._group, _unwrapped(self.space.moved)), strict=True))
        same = {n for n in group if torch.equal(a.parameters[n], b.parameters[n])}
        stays = {
            name: (b if self.start[i] == 1 else a).parameters[name]
            for name, i in group.items()
            if sets[i] < 0 or name in same
        }
        moves = [
            {name: model.parameters[name] for name, i in group.items() if sets[i] == k and name not in stays}
            for model in (a, b)
            for k in range(len(firsts))
        ]
        return _Parts((stays, *moves), replace(a, parameters={**a.parameters, **stays}), 1)

    def _group(self, name: str) -> int:
        if name not in self.groups:
            raise ValueError(
                f"Layerwise: models must have the objective's parameter names, got no {name!r}. "
                "Pass modules instead of state dicts."
            )
        return self.groups[name]

    def provenance(self) -> dict[str, Any]:
        """What is needed to say where the points were, as plain values."""
        told = {**super().provenance(), "models": [model.label for model in self.models.values()]}
        return {**told, "groups": dict(zip(self.names, self.start.tolist(), strict=True))}


class _Parts(Basis):
    """A basis of parts of models; the coefficient of the first is 1."""

    def vector_at(self, coefficients: Sequence[float] | NDArray[np.float64]) -> Mapping[str, Tensor] | None:
        """The model that a point is, if every part is one model's."""
        if not np.isin(coefficients, (0, 1)).all():
            return None
        chosen = [vector for c, vector in zip(coefficients, self.vectors, strict=True) if c]
        return {name: tensor for vector in chosen for name, tensor in vector.items()}


def _group_of(name: str, by: Grouping) -> str:
    """The group of a parameter."""
    if callable(by):
        return by(name)
    if isinstance(by, Mapping):
        if name not in by:
            raise ValueError(f"Layerwise: by must have a group for every parameter, got none for {name!r}. Add it.")
        return by[name]
    if by == "layer":
        return name.rpartition(".")[0] or name
    if by == "block":
        parts = name.split(".")
        first = next((i for i, part in enumerate(parts) if part.isdigit()), 0)
        return ".".join(parts[: first + 1])
    raise ValueError(
        f'Layerwise: by must be "layer", "block", a mapping or a function, got {by!r}. '
        "Use for example by={'0.weight': 'first', ...}."
    )


def _unwrapped(names: Sequence[str]) -> list[str]:
    """The names without what DataParallel and torch.compile put before them."""
    return [name.removeprefix(_wrapper(names)) for name in names]


def _fitted(sources: Sequence[Source], letters: Sequence[str]) -> tuple[ParameterSpace, tuple[State, ...]]:
    """The first one's space, and all of them as states in it."""
    states = [State.of(source) for source in sources]
    space = _space_of(sources[0], states[0])
    lettered = (replace(state, label=f"{letter}: {state.label}") for letter, state in zip(letters, states, strict=True))
    return space, tuple(space.select(state) for state in lettered)


def _init_hull(subspace: Subspace, sources: Sequence[Source], names: Sequence[str], span: Span, kind: str) -> None:
    letters = _letters(len(sources))
    space, vertices = _fitted(sources, letters)
    Subspace.__init__(
        subspace,
        space=space,
        vertices=vertices,
        directions=(),
        axes=tuple(
            Axis(name, f"{name} (0 = {letters[0]}, 1 = {letter})", low, high, (0.0, 1.0))
            for name, letter, (low, high) in zip(names, letters[1:], _extents(span, len(names)), strict=True)
        ),
        kind=kind,
    )


S = TypeVar("S", bound=Subspace)


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
        for name, d, (low, high) in zip(names, directions, _extents(span, len(names)), strict=True)
    )
    subspace = object.__new__(cls)
    Subspace.__init__(subspace, _space_of(origin, state), (state,), directions, axes, orthogonal, kind)
    return subspace


def _without(vector: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Made:
    """The part of a vector that is orthogonal to another."""
    length = inner(other, other)
    share = inner(vector, other) / length if length > 0 else 0.0

    def make(name: str) -> Tensor:
        if name not in other:
            return vector[name]
        taken = other[name]
        start = vector[name] if name in vector else torch.zeros_like(taken)
        return start - share * taken.to(start.dtype)

    return Made((*vector, *other), make)


def _on(state: State, device: torch.device | None) -> State:
    """The state on a device; None leaves it where it is."""
    parameters, buffers = (
        {name: tensor.to(device=device) for name, tensor in tensors.items()}
        for tensors in (state.parameters, state.buffers)
    )
    return replace(state, parameters=parameters, buffers=buffers)


def _space_of(source: Source, state: State) -> ParameterSpace:
    return (
        ParameterSpace.of_module(source, refuse=False)
        if isinstance(source, torch.nn.Module)
        else ParameterSpace.of_state(state)
    )


def _letters(count: int) -> list[str]:
    return [chr(ord("a") + i) for i in range(count)]


def _extents(span: Any, dim: int) -> list[tuple[float, float]]:
    """One (low, high) for every axis from any of the ways to say it."""
    if isinstance(span, Real):
        pairs = [(-float(span), float(span))] * dim
    elif len(span) == 2 and all(isinstance(end, Real) for end in span):
        pairs = [(float(span[0]), float(span[1]))] * dim
    else:
        pairs = [_extents(each, 1)[0] for each in span]
    if len(pairs) != dim or not all(np.isfinite(p).all() and p[0] < p[1] for p in pairs):
        raise ValueError(
            f"Subspace: span must be a positive number or (low, high) with low < high for each of {dim} axes, got "
            f"{span!r}. "
            "Use for example span=1.0."
        )
    return pairs
