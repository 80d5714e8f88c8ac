"""The ready-made studies as widgets, whose sliders are traits, with what a program wants to know of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets
from torch import nn

from lwidgets import merging as methods_
from lwidgets.barrier import Barrier
from lwidgets.landscape import Landscape
from lwidgets.objective import Objective
from lwidgets.parameters import Source, State
from lwidgets.studies.connectivity import connectivity
from lwidgets.studies.curve import Barriers, Landscapes, curve
from lwidgets.studies.layers import layers
from lwidgets.studies.merging import merging
from lwidgets.studies.parts.comparison import Compared
from lwidgets.studies.parts.methods import Merge, Merged, ray_of
from lwidgets.studies.parts.paths import STRAIGHT
from lwidgets.studies.parts.route import Route, Why
from lwidgets.studies.parts.tasks import Tasks
from lwidgets.studies.surface import surface
from lwidgets.subspaces import Bezier, Chain, Grouping, Subspace
from lwidgets.symmetry import Spec
from lwidgets.symmetry.align import Alignment
from lwidgets.widgets.study import StudyWidget


class SurfaceExplorer(StudyWidget):
    """A map with contours and a 3-D surface of the loss around a model, side by side and linked; see `surface`.

    Traits (all keywords of the constructor): seed_x and seed_y of the two random directions; span, in units of the
    normalised directions; resolution; normalize; metric; log_height; colormap; show_points, the evaluated ones;
    envelope, how many random directions are compared along one axis; tolerance, of the interpolation.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(steps=20)
        >>> explorer = lw.SurfaceExplorer(objective, span=0.5, resolution=33)
        >>> explorer.wait(60), explorer.landscape.shape
        (True, (33, 33))
        >>> explorer.close()
    """

    def __init__(
        self, objective: Objective, model: Source | Subspace | None = None, *, title: str = "", **sliders: Any
    ) -> None:
        """Explore a plane.

        Args:
            objective: What to evaluate.
            model: The model in the centre, by default the objective's own; or a plane to explore as it is.
            title: Shown above.
            **sliders: Where the sliders start.
        """
        self._objective = objective
        super().__init__(surface(objective, model, title=title), **sliders)

    @property
    def landscape(self) -> Landscape:
        """The surface for the present sliders; waits for it."""
        found: Landscape = self.latest("surface")
        return found

    @property
    def point(self) -> tuple[float, float] | None:
        """The pinned point, or None."""
        return tuple(self.study.held.get("surface_picture", {}).get("point", ())) or None

    @point.setter
    def point(self, point: tuple[float, float] | None) -> None:
        if point is not None and (len(point) != 2 or not np.isfinite(point).all()):
            raise traitlets.TraitError(
                f"SurfaceExplorer: point must be two finite numbers, or None, got {point!r}. Pass (x, y) on the plane."
            )
        self.hold("surface_picture", point=[] if point is None else [float(u) for u in point])

    def model_at(self, point: tuple[float, float]) -> nn.Module:
        """The model at a point of the plane as a new module in eval mode."""
        plane = self.latest("plane")
        return self._objective.model_at(plane.point(point), self._objective.resolve(plane.between_models))


class CurveExplorer(StudyWidget):
    """Drag alpha from one model to the other: metrics on the way, and the barrier; see `curve`.

    Traits (all keywords of the constructor): alpha; span, how far the line goes, (low, high) around [0, 1]; resolution;
    metric; log_height; barrier, its definition; tolerance, of the interpolation.

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
        """Explore the line between two models, or another path; arguments as for `curve`.

        Args:
            objective: What to evaluate.
            a: The model at alpha 0, or a path of one coordinate.
            b: The model at alpha 1; none with a path.
            test: Held-out data, where the objective has none.
            title: Shown above.
            **sliders: Where the sliders start.
        """
        super().__init__(curve(objective, a, b, test=test, title=title), **sliders)

    @property
    def landscape(self) -> Landscape:
        """The curve on the objective's own data for the present sliders; waits for it."""
        return next(iter(self.landscapes.values()))

    @property
    def landscapes(self) -> Landscapes:
        """The curve on each data split."""
        return dict(self.latest("curves"))

    @property
    def barriers(self) -> Barriers:
        """The barrier on each data split, of the definition chosen; polished by exact evaluations."""
        return dict(self.latest("barriers"))

    def model_at(self, point: float) -> nn.Module:
        """The model at an alpha as a new module in eval mode, BatchNorm recalibrated where the curve's is."""
        objective: Objective = next(iter(self.study["objectives"].values()))
        line = self.latest("line")
        return objective.model_at(line.point(np.atleast_1d(point)), objective.resolve(line.between_models))


class LayerwiseExplorer(StudyWidget):
    """A slider for every layer, from one model's to the other's; see `layers`.

    Traits (all keywords of the constructor): mix, one alpha for each group of parameters; data; metric; log_height;
    tolerance, of the interpolation.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(hidden=(16,), steps=20)
        >>> explorer = lw.LayerwiseExplorer(objective, a, b, mix=(0.0, 1.0))
        >>> explorer.wait(60), list(explorer.landscapes)
        (True, ['0', '2'])
        >>> explorer.close()
    """

    def __init__(
        self,
        objective: Objective,
        a: Source,
        b: Source,
        *,
        by: Grouping = "layer",
        test: Any = None,
        title: str = "",
        **sliders: Any,
    ) -> None:
        """Explore the mixtures of two models; arguments as for `layers`.

        Args:
            objective: What to evaluate.
            a: The model where every alpha is 0.
            b: The model where every alpha is 1.
            by: What has an alpha of its own.
            test: Held-out data, where the objective has none.
            title: Shown above.
            **sliders: Where the sliders start.
        """
        super().__init__(layers(objective, a, b, by=by, test=test, title=title), **sliders)

    @property
    def landscapes(self) -> dict[str, Landscape]:
        """Group -> the curve along its alpha, the others where the sliders are; waits for all."""
        return dict(self.latest("layer_curves"))

    def model_at(self, mix: tuple[float, ...]) -> nn.Module:
        """The mixture with these alphas as a new module in eval mode, BatchNorm as in the picture."""
        joined, objectives = self.study["layers"]
        objective: Objective = next(iter(objectives.values()))
        return objective.model_at(joined.point(mix), objective.resolve(joined.between_models))


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
    make the barrier; resolution; tolerance; log_height.

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
        """Explore how two models are connected; arguments as for `connectivity`.

        Args:
            objective: Of their architecture.
            *models: a, b, and any others.
            test: Held-out data, where the objective has none.
            spec: Symmetries to align by, where they are not to be derived.
            by: What has an alpha of its own layer by layer.
            title: Shown above.
            **sliders: Where the sliders start.
        """
        super().__init__(connectivity(objective, *models, test=test, spec=spec, by=by, title=title), **sliders)

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


class MergingExplorer(StudyWidget):
    """Models trained from one base, each for a task of its own, merged into one.

    A method points from the base to the model it makes. Drag the scale, how far to go that way, and see every task's
    metric; on the map, the plane through the base and two of the models, see where that leads and where the other
    methods end. The table compares them all: each at the scale at which its mean loss over the tasks is lowest on the
    training data.

    Traits (all keywords of the constructor): method; density, the share of the entries that TIES and DARE keep; seed,
    which ones DARE keeps; scale; span, of the scales drawn; first and second, the models that span the plane, where
    there are more than two; task, whose surface is drawn; data; metric; plane, whether it is drawn; compare, whether
    all methods are; resolution; tolerance; log_height.

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
        objectives: methods_.Objectives,
        *,
        methods: Mapping[str, Merge] | None = None,
        title: str = "",
        **sliders: Any,
    ) -> None:
        """Explore what becomes of models that are merged; arguments as for `merging`.

        Args:
            base: What the models were trained from.
            models: Two or more, with names or without.
            objectives: Each model's own task, or one for all.
            methods: Others to offer: name -> function of ``(base, models, objectives)``.
            title: Shown above.
            **sliders: Where the sliders start.
        """
        super().__init__(merging(base, models, objectives, methods=methods, title=title), **sliders)

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
        found: Compared = self.latest("compared")
        return {name: one for name, one in found.items() if isinstance(one, Merged)}

    def model_at(self, scale: float) -> nn.Module:
        """The model at a scale of the present method as a new module in eval mode, BatchNorm as for the first task."""
        tasks: Tasks = self.study["tasks"]
        line = ray_of(tasks.base, self.merged, (0.0, 1.0), tasks.one)
        return tasks.one.model_at(line.point([scale]), tasks.one.resolve(line.between_models))
