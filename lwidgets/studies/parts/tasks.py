"""Models of several tasks, and what is measured of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lwidgets import merging
from lwidgets.objective import Objective
from lwidgets.parameters import Source, State
from lwidgets.studies.parts.splits import beside_cells, splits
from lwidgets.subspaces import letters

BASE, MEAN = "base", "mean of tasks"
Scores = dict[str, dict[str, float]]
"""Task -> metric -> value."""


@dataclass(frozen=True, eq=False)
class Tasks:
    """Models trained from one base, each for a task.

    Attributes:
        base: What they were trained from.
        models: Name -> model.
        own: The objective of each model, in their order.
        tasks: Name -> objective; one without a name, if it is the same for all.
        objectives: Data -> task -> objective on it.
    """

    base: State
    models: Mapping[str, State]
    own: tuple[Objective, ...]
    tasks: Mapping[str, Objective]
    objectives: Mapping[str, Mapping[str, Objective]]

    @property
    def data(self) -> tuple[str, ...]:
        """Names of the data; a scale is chosen on the first."""
        return tuple(self.objectives)

    @property
    def one(self) -> Objective:
        """The first model's objective, by which points are made and modules built."""
        return self.own[0]

    def by_itself(self, state: State, data: str) -> Scores:
        """A model's metrics on every task, with BatchNorm as where models are merged."""
        return {task: by_itself(one, state) for task, one in self.objectives[data].items()}


def tasks_of(
    base: Source,
    models: Sequence[Source] | Mapping[str, Source],
    objectives: merging.Objectives,
    methods: Sequence[str],
) -> Tasks:
    """Models, tasks and data as a study needs them.

    Args:
        base: What the models were trained from.
        models: Two or more, with names or without.
        objectives: Each model's own task, or one for all.
        methods: Names that no task may have.

    Raises:
        ValueError: There are fewer than two models; as many objectives as models are not there; their metrics differ;
            a name is there twice; or a model does not fit, and the message has the key.
    """
    names, given, own = _tasks(models, objectives)
    for objective in own:
        beside_cells(objective)
    _check_names([BASE, MEAN, *names, *methods])
    one = own[0]
    origin, *states = (
        one.space.select(_called(name, source), one.device)
        for name, source in zip((BASE, *names), (base, *given), strict=True)
    )
    tasks = dict(zip(names, own, strict=True)) if len(set(map(id, own))) > 1 else {"": one}
    held_out = all(each.test is not None for each in tasks.values())
    every = {task: splits(each) if held_out else {"data": each} for task, each in tasks.items()}
    data = tuple(next(iter(every.values())))
    return Tasks(
        origin,
        dict(zip(names, states, strict=True)),
        tuple(own),
        tasks,
        {name: {task: split[name] for task, split in every.items()} for name in data},
    )


def by_itself(objective: Objective, state: State) -> dict[str, float]:
    """A model's metrics, with BatchNorm as where models are merged."""
    return objective.measure(state, objective.resolve(between_models=True))


def _tasks(
    models: Sequence[Source] | Mapping[str, Source], objectives: merging.Objectives
) -> tuple[list[str], list[Source], list[Objective]]:
    """Names of the models, these, and each one's own objective."""
    if not isinstance(models, Sequence | Mapping) or isinstance(models, str) or len(models) < 2:
        got = len(models) if isinstance(models, Sequence | Mapping) and not isinstance(models, str) else models
        raise ValueError(
            f"MergingExplorer: models must be two or more, got {got if isinstance(got, int) else type(got).__name__}. "
            "Pass a list [a, b], or a dict of them by name."
        )
    names = [str(name) for name in models] if isinstance(models, Mapping) else letters(len(models))
    given = [*models.values()] if isinstance(models, Mapping) else [*models]
    if isinstance(objectives, Objective):
        return names, given, [objectives] * len(given)
    each = [*objectives.values()] if isinstance(objectives, Mapping) else [*objectives]
    if len(each) != len(given) or not all(isinstance(one, Objective) for one in each):
        kinds = ["Objective" if isinstance(one, Objective) else type(one).__name__ for one in each]
        raise ValueError(
            f"MergingExplorer: objectives must be one for each of {len(given)} models, got {len(each)}: "
            f"{', '.join(kinds)}. Pass one for each, in the same order, or one for all."
        )
    if isinstance(objectives, Mapping):
        tasks = [str(name) for name in objectives]
        if isinstance(models, Mapping):
            if {*names} != {*tasks}:
                raise ValueError(
                    f"MergingExplorer: models and objectives must have the same names, got {', '.join(names)} and "
                    f"{', '.join(tasks)}. Name them alike, or pass one of them as a list."
                )
            each = [each[tasks.index(name)] for name in names]
        else:
            names = tasks
    for name, one in zip(names, each, strict=True):
        if one.names != each[0].names:
            raise ValueError(
                f"MergingExplorer: objectives must have the same metrics, got {', '.join(one.names)} of {name!r} "
                f"beside {', '.join(each[0].names)}. Give all of them the same."
            )
        if (one.space.shapes, one.space.moved) != (each[0].space.shapes, each[0].space.moved):
            raise ValueError(
                f"MergingExplorer: objectives must move the same parameters of one architecture, got {one!r} of "
                f"{name!r} beside {each[0]!r}. A head that a task has for itself belongs in its loss."
            )
    return names, given, each


def _check_names(names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"MergingExplorer: names of tasks and methods must differ, and be none of {BASE!r} and {MEAN!r}, got "
            f"{twice!r} twice. Rename one."
        )


def _called(name: str, source: Source) -> State:
    state = State.of(source)
    return replace(state, label=f"{name}: {state.label}")
