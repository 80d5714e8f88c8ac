"""Ways to make one model of several, and how far each is best gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.optimize import minimize_scalar

from lwidgets import merging
from lwidgets.objective import Objective
from lwidgets.parameters import Source, State
from lwidgets.progress import Progress
from lwidgets.sampling.measure import Measure, measured
from lwidgets.studies.parts.route import Why
from lwidgets.studies.parts.tasks import Scores, Tasks
from lwidgets.subspaces import Line, Subspace

Merge = Callable[[State, Sequence[State], Sequence[Objective]], Source]
"""A way to merge: ``(base, models, objectives)``, each model with its own task's objective, to one model."""

SCALES = (0.0, 1.5)
"""Between which scales the best is looked for."""
TRIMMED, DRAWN = ("ties", "dare"), ("dare",)
"""Methods that leave entries out, and at random."""

_PLACES = 7  # of a ray, around the best of which its lowest is looked for


@dataclass(frozen=True)
class Merged:
    """One model among those compared.

    Attributes:
        state: Its parameters.
        scale: How far from the base to what the method returns; None for the models that were given.
        scores: On every task, measured.
    """

    state: State
    scale: float | None
    scores: Scores


class Merger:
    """Makes models, and remembers them: for the picture, and for the comparison."""

    def __init__(self, tasks: Tasks, others: Mapping[str, Merge]) -> None:
        """Nothing is made yet.

        Args:
            tasks: The models.
            others: Methods beside those of `lwidgets.merging`.
        """
        self._tasks, self._others = tasks, dict(others)
        self.names = names_of(others)
        self._made = lru_cache(maxsize=4 * len(self.names))(self._make)
        self._scales: dict[tuple[str, float, int], float | Why] = {}

    def merge(self, method: str, density: float, seed: int) -> State | Why:
        """What a method makes, or why it cannot."""
        return self._made(*_depends(method, density, seed))

    def tuned(self, method: str, density: float, seed: int, data: str, progress: Progress) -> Merged | Why:
        """What a method makes, at its best scale, measured on data."""
        key, tasks = _depends(method, density, seed), self._tasks
        made = self._made(*key)
        if isinstance(made, str):
            return made
        ray = ray_of(tasks.base, made, SCALES, tasks.one)
        if key not in self._scales:
            self._scales[key] = _best_scale(ray, [*tasks.objectives[tasks.data[0]].values()], progress)
        scale = self._scales[key]
        if isinstance(scale, str):
            return scale
        scores = {task: measured(one, ray, [scale]) for task, one in tasks.objectives[data].items()}
        return Merged(ray.point([scale]), scale, scores)

    def _make(self, method: str, density: float, seed: int) -> State | Why:
        base, own, one = self._tasks.base, self._tasks.own, self._tasks.one
        still = {name: t for name, t in base.parameters.items() if name not in one.space.moved}
        models = [replace(m, parameters={**m.parameters, **still}) for m in self._tasks.models.values()]
        try:
            if method in self._others:
                copy, *models = map(_copied, (base, *models))  # what it does to them is its own business
                made = State.of(self._others[method](copy, tuple(models), own))
            else:
                made = State.of(methods_of(density, seed)[method](base, models, own))
            made = one.space.select(made, one.device)
        except Exception as error:  # the other methods are still there to be seen
            return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        if not all(bool(tensor.isfinite().all()) for tensor in made.parameters.values()):
            return "Its parameters are not finite."
        return replace(made, parameters={**made.parameters, **still})


def names_of(others: Mapping[str, Merge]) -> tuple[str, ...]:
    """What all methods are called."""
    return tuple(dict.fromkeys((*methods_of(1.0, 0), *others)))


def methods_of(density: float, seed: int) -> dict[str, Merge]:
    """The methods of `lwidgets.merging` by name.

    Args:
        density: Share of the entries of the task vectors that TIES and DARE keep.
        seed: Which ones DARE keeps.
    """
    return {
        "average": lambda base, models, tasks: merging.average(*models),
        "task arithmetic": lambda base, models, tasks: merging.task_arithmetic(base, *models),
        "ties": lambda base, models, tasks: merging.ties(base, *models, keep=density),
        "dare": lambda base, models, tasks: merging.dare(base, *models, drop=1 - density, seed=seed),
        "isotropic": lambda base, models, tasks: merging.isotropic(base, *models),
        "fisher": lambda base, models, tasks: merging.fisher(*models, objectives=tasks),
        "regmean": lambda base, models, tasks: merging.regmean(*models, objectives=tasks),
        "epimer": lambda base, models, tasks: merging.epimer(base, *models, objectives=tasks),
    }


def ray_of(base: State, merged: State, span: tuple[float, float], objective: Objective) -> Subspace:
    """From the base through a model: scale 0 and 1."""
    line = Line(base, merged, span=span)
    axis = replace(line.axes[0], name="scale", label="scale (0 = base, 1 = merged)")
    return line.measured_on(axis).bound(objective.space, objective.device)


def _depends(method: str, density: float, seed: int) -> tuple[str, float, int]:
    """What a method is remembered by: it, and the sliders that it depends on."""
    return method, density if method in TRIMMED else 1.0, seed if method in DRAWN else 0


def _copied(state: State) -> State:
    parameters, buffers = (
        {name: t.clone() for name, t in tensors.items()} for tensors in (state.parameters, state.buffers)
    )
    return replace(state, parameters=parameters, buffers=buffers)


def _best_scale(ray: Subspace, objectives: Sequence[Objective], progress: Progress) -> float | Why:
    """Where on a ray the mean loss is lowest, to a hundredth: of a few places, and then around the best."""
    measures = [Measure(one, ray) for one in objectives]
    places = np.linspace(*SCALES, _PLACES)

    def mean(scale: float) -> float:
        progress(0, 0)
        found = np.mean([next(measure(ray.coefficients([scale])))[0] for measure in measures])
        return float(found) if np.isfinite(found) else float("inf")

    heights = [mean(place) for place in places]
    best = int(np.argmin(heights))
    if not np.isfinite(heights[best]):
        return "The mean loss is finite nowhere on the way."
    around = places[max(0, best - 1)], places[min(_PLACES - 1, best + 1)]
    found = round(float(minimize_scalar(mean, bounds=around, method="bounded", options={"xatol": 5e-3}).x), 2)
    return found if mean(found) < heights[best] else float(places[best])
