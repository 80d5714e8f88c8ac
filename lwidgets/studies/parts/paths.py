"""Paths between two models, as part of a study: straight, modulo symmetries, repaired, trained."""

from __future__ import annotations

from dataclasses import replace

from lwidgets.connectivity.connect import CONNECTORS, connect
from lwidgets.progress import Progress
from lwidgets.studies.parts.route import Place, Route, Why
from lwidgets.study import Part
from lwidgets.subspaces import Bezier, Chain
from lwidgets.symmetry import Spec
from lwidgets.symmetry.align import ALIGN_METHODS, Alignment, align, symmetries_of
from lwidgets.symmetry.canonical import COORDINATES, Coordinates
from lwidgets.symmetry.repair import repair as repaired

NONE = "none"
STRAIGHT, ALIGNED, REPAIRED, CURVED = "straight", "aligned", "repaired", "curved"
_OTHER_SPEC = "The symmetries given are those of the models as they are. Leave spec out to align in other coordinates."

_FAILURES = (ValueError, TypeError, RuntimeError)  # of what a model or its loss cannot do


def paths(as_they_are: Place, spec: Spec | None) -> Part:
    """What can be chosen about paths between two models, and the nodes from the models to the paths.

    Gives ``pair``: which two models. ``placed``: all of them in the coordinates chosen. ``symmetries``: of these.
    ``ends``: the two there. ``aligned``: how b was moved. ``nearest``: the two, b as aligned. ``curved``: the trained
    curve between these. ``mended``: these, with layers that keep their statistics. ``paths``: all there are. The
    straight path is between the models as they are, all others between those that are nearest.

    Args:
        as_they_are: The models.
        spec: Symmetries of the models as they are, where they are given.
    """
    part = Part("paths")
    _add_choices(part, as_they_are.letters)
    _add_places(part, as_they_are, spec)
    _add_ways(part, as_they_are)
    return part


def _add_choices(part: Part, letters: tuple[str, ...]) -> None:
    if len(letters) > 2:
        part.slider("first", letters[0], options=letters, help="The model at alpha 0")
        part.slider("second", letters[1], options=letters, help="The model at alpha 1, which is aligned")
    else:
        part.given("first", letters[0])
        part.given("second", letters[1])
    part.slider(
        "alignment", NONE, options=(NONE, *ALIGN_METHODS), help="How b is moved, by symmetries alone, towards a"
    )
    part.slider(
        "coordinates",
        "original",
        options=COORDINATES,
        help="The models as they are, with norms folded into other layers, or also with heads as circuits",
    )
    part.slider(
        "curve",
        NONE,
        options=(NONE, *CONNECTORS),
        label="trained curve",
        help="From a to b, or to b as aligned; trained when it is first asked for",
    )
    part.slider("repair", False, help="Give every layer, at every alpha, the statistics between those of the ends")


def _add_places(part: Part, as_they_are: Place, spec: Spec | None) -> None:
    """The models where they are compared, and b as aligned."""

    @part.node(keep=64)
    def pair(first: str, second: str) -> tuple[int, int]:
        return as_they_are.letters.index(first), as_they_are.letters.index(second)

    @part.node(keep=len(COORDINATES))
    def placed(coordinates: Coordinates) -> Place | Why:
        try:
            return as_they_are.rewritten(coordinates)
        except _FAILURES as error:  # the straight line is still there to be seen
            return str(error)

    @part.node(keep=len(COORDINATES))
    def symmetries(placed: Place | Why) -> Spec | Why:
        if isinstance(placed, str):
            return placed
        if spec is not None:
            return spec if placed is as_they_are else _OTHER_SPEC
        try:
            return symmetries_of(placed.objective, placed.models[0])
        except _FAILURES as error:
            return str(error)

    @part.node(keep=64)
    def ends(placed: Place | Why, pair: tuple[int, int]) -> Place | None:
        return None if isinstance(placed, str) else placed.between(*pair)

    @part.node(keep=16)
    def aligned(
        alignment: str, ends: Place | None, symmetries: Spec | Why, progress: Progress
    ) -> Alignment | Why | None:
        if alignment == NONE or ends is None:
            return None
        if isinstance(symmetries, str):
            return symmetries
        a, b = ends.models
        try:
            return align(a, b, ends.objective, alignment, spec=symmetries, progress=progress)  # type: ignore[arg-type]
        except _FAILURES as error:
            return str(error)

    @part.node(keep=16)
    def nearest(ends: Place | None, aligned: Alignment | Why | None) -> Place | None:
        if ends is None or not isinstance(aligned, Alignment):
            return ends
        return replace(ends, models=(ends.models[0], aligned.state))


def _add_ways(part: Part, as_they_are: Place) -> None:
    """The ways between them."""

    @part.node(keep=16)
    def curved(curve: str, nearest: Place | None, progress: Progress) -> Bezier | Chain | Why | None:
        if curve == NONE or nearest is None:
            return None
        a, b = nearest.models
        try:
            return connect(nearest.objective, a, b, curve, progress=progress)  # type: ignore[arg-type]
        except _FAILURES as error:
            return str(error)

    @part.node(keep=16)
    def mended(repair: bool, nearest: Place | None) -> Place | Why | None:
        if not repair or nearest is None:
            return None
        try:
            return _repaired(nearest)
        except _FAILURES as error:
            return str(error)

    @part.node(keep=16)
    def paths(
        pair: tuple[int, int],
        nearest: Place | None,
        aligned: Alignment | Why | None,
        mended: Place | Why | None,
        curved: Bezier | Chain | Why | None,
    ) -> dict[str, Route]:
        found = {STRAIGHT: as_they_are.between(*pair).route()}
        if nearest is None:
            return found
        if isinstance(aligned, Alignment):
            found[ALIGNED] = nearest.route()
        if isinstance(mended, Place):
            found[REPAIRED] = mended.route()
        if isinstance(curved, Bezier | Chain):
            found[CURVED] = Route(curved, nearest.objectives, nearest.coordinates)
        return found


def _repaired(place: Place) -> Place:
    """Two models with normalisations that keep their statistics on the way."""
    by, *models = repaired(place.objective, *place.models)
    objectives = {data: one.with_model(by.module, batchnorm="recalibrate") for data, one in place.objectives.items()}
    return replace(place, models=tuple(models), objectives=objectives)
