"""The loss on the line between two models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from html import escape
from typing import Any

import ipywidgets as W
import numpy as np
from torch import nn

from lwidgets.barrier import BARRIER_KINDS, Barrier, BarrierKind, reference
from lwidgets.explorers import checks
from lwidgets.explorers.splits import splits
from lwidgets.landscape import Landscape, drawable
from lwidgets.objective import Objective
from lwidgets.palette import BLUE, GRAY, VERMILLION
from lwidgets.parameters import Source
from lwidgets.progress import Progress
from lwidgets.sampling import stream
from lwidgets.sampling.identity import version
from lwidgets.sampling.measure import measured
from lwidgets.sampling.polish import polish_barrier
from lwidgets.study import Check, Study, together
from lwidgets.subspaces import Line, Subspace
from lwidgets.widgets.line_plot import LinePlot, Series
from lwidgets.widgets.study import StudyWidget

_COLORS = (BLUE, VERMILLION)
TOLERANCE_HELP = "Largest error of an interpolated value, relative to the range; 0 measures all"


class CurveExplorer(StudyWidget):
    """Drag alpha from one model to the other: metrics on the way, training and test data together, and the barrier.

    Traits (all keywords of the constructor): alpha; span, how far the line goes, (low, high) around [0, 1]; resolution;
    metric; log; barrier, its definition; tolerance, of the interpolation.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(steps=20)
        >>> explorer = lw.CurveExplorer(objective, a, b, alpha=0.25)
        >>> explorer.wait(60), explorer.landscape.shape
        (True, (65,))
        >>> explorer.close()
    """

    def __init__(
        self,
        objective: Objective,
        a: Source | Subspace,
        b: Source | None = None,
        *,
        test: Any = None,
        title: str = "",
        **sliders: Any,
    ) -> None:
        """Explore the line between two models, or another path.

        Args:
            objective: What to evaluate; with test data of its own, both are drawn.
            a: The model at alpha 0: module, state dict or checkpoint. Or a path of one coordinate, such as
                ``lw.connect(objective, a, b)`` or ``lw.Layerwise(a, b).line("fc1")``.
            b: The model at alpha 1; none with a path.
            test: Held-out data, where the objective has none.
            title: Shown above.
            **sliders: Where the sliders start.

        Raises:
            TypeError: b is missing, or there beside a path.
            ValueError: A subspace of more than one coordinate.
        """
        path = _path(a, b)
        objective, joined = objective.suited(lambda own: path.bound(own.space, own.device))
        self._objectives = splits(objective, test)
        self.plot = LinePlot(joined.labels[0])
        self.readout = W.HTML()
        super().__init__(self._study(objective, joined, title), **sliders)

    @property
    def landscape(self) -> Landscape:
        """The curve on the objective's own data for the present sliders; waits for it."""
        return next(iter(self.landscapes.values()))

    @property
    def landscapes(self) -> dict[str, Landscape]:
        """The curve on each data split."""
        return dict(self.latest("curves"))

    @property
    def barriers(self) -> dict[str, Barrier]:
        """The barrier on each data split, of the definition chosen; polished by exact evaluations."""
        return dict(self.latest("barriers"))

    def model_at(self, point: float) -> nn.Module:
        """The model at an alpha as a new module in eval mode, BatchNorm recalibrated where the curve's is."""
        objective = next(iter(self._objectives.values()))
        line = self.latest("line")
        return objective.model_at(line.point(np.atleast_1d(point)), objective.resolve(line.between_models))

    def summary(self) -> str:
        """Of the curves for the status bar."""
        curves = self.study.get("curves", {})
        return "; ".join(f"{split}: {one.accuracy(self.metric, log=self.log)}" for split, one in curves.items())

    def _study(self, objective: Objective, joined: Subspace, title: str) -> Study:
        objectives, names = self._objectives, objective.names
        study = Study(
            title or ("Loss between two models" if joined.kind == "line" else "Loss along a path"),
            version=partial(version, objective),
        )
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
        study.slider("metric", names[0], options=names)
        study.slider(
            "barrier",
            "excess",
            options=BARRIER_KINDS,
            help="Over the chord, over the mean of the ends, or of the error",
        )
        study.slider("tolerance", 1e-3, low=0.0, high=1.0, help=TOLERANCE_HELP)
        study.slider("log", False, label="log height")

        @study.node(keep=1)
        def line(span: tuple[float, float]) -> Subspace:
            return joined.over(span)

        @study.node(keep=64)
        def curves(
            line: Subspace, resolution: int, tolerance: float, log: bool, progress: Progress
        ) -> Iterator[dict[str, Landscape]]:
            yield from together(
                {
                    split: stream(one, line, resolution=resolution, tolerance=tolerance, log=log, progress=progress)
                    for split, one in objectives.items()
                }
            )

        @study.node(keep=64)
        def sampled_barriers(
            curves: dict[str, Landscape], metric: str, barrier: BarrierKind
        ) -> dict[str, Barrier | str]:
            return {
                split: barrier_or_why(one.barrier, None if barrier == "error" else metric, barrier)
                for split, one in curves.items()
            }

        @study.node(keep=64)
        def here(line: Subspace, alpha: float, progress: Progress) -> Iterator[dict[str, dict[str, float]]]:
            found = {}
            for i, (split, one) in enumerate(objectives.items()):
                progress(i, len(objectives))
                found[split] = measured(one, line, [alpha])
            yield found

        @study.node(keep=64)
        def barriers(
            sampled_barriers: dict[str, Barrier | str], curves: dict[str, Landscape], line: Subspace, progress: Progress
        ) -> Iterator[dict[str, Barrier | str]]:
            found = dict(sampled_barriers)
            for split, sampled in sampled_barriers.items():
                if isinstance(sampled, Barrier):
                    found[split] = barrier_or_why(
                        polish_barrier,
                        objectives[split],
                        line,
                        curves[split],
                        metric=sampled.metric,
                        kind=sampled.kind,
                        progress=progress,
                    )
                yield dict(found)

        @study.view(widget=self.plot)
        def draw_curves(curves: dict[str, Landscape], metric: str, log: bool) -> None:
            self.plot.label(metric, log=log)
            lines, points = [], []
            for color, (split, one) in zip(_COLORS, curves.items(), strict=False):
                x, y = one.coords[0], drawable(one.values[metric], log)
                lines.append(Series(x, y, split, color))
                points.append(Series(x[one.evaluated], y[one.evaluated], "", color, "points", width=1.5, opacity=0.9))
            self.plot.fit(next(iter(curves.values())).coords[0], *(one.y for one in lines))
            self.plot.draw("curves", lines + points)

        def paint(found: dict[str, Barrier | str], curves: dict[str, Landscape], metric: str, log: bool) -> None:
            split, one = next(iter(curves.items()))
            first, series = found[split], []
            if isinstance(first, Barrier) and first.metric == metric:
                series = _barrier_series(first, one, log)
            self.plot.draw("barrier", series)
            self.plot.describe(_barrier_words(found))

        @study.view
        def draw_sampled_barrier(
            sampled_barriers: dict[str, Barrier | str], curves: dict[str, Landscape], metric: str, log: bool
        ) -> None:
            paint(sampled_barriers, curves, metric, log)

        @study.view
        def draw_barrier(
            barriers: dict[str, Barrier | str], curves: dict[str, Landscape], metric: str, log: bool
        ) -> None:
            paint(barriers, curves, metric, log)

        @study.view
        def draw_alpha(alpha: float, curves: dict[str, Landscape], metric: str, log: bool) -> None:
            self.plot.draw("alpha", alpha_marks(alpha, zip(_COLORS, curves.values(), strict=False), metric, log))

        @study.view(widget=self.readout)
        def read_alpha(here: dict[str, dict[str, float]], alpha: float) -> None:
            told = "; ".join(
                f"{split} " + ", ".join(f"{n} {v:.4g}" for n, v in values.items()) for split, values in here.items()
            )
            self.readout.value = (
                '<div class="lwidgets-readout" aria-live="polite" style="margin: 0 12px">'
                f"<b>alpha {alpha:.3g}</b>: {escape(told)} (measured)</div>"
            )

        own = next(iter(objectives.values()))

        @study.check
        def ends_reproduce(curves: dict[str, Landscape]) -> Check:
            """The ends are the two models."""
            return checks.reproduces(own, joined, next(iter(curves.values())))

        @study.check
        def is_deterministic() -> Check:
            """The data are the same in every pass."""
            return checks.deterministic(own, joined.vertices[0])

        @study.check
        def models_differ() -> Check:
            """The models are two."""
            return checks.apart(joined)

        checks.add_sampled(study, "curves")

        return study


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


def alpha_marks(alpha: float, curves: Iterable[tuple[str, Landscape]], metric: str, log: bool) -> list[Series]:
    """A rule at alpha, as high as the curves, and a dot on each curve that goes there; curves with their colours."""
    drawn = [(color, one, drawable(one.values[metric], log)) for color, one in curves]
    low, high = (
        f([f(y[np.isfinite(y)], initial=s) for _, _, y in drawn]) for f, s in ((np.min, np.inf), (np.max, -np.inf))
    )
    dots = [
        Series([alpha], drawable([one.at(alpha)[metric]], log), "", color, "points", width=10)
        for color, one, _ in drawn
        if one.coords[0][0] <= alpha <= one.coords[0][-1]
    ]
    return [Series([alpha, alpha], [low, high], "", GRAY, "dashed", width=1.0), *dots]


def barrier_or_why(find: Callable[..., Barrier], *arguments: Any, **options: Any) -> Barrier | str:
    """A barrier, or why there is none: the picture is right, and the caption tells."""
    try:
        return find(*arguments, **options)
    except ValueError as error:
        return str(error)


def _barrier_series(found: Barrier, curve: Landscape, log: bool) -> list[Series]:
    """The reference line of the definition, and the height above it."""
    alphas, values = curve.coords[0], curve.values[found.metric]
    inside = (alphas >= 0) & (alphas <= 1)
    t, ends = alphas[inside], values[inside][[0, -1]]
    foot = float(reference(found.kind, np.array([found.alpha]), *ends)[0])
    return [
        Series(t, drawable(reference(found.kind, t, *ends), log), "", GRAY, "dashed", width=1.0),
        Series([found.alpha] * 2, drawable([foot, foot + found.value], log), "", GRAY, width=2.5),
    ]


def _barrier_words(barriers: dict[str, Barrier | str]) -> str:
    told = [f"{split}: {b}" if isinstance(b, str) else f"{split} {_figures(b)}" for split, b in barriers.items()]
    first = next((b for b in barriers.values() if isinstance(b, Barrier)), None)
    what = f"Barrier of the {first.metric}, {first.definition}: " if first else "No barrier: "
    return what + "; ".join(told)


def _figures(barrier: Barrier) -> str:
    figures = f"{barrier.value:.5g} ± {barrier.error:.1g} at alpha {barrier.alpha:.4g}"
    if barrier.evaluations:
        figures += f", polished by {barrier.evaluations} evaluation{'s' * (barrier.evaluations > 1)}"
    return f"{figures}, may miss bumps narrower than {barrier.gap:.2g}"
