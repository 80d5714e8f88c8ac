"""The loss on the line between two models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from lwidgets.barrier import Barrier, BarrierKind, reference
from lwidgets.landscape import Landscape, drawable
from lwidgets.objective import Objective
from lwidgets.palette import BLUE, GRAY, VERMILLION
from lwidgets.parameters import Source
from lwidgets.pictures import Curves, Series, Words
from lwidgets.progress import Progress
from lwidgets.sampling import stream
from lwidgets.sampling.identity import version
from lwidgets.sampling.measure import measured
from lwidgets.sampling.polish import polish_barrier
from lwidgets.studies.parts import checks
from lwidgets.studies.parts.readings import accuracies, barrier_or_why, marks_at
from lwidgets.studies.parts.sliders import add_barrier, add_log_height, add_metric, add_tolerance, scale
from lwidgets.studies.parts.splits import splits
from lwidgets.study import Check, Study, together
from lwidgets.subspaces import Line, Subspace

_COLORS = (BLUE, VERMILLION)

Landscapes = dict[str, Landscape]
Barriers = dict[str, Barrier | str]


def curve(
    objective: Objective, a: Source | Subspace, b: Source | None = None, *, test: Any = None, title: str = ""
) -> Study:
    """Metrics on the way from one model to the other, training and test data together, and the barrier.

    Args:
        objective: What to evaluate; with test data of its own, both are drawn.
        a: The model at alpha 0: module, state dict or checkpoint. Or a path of one coordinate, such as
            ``lw.connect(objective, a, b)`` or ``lw.Layerwise(a, b).line("fc1")``.
        b: The model at alpha 1; none with a path.
        test: Held-out data, where the objective has none.
        title: Shown above.

    Returns:
        A study with the views ``curves_picture`` and ``reading``.

    Raises:
        TypeError: b is missing, or there beside a path.
        ValueError: A subspace of more than one coordinate.
    """
    path = _path(a, b)
    objective, joined = objective.suited(lambda own: path.bound(own.space, own.device))
    objectives = splits(objective, test)
    straight = "Loss between two models" if joined.kind == "line" else "Loss along a path"
    study = Study(title or straight, version=partial(version, objective))
    study.given("path", joined)
    study.given("objectives", objectives)
    _add_sliders(study, objective, joined)
    _add_nodes(study)
    _add_pictures(study, joined.labels[0])
    _add_checks(study)

    study.summary = partial(accuracies, study, "curves")
    return study


def _add_sliders(study: Study, objective: Objective, joined: Subspace) -> None:
    low, high = joined.axes[0].low, joined.axes[0].high
    middle = 0.5 if low <= 0.5 <= high else (low + high) / 2
    study.slider("alpha", middle, low=low, high=high, step=0.01, bounds="span", help="Position on the path")
    study.slider(
        "span",
        (low, high),
        low=min(-1.0, low),
        high=max(2.0, high),
        step=0.05,
        limits=(-100.0, 100.0),
        help="How far the path goes; the grid keeps both models on it, so its ends may move by a step",
    )
    study.slider("resolution", 65, low=9, high=257, step=8, limits=(3, 4097), help="Points of the curve")
    add_metric(study, objective.names)
    add_barrier(study)
    add_tolerance(study, 1e-3)
    add_log_height(study)


def _add_nodes(study: Study) -> None:
    """The curves, what is measured at alpha, and barriers, sampled and polished."""

    @study.node(keep=1)
    def line(path: Subspace, span: tuple[float, float]) -> Subspace:
        return path.over(span)

    @study.node(keep=64)
    def curves(
        objectives: dict[str, Objective],
        line: Subspace,
        resolution: int,
        tolerance: float,
        log_height: bool,
        progress: Progress,
    ) -> Iterator[Landscapes]:
        options: dict[str, Any] = {"resolution": resolution, "tolerance": tolerance, "log": log_height}
        each = {split: stream(one, line, progress=progress, **options) for split, one in objectives.items()}
        yield from together(each)

    @study.node(keep=64)
    def sampled_barriers(curves: Landscapes, metric: str, barrier: BarrierKind) -> Barriers:
        asked = None if barrier == "error" else metric
        return {split: barrier_or_why(one.barrier, asked, barrier) for split, one in curves.items()}

    @study.node(keep=64)
    def here(
        objectives: dict[str, Objective], line: Subspace, alpha: float, progress: Progress
    ) -> Iterator[dict[str, dict[str, float]]]:
        found = {}
        for i, (split, one) in enumerate(objectives.items()):
            progress(i, len(objectives))
            found[split] = measured(one, line, [alpha])
        yield found

    @study.node(keep=64)
    def barriers(
        objectives: dict[str, Objective],
        sampled_barriers: Barriers,
        curves: Landscapes,
        line: Subspace,
        progress: Progress,
    ) -> Iterator[Barriers]:
        found = dict(sampled_barriers)
        for split, sampled in sampled_barriers.items():
            if isinstance(sampled, Barrier):
                known: dict[str, Any] = {"metric": sampled.metric, "kind": sampled.kind, "progress": progress}
                found[split] = barrier_or_why(polish_barrier, objectives[split], line, curves[split], **known)
            yield dict(found)


def _add_pictures(study: Study, x_label: str) -> None:
    """The curves, the barrier and alpha on them, and what was measured there."""

    @study.view
    def curves_picture(curves: Landscapes, metric: str, log_height: bool) -> Curves:
        drawn = [
            (split, color, one.coords[0], drawable(one.values[metric], log_height), one.evaluated)
            for color, (split, one) in zip(_COLORS, curves.items(), strict=False)
        ]
        lines = [Series(x, y, split, color) for split, color, x, y, _ in drawn]
        points = [Series(x[m], y[m], "", color, "points", width=1.5, opacity=0.9) for _, color, x, y, m in drawn]
        return Curves([*lines, *points], x=x_label, y=metric, log=scale(log_height))

    @study.view(on="curves_picture")
    def barrier_picture(
        sampled_barriers: Barriers,
        curves: Landscapes,
        metric: str,
        log_height: bool,
        barriers: Barriers | None = None,
    ) -> Curves:
        return _barrier_picture(barriers or sampled_barriers, curves, metric, log_height)

    @study.view(on="curves_picture")
    def alpha_picture(alpha: float, curves: Landscapes, metric: str, log_height: bool) -> Curves:
        return Curves(marks_at(alpha, zip(_COLORS, curves.values(), strict=False), metric, log_height))

    @study.view
    def reading(here: dict[str, dict[str, float]], alpha: float) -> Words:
        told = "; ".join(
            f"{split} " + ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            for split, values in here.items()
        )
        return Words(f"{told} (measured)", title=f"alpha {alpha:.3g}")


def _barrier_picture(found: Barriers, curves: Landscapes, metric: str, log_height: bool) -> Curves:
    """What the first barrier rises above, and how far; all of them in words."""
    split, one = next(iter(curves.items()))
    first = found[split]
    shown = isinstance(first, Barrier) and first.metric == metric
    return Curves(_barrier_series(first, one, log_height) if shown else [], caption=_barrier_words(found))  # type: ignore[arg-type]


def _add_checks(study: Study) -> None:
    @study.check
    def ends_reproduce(path: Subspace, objectives: dict[str, Objective], curves: Landscapes) -> Check:
        """The ends are the two models."""
        return checks.reproduces(next(iter(objectives.values())), path, next(iter(curves.values())))

    @study.check
    def is_deterministic(path: Subspace, objectives: dict[str, Objective]) -> Check:
        """The data are the same in every pass."""
        return checks.deterministic(next(iter(objectives.values())), path.vertices[0])

    @study.check
    def models_differ(path: Subspace) -> Check:
        """The models are two."""
        return checks.apart(path)

    checks.add_sampled(study, "curves")


def _path(a: Source | Subspace, b: Source | None) -> Subspace:
    """The line from a to b, or the path given as a."""
    if isinstance(a, Subspace):
        if b is not None:
            raise TypeError("CurveExplorer: b must be left out with a path, got both. Pass two models, or one path.")
        if len(a.axes) != 1:
            raise ValueError(
                f"CurveExplorer: path must have one coordinate, got {len(a.axes)}. Use SurfaceExplorer for two, or a "
                "line of it."
            )
        return a
    if b is None:
        raise TypeError("CurveExplorer: b must be the model at alpha 1, got none. Pass a second model, or a path.")
    return Line(a, b)


def _barrier_series(found: Barrier, curve: Landscape, log_height: bool) -> list[Series]:
    """The reference line of the definition, and the height above it."""
    alphas, values = curve.coords[0], curve.values[found.metric]
    inside = (alphas >= 0) & (alphas <= 1)
    t, ends = alphas[inside], values[inside][[0, -1]]
    foot = float(reference(found.kind, np.array([found.alpha]), *ends)[0])
    height = drawable([foot, foot + found.value], log_height)
    return [
        Series(t, drawable(reference(found.kind, t, *ends), log_height), "", GRAY, "dashed", width=1.0),
        Series([found.alpha] * 2, height, "", GRAY, width=2.5),
    ]


def _barrier_words(barriers: Barriers) -> str:
    told = [f"{split}: {b}" if isinstance(b, str) else f"{split} {_figures(b)}" for split, b in barriers.items()]
    first = next((b for b in barriers.values() if isinstance(b, Barrier)), None)
    what = f"Barrier of the {first.metric}, {first.definition}: " if first else "No barrier: "
    return what + "; ".join(told)


def _figures(barrier: Barrier) -> str:
    figures = f"{barrier.value:.5g} ± {barrier.error:.1g} at alpha {barrier.alpha:.4g}"
    if barrier.evaluations:
        figures += f", polished by {barrier.evaluations} evaluation{'s' * (barrier.evaluations > 1)}"
    return f"{figures}, may miss bumps narrower than {barrier.gap:.2g}"
