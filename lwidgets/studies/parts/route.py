"""Where two models are compared, ways between them there, and what is evaluated on these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lwidgets.calls import calls_of
from lwidgets.objective import Objective
from lwidgets.parameters import State
from lwidgets.subspaces import Line, Subspace
from lwidgets.symmetry.canonical import Coordinates, recast, rewritten

Why = str
"""In place of what cannot be had: the reason, for the person."""


@dataclass(frozen=True)
class Route:
    """A way from one model to the other.

    Attributes:
        path: Of one coordinate.
        objectives: Data -> what is evaluated on it; a repaired or rewritten network has layers that the models have
            not.
        coordinates: Those in which the path is what its kind says; a straight line is a curve in others.
    """

    path: Subspace
    objectives: Mapping[str, Objective]
    coordinates: Coordinates = "original"


@dataclass(frozen=True, eq=False)
class Place:
    """Models in the coordinates in which they are compared.

    Attributes:
        models: States of one architecture, that of the objectives; labelled "a: ...", "b: ..." and so on.
        objectives: Data -> what is evaluated there; the first has the data on which curves are trained.
        coordinates: "original" for the models as they are.
        steps: How they were rewritten, in words.
        change: Largest difference of an output by that, relative to the largest output; in float64.
    """

    models: tuple[State, ...]
    objectives: Mapping[str, Objective]
    coordinates: Coordinates = "original"
    steps: tuple[str, ...] = ()
    change: float = 0.0

    @property
    def letters(self) -> tuple[str, ...]:
        """What the models are called."""
        return tuple(model.label.partition(":")[0] for model in self.models)

    @property
    def objective(self) -> Objective:
        """The first of them."""
        return next(iter(self.objectives.values()))

    def between(self, first: int, second: int) -> Place:
        """Two of the models."""
        return replace(self, models=(self.models[first], self.models[second]))

    def route(self) -> Route:
        """The straight way between two models."""
        first, last = self.models
        line = Line(first, last).bound(self.objective.space, self.objective.device)
        return Route(line, self.objectives, self.coordinates)

    def rewritten(self, coordinates: Coordinates) -> Place:
        """The models rewritten by `canonical`; this very place where there is nothing to rewrite.

        Raises:
            ValueError: As `canonical` and `recast`; models that are rewritten in different ways, with the key; or the
                loss calls parts of the model by themselves.
            TypeError: As `canonical`.

        Example:
            >>> import lwidgets as lw
            >>> objective, a, b = lw.demo.digits(hidden=(8,), steps=1)
            >>> here = Place((lw.State.of(a), lw.State.of(b)), {"train": objective})
            >>> here.rewritten("folded") is here
            True
        """
        if coordinates == "original":
            return self
        modules = [self.objective.model_at(model) for model in self.models]
        calls = calls_of(self.objective, modules[0])
        found = [rewritten(module, calls, circuits=coordinates == "circuits") for module in modules]
        if not any(one.steps for one in found):
            return self
        objectives = {data: recast(one, found[0]) for data, one in self.objectives.items()}
        first = next(iter(objectives.values()))
        return Place(
            tuple(
                first.space.select(State.of(one.module, model.label), first.device)
                for one, model in zip(found, self.models, strict=True)
            ),
            objectives,
            found[0].coordinates,
            found[0].steps,
            max(one.change for one in found),
        )


def inherited(groups: Mapping[str, str]) -> Callable[[str], str]:
    """Groups of parameters for a rewritten network: what is new belongs with what was first in the module around it.

    Args:
        groups: Parameter's name in the network as it was -> its group.

    Returns:
        A way of grouping for `Layerwise`.

    Example:
        >>> group = inherited(
        ...     {"embed.weight": "embed", "attention.query.weight": "query", "attention.out.weight": "out"}
        ... )
        >>> group("attention.out.weight"), group("attention.out.bias"), group("attention.qk")
        ('out', 'out', 'query')
    """

    def group_of(name: str) -> str:
        if name in groups:
            return groups[name]
        around = name.rpartition(".")[0]
        inside = next((group for known, group in groups.items() if known.startswith(f"{around}.") or not around), None)
        return group_of(around) if inside is None else inside

    return group_of
