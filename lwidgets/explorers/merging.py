"""Models of several tasks, and one made of them: where each method lands, and what each task pays for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import ipywidgets as W
import numpy as np
from scipy.optimize import minimize_scalar
from torch import nn

from lwidgets import merging
from lwidgets.distances import l2
from lwidgets.explorers import checks
from lwidgets.explorers.curve import TOLERANCE_HELP, alpha_marks
from lwidgets.explorers.paths import Why
from lwidgets.explorers.plane import PLANE, PlaneBeside
from lwidgets.explorers.splits import beside_cells, in_words, splits
from lwidgets.explorers.tables import alert, table
from lwidgets.landscape import Landscape, drawable, mean_of
from lwidgets.objective import Objective
from lwidgets.palette import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from lwidgets.parameters import Source, State
from lwidgets.progress import Progress
from lwidgets.sampling import stream
from lwidgets.sampling.identity import version
from lwidgets.sampling.measure import Measure, measured
from lwidgets.study import Check, Study, together
from lwidgets.subspaces import Line, Plane, Subspace, letters
from lwidgets.widgets.height_field import path_of
from lwidgets.widgets.line_plot import LinePlot, Series
from lwidgets.widgets.study import StudyWidget

Merge = Callable[[State, Sequence[State], Sequence[Objective]], Source]
"""A way to merge: ``(base, models, objectives)``, each model with its own task's objective, to one model."""
Scores = dict[str, dict[str, float]]
"""Task -> metric -> value."""

BASE, MEAN = "base", "mean of tasks"
_COLORS = (BLUE, VERMILLION, GREEN, ORANGE, SKY)  # of the tasks
_MEAN = PURPLE
_TRIMMED, _DRAWN = ("ties", "dare"), ("dare",)  # methods that leave entries out, and at random
_SCALES = (0.0, 1.5)
_PLACES = 7  # of a ray, around the best of which its lowest is looked for
_PARALLEL = 0.9999  # cosine from which on two directions are one
_ROUNDING = 1e-6  # of the distance between two models: less off the plane is none


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


@dataclass(frozen=True)
class _Drawn:
    """A curve and its looks."""

    name: str
    curve: Landscape
    color: str
    width: float


class MergingExplorer(StudyWidget):
    """Models trained from one base, each for a task of its own, merged into one.

    A method points from the base to the model it makes. Drag the scale, how far to go that way, and see every task's
    metric; on the map, the plane through the base and two of the models, see where that leads and where the other
    methods end. The table compares them all: each at the scale at which its mean loss over the tasks is lowest on the
    training data.

    Traits (all keywords of the constructor): method; density, the share of the entries that TIES and DARE keep; seed,
    which ones DARE keeps; scale; span, of the scales drawn; first and second, the models that span the plane, where
    there are more than two; task, whose surface is drawn; data; metric; plane, whether it is drawn; compare, whether
    all methods are; resolution; tolerance; log.

    Example:
        >>> import lwidgets as lw
        >>> base, models, tasks = lw.demo.digits_tasks(hidden=(16,), steps=60)
        >>> explorer = lw.MergingExplorer(base, models, tasks, method="ties", plane=False)
        >>> explorer.wait(120), list(explorer.landscapes)
        (True, ['digits 0 to 4', 'digits 5 to 9'])
        >>> forgotten, merged = (explorer.compared[name].scores["digits 0 to 4"] for name in ("digits 5 to 9", "ties"))
        >>> merged["loss"] < forgotten["loss"]
        True
        >>> explorer.close()
    """

    def __init__(
        self,
        base: Source,
        models: Sequence[Source] | Mapping[str, Source],
        objectives: merging.Objectives,
        *,
        methods: Mapping[str, Merge] | None = None,
        title: str = "",
        **sliders: Any,
    ) -> None:
        """Explore what becomes of models that are merged.

        Args:
            base: What the models were trained from.
            models: Two or more, with names or without: modules, state dicts or checkpoints.
            objectives: Each model's own task, with the model's name or in the order of the models; or one for all.
                With test data of their own where the sliders are to offer them. A head that a task has for itself
                belongs in its loss:
                ``lw.Objective(encoder, data, loss=lambda features, y: cross_entropy(head(features), y))``.
            methods: Others to offer beside those of `lwidgets.merging`: name -> function of
                ``(base, models, objectives)`` that returns a model.
            title: Shown above.
            **sliders: Where the sliders start.

        Raises:
            ValueError: There are fewer than two models; as many objectives as models are not there; their metrics
                differ; or a model does not fit, and the message has the key.
        """
        names, given, self._own = _tasks(models, objectives)
        for objective in self._own:
            beside_cells(objective)
        self._others = dict(methods or {})
        known = tuple(dict.fromkeys((*methods_of(1.0, 0), *self._others)))
        _check_names([BASE, MEAN, *names, *known])
        one = self._own[0]
        self._base, *states = (
            one.space.select(_called(name, source), one.device)
            for name, source in zip((BASE, *names), (base, *given), strict=True)
        )
        self._models = dict(zip(names, states, strict=True))
        self._tasks = dict(zip(names, self._own, strict=True)) if len(set(map(id, self._own))) > 1 else {"": one}
        held_out = all(o.test is not None for o in self._tasks.values())
        every = {task: splits(o) if held_out else {"data": o} for task, o in self._tasks.items()}
        self._data = tuple(next(iter(every.values())))
        self._objectives = {data: {task: split[data] for task, split in every.items()} for data in self._data}
        self._merge = lru_cache(maxsize=4 * len(known))(self._merge_by)  # for the picture and for the comparison
        self._scales: dict[tuple[str, float, int], float | Why] = {}
        self.plot = LinePlot("scale (0 = base, 1 = merged)", height="360px")
        self._plane = PlaneBeside(self.plot, "Plane through the base and two models")
        self.height_field = self._plane.height_field
        self.table = W.HTML()
        super().__init__(self._study(title), **sliders)

    @property
    def landscapes(self) -> dict[str, Landscape]:
        """Each task's curve from the base through what the method makes; waits for it."""
        return dict(self.latest("curves"))

    @property
    def merged(self) -> State:
        """What the method makes, the model at scale 1.

        Raises:
            ValueError: The method cannot merge these models; why.
        """
        found: State | Why = self.latest("merged")
        if isinstance(found, str):
            raise ValueError(f"MergingExplorer.merged: method must be able to merge these models, got {found}")
        return found

    @property
    def compared(self) -> dict[str, Merged]:
        """The base, the models, and every method's model at its best scale; only those two unless ``compare``."""
        found: Mapping[str, Merged | Why] = self.latest("compared")
        return {name: one for name, one in found.items() if isinstance(one, Merged)}

    def model_at(self, scale: float) -> nn.Module:
        """The model at a scale of the present method as a new module in eval mode, BatchNorm as for the first task."""
        one, line = self._own[0], _ray(self._base, self.merged, (0.0, 1.0), self._own[0])
        return one.model_at(line.point([scale]), one.resolve(line.between_models))

    def summary(self) -> str:
        """Of the curves for the status bar."""
        curves = self.study.get("curves", {})
        return "; ".join(f"{task} {one.accuracy(self.metric, log=self.log)}".lstrip() for task, one in curves.items())

    def _merge_by(self, method: str, density: float, seed: int) -> State | Why:
        one = self._own[0]
        still = {name: t for name, t in self._base.parameters.items() if name not in one.space.moved}
        models = [replace(m, parameters={**m.parameters, **still}) for m in self._models.values()]
        try:
            if method in self._others:
                base, *models = map(_copied, (self._base, *models))  # what it does to them is its own business
                made = State.of(self._others[method](base, tuple(models), self._own))
            else:
                made = State.of(methods_of(density, seed)[method](self._base, models, self._own))
            made = one.space.select(made, one.device)
        except Exception as error:  # the other methods are still there to be seen
            return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        if not all(bool(tensor.isfinite().all()) for tensor in made.parameters.values()):
            return "Its parameters are not finite."
        return replace(made, parameters={**made.parameters, **still})

    def _depends(self, method: str, density: float, seed: int) -> tuple[str, float, int]:
        """What a method is remembered by: it, and the sliders that it depends on."""
        return method, density if method in _TRIMMED else 1.0, seed if method in _DRAWN else 0

    def _study(self, title: str) -> Study:
        study = Study(
            title or "One model of several",
            version=partial(version, *(one for split in self._objectives.values() for one in split.values())),
        )
        self._add_sliders(study)
        self._add_curves(study)
        self._add_plane(study)
        self._add_comparison(study)
        self._add_checks(study)
        return study

    def _add_sliders(self, study: Study) -> None:
        metrics, tasks = self._own[0].names, tuple(self._tasks)
        known = (*methods_of(1.0, 0), *self._others)
        study.slider("method", known[0], options=tuple(dict.fromkeys(known)), help="How one model is made of several")
        study.slider(
            "density",
            0.2,
            low=0.01,
            high=1.0,
            step=0.01,
            help="Share of the entries of the task vectors that are kept",
            when={"method": _TRIMMED},
        )
        study.slider("seed", 0, low=0, high=99, help="Which entries are kept", when={"method": _DRAWN})
        study.slider(
            "scale",
            1.0,
            low=_SCALES[0],
            high=_SCALES[1],
            step=0.01,
            bounds="span",
            help="How far from the base to the merged model",
        )
        study.slider(
            "span", _SCALES, low=-1.0, high=3.0, step=0.05, limits=(-100.0, 100.0), help="Scales that are drawn"
        )
        if len(self._models) > 2:
            names = tuple(self._models)
            study.slider("first", names[0], options=names, help="The model at (1, 0) of the plane")
            study.slider("second", names[1], options=names, help="The model at (0, 1) of the plane")
        if len(tasks) > 1:
            study.slider("task", MEAN, options=(MEAN, *tasks), help="Whose surface is drawn over the plane")
        study.slider("data", self._data[-1], options=self._data)
        study.slider("metric", metrics[0], options=metrics)
        study.slider("resolution", 33, low=9, high=129, step=8, limits=(3, 4097), help="Points of each curve")
        study.slider("tolerance", 1e-3, low=0.0, high=1.0, help=TOLERANCE_HELP)
        study.slider("plane", True, help="The surface over the plane through the base and two of the models")
        study.slider("compare", True, label="compare methods", help="Every method at its best scale, in the table")
        study.slider("log", False, label="log height")

    def _add_curves(self, study: Study) -> None:
        """From the base through what the method makes."""

        @study.node(keep=32)
        def merged(method: str, density: float, seed: int) -> State | Why:
            return self._merge(*self._depends(method, density, seed))

        @study.node(keep=32)
        def ray(merged: State | Why, span: tuple[float, float]) -> Subspace | None:
            return None if isinstance(merged, str) else _ray(self._base, merged, span, self._own[0])

        @study.node(keep=64)
        def curves(
            ray: Subspace | None, data: str, resolution: int, tolerance: float, log: bool, progress: Progress
        ) -> Iterator[dict[str, Landscape]]:
            options: dict[str, Any] = {"resolution": resolution, "tolerance": tolerance, "log": log}
            yield from self._sampled(ray, data, progress=progress, **options)

        @study.node(keep=64)
        def here(ray: Subspace | None, scale: float, data: str) -> Scores:
            return {} if ray is None else self._scores(ray, scale, data)

        @study.node(keep=4)
        def own(data: str) -> Scores:
            """Every task by the model that was trained for it."""
            if len(self._tasks) == 1:
                return {}
            return {task: _by_itself(self._objectives[data][task], model) for task, model in self._models.items()}

        @study.view(widget=self._plane.pictures)
        def draw(curves: dict[str, Landscape], own: Scores, metric: str, log: bool) -> None:
            drawn = self._drawn(curves)
            x = np.array([0.0, 1.0]) if not drawn else drawn[0].curve.coords[0]
            lines = [
                Series(x, drawable(one.curve.values[metric], log), one.name, one.color, width=one.width)
                for one in drawn
            ]
            levels = [
                Series(x[[0, -1]], drawable([own[one.name][metric]] * 2, log), "", one.color, "dashed", 1.0)
                for one in drawn
                if one.name in own
            ]
            self.plot.label(metric, log=log)
            self.plot.fit(x, *(line.y for line in (*lines, *levels)))
            self.plot.draw("curves", [*lines, *levels])

        @study.view
        def draw_scale(
            scale: float, curves: dict[str, Landscape], here: Scores, method: str, metric: str, log: bool
        ) -> None:
            shown = [(one.color, one.curve) for one in self._drawn(curves)]
            self.plot.draw("scale", alpha_marks(scale, shown, metric, log) if shown else [])
            self.plot.describe(self._told(method, scale, here, metric))

    def _add_plane(self, study: Study) -> None:
        """The plane through the base and two models."""
        if len(self._models) > 2:

            @study.node(keep=16)
            def through(plane: bool, first: str, second: str) -> Subspace | None:
                return self._through(first, second) if plane else None

        else:

            @study.node(keep=2)
            def through(plane: bool) -> Subspace | None:  # type: ignore[misc]
                return self._through(*self._models) if plane else None

        @study.node(keep=8)
        def surfaces(
            through: Subspace | None, data: str, log: bool, progress: Progress
        ) -> Iterator[dict[str, Landscape]]:
            yield from self._sampled(through, data, log=log, progress=progress, **PLANE)

        def draw_plane(surfaces: dict[str, Landscape], task: str, metric: str, log: bool) -> None:
            shown = mean_of([*surfaces.values()]) if surfaces and task == MEAN else surfaces.get(task)
            self._plane.draw(shown, metric, log=log)

        if len(self._tasks) > 1:

            @study.view
            def draw_surface(surfaces: dict[str, Landscape], task: str, metric: str, log: bool) -> None:
                draw_plane(surfaces, task, metric, log)

        else:

            @study.view
            def draw_surface(surfaces: dict[str, Landscape], metric: str, log: bool) -> None:  # type: ignore[misc]
                draw_plane(surfaces, next(iter(self._tasks)), metric, log)

    def _add_comparison(self, study: Study) -> None:
        """Every method at the scale at which its mean loss over the tasks is lowest."""

        @study.node(keep=2)
        def compared(
            compare: bool, density: float, seed: int, data: str, progress: Progress
        ) -> Iterator[dict[str, Merged | Why]]:
            found: dict[str, Merged | Why] = {}
            for name, state in {BASE: self._base, **self._models}.items():
                scores = {task: _by_itself(one, state) for task, one in self._objectives[data].items()}
                found[name] = Merged(state, None, scores)
            yield dict(found)
            known = study.sliders["method"].options or () if compare else ()
            for i, method in enumerate(known):
                progress(i, len(known))
                found[method] = self._tuned(self._depends(method, density, seed), data, progress)
                yield dict(found)

        @study.node(keep=8)
        def places(
            compared: dict[str, Merged | Why], through: Subspace | None
        ) -> dict[str, tuple[float, float, float]]:
            """Where the models are on the plane: x, y, and how far off it."""
            if through is None:
                return {}
            known = {name: one.state for name, one in compared.items() if isinstance(one, Merged)}
            base, *models = through.vertices
            size = max(l2(base, model, through.space.moved) for model in models)
            return {
                name: (float(x), float(y), float(gap) if gap > _ROUNDING * size else 0.0)
                for name, (x, y), gap in zip(known, *through.project([*known.values()]), strict=True)
            }

        @study.node(keep=32)
        def towards(merged: State | Why, through: Subspace | None) -> tuple[float, float] | None:
            """Where scale 1 is on the plane; the base is at (0, 0), and what is between them between."""
            if through is None or isinstance(merged, str):
                return None
            x, y = through.project(merged)[0]
            return float(x), float(y)

        @study.view
        def draw_ray(ray: Subspace | None, through: Subspace | None, method: str) -> None:
            if ray is None or through is None:
                self.height_field.paths = []
            else:
                self.height_field.paths = [path_of(ray, through, label=method, color=_MEAN)]

        @study.view
        def mark(
            places: dict[str, tuple[float, float, float]], towards: tuple[float, float] | None, scale: float
        ) -> None:
            marks = [{"x": x, "y": y, "label": self._numbered(name) or name} for name, (x, y, _) in places.items()]
            if towards:
                marks.append({"x": scale * towards[0], "y": scale * towards[1], "label": f"scale {scale:.3g}"})
            self.height_field.markers = marks

        @study.view(widget=self.table)
        def tell(
            compared: dict[str, Merged | Why],
            places: dict[str, tuple[float, float, float]],
            merged: State | Why,
            method: str,
            metric: str,
            data: str,
        ) -> None:
            known = [*compared]
            rows = [self._row(name, compared[name], places.get(name), metric) for name in known]
            tasks = [f"{metric}, {task}" for task in (*self._tasks, "mean")] if len(self._tasks) > 1 else [metric]
            head = ("model", "scale", *tasks)
            numbers = " Numbers are those on the map." if places else ""
            caption = (
                f"Measured on the {in_words(data)}. Scale: where the mean {self._own[0].names[0]} over the tasks, "
                f"on the {in_words(self._data[0])}, is lowest on the way from the base.{numbers}"
            )
            why = merged if isinstance(merged, str) else ""
            self.table.value = alert(f"{method} cannot merge these models", why) + table(
                caption,
                (*head, "L2 off the plane") if places else head,
                rows,
                chosen=known.index(method) if method in known else None,
            )

    def _add_checks(self, study: Study) -> None:
        own = self._own[0]

        @study.check
        def ends_reproduce(ray: Subspace | None, curves: dict[str, Landscape], data: str) -> Check:
            """Scale 0 is the base, and 1 what the method makes."""
            if ray is None:
                return Check("info", "the method cannot merge these models")
            task, one = next(iter(curves.items()))
            return checks.reproduces(self._objectives[data][task], ray, one)

        @study.check
        def is_deterministic() -> Check:
            """The data are the same in every pass."""
            outcomes = [checks.deterministic(one, self._base) for one in self._tasks.values()]
            return next((one for one in outcomes if one.state != "pass"), outcomes[0])

        @study.check
        def models_moved() -> Check:
            """The models are not the base."""
            moved = {name: _ray(self._base, model, (0.0, 1.0), own) for name, model in self._models.items()}
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

    def _through(self, first: str, second: str) -> Subspace:
        made = Plane.through(self._base, self._models[first], self._models[second])
        x, y = (
            replace(axis, label=f"{axis.name} (0 = {BASE}, 1 = {name})")
            for axis, name in zip(made.axes, (first, second), strict=True)
        )
        return made.measured_on(x, y).bound(self._own[0].space, self._own[0].device)

    def _sampled(self, subspace: Subspace | None, data: str, **options: Any) -> Iterator[dict[str, Landscape]]:
        """Every task's landscape over a subspace, side by side; nothing over none."""
        if subspace is None:
            yield {}
            return
        each = self._objectives[data].items()
        yield from together({task: stream(one, subspace, **options) for task, one in each})

    def _scores(self, ray: Subspace, scale: float, data: str) -> Scores:
        return {task: measured(one, ray, [scale]) for task, one in self._objectives[data].items()}

    def _tuned(self, key: tuple[str, float, int], data: str, progress: Progress) -> Merged | Why:
        """What a method makes, at its best scale."""
        made = self._merge(*key)
        if isinstance(made, str):
            return made
        ray = _ray(self._base, made, _SCALES, self._own[0])
        if key not in self._scales:
            self._scales[key] = _best_scale(ray, [*self._objectives[self._data[0]].values()], progress)
        scale = self._scales[key]
        return scale if isinstance(scale, str) else Merged(ray.point([scale]), scale, self._scores(ray, scale, data))

    def _drawn(self, curves: Mapping[str, Landscape]) -> list[_Drawn]:
        lines = [
            _Drawn(task, one, _COLORS[i % len(_COLORS)], 2.0 if i < len(_COLORS) else 1.0)
            for i, (task, one) in enumerate(curves.items())
        ]
        return lines + ([_Drawn(MEAN, mean_of([*curves.values()]), _MEAN, 3.0)] if len(lines) > 1 else [])

    def _told(self, method: str, scale: float, here: Scores, metric: str) -> str:
        if not here:
            return ""
        told = [f"{task} {scores[metric]:.4g}".lstrip() for task, scores in here.items()]
        if len(here) > 1:
            told.append(f"mean {_mean(here, metric):.4g}")
        dashed = " Dashed: the model trained for the task." if len(here) > 1 else ""
        return f"{metric} of {method} at scale {scale:.3g}: {', '.join(told)} (measured).{dashed}"

    def _numbered(self, name: str) -> str:
        """Of a method, short enough for many of them to be told apart on the map; none for a model that was given."""
        methods = self.study.sliders["method"].options or ()
        return "" if name in (BASE, *self._models) else str(1 + methods.index(name))

    def _row(
        self, name: str, one: Merged | Why, place: tuple[float, float, float] | None, metric: str
    ) -> tuple[str, ...]:
        tasks = [*self._tasks] if len(self._tasks) > 1 else []
        told = f"{self._numbered(name)} {name}".strip()
        if isinstance(one, str):
            return (told, "", *[""] * len(tasks), one)
        each = [f"{one.scores[task][metric]:.4g}" for task in tasks]
        cells = (told, _scale(one.scale), *each, f"{_mean(one.scores, metric):.4g}")
        return cells if place is None else (*cells, f"{place[2]:.3g}")


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
        raise ValueError(
            f"MergingExplorer: objectives must be one for each of {len(given)} models, got {len(each)}: "
            f"{', '.join(type(one).__name__ for one in each)}. Pass one for each, in the same order, or one for all."
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


def _copied(state: State) -> State:
    parameters, buffers = (
        {name: t.clone() for name, t in tensors.items()} for tensors in (state.parameters, state.buffers)
    )
    return replace(state, parameters=parameters, buffers=buffers)


def _by_itself(objective: Objective, state: State) -> dict[str, float]:
    """A model's metrics, with BatchNorm as where models are merged."""
    return objective.measure(state, objective.resolve(between_models=True))


def _best_scale(ray: Subspace, objectives: Sequence[Objective], progress: Progress) -> float | Why:
    """Where on a ray the mean loss is lowest, to a hundredth: of a few places, and then around the best."""
    measures = [Measure(one, ray) for one in objectives]
    places = np.linspace(*_SCALES, _PLACES)

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


def _ray(base: State, merged: State, span: tuple[float, float], objective: Objective) -> Subspace:
    """From the base through a model: scale 0 and 1."""
    line = Line(base, merged, span=span)
    axis = replace(line.axes[0], name="scale", label="scale (0 = base, 1 = merged)")
    return line.measured_on(axis).bound(objective.space, objective.device)


def _mean(scores: Scores, metric: str) -> float:
    return float(np.mean([each[metric] for each in scores.values()]))


def _scale(scale: float | None) -> str:
    if scale is None:
        return ""
    end = {_SCALES[0]: " or less", _SCALES[1]: " or more"}.get(scale, "")
    return f"{scale:.3g}{end}"
