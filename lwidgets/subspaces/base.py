"""What all subspaces share: vertices, directions and axes, and how they become a basis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as dc_fields
from functools import cached_property
from numbers import Real
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lwidgets.basis import IN_FULL, Basis, Storage, inner
from lwidgets.checkpoints import is_counter
from lwidgets.directions import Direction, Gaussian, Given, Made
from lwidgets.normals import GENERATOR
from lwidgets.parameters import VECTOR, ParameterSpace, Source, State
from lwidgets.subspaces.remainders import Remainder, facts, remainders, told, warning

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
            axes=tuple(Axis(name, name, *extent) for name, extent in zip(names, extents(span, dim), strict=True)),
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
        vertices = selected(self.space, self.vertices)  # which raises where they do not fit each other
        moved = [{name: v.parameters[name] for name in self.space.moved} for v in vertices]
        vectors: list[Mapping[str, Tensor]] = []
        for direction, drawn in zip(self.directions, self._drawn, strict=True):
            vector = direction.vector(vertices[0], self.space)
            for earlier in vectors if self.orthogonal else ():
                vector = _without(vector, earlier)
            vectors.append(keep(vector) if drawn else vector)
        return Basis((*moved, *vectors), vertices[0], len(vertices))

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

        What a vertex lacks and does not move is the origin's, and what the origin lacks the objective's own.

        Args:
            space: The objective's.
            device: Where it evaluates; the models are brought there unless they are stored elsewhere.

        Raises:
            ValueError: A vertex does not fit; the message names keys and shapes.
        """
        device = self.storage.device or device
        return self._with(space=space, vertices=selected(space, self.vertices, device))

    @cached_property
    def remainders(self) -> tuple[tuple[Remainder, ...], ...]:
        """For every vertex, what it has of its own in tensors that do not move, and so is not at its place.

        BatchNorm's statistics, for which there are modes, are left out.
        """
        origin, *others = selected(self.space, self.vertices)
        return (remainders(origin, origin, self.space), *(remainders(origin, v, self.space) for v in others))

    @property
    def labels(self) -> tuple[str, ...]:
        """What the axes measure, for pictures, and what of the models at their ends is not there."""
        return tuple(
            told(axis.label, self.remainders[0], self.remainders[self._far(i)] if self._far(i) else ())
            for i, axis in enumerate(self.axes)
        )

    def warning(self, batchnorm: str) -> str:
        """What is to be said before anything is drawn: which models are not quite at their places, and the way out.

        Args:
            batchnorm: A resolved mode; frozen statistics that the origin lacks are the objective's own.
        """
        origin, *others = self.vertices
        lacking = [n for n in origin.borrowed if n in self.space.statistics and not is_counter(n)]
        return warning((origin, *others), self.remainders, lacking if batchnorm == "frozen" else [])

    def _far(self, axis: int) -> int:
        """Which vertex is where a coordinate is 1; 0 where none is."""
        return axis + 1 if axis + 1 < len(self.vertices) else 0

    @property
    def unmoved(self) -> dict[str, int]:
        """Name -> how many of its numbers no direction moves, because they are scaled to weights that are zero."""
        counts = [direction.unmoved(self.vertices[0], self.space) for direction in self.directions] or [{}]
        return {name: min(c[name] for c in counts) for name in counts[0] if all(name in c for c in counts)}

    def told_unmoved(self) -> str:
        """What is `unmoved` and how to move it, in words; nothing where everything moves."""
        counts = self.unmoved
        if not counts:
            return ""
        some = [f"{name} ({n:,} of {math.prod(self.space.shapes[name]):,})" for name, n in list(counts.items())[:5]]
        return (
            f"{type(self).__name__}: weights that directions are scaled to must not be zero, got "
            f"{sum(counts.values()):,} numbers that stay where they are because theirs are: {', '.join(some)}"
            f"{f' and {len(counts) - 5} more tensors' if len(counts) > 5 else ''}. "
            'Pass normalize="none" with a smaller span, or a model in which they have been trained.'
        )

    def over(self, *spans: Span) -> Self:
        """The same subspace over other extents, one for all axes or one for each.

        >>> Subspace.identity(2).over(2.0, (0.0, 1.0)).axes[1].low
        0.0
        """
        ends = extents(spans[0], len(self.axes)) if len(spans) == 1 else [extents(s, 1)[0] for s in spans]
        if len(ends) != len(self.axes):
            raise ValueError(
                f"Subspace.over: spans must be one or {len(self.axes)}, got {len(spans)}. Give one for each axis."
            )
        return self.measured_on(
            *(replace(axis, low=low, high=high) for axis, (low, high) in zip(self.axes, ends, strict=True))
        )

    def measured_on(self, *axes: Axis) -> Self:
        """The same subspace with other axes: other extents, marks or words for the same coordinates."""
        moved = self._with(axes=axes)
        if "basis" in self.__dict__:  # the vectors do not depend on the axes, so they are not made again
            moved.__dict__["basis"] = self.basis
        return moved

    def _with(self, **changes: Any) -> Self:
        """A copy with some fields changed; unlike dataclasses.replace it leaves subclasses their own __init__."""
        new = object.__new__(type(self))
        for field in dc_fields(self):
            object.__setattr__(new, field.name, changes.get(field.name, getattr(self, field.name)))
        if "remainders" in self.__dict__ and new.space is self.space:  # which compares whole models
            new.__dict__["remainders"] = self.remainders
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
        single = (
            isinstance(points, str | torch.nn.Module | Tensor)
            or not isinstance(points, Sequence)
            or (len(points) > 0 and all(isinstance(u, float | int | np.number) for u in points))
        )
        sources = cast(list[Source], [points] if single else list(cast(Sequence[Source], points)))
        start, slopes = self._affine()
        gram = self.basis.gram()
        normal = slopes @ gram @ slopes.T
        coordinates, residuals = [], []
        device = next(iter(self.vertices[0].parameters.values())).device
        for source in sources:
            state = self.space.select(State.of(source), device, misfits=True)  # only what moves counts
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

    @property
    def model_labels(self) -> tuple[str, ...]:
        """Labels of the models in it, at the origin and then at the ends of the axes."""
        return tuple(vertex.label for vertex in self.vertices)

    def provenance(self) -> dict[str, Any]:
        """What is needed to say where the points were, as plain values."""
        return {
            "kind": self.kind,
            "models": list(self.model_labels),
            "directions": [direction.label for direction in self.directions],
            "axes": [
                {"name": a.name, "label": label, "span": [a.low, a.high]}
                for a, label in zip(self.axes, self.labels, strict=True)
            ],
            "orthogonal": self.orthogonal,
            "cosine": self.cosine(),
            "moved": list(self.space.moved) if len(self.space.moved) < len(self.space.shapes) else "all",
            "zeroed": sorted(self.space.flat) if any(getattr(d, "zero_1d", False) for d in self.directions) else [],
            "unmoved": self.unmoved,
            **({"generator": GENERATOR} if any(isinstance(d, Gaussian) for d in self.directions) else {}),
            **({"storage": self.storage.provenance()} if self.storage != IN_FULL else {}),
            **facts(self.vertices, self.remainders),
        }


def fitted(sources: Sequence[Source], letters: Sequence[str]) -> tuple[ParameterSpace, tuple[State, ...]]:
    """The first one's space, and all of them as states in it.

    Raises:
        ValueError: One does not fit the first.
    """
    space, states = joined(sources, letters)
    return space, selected(space, states)


def joined(sources: Sequence[Source], letters: Sequence[str]) -> tuple[ParameterSpace, tuple[State, ...]]:
    """The first one's space, and all as states that fit in it, or may fit once an objective says what moves.

    Raises:
        ValueError: One does not fit the first, whatever moves: no tensor of it does.
    """
    states = [State.of(source) for source in sources]
    space = space_of(sources[0], states[0])
    lettered = [replace(state, label=f"{letter}: {state.label}") for letter, state in zip(letters, states, strict=True)]
    try:
        return space, selected(space, lettered)
    except ValueError:
        if all(_fits_in_part(space, state) for state in lettered):
            return space, tuple(lettered)
        raise


def selected(space: ParameterSpace, states: Sequence[State], device: torch.device | None = None) -> tuple[State, ...]:
    """The states in a space; what the others lack is the first one's."""
    origin = space.select(states[0], device, misfits=True)
    return (origin, *(space.select(state, device, origin, misfits=True) for state in states[1:]))


def _fits_in_part(space: ParameterSpace, state: State) -> bool:
    """Whether anything of a state could be in a space: a shape, under a name that ends alike."""
    ends = {(name.rpartition(".")[2], tuple(shape)) for name, shape in space.shapes.items()}
    return any((name.rpartition(".")[2], tuple(t.shape)) in ends for name, t in state.parameters.items())


def space_of(source: Source, state: State) -> ParameterSpace:
    """Which parameters a source has, and how they move."""
    return (
        ParameterSpace.of_module(source, refuse=False)
        if isinstance(source, torch.nn.Module)
        else ParameterSpace.of_state(state)
    )


def letters(count: int) -> list[str]:
    """Names of models: a, b, c and so on."""
    return [chr(ord("a") + i) for i in range(count)]


def extents(span: Any, dim: int) -> list[tuple[float, float]]:
    """One (low, high) for every axis from any of the ways to say it."""
    if isinstance(span, Real):
        pairs = [(-float(span), float(span))] * dim
    elif len(span) == 2 and all(isinstance(end, Real) for end in span):
        pairs = [(float(span[0]), float(span[1]))] * dim
    else:
        pairs = [extents(each, 1)[0] for each in span]
    if len(pairs) != dim or not all(np.isfinite(p).all() and p[0] < p[1] for p in pairs):
        raise ValueError(
            f"Subspace: span must be a positive number or (low, high) with low < high for each of {dim} axes, got "
            f"{span!r}. "
            "Use for example span=1.0."
        )
    return pairs


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
