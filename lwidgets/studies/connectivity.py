"""Are two models connected? Straight, modulo symmetries, and by a trained curve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lwidgets.barrier import Barrier, BarrierKind
from lwidgets.distances import l2
from lwidgets.gradients import prepare_to_train
from lwidgets.landscape import Landscape, drawable
from lwidgets.objective import Objective
from lwidgets.palette import BLUE, GREEN, ORANGE, VERMILLION
from lwidgets.parameters import Source
from lwidgets.pictures import Curves, Marker, Series, Surface, Table, Words
from lwidgets.progress import Progress
from lwidgets.sampling import stream
from lwidgets.sampling.identity import version
from lwidgets.sampling.polish import polish_barrier
from lwidgets.studies.parts import checks
from lwidgets.studies.parts.examples import examples
from lwidgets.studies.parts.mixture import Layers, mixture
from lwidgets.studies.parts.paths import ALIGNED, CURVED, REPAIRED, STRAIGHT, paths
from lwidgets.studies.parts.plane import PLANE, seen_from_above
from lwidgets.studies.parts.readings import accuracies, barrier_or_why, marks_at
from lwidgets.studies.parts.route import Place, Route, Why, inherited
from lwidgets.studies.parts.sliders import add_barrier, add_data, add_log_height, add_metric, add_tolerance, scale
from lwidgets.studies.parts.splits import in_words, splits
from lwidgets.study import Check, Study, together
from lwidgets.subspaces import Bezier, Chain, Grouping, Layerwise, Plane, Simplex, Subspace
from lwidgets.subspaces.remainders import told
from lwidgets.symmetry import Spec
from lwidgets.symmetry.align import Alignment
from lwidgets.symmetry.canonical import Coordinates
from lwidgets.symmetry.spec import HEAD

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
_WAY = (-0.03, 1.03)  # of alpha, drawn


def connectivity(
    objective: Objective,
    *models: Source,
    test: Any = None,
    spec: Spec | None = None,
    by: Grouping = "layer",
    title: str = "",
) -> Study:
    """Two models or more of one architecture: the barrier between them as they are, and once symmetries are taken out.

    Args:
        objective: Of their architecture; the symmetries are derived, and curves trained, on its data.
        *models: a, the model at alpha 0: module, state dict or checkpoint; b, the model at alpha 1, which is aligned
            with a; and any others, of which first and second then choose two.
        test: Held-out data, where the objective has none.
        spec: Symmetries to align by, where they are not to be derived; those of the models as they are.
        by: What has an alpha of its own layer by layer; see `Layerwise`.
        title: Shown above.

    Returns:
        A study with the views ``curves_picture``, ``plane_picture``, ``barriers_table`` and more.

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
    simplex = Simplex(*models)
    objective, corners = objective.suited(lambda own: simplex.bound(own.space, own.device))
    place = Place(corners.vertices, splits(objective, test))
    study = Study(title or "Are they connected?", version=partial(version, *place.objectives.values()))
    study.add(paths(place, spec))
    _add_sliders(study, place)
    _add_curves(study)
    _draw_curves(study, place.letters)
    _add_plane(study)
    _add_words(study)
    _add_layers(study, place, by)
    study.add(examples(_COLORS))
    _add_checks(study, place)

    study.summary = partial(accuracies, study, "losses")
    return study


def _add_sliders(study: Study, place: Place) -> None:
    study.slider("alpha", 0.5, low=0.0, high=1.0, step=0.01, help="Position on every path")
    add_data(study, tuple(place.objectives))
    add_metric(study, place.objective.names)
    add_barrier(study)
    study.slider("resolution", 33, low=9, high=129, step=8, limits=(3, 4097), help="Points of each curve")
    add_tolerance(study, 1e-3)
    study.slider("plane", True, help="The surface over the plane through a, b, and b as aligned or the curve's bend")
    add_log_height(study)


def _add_curves(study: Study) -> None:
    """Metrics on every path, and the barriers."""

    @study.node(keep=64)
    def losses(
        paths: dict[str, Route], data: str, resolution: int, tolerance: float, log_height: bool, progress: Progress
    ) -> Iterator[dict[str, Landscape]]:
        options: dict[str, Any] = {"resolution": resolution, "tolerance": tolerance, "log": log_height}
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


def _draw_curves(study: Study, letters: tuple[str, ...]) -> None:
    """The curves; alpha on them, and the barriers in words."""

    @study.view
    def curves_picture(
        losses: dict[str, Landscape], paths: dict[str, Route], pair: tuple[int, int], metric: str, log_height: bool
    ) -> Curves:
        first, second = (letters[i] for i in pair)
        origin, *_, last = paths[STRAIGHT].path.remainders
        lines = [
            Series(one.coords[0], drawable(one.values[metric], log_height), name, _COLORS[name])
            for name, one in losses.items()
        ]
        x = told(f"alpha (0 = {first}, 1 = {second})", origin, last)
        return Curves(lines, x=x, y=metric, log=scale(log_height), x_range=_WAY)

    @study.view(on="curves_picture")
    def alpha_picture(
        alpha: float,
        losses: dict[str, Landscape],
        paths: dict[str, Route],
        metric: str,
        log_height: bool,
        barriers: dict[str, Barrier | Why] | None = None,
    ) -> Curves:
        shown = [(_COLORS[name], one) for name, one in losses.items()]
        labels = _labels(paths)
        heights = (
            f"{labels[name]} {found.value:.4g}" if isinstance(found, Barrier) else f"{labels[name]}: {found}"
            for name, found in (barriers or {}).items()
        )
        return Curves(
            marks_at(alpha, shown, metric, log_height), caption=f"Barriers: {'; '.join(heights)}." if barriers else ""
        )


def _add_plane(study: Study) -> None:
    """The plane through a, b and the aligned b; or through a, b and the bend of a curve."""

    @study.node(keep=16)
    def through(
        plane: bool, ends: Place | None, aligned: Alignment | Why | None, curved: Bezier | Chain | Why | None
    ) -> Subspace | None:
        return _plane_of(ends, aligned, curved) if plane and ends is not None else None

    @study.node(keep=16)
    def surface(
        through: Subspace | None, ends: Place | None, data: str, log_height: bool, progress: Progress
    ) -> Iterator[Landscape | None]:
        if through is None or ends is None:
            yield None
            return
        yield from stream(ends.objectives[data], through, log=log_height, progress=progress, **PLANE)

    @study.view(beside="curves_picture")
    def plane_picture(
        surface: Landscape | None, through: Subspace | None, ends: Place | None, metric: str, log_height: bool
    ) -> Surface | None:
        if surface is None or through is None or ends is None:
            return None
        return Surface(
            surface,
            metric,
            log=log_height,
            panes=("map",),
            description=f"Plane through the models{_said(ends.coordinates)}",
            markers=[Marker(x, y, vertex.label.partition(":")[0]) for (x, y), vertex in through.models.items()],
        )

    @study.view(on="plane_picture")
    def ways(paths: dict[str, Route], through: Subspace | None, ends: Place | None) -> Surface:
        there = {
            name: route.path
            for name, route in paths.items()
            if ends is not None and route.coordinates == ends.coordinates and name != REPAIRED
        }
        return Surface(
            None,
            paths=[
                seen_from_above(path, through, label=name, color=_COLORS[name])
                for name, path in there.items()
                if through is not None
            ],
        )


def _plane_of(ends: Place, aligned: Alignment | Why | None, curved: Bezier | Chain | Why | None) -> Subspace | None:
    """Through both models and what stands out of the line between them; None where nothing does."""
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


def _add_layers(study: Study, place: Place, by: Grouping) -> None:
    """Layer by layer from a to b, or to b as aligned."""
    first, second, *_ = place.models
    known = Layerwise(first, second, by)
    grouped = inherited({name: known.names[group] for name, group in known.groups.items()})
    study.slider("by_layer", False, help="A slider for every layer, from a to b, or to b as aligned")

    @study.node(keep=16)
    def layers(by_layer: bool, nearest: Place | None) -> Layers | None:
        if not by_layer or nearest is None:
            return None
        a, b = nearest.models
        mixed = Layerwise(a, b, grouped).bound(nearest.objective.space, nearest.objective.device)
        return mixed, nearest.objectives

    study.add(mixture(known.names, when="by_layer"))


def _add_words(study: Study) -> None:
    """What could not be had; barriers and distances as a table; symmetries and their certificate."""

    @study.view
    def refusal(
        placed: Place | Why,
        coordinates: Coordinates,
        aligned: Alignment | Why | None,
        mended: Place | Why | None,
        curved: Bezier | Chain | Why | None,
    ) -> Words | None:
        return _refusal(placed, coordinates, {"alignment": aligned, "repair": mended, "trained curve": curved})

    @study.view
    def barriers_table(
        barriers: dict[str, Barrier | Why],
        losses: dict[str, Landscape],
        paths: dict[str, Route],
        placed: Place | Why,
        coordinates: Coordinates,
        alpha: float,
        metric: str,
    ) -> Table:
        labels = _labels(paths)
        shown = next((one for one in barriers.values() if isinstance(one, Barrier)), None)
        what = f"Barrier of the {shown.metric} on the {in_words(shown.split)}: {shown.definition}" if shown else ""
        return Table(
            ("path", "barrier", "where", f"{metric} at {alpha:.3g}", "L2 distance"),
            [(labels[name], *_cells(barriers[name], losses[name], paths[name], alpha, metric)) for name in losses],
            title=what or "No barrier",
            colors=[_COLORS[name] for name in losses],
            notes=_notes(placed, coordinates),
        )

    @study.view
    def symmetries_table(placed: Place | Why, symmetries: Spec | Why, aligned: Alignment | Why | None) -> Table | None:
        if isinstance(placed, str) or isinstance(symmetries, str):
            return None
        return _symmetries(placed, symmetries, aligned if isinstance(aligned, Alignment) else None)


def _add_checks(study: Study, as_they_are: Place) -> None:

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
            [place.objectives[data].measure(model)[metric] for model in place.models] for place in (as_they_are, placed)
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


def _refusal(placed: Place | Why, coordinates: Coordinates, asked: Mapping[str, Any]) -> Words | None:
    """Why there is less than was asked for."""
    if isinstance(placed, str):
        return Words(placed, title=f"Not {_IN[coordinates]}; only the straight path is there", tone="alert")
    told = [f"No {what}. {found}" for what, found in asked.items() if isinstance(found, str)]
    return Words("\n".join(told), tone="alert") if told else None


def _notes(placed: Place | Why, coordinates: Coordinates) -> tuple[str, ...]:
    """What kind of points a path has in these coordinates."""
    if isinstance(placed, str) or coordinates == "original":
        return ()
    return (_NOTES.get(placed.coordinates, "Nothing in these models is there to be folded: they are as they are."),)


def _symmetries(placed: Place, found: Spec, aligned: Alignment | None) -> Table:
    count = sum(1 for group in found.groups.values() if group.level.value != "fixed")
    sure = "not certified" if found.certificate is None else f"certified to {found.certificate.error:.0e}"
    by = f"; {aligned!r}" if aligned else ""
    return Table(
        HEAD,
        found.rows(),
        title=f"Symmetries{_said(placed.coordinates)}: {count} group{'s' * (count != 1)}, {sure}{by}",
        notes=(*placed.steps, _FREEDOM, *found.notes()),
        folded=True,
    )
