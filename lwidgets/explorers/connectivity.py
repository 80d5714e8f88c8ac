"""Are two models connected? Straight, modulo symmetries, and by a trained curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from html import escape
from typing import Any

import ipywidgets as W
from torch import nn

from lwidgets.barrier import BARRIER_KINDS, Barrier, BarrierKind
from lwidgets.connectivity.connect import CONNECTORS, connect
from lwidgets.distances import l2
from lwidgets.explorers import checks
from lwidgets.explorers.curve import TOLERANCE_HELP, alpha_marks, barrier_or_why
from lwidgets.explorers.examples import Examples
from lwidgets.explorers.layers import Mixture
from lwidgets.explorers.route import Route
from lwidgets.explorers.splits import splits
from lwidgets.landscape import Landscape, drawable
from lwidgets.objective import Objective
from lwidgets.palette import BLUE, GREEN, ORANGE, VERMILLION
from lwidgets.parameters import Source, State
from lwidgets.sampling import stream
from lwidgets.sampling.polish import polish_barrier
from lwidgets.study import Check, Study, together
from lwidgets.subspaces import Bezier, Chain, Grouping, Layerwise, Line, Plane, Simplex, Subspace
from lwidgets.symmetry import Spec
from lwidgets.symmetry.align import ALIGN_METHODS, Alignment, align, symmetries_of
from lwidgets.symmetry.repair import repair as repaired
from lwidgets.widgets.height_field import HeightField, frame_of
from lwidgets.widgets.line_plot import LinePlot, Series
from lwidgets.widgets.study import StudyWidget

NONE = "none"
_STRAIGHT, _ALIGNED, _REPAIRED, _CURVED = "straight", "aligned", "repaired", "curved"
_COLORS = {_STRAIGHT: BLUE, _ALIGNED: VERMILLION, _REPAIRED: ORANGE, _CURVED: GREEN}
_PIXELS, _PLANE_TOLERANCE = 33, 2e-2  # of the plane
_SIDE_BY_SIDE = "repeat(auto-fit, minmax(min(420px, 100%), 1fr))"  # where there is room
_SAME = 1e-6  # change of outputs, relative, by a reparametrisation in float32

Why = str
"""In place of what cannot be had: the reason, for the person."""


class ConnectivityExplorer(StudyWidget):
    """Two models or more of one architecture: the barrier between them as they are, and once symmetries are taken out.

    The paths are drawn on one axis: straight from a to b, straight from a to b as aligned, and a trained curve. Beside
    them the plane through a, b and the aligned b; below them barriers and distances, and the symmetries with their
    certificate.

    Traits (all keywords of the constructor): first and second, which models, where there are more than two; alignment,
    "none" or a method of `align`; curve, "none", "bezier" or "chain", trained when first asked for; repair, whether
    layers keep their statistics on the way; alpha; data; metric; barrier, its definition; plane, whether it is drawn;
    by_layer, and mix, an alpha for each layer; by_example, which examples make the barrier; resolution; tolerance; log.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(hidden=(16,), steps=60)
        >>> explorer = lw.ConnectivityExplorer(objective, a, b, alignment="weights", plane=False)
        >>> explorer.wait(120), sorted(explorer.barriers)
        (True, ['aligned', 'straight'])
        >>> explorer.barriers["aligned"].value < explorer.barriers["straight"].value
        True
        >>> explorer.close()
    """

    def __init__(
        self,
        objective: Objective,
        *models: Source,
        test: Any = None,
        spec: Spec | None = None,
        by: Grouping = "layer",
        title: str = "",
        **sliders: Any,
    ) -> None:
        """Explore how two models are connected.

        Args:
            objective: Of their architecture; the symmetries are derived, and curves trained, on its data.
            *models: a, the model at alpha 0: module, state dict or checkpoint; b, the model at alpha 1, which is
                aligned with a; and any others, of which first and second then choose two.
            test: Held-out data, where the objective has none.
            spec: Symmetries to align by, where they are not to be derived.
            by: What has an alpha of its own layer by layer; see `Layerwise`.
            title: Shown above.
            **sliders: Where the sliders start.

        Raises:
            TypeError: There are fewer than two models.
            ValueError: A model does not fit the first; the message has the key.
        """
        if len(models) < 2:
            raise TypeError(
                f"ConnectivityExplorer: models must be two or more, got {len(models)}. "
                "Pass ConnectivityExplorer(objective, a, b)."
            )
        self._objective, self._given, self._by = objective, spec, by
        self._objectives = splits(objective, test)
        fitted = Simplex(*models).bound(objective.space, objective.device).vertices
        self._models = {vertex.label.partition(":")[0]: vertex for vertex in fitted}
        self._mixture, self._examples = Mixture(), Examples(_COLORS)
        self._frames = 0
        self.plot = LinePlot("alpha (0 = a, 1 = b)", height="360px")
        self.height_field = HeightField(description="Plane through the models", panes=["map"])
        self.plane_box = W.VBox(layout=W.Layout(min_width="280px"))
        self.table, self.symmetries = W.HTML(), W.HTML()
        self.pictures = W.GridBox([W.VBox([self.plot, self.table]), self.plane_box], layout=W.Layout(width="100%"))
        super().__init__(self._study(title), **sliders)

    @property
    def landscapes(self) -> dict[str, Landscape]:
        """The curve on each path there is: "straight", and where asked for "aligned", "repaired", "curved"; waits."""
        return dict(self.latest("losses"))

    @property
    def barriers(self) -> dict[str, Barrier]:
        """Their barriers, of the definition chosen; polished by exact evaluations."""
        found: Mapping[str, Barrier | Why] = self.latest("barriers")
        return {name: barrier for name, barrier in found.items() if isinstance(barrier, Barrier)}

    @property
    def alignment_found(self) -> Alignment | None:
        """The aligned model, its element and certificate; None without an alignment."""
        found: Alignment | Why | None = self.latest("aligned")
        return found if isinstance(found, Alignment) else None

    @property
    def path(self) -> Bezier | Chain | None:
        """The trained curve; None where there is none."""
        found: Bezier | Chain | None = self.latest("curved")
        return found

    def model_at(self, alpha: float, path: str = _STRAIGHT) -> nn.Module:
        """The model at an alpha of a path, "straight", "aligned", "repaired" or "curved", as a new module in eval mode.

        Raises:
            ValueError: There is no such path at the present sliders.
        """
        paths: Mapping[str, Route] = self.latest("paths")
        if path not in paths:
            raise ValueError(
                f"ConnectivityExplorer.model_at: path must be one of {', '.join(paths)}, got {path!r}. "
                "Choose an alignment or a curve first."
            )
        route = paths[path]
        objective = next(iter(route.objectives.values()))
        return objective.model_at(route.path.point([alpha]), objective.resolve(route.path.between_models))

    def close(self) -> None:
        """Close what is on the page only while it is drawn, too."""
        if self._open:
            self.height_field.close()
            self._mixture.close()
            self._examples.close()
        super().close()

    def summary(self) -> str:
        """Of the curves for the status bar."""
        try:
            curves = self.study["losses"]
        except KeyError:
            return ""
        return "; ".join(f"{name}: {one.accuracy(self.metric, log=self.log)}" for name, one in curves.items())

    def _study(self, title: str) -> Study:
        study = Study(title or "Are they connected?")
        self._add_sliders(study)
        self._add_paths(study)
        self._add_curves(study)
        self._add_plane(study)
        self._add_layers(study)
        self._add_words(study)
        self._add_checks(study)
        return study

    def _add_sliders(self, study: Study) -> None:
        names, letters = self._objective.names, tuple(self._models)
        if len(letters) > 2:
            study.slider("first", letters[0], options=letters, help="The model at alpha 0")
            study.slider("second", letters[1], options=letters, help="The model at alpha 1, which is aligned")
        study.slider(
            "alignment", NONE, options=(NONE, *ALIGN_METHODS), help="How b is moved, by symmetries alone, towards a"
        )
        study.slider(
            "curve",
            NONE,
            options=(NONE, *CONNECTORS),
            label="trained curve",
            help="From a to b, or to b as aligned; trained when it is first asked for",
        )
        study.slider("repair", False, help="Give every layer, at every alpha, the statistics between those of the ends")
        study.slider("alpha", 0.5, low=0.0, high=1.0, step=0.01, help="Position on every path")
        study.slider("data", next(reversed(self._objectives)), options=tuple(self._objectives))
        study.slider("metric", names[0], options=names)
        study.slider(
            "barrier",
            "excess",
            options=BARRIER_KINDS,
            help="Over the chord, over the mean of the ends, or of the error",
        )
        study.slider("resolution", 33, low=9, high=129, step=8, limits=(3, 4097), help="Points of each curve")
        study.slider("tolerance", 1e-3, low=0.0, high=1.0, help=TOLERANCE_HELP)
        study.slider(
            "plane", True, help="The surface over the plane through a, b, and b as aligned or the curve's bend"
        )
        study.slider("log", False, label="log height")

    def _add_paths(self, study: Study) -> None:
        """What there is between the models, whatever is measured on it."""
        objective, objectives, models = self._objective, self._objectives, self._models

        if len(models) > 2:

            @study.node(keep=64)
            def ends(first: str, second: str) -> tuple[State, State]:
                return models[first], models[second]

        else:

            @study.node(keep=1)
            def ends() -> tuple[State, State]:  # type: ignore[misc]
                a, b = models.values()
                return a, b

        @study.node(keep=1)
        def symmetries() -> Spec | Why:
            if self._given is not None:
                return self._given
            try:
                return symmetries_of(objective, objective.model_at(next(iter(models.values()))))
            except (ValueError, TypeError, RuntimeError) as error:  # the straight line is still there to be seen
                return str(error)

        @study.node(keep=16)
        def aligned(
            alignment: str, ends: tuple[State, State], symmetries: Spec | Why, progress: Any
        ) -> Alignment | Why | None:
            if alignment == NONE:
                return None
            if isinstance(symmetries, str):
                return symmetries
            try:
                return align(*ends, objective, alignment, spec=symmetries, progress=progress)  # type: ignore[arg-type]
            except (ValueError, TypeError) as error:
                return str(error)

        @study.node(keep=16)
        def curved(
            curve: str, ends: tuple[State, State], aligned: Alignment | Why | None, progress: Any
        ) -> Bezier | Chain | None:
            if curve == NONE:
                return None
            return connect(objective, *_nearest(ends, aligned), curve, progress=progress)  # type: ignore[arg-type]

        @study.node(keep=16)
        def paths(
            ends: tuple[State, State],
            aligned: Alignment | Why | None,
            repair: bool,
            curved: Bezier | Chain | None,
        ) -> dict[str, Route]:
            found = {_STRAIGHT: _line(objectives, *ends)}
            if isinstance(aligned, Alignment):
                found[_ALIGNED] = _line(objectives, ends[0], aligned.state)
            if repair:
                by, first, last = repaired(objective, *_nearest(ends, aligned))
                found[_REPAIRED] = _line(
                    {data: one.with_model(by.module, batchnorm="recalibrate") for data, one in objectives.items()},
                    first,
                    last,
                )
            if curved is not None:
                found[_CURVED] = Route(curved, objectives)
            return found

    def _add_curves(self, study: Study) -> None:
        """Metrics on every path, and the barriers."""

        @study.node(keep=64)
        def losses(
            paths: dict[str, Route], data: str, resolution: int, tolerance: float, log: bool, progress: Any
        ) -> Iterator[dict[str, Landscape]]:
            options: dict[str, Any] = {"resolution": resolution, "tolerance": tolerance, "log": log}
            yield from together(
                {
                    name: stream(route.objectives[data], route.path, progress=progress, **options)
                    for name, route in paths.items()
                }
            )

        @study.node(keep=64)
        def barriers(
            paths: dict[str, Route],
            losses: dict[str, Landscape],
            data: str,
            metric: str,
            barrier: BarrierKind,
            progress: Any,
        ) -> Iterator[dict[str, Barrier | Why]]:
            asked = None if barrier == "error" else metric
            found = {name: barrier_or_why(one.barrier, asked, barrier) for name, one in losses.items()}
            yield dict(found)
            for name, sampled in found.items():
                if isinstance(sampled, Barrier):
                    known: dict[str, Any] = {"metric": sampled.metric, "kind": sampled.kind, "progress": progress}
                    found[name] = barrier_or_why(
                        polish_barrier, paths[name].objectives[data], paths[name].path, losses[name], **known
                    )
            yield dict(found)

        @study.view(widget=self.pictures)
        def draw(losses: dict[str, Landscape], metric: str, log: bool) -> None:
            self.plot.label(metric, log=log)
            lines = [
                Series(one.coords[0], drawable(one.values[metric], log), name, _COLORS[name])
                for name, one in losses.items()
            ]
            self.plot.fit([0.0, 1.0], *(line.y for line in lines))
            self.plot.draw("curves", lines)

        @study.view
        def draw_alpha(alpha: float, losses: dict[str, Landscape], metric: str, log: bool) -> None:
            shown = [(_COLORS[name], one) for name, one in losses.items()]
            self.plot.draw("alpha", alpha_marks(alpha, shown, metric, log))

    def _add_plane(self, study: Study) -> None:
        """The plane through a, b and the aligned b; or through a, b and the bend of a curve."""
        objective, objectives = self._objective, self._objectives

        @study.node(keep=16)
        def through(
            plane: bool, ends: tuple[State, State], aligned: Alignment | Why | None, curved: Bezier | Chain | None
        ) -> Subspace | None:
            if not plane:
                return None
            if isinstance(aligned, Alignment) and aligned.before > 0 and _moved(aligned):
                third, letter = aligned.state, "b aligned"
            elif curved is not None and curved.bends:
                third, letter = curved.bends[0], "bend"
            else:
                return None
            made = Plane.through(*ends, third).bound(objective.space, objective.device)
            named = replace(made.vertices[2], label=f"{letter}: {third.label}")
            axis = replace(made.axes[1], label=f"y (0 = a, 1 = {letter})")
            return replace(made, vertices=(*made.vertices[:2], named), axes=(made.axes[0], axis))

        @study.node(keep=16)
        def surface(through: Subspace | None, data: str, log: bool, progress: Any) -> Iterator[Landscape | None]:
            if through is None:
                yield None
                return
            yield from stream(
                objectives[data],
                through,
                resolution=_PIXELS,
                tolerance=_PLANE_TOLERANCE,
                log=log,
                progress=progress,
            )

        @study.view
        def draw_plane(surface: Landscape | None, through: Subspace | None, metric: str, log: bool) -> None:
            self.plane_box.children = [] if surface is None else [self.height_field]
            self.pictures.layout.grid_template_columns = "100%" if surface is None else _SIDE_BY_SIDE
            if surface is None or through is None:
                return
            self._frames += 1
            self.height_field.frame = frame_of(surface, metric, log=log, tag=self._frames)
            self.height_field.markers = [
                {"x": x, "y": y, "label": vertex.label.partition(":")[0]} for (x, y), vertex in through.models.items()
            ]

    def _add_layers(self, study: Study) -> None:
        """Layer by layer from a to b, or to b as aligned; and example by example."""
        objective = self._objective
        a, b, *_ = self._models.values()
        names = Layerwise(a, b, self._by).names
        study.slider("by_layer", False, help="A slider for every layer, from a to b, or to b as aligned")

        @study.node(keep=16)
        def layers(by_layer: bool, ends: tuple[State, State], aligned: Alignment | Why | None) -> Layerwise | None:
            if not by_layer:
                return None
            first, last = _nearest(ends, aligned)
            return Layerwise(first, last, self._by).bound(objective.space, objective.device)

        self._mixture.add_to(study, self._objectives, names, when="by_layer")
        self._examples.add_to(study)

    def _add_words(self, study: Study) -> None:
        """Barriers and distances as a table; symmetries and their certificate."""

        @study.view
        def tell(
            barriers: dict[str, Barrier | Why],
            losses: dict[str, Landscape],
            paths: dict[str, Route],
            aligned: Alignment | Why | None,
            alpha: float,
            metric: str,
        ) -> None:
            rows = [_row(name, barriers[name], losses[name], paths[name].path, alpha, metric) for name in losses]
            shown = next((one for one in barriers.values() if isinstance(one, Barrier)), None)
            title = (
                f"Barrier of the {shown.metric} on the {_data(shown.split)}: {shown.definition}"
                if shown
                else "No barrier"
            )
            self.table.value = _table(rows, title, metric, alpha, aligned if isinstance(aligned, str) else "")
            heights = (
                f"{name} {b.value:.4g}" if isinstance(b, Barrier) else f"{name}: {b}" for name, b in barriers.items()
            )
            self.plot.describe(f"Barriers: {'; '.join(heights)}.")

        @study.view(widget=self.symmetries)
        def tell_symmetries(symmetries: Spec | Why, aligned: Alignment | Why | None) -> None:
            self.symmetries.value = _symmetries(symmetries, aligned if isinstance(aligned, Alignment) else None)

    def _add_checks(self, study: Study) -> None:
        objective = self._objective

        @study.check
        def ends_reproduce(paths: dict[str, Route], losses: dict[str, Landscape], data: str) -> Check:
            """The ends are the two models."""
            return checks.reproduces(self._objectives[data], paths[_STRAIGHT].path, losses[_STRAIGHT])

        @study.check
        def aligned_is_b(aligned: Alignment | Why | None) -> Check:
            """The aligned model computes what b does."""
            if not isinstance(aligned, Alignment):
                return Check("warn", aligned) if aligned else Check("info", "no alignment is chosen")
            return Check.that(aligned.change <= _SAME, f"outputs changed by {aligned.change:.1e} of their size")

        @study.check
        def certified(symmetries: Spec | Why) -> Check:
            """The symmetries are certified."""
            if isinstance(symmetries, str):
                return Check("warn", symmetries)
            certificate = symmetries.certificate
            if certificate is None:
                return Check("warn", "they were given, and not checked")
            told = f"{certificate.elements} random elements change outputs by at most {certificate.error:.1e}"
            if symmetries.pinned:
                told += f"; no rule for {', '.join(sorted({pin.op for pin in symmetries.pinned}))}"
            return Check.that(certificate.error <= certificate.tolerance, told)

        @study.check
        def is_deterministic() -> Check:
            """The data are the same in every pass."""
            return checks.deterministic(objective, next(iter(self._models.values())))

        @study.check
        def models_differ(paths: dict[str, Route]) -> Check:
            """The models are two."""
            return checks.apart(paths[_STRAIGHT].path)

        @study.check
        def statistics(losses: dict[str, Landscape]) -> Check:
            """BatchNorm."""
            return checks.batchnorm_mode(losses[_STRAIGHT])

        @study.check
        def all_finite(losses: dict[str, Landscape]) -> Check:
            """Every value is finite."""
            return checks.finite(*losses.values())

        @study.check
        def error_known(losses: dict[str, Landscape], tolerance: float) -> Check:
            """The interpolation error meets the tolerance."""
            return checks.error_estimate(tolerance, *losses.values())


def _line(objectives: Mapping[str, Objective], a: State, b: State) -> Route:
    one = next(iter(objectives.values()))
    return Route(Line(a, b).bound(one.space, one.device), objectives)


def _nearest(ends: tuple[State, State], aligned: Alignment | Why | None) -> tuple[State, State]:
    """The two models, the second as aligned where it is."""
    return (ends[0], aligned.state) if isinstance(aligned, Alignment) else ends


def _moved(aligned: Alignment) -> bool:
    """Whether the alignment is another point; the plane through it is none otherwise."""
    return aligned.after != aligned.before


def _row(
    name: str, barrier: Barrier | Why, loss: Landscape, path: Subspace, alpha: float, metric: str
) -> tuple[str, ...]:
    """A path's cells: its barrier and where, the metric at alpha, how far its ends are apart."""
    first, *_, last = path.models.values()
    apart = l2(first, last, path.space.moved)
    if isinstance(barrier, Barrier):
        told = (f"{barrier.value:.4g} ± {barrier.error:.1g}", f"alpha {barrier.alpha:.3g}" if barrier.value else "")
    else:
        told = (barrier, "")
    return (name, *told, f"{loss.at(alpha)[metric]:.4g}", f"{apart:.4g}")


def _table(rows: list[tuple[str, ...]], title: str, metric: str, alpha: float, why: str) -> str:
    """Barriers and distances as HTML; each row has the colour of its curve."""
    left = "padding: 0 8px; text-align: left"
    head = ("path", "barrier", "where", f"{metric} at {alpha:.3g}", "L2 distance")
    cells = "".join(f'<th scope="col" style="{left}">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row" style="{left}; border-left: 6px solid {_COLORS[name]}">{escape(name)}</th>'
        + "".join(f'<td style="{left}; white-space: nowrap">{escape(cell)}</td>' for cell in row)
        + "</tr>"
        for name, *row in rows
    )
    note = f'<p role="alert" style="margin: 4px 12px"><b>No alignment.</b> {escape(why)}</p>' if why else ""
    return (
        f'{note}<div style="overflow-x: auto; margin: 4px 12px; line-height: 1.5"><table class="lwidgets-readout">'
        f'<caption style="{left}">{escape(title)}</caption><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _data(split: str) -> str:
    return "data" if split == "data" else f"{split} data"


def _symmetries(found: Spec | Why, aligned: Alignment | None) -> str:
    if isinstance(found, str):
        return ""
    count = sum(1 for group in found.groups.values() if group.level.value != "fixed")
    sure = "not certified" if found.certificate is None else f"certified to {found.certificate.error:.0e}"
    by = f"; {escape(repr(aligned))}" if aligned else ""
    return (
        '<details style="margin: 0 12px"><summary style="cursor: pointer">'
        f"Symmetries: {count} group{'s' * (count != 1)}, {sure}{by}</summary>"
        f'<pre style="overflow: auto; max-height: 320px; line-height: 1.35">{escape(found.table())}</pre></details>'
    )
