"""Are two models connected? Straight, modulo symmetries, and by a trained curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from html import escape
from typing import Any

import ipywidgets as W
from torch import nn

from lwidgets.barrier import BARRIER_KINDS, Barrier, BarrierKind
from lwidgets.distances import l2
from lwidgets.explorers import checks
from lwidgets.explorers.curve import TOLERANCE_HELP, alpha_marks, barrier_or_why
from lwidgets.explorers.examples import Examples
from lwidgets.explorers.mixture import Layers, Mixture
from lwidgets.explorers.paths import ALIGNED, CURVED, REPAIRED, STRAIGHT, Why, add_paths, add_sliders
from lwidgets.explorers.plane import PLANE, PlaneBeside
from lwidgets.explorers.route import Place, Route, inherited
from lwidgets.explorers.splits import in_words, splits
from lwidgets.explorers.tables import alert, table
from lwidgets.gradients import prepare_to_train
from lwidgets.landscape import Landscape, drawable
from lwidgets.objective import Objective
from lwidgets.palette import BLUE, GREEN, ORANGE, VERMILLION
from lwidgets.parameters import Source
from lwidgets.progress import Progress
from lwidgets.sampling import stream
from lwidgets.sampling.identity import version
from lwidgets.sampling.polish import polish_barrier
from lwidgets.study import Check, Study, together
from lwidgets.subspaces import Bezier, Chain, Grouping, Layerwise, Plane, Simplex, Subspace
from lwidgets.subspaces.remainders import told
from lwidgets.symmetry import Spec
from lwidgets.symmetry.align import Alignment
from lwidgets.symmetry.canonical import Coordinates
from lwidgets.symmetry.spec import HEAD
from lwidgets.widgets.height_field import path_of
from lwidgets.widgets.line_plot import LinePlot, Series
from lwidgets.widgets.study import StudyWidget

_COLORS = {STRAIGHT: BLUE, ALIGNED: VERMILLION, REPAIRED: ORANGE, CURVED: GREEN}
_SAME = 1e-6  # change of outputs, relative, by a reparametrisation in float32
_ROUNDED = 1e-4  # change of a loss, relative, by a rewriting of all layers in float32
_FREEDOM = (
    "What may be transformed while outputs stay as they are: tensor[dimension], with a star where the inverse acts."
)
_IN = {"original": "as they are", "folded": "folded", "circuits": "in circuits"}
_NOTES = {
    "folded": "Folded: what norms scale and shift is in the layers around them, and streams are centred. The models "
    "compute what they did; points between them are networks of this kind, and others than those between the models "
    "as they are.",
    "circuits": "In circuits: norms are folded, and every head is two products of its matrices. The models compute "
    "what they did, but points between them leave the architecture: the circuits of a head have up to twice its rank "
    "there.",
}


class ConnectivityExplorer(StudyWidget):
    """Two models or more of one architecture: the barrier between them as they are, and once symmetries are taken out.

    The paths are drawn on one axis: straight from a to b, straight from a to b as aligned, and a trained curve. Beside
    them the plane through a, b and the aligned b; below them barriers and distances, and the symmetries with their
    certificate.

    Transformers can be rewritten before they are aligned, see `lwidgets.symmetry.canonical`. Then everything but the
    straight path, which stays for comparison, lives in other coordinates: the aligned, repaired and trained paths, the
    plane, mixtures of layers. Ends compute what the models do; points between them are other networks, with "circuits"
    not even of the same architecture. A model that cannot be rewritten has its straight path, and the reason is told.

    Traits (all keywords of the constructor): first and second, which models, where there are more than two; alignment,
    "none" or a method of `align`; coordinates, "original", "folded" or "circuits"; curve, "none", "bezier" or "chain",
    trained when first asked for; repair, whether layers keep their statistics on the way; alpha; data; metric; barrier,
    its definition; plane, whether it is drawn; by_layer, and mix, an alpha for each layer; by_example, which examples
    make the barrier; resolution; tolerance; log.

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
            spec: Symmetries to align by, where they are not to be derived; those of the models as they are.
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
        prepare_to_train()
        self._given, self._by = spec, by
        simplex = Simplex(*models)
        objective, placed = objective.suited(lambda own: simplex.bound(own.space, own.device))
        self._place = Place(placed.vertices, splits(objective, test))
        self._mixture, self._examples = Mixture(), Examples(_COLORS)
        self.plot = LinePlot("alpha (0 = a, 1 = b)", height="360px")
        self.table, self.symmetries = W.HTML(), W.HTML()
        self._plane = PlaneBeside(W.VBox([self.plot, self.table]), "Plane through the models")
        self.height_field, self.plane_box = self._plane.height_field, self._plane.box
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
        found: Bezier | Chain | Why | None = self.latest("curved")
        return None if isinstance(found, str) else found

    def model_at(self, alpha: float, path: str = STRAIGHT) -> nn.Module:
        """The model at an alpha of a path, "straight", "aligned", "repaired" or "curved", as a new module in eval mode.

        In other coordinates it is a rewritten network on every path but the straight one: with layers and parameters of
        its own, which do not load into the models' class.

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

    def summary(self) -> str:
        """Of the curves for the status bar."""
        curves = self.study.get("losses", {})
        return "; ".join(f"{name}: {one.accuracy(self.metric, log=self.log)}" for name, one in curves.items())

    def _study(self, title: str) -> Study:
        study = Study(title or "Are they connected?", version=partial(version, *self._place.objectives.values()))
        self._add_sliders(study)
        add_paths(study, self._place, self._given)
        self._add_curves(study)
        self._add_plane(study)
        self._add_layers(study)
        self._add_words(study)
        self._add_checks(study)
        return study

    def _add_sliders(self, study: Study) -> None:
        names, objectives = self._place.objective.names, self._place.objectives
        add_sliders(study, self._place)
        study.slider("alpha", 0.5, low=0.0, high=1.0, step=0.01, help="Position on every path")
        study.slider("data", next(reversed([*objectives])), options=tuple(objectives))
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

    def _add_curves(self, study: Study) -> None:
        """Metrics on every path, and the barriers."""

        @study.node(keep=64)
        def losses(
            paths: dict[str, Route], data: str, resolution: int, tolerance: float, log: bool, progress: Progress
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
            progress: Progress,
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

        @study.view(widget=self._plane.pictures)
        def draw(
            losses: dict[str, Landscape], paths: dict[str, Route], pair: tuple[int, int], metric: str, log: bool
        ) -> None:
            first, second = (self._place.letters[i] for i in pair)
            origin, *_, last = paths[STRAIGHT].path.remainders
            self.plot.x_axis.label = told(f"alpha (0 = {first}, 1 = {second})", origin, last)
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

        @study.node(keep=16)
        def through(
            plane: bool, ends: Place | None, aligned: Alignment | Why | None, curved: Bezier | Chain | Why | None
        ) -> Subspace | None:
            if not plane or ends is None:
                return None
            if isinstance(aligned, Alignment) and aligned.before > 0 and _moved(aligned):
                third, letter = aligned.state, f"{ends.letters[1]} aligned"
            elif isinstance(curved, Bezier | Chain) and curved.bends:
                third, letter = curved.bends[0], "bend"
            else:
                return None
            a, b = ends.models
            made = Plane.through(a, b, third).bound(ends.objective.space, ends.objective.device)
            first, second = ends.letters
            vertices = (
                replace(vertex, label=f"{name}: {vertex.label.rpartition(': ')[2]}")
                for name, vertex in zip((first, second, letter), made.vertices, strict=True)
            )
            x, y = made.axes
            axes = (
                replace(x, label=f"x (0 = {first}, 1 = {second})"),
                replace(y, label=f"y (0 = {first}, 1 = {letter}{_said(ends.coordinates)})"),
            )
            return replace(made, vertices=tuple(vertices), axes=axes)

        @study.node(keep=16)
        def surface(
            through: Subspace | None, ends: Place | None, data: str, log: bool, progress: Progress
        ) -> Iterator[Landscape | None]:
            if through is None or ends is None:
                yield None
                return
            yield from stream(ends.objectives[data], through, log=log, progress=progress, **PLANE)

        @study.view
        def draw_plane(
            surface: Landscape | None, through: Subspace | None, ends: Place | None, metric: str, log: bool
        ) -> None:
            self._plane.draw(surface, metric, log=log)
            if surface is None or through is None or ends is None:
                return
            self.height_field.description = f"Plane through the models{_said(ends.coordinates)}"
            self.height_field.markers = [
                {"x": x, "y": y, "label": vertex.label.partition(":")[0]} for (x, y), vertex in through.models.items()
            ]

        @study.view
        def draw_ways(paths: dict[str, Route], through: Subspace | None, ends: Place | None) -> None:
            there = {
                name: route.path
                for name, route in paths.items()
                if ends is not None and route.coordinates == ends.coordinates and name != REPAIRED
            }
            self.height_field.paths = [
                path_of(path, through, label=name, color=_COLORS[name])
                for name, path in there.items()
                if through is not None
            ]

    def _add_layers(self, study: Study) -> None:
        """Layer by layer from a to b, or to b as aligned; and example by example."""
        first, second, *_ = self._place.models
        known = Layerwise(first, second, self._by)
        by = inherited({name: known.names[group] for name, group in known.groups.items()})
        study.slider("by_layer", False, help="A slider for every layer, from a to b, or to b as aligned")

        @study.node(keep=16)
        def layers(by_layer: bool, nearest: Place | None) -> Layers | None:
            if not by_layer or nearest is None:
                return None
            a, b = nearest.models
            mixed = Layerwise(a, b, by).bound(nearest.objective.space, nearest.objective.device)
            return mixed, nearest.objectives

        self._mixture.add_to(study, known.names, when="by_layer")
        self._examples.add_to(study)

    def _add_words(self, study: Study) -> None:
        """Barriers and distances as a table; symmetries and their certificate."""

        @study.view
        def tell(
            barriers: dict[str, Barrier | Why],
            losses: dict[str, Landscape],
            paths: dict[str, Route],
            placed: Place | Why,
            aligned: Alignment | Why | None,
            mended: Place | Why | None,
            curved: Bezier | Chain | Why | None,
            coordinates: Coordinates,
            alpha: float,
            metric: str,
        ) -> None:
            labels = _labels(paths)
            rows = [
                (labels[name], *_cells(barriers[name], losses[name], paths[name], alpha, metric)) for name in losses
            ]
            shown = next((one for one in barriers.values() if isinstance(one, Barrier)), None)
            title = (
                f"Barrier of the {shown.metric} on the {in_words(shown.split)}: {shown.definition}"
                if shown
                else "No barrier"
            )
            head = ("path", "barrier", "where", f"{metric} at {alpha:.3g}", "L2 distance")
            self.table.value = (
                _refusal(placed, coordinates, {"alignment": aligned, "repair": mended, "trained curve": curved})
                + table(title, head, rows, colors=[_COLORS[name] for name in losses])
                + _note(placed, coordinates)
            )
            heights = (
                f"{labels[name]} {b.value:.4g}" if isinstance(b, Barrier) else f"{labels[name]}: {b}"
                for name, b in barriers.items()
            )
            self.plot.describe(f"Barriers: {'; '.join(heights)}.")

        @study.view(widget=self.symmetries)
        def tell_symmetries(placed: Place | Why, symmetries: Spec | Why, aligned: Alignment | Why | None) -> None:
            self.symmetries.value = (
                ""
                if isinstance(placed, str) or isinstance(symmetries, str)
                else _symmetries(placed, symmetries, aligned if isinstance(aligned, Alignment) else None)
            )

    def _add_checks(self, study: Study) -> None:
        as_they_are = self._place

        @study.check
        def ends_reproduce(paths: dict[str, Route], losses: dict[str, Landscape], data: str) -> Check:
            """The ends are the two models."""
            return checks.reproduces(as_they_are.objectives[data], paths[STRAIGHT].path, losses[STRAIGHT])

        @study.check
        def rewritten(placed: Place | Why, data: str) -> Check:
            """The models compute the same in these coordinates."""
            if isinstance(placed, str):
                return Check("warn", placed)
            if placed is as_they_are:
                return Check("info", "they are compared as they are")
            metric = placed.objective.names[0]
            both = [
                [place.objectives[data].measure(model)[metric] for model in place.models]
                for place in (as_they_are, placed)
            ]
            apart = max(abs(x - y) / max(abs(x), abs(y), _SAME) for x, y in zip(*both, strict=True))
            return Check.that(
                placed.change <= _SAME and apart <= _ROUNDED,
                f"outputs changed by {placed.change:.1e} of their size in double precision; as they are drawn, "
                f"{metric} by at most {apart:.1e} of its own",
            )

        @study.check
        def aligned_is_b(aligned: Alignment | Why | None, placed: Place | Why) -> Check:
            """The aligned model computes what b does."""
            if isinstance(placed, str):
                return Check("warn", placed)
            if not isinstance(aligned, Alignment):
                return Check("warn", aligned) if aligned else Check("info", "no alignment is chosen")
            what = "outputs" if placed is as_they_are else f"outputs of b, {_IN[placed.coordinates]},"
            return Check.that(aligned.change <= _SAME, f"{what} changed by {aligned.change:.1e} of their size")

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
            return checks.deterministic(as_they_are.objective, as_they_are.models[0])

        @study.check
        def models_differ(paths: dict[str, Route]) -> Check:
            """The models are two."""
            return checks.apart(paths[STRAIGHT].path)

        checks.add_sampled(study, "losses")


def _moved(aligned: Alignment) -> bool:
    """Whether the alignment is another point; the plane through it is none otherwise."""
    return aligned.after != aligned.before


def _labels(paths: Mapping[str, Route]) -> dict[str, str]:
    """What each path is called: with its coordinates, where not all have the models' own.

    >>> _labels({"straight": Route(None, {}), "aligned": Route(None, {}, "circuits")})
    {'straight': 'straight, as they are', 'aligned': 'aligned, in circuits'}
    """
    one = all(route.coordinates == "original" for route in paths.values())
    return {name: name if one else f"{name}, {_IN[route.coordinates]}" for name, route in paths.items()}


def _cells(barrier: Barrier | Why, loss: Landscape, route: Route, alpha: float, metric: str) -> tuple[str, ...]:
    """Of a path: its barrier and where, the metric at alpha, how far its ends are apart."""
    first, *_, last = route.path.models.values()
    apart = l2(first, last, route.path.space.moved)
    if isinstance(barrier, Barrier):
        told = (f"{barrier.value:.4g} ± {barrier.error:.1g}", f"alpha {barrier.alpha:.3g}" if barrier.value else "")
    else:
        told = (barrier, "")
    return (*told, f"{loss.at(alpha)[metric]:.4g}", f"{apart:.4g}")


def _said(coordinates: Coordinates) -> str:
    return "" if coordinates == "original" else f", {_IN[coordinates]}"


def _refusal(placed: Place | Why, coordinates: Coordinates, asked: Mapping[str, Any]) -> str:
    """Why there is less than was asked for, as HTML."""
    if isinstance(placed, str):
        return alert(f"Not {_IN[coordinates]}; only the straight path is there", placed)
    return "".join(alert(f"No {what}", found) for what, found in asked.items() if isinstance(found, str))


def _note(placed: Place | Why, coordinates: Coordinates) -> str:
    """What kind of points a path has in these coordinates, as HTML."""
    if isinstance(placed, str) or coordinates == "original":
        return ""
    told = _NOTES.get(placed.coordinates, "Nothing in these models is there to be folded: they are as they are.")
    return f'<p role="note" style="margin: 4px 20px; line-height: 1.4">{escape(told)}</p>'


def _symmetries(placed: Place, found: Spec, aligned: Alignment | None) -> str:
    count = sum(1 for group in found.groups.values() if group.level.value != "fixed")
    sure = "not certified" if found.certificate is None else f"certified to {found.certificate.error:.0e}"
    by = f"; {escape(repr(aligned))}" if aligned else ""
    steps, notes = ("".join(f"<li>{escape(line)}</li>" for line in lines) for lines in (placed.steps, found.notes()))
    return (
        '<details style="margin: 0 12px"><summary style="cursor: pointer">'
        f"Symmetries{_said(placed.coordinates)}: {count} group{'s' * (count != 1)}, {sure}{by}</summary>"
        + (f'<ul style="line-height: 1.35">{steps}</ul>' if steps else "")
        + f'<div style="overflow: hidden auto; max-height: 360px">{table(_FREEDOM, HEAD, found.rows())}</div>'
        + f'<ul style="line-height: 1.35">{notes}</ul></details>'
    )
