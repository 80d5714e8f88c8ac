"""All methods of merging in one table and on one map, each at the scale at which it is best."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lwidgets.distances import l2
from lwidgets.pictures import Table
from lwidgets.progress import Progress
from lwidgets.studies.parts.methods import SCALES, Merged, Merger
from lwidgets.studies.parts.route import Why
from lwidgets.studies.parts.splits import in_words
from lwidgets.studies.parts.tasks import BASE, Scores, Tasks
from lwidgets.study import Part
from lwidgets.subspaces import Subspace

_ROUNDING = 1e-6  # of the distance between two models: less off the plane is none

Placed = dict[str, tuple[float, float, float]]
"""Name -> x and y on the plane, and how far off it."""
Compared = dict[str, Merged | Why]


def comparison(tasks: Tasks, merger: Merger) -> Part:
    """Every method at the scale at which its mean loss over the tasks is lowest.

    Ports: ``density`` and ``seed`` of the methods; ``method``, the one on show; ``through``, a plane or None;
    ``data``, ``metric``. Gives ``compared`` and ``places``, where the models are on the plane.

    Args:
        tasks: The models.
        merger: What makes one of them.
    """
    part = Part("comparison", ports=("density", "seed", "method", "through", "data", "metric"))
    part.slider("compare", True, label="compare methods", help="Every method at its best scale, in the table")

    @part.node(keep=2)
    def compared(compare: bool, density: float, seed: int, data: str, progress: Progress) -> Iterator[Compared]:
        found: Compared = {}
        for name, state in {BASE: tasks.base, **tasks.models}.items():
            found[name] = Merged(state, None, tasks.by_itself(state, data))
        yield dict(found)
        known = merger.names if compare else ()
        for i, method in enumerate(known):
            progress(i, len(known))
            found[method] = merger.tuned(method, density, seed, data, progress)
            yield dict(found)

    @part.node(keep=8)
    def places(compared: Compared, through: Subspace | None) -> Placed:
        """Where the models are on the plane."""
        if through is None:
            return {}
        known = {name: one.state for name, one in compared.items() if isinstance(one, Merged)}
        base, *models = through.vertices
        size = max(l2(base, model, through.space.moved) for model in models)
        return {
            name: (float(x), float(y), float(gap) if gap > _ROUNDING * size else 0.0)
            for name, (x, y), gap in zip(known, *through.project([*known.values()]), strict=True)
        }

    @part.view
    def methods_table(compared: Compared, places: Placed, method: str, metric: str, data: str) -> Table:
        names = [*compared]
        several = [f"{metric}, {task}" for task in (*tasks.tasks, "mean")] if len(tasks.tasks) > 1 else [metric]
        head = ("model", "scale", *several, *(["L2 off the plane"] if places else []))
        numbers = " Numbers are those on the map." if places else ""
        return Table(
            head,
            [_row(name, compared[name], places, tasks, merger.names, metric) for name in names],
            title=f"Measured on the {in_words(data)}. Scale: where the mean {tasks.one.names[0]} over the tasks, on "
            f"the {in_words(tasks.data[0])}, is lowest on the way from the base.{numbers}",
            chosen=names.index(method) if method in names else None,
        )

    return part


def numbered(name: str, tasks: Tasks, known: tuple[str, ...]) -> str:
    """Of a method, short enough for many of them to be told apart on the map; none for a model that was given."""
    return "" if name in (BASE, *tasks.models) else str(1 + known.index(name))


def _row(
    name: str, one: Merged | Why, places: Placed, tasks: Tasks, known: tuple[str, ...], metric: str
) -> tuple[str, ...]:
    several = [*tasks.tasks] if len(tasks.tasks) > 1 else []
    told = f"{numbered(name, tasks, known)} {name}".strip()
    if isinstance(one, str):
        return (told, "", *[""] * len(several), one, *([""] if places else []))
    each = [f"{one.scores[task][metric]:.4g}" for task in several]
    off = [f"{places[name][2]:.3g}"] if name in places else [""] if places else []
    return (told, _scale(one.scale), *each, f"{mean_score(one.scores, metric):.4g}", *off)


def mean_score(scores: Scores, metric: str) -> float:
    """Of a metric over the tasks."""
    return float(np.mean([each[metric] for each in scores.values()]))


def _scale(scale: float | None) -> str:
    if scale is None:
        return ""
    end = {SCALES[0]: " or less", SCALES[1]: " or more"}.get(scale, "")
    return f"{scale:.3g}{end}"
