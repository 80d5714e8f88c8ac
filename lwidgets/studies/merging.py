"""Models of several tasks, and one made of them: where each method lands, and what each task pays for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lwidgets import merging as methods_
from lwidgets.landscape import Landscape, drawable, mean_of
from lwidgets.palette import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from lwidgets.parameters import Source, State
from lwidgets.pictures import Curves, Marker, Series, Surface, Words
from lwidgets.progress import Progress
from lwidgets.sampling import stream
from lwidgets.sampling.identity import version
from lwidgets.sampling.measure import measured
from lwidgets.studies.parts import checks
from lwidgets.studies.parts.comparison import Placed, comparison, mean_score, numbered
from lwidgets.studies.parts.methods import DRAWN, SCALES, TRIMMED, Merge, Merger, names_of, ray_of
from lwidgets.studies.parts.plane import PLANE, seen_from_above
from lwidgets.studies.parts.readings import accuracies, marks_at
from lwidgets.studies.parts.route import Why
from lwidgets.studies.parts.sliders import add_data, add_log_height, add_metric, add_tolerance
from lwidgets.studies.parts.sliders import scale as height
from lwidgets.studies.parts.tasks import BASE, MEAN, Scores, Tasks, by_itself, tasks_of
from lwidgets.study import Check, Study, together
from lwidgets.subspaces import Plane, Subspace

_COLORS = (BLUE, VERMILLION, GREEN, ORANGE, SKY)  # of the tasks
_MEAN = PURPLE
_PARALLEL = 0.9999  # cosine from which on two directions are one


@dataclass(frozen=True)
class _Drawn:
    """A curve and its looks."""

    name: str
    curve: Landscape
    color: str
    width: float

    def series(self, metric: str, log_height: bool) -> Series:
        y = drawable(self.curve.values[metric], log_height)
        return Series(self.curve.coords[0], y, self.name, self.color, width=self.width)


def merging(
    base: Source,
    models: Sequence[Source] | Mapping[str, Source],
    objectives: methods_.Objectives,
    *,
    methods: Mapping[str, Merge] | None = None,
    title: str = "",
) -> Study:
    """What becomes of models that are merged.

    Args:
        base: What the models were trained from.
        models: Two or more, with names or without: modules, state dicts or checkpoints.
        objectives: Each model's own task, with the model's name or in the order of the models; or one for all. With
            test data of their own where the sliders are to offer them. A head that a task has for itself belongs in its
            loss: ``lw.Objective(encoder, data, loss=lambda features, y: cross_entropy(head(features), y))``.
        methods: Others to offer beside those of `lwidgets.merging`: name -> function of ``(base, models, objectives)``
            that returns a model.
        title: Shown above.

    Returns:
        A study with the views ``curves_picture``, ``plane_picture``, ``refusal`` and ``methods_table``.

    Raises:
        ValueError: As `tasks_of`.
    """
    tasks = tasks_of(base, models, objectives, names_of(methods or {}))
    merger = Merger(tasks, methods or {})
    every = (one for split in tasks.objectives.values() for one in split.values())
    study = Study(title or "One model of several", version=partial(version, *every))
    study.given("tasks", tasks)
    _add_sliders(study, tasks, merger.names)
    _add_curves(study, tasks, merger)
    _add_plane(study, tasks)
    study.add(comparison(tasks, merger))
    _add_marks(study, tasks, merger.names)
    _add_checks(study, tasks)

    study.summary = partial(accuracies, study, "curves", between=" ")
    return study


def _add_sliders(study: Study, tasks: Tasks, known: tuple[str, ...]) -> None:
    study.slider("method", known[0], options=known, help="How one model is made of several")
    kept = "Share of the entries of the task vectors that are kept"
    study.slider("density", 0.2, low=0.01, high=1.0, step=0.01, help=kept, when={"method": TRIMMED})
    study.slider("seed", 0, low=0, high=99, help="Which entries are kept", when={"method": DRAWN})
    ends: dict[str, Any] = {"low": SCALES[0], "high": SCALES[1], "step": 0.01, "bounds": "span"}
    study.slider("scale", 1.0, **ends, help="How far from the base to the merged model")
    wide: dict[str, Any] = {"low": -1.0, "high": 3.0, "step": 0.05, "limits": (-100.0, 100.0)}
    study.slider("span", SCALES, **wide, help="Scales that are drawn")
    names, several = tuple(tasks.models), tuple(tasks.tasks)
    if len(names) > 2:
        study.slider("first", names[0], options=names, help="The model at (1, 0) of the plane")
        study.slider("second", names[1], options=names, help="The model at (0, 1) of the plane")
    else:
        study.given("first", names[0])
        study.given("second", names[1])
    if len(several) > 1:
        study.slider("task", MEAN, options=(MEAN, *several), help="Whose surface is drawn over the plane")
    else:
        study.given("task", several[0])
    add_data(study, tasks.data)
    add_metric(study, tasks.one.names)
    study.slider("resolution", 33, low=9, high=129, step=8, limits=(3, 4097), help="Points of each curve")
    add_tolerance(study, 1e-3)
    study.slider("plane", True, help="The surface over the plane through the base and two of the models")
    add_log_height(study)


def _add_curves(study: Study, tasks: Tasks, merger: Merger) -> None:
    """From the base through what the method makes."""

    @study.node(keep=32)
    def merged(method: str, density: float, seed: int) -> State | Why:
        return merger.merge(method, density, seed)

    @study.node(keep=32)
    def ray(merged: State | Why, span: tuple[float, float]) -> Subspace | None:
        return None if isinstance(merged, str) else ray_of(tasks.base, merged, span, tasks.one)

    @study.node(keep=64)
    def curves(
        ray: Subspace | None, data: str, resolution: int, tolerance: float, log_height: bool, progress: Progress
    ) -> Iterator[dict[str, Landscape]]:
        options: dict[str, Any] = {"resolution": resolution, "tolerance": tolerance, "log": log_height}
        yield from _sampled(tasks, ray, data, progress=progress, **options)

    @study.node(keep=64)
    def here(ray: Subspace | None, scale: float, data: str) -> Scores:
        if ray is None:
            return {}
        return {task: measured(one, ray, [scale]) for task, one in tasks.objectives[data].items()}

    @study.node(keep=4)
    def own(data: str) -> Scores:
        """Every task by the model that was trained for it."""
        if len(tasks.tasks) == 1:
            return {}
        return {task: by_itself(tasks.objectives[data][task], model) for task, model in tasks.models.items()}

    @study.view
    def curves_picture(curves: dict[str, Landscape], own: Scores, metric: str, log_height: bool) -> Curves | None:
        drawn = _drawn(curves)
        if not drawn:
            return None
        ends = drawn[0].curve.coords[0][[0, -1]]
        lines = [one.series(metric, log_height) for one in drawn]
        levels = [
            Series(ends, drawable([own[one.name][metric]] * 2, log_height), "", one.color, "dashed", 1.0)
            for one in drawn
            if one.name in own
        ]
        return Curves([*lines, *levels], x="scale (0 = base, 1 = merged)", y=metric, log=height(log_height))

    @study.view(on="curves_picture")
    def scale_picture(
        scale: float, curves: dict[str, Landscape], here: Scores, method: str, metric: str, log_height: bool
    ) -> Curves | None:
        shown = [(one.color, one.curve) for one in _drawn(curves)]
        if not shown:
            return None
        return Curves(marks_at(scale, shown, metric, log_height), caption=_told(method, scale, here, metric))


def _add_plane(study: Study, tasks: Tasks) -> None:
    """The plane through the base and two models."""

    @study.node(keep=16)
    def through(plane: bool, first: str, second: str) -> Subspace | None:
        return _through(tasks, first, second) if plane else None

    @study.node(keep=8)
    def surfaces(
        through: Subspace | None, data: str, log_height: bool, progress: Progress
    ) -> Iterator[dict[str, Landscape]]:
        yield from _sampled(tasks, through, data, log=log_height, progress=progress, **PLANE)

    @study.view(beside="curves_picture")
    def plane_picture(surfaces: dict[str, Landscape], task: str, metric: str, log_height: bool) -> Surface | None:
        shown = mean_of([*surfaces.values()]) if surfaces and task == MEAN else surfaces.get(task)
        if shown is None:
            return None
        what = "Plane through the base and two models"
        return Surface(shown, metric, log=log_height, panes=("map",), description=what)

    @study.node(keep=32)
    def towards(merged: State | Why, through: Subspace | None) -> tuple[float, float] | None:
        """Where scale 1 is on the plane; the base is at (0, 0), and what is between them between."""
        if through is None or isinstance(merged, str):
            return None
        x, y = through.project(merged)[0]
        return float(x), float(y)

    @study.view(on="plane_picture")
    def way(ray: Subspace | None, through: Subspace | None, method: str) -> Surface | None:
        if ray is None or through is None:
            return None
        return Surface(None, paths=[seen_from_above(ray, through, label=method, color=_MEAN)])

    @study.view
    def refusal(merged: State | Why, method: str) -> Words | None:
        what = f"{method} cannot merge these models"
        return Words(merged, title=what, tone="alert") if isinstance(merged, str) else None


def _add_marks(study: Study, tasks: Tasks, known: tuple[str, ...]) -> None:
    """Where all methods end, and how far the one on show is gone."""

    @study.view(on="plane_picture")
    def marks(places: Placed, towards: tuple[float, float] | None, scale: float) -> Surface:
        found = [Marker(x, y, numbered(name, tasks, known) or name) for name, (x, y, _) in places.items()]
        if towards:
            found.append(Marker(scale * towards[0], scale * towards[1], f"scale {scale:.3g}"))
        return Surface(None, markers=found)


def _add_checks(study: Study, tasks: Tasks) -> None:

    @study.check
    def ends_reproduce(ray: Subspace | None, curves: dict[str, Landscape], data: str) -> Check:
        """Scale 0 is the base, and 1 what the method makes."""
        if ray is None:
            return Check("info", "the method cannot merge these models")
        task, one = next(iter(curves.items()))
        return checks.reproduces(tasks.objectives[data][task], ray, one)

    @study.check
    def is_deterministic() -> Check:
        """The data are the same in every pass."""
        outcomes = [checks.deterministic(one, tasks.base) for one in tasks.tasks.values()]
        return next((one for one in outcomes if one.state != "pass"), outcomes[0])

    @study.check
    def models_moved() -> Check:
        """The models are not the base."""
        moved = {name: ray_of(tasks.base, model, (0.0, 1.0), tasks.one) for name, model in tasks.models.items()}
        still = [name for name, line in moved.items() if checks.apart(line).state != "pass"]
        told = "none equals it" if not still else f"equal to it: {', '.join(still)}"
        return Check.that(not still, told, "warn")

    @study.check
    def plane_is_one(through: Subspace | None) -> Check:
        """The plane has two directions."""
        if through is None:
            return Check("info", "it is not drawn")
        cosine = through.cosine()
        if cosine is None:
            return Check("warn", "one of the models equals the base")
        return Check.that(abs(cosine) < _PARALLEL, f"cosine of their angle {cosine:.4f}", "warn")

    checks.add_sampled(study, "curves")


def _through(tasks: Tasks, first: str, second: str) -> Subspace:
    made = Plane.through(tasks.base, tasks.models[first], tasks.models[second])
    x, y = (
        replace(axis, label=f"{axis.name} (0 = {BASE}, 1 = {name})")
        for axis, name in zip(made.axes, (first, second), strict=True)
    )
    return made.measured_on(x, y).bound(tasks.one.space, tasks.one.device)


def _sampled(tasks: Tasks, subspace: Subspace | None, data: str, **options: Any) -> Iterator[dict[str, Landscape]]:
    """Every task's landscape over a subspace, side by side; nothing over none."""
    if subspace is None:
        yield {}
        return
    each = tasks.objectives[data].items()
    yield from together({task: stream(one, subspace, **options) for task, one in each})


def _drawn(curves: Mapping[str, Landscape]) -> list[_Drawn]:
    lines = [
        _Drawn(task, one, _COLORS[i % len(_COLORS)], 2.0 if i < len(_COLORS) else 1.0)
        for i, (task, one) in enumerate(curves.items())
    ]
    return lines + ([_Drawn(MEAN, mean_of([*curves.values()]), _MEAN, 3.0)] if len(lines) > 1 else [])


def _told(method: str, scale: float, here: Scores, metric: str) -> str:
    told = [f"{task} {scores[metric]:.4g}".lstrip() for task, scores in here.items()]
    if len(here) > 1:
        told.append(f"mean {mean_score(here, metric):.4g}")
    dashed = " Dashed: the model trained for the task." if len(here) > 1 else ""
    return f"{metric} of {method} at scale {scale:.3g}: {', '.join(told)} (measured).{dashed}"
