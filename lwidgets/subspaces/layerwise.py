"""Mixtures of two models with an alpha for every layer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lwidgets.basis import Basis
from lwidgets.checkpoints import match, unwrapped
from lwidgets.parameters import VECTOR, ParameterSpace, Source, State
from lwidgets.subspaces.base import Axis, Span, Subspace, extents, joined, selected

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
        space, vertices = joined((a, b), ("a", "b"))
        if VECTOR in space.moved:
            raise ValueError("Layerwise: a and b must be models with named parameters, got vectors. Use Line(a, b).")
        plain = unwrapped(space.moved)
        found = {name: _group_of(name, short, by) for name, short in zip(space.moved, plain, strict=True)}
        tied = {alias: found[name] for alias, name in space.aliases.items() if name in found}
        names = tuple(dict.fromkeys(found.values()))
        axes = tuple(
            Axis(n, f"{n} (0 = a, 1 = b)", *e, (0.0, 1.0))
            for n, e in zip(names, extents(span, len(names)), strict=True)
        )
        for field, value in {
            "groups": {name: names.index(group) for name, group in (found | tied).items()},
            "names": names,
            "start": np.zeros(len(names)),
            "turn": np.eye(len(names)),
        }.items():
            object.__setattr__(self, field, value)
        Subspace.__init__(self, space, vertices, (), axes, kind="layerwise")

    def bound(self, space: ParameterSpace, device: torch.device | None = None) -> Layerwise:
        """The same mixture under an objective's names; see `Subspace.bound`.

        Raises:
            ValueError: A model does not fit, or a parameter that moves is in no group.
        """
        spelled = {name: [name, *(a for a, tied in space.aliases.items() if tied == name)] for name in space.moved}
        found = match([name for names in spelled.values() for name in names], self.groups).found
        theirs = {name: [t for n in names for t in found.get(n, ())] for name, names in spelled.items()}
        for name, names in theirs.items():
            if not names:
                raise ValueError(
                    f"Layerwise: models must have the objective's parameter names, got no {name!r}. "
                    "Pass modules instead of state dicts."
                )
        groups = {name: self.groups[names[0]] for name, names in theirs.items()}
        return super().bound(space, device)._with(groups=groups)

    def _far(self, axis: int) -> int:
        return 1

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
                for label, extent in zip(labels, extents(span, len(sets)), strict=True)
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
        for vertex, share in zip(selected(self.space, self.vertices), (0.0, 1.0), strict=True):
            if (alphas == share).all():
                return vertex
        row, origin = self._shares(alphas[None])[0], self.basis.origin
        parts = self.basis.vector_at(row)
        point = self.basis.point(row) if parts is None else origin.with_parameters(parts, "point")
        return replace(point, label=self._label(alphas))

    def _label(self, alphas: NDArray[np.float64]) -> str:
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
        a, b = selected(self.space, self.vertices)
        firsts, sets = self._sets
        group = {name: self.groups[name] for name in self.space.moved}
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

    @property
    def model_labels(self) -> tuple[str, ...]:
        """Labels of the models that it goes through."""
        return tuple(model.label for model in self.models.values())

    def provenance(self) -> dict[str, Any]:
        """What is needed to say where the points were, as plain values."""
        return {**super().provenance(), "groups": dict(zip(self.names, self.start.tolist(), strict=True))}


class _Parts(Basis):
    """A basis of parts of models; the coefficient of the first is 1."""

    def vector_at(self, coefficients: Sequence[float] | NDArray[np.float64]) -> Mapping[str, Tensor] | None:
        """The model that a point is, if every part is one model's."""
        if not np.isin(coefficients, (0, 1)).all():
            return None
        chosen = [vector for c, vector in zip(coefficients, self.vectors, strict=True) if c]
        return {name: tensor for vector in chosen for name, tensor in vector.items()}


def _group_of(name: str, plain: str, by: Grouping) -> str:
    """The group of a parameter, by its name in the model or without what wrappers put in."""
    if callable(by):
        return by(plain)
    if isinstance(by, Mapping):
        found = by.get(plain, by.get(name))
        if found is None:
            raise ValueError(f"Layerwise: by must have a group for every parameter, got none for {name!r}. Add it.")
        return found
    if by == "layer":
        return plain.rpartition(".")[0] or plain
    if by == "block":
        parts = plain.split(".")
        first = next((i for i, part in enumerate(parts) if part.isdigit()), 0)
        return ".".join(parts[: first + 1])
    raise ValueError(
        f'Layerwise: by must be "layer", "block", a mapping or a function, got {by!r}. '
        "Use for example by={'0.weight': 'first', ...}."
    )
