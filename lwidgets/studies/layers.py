"""A model put together of two, layer by layer."""

from __future__ import annotations

from functools import partial
from typing import Any

from lwidgets.objective import Objective
from lwidgets.parameters import Source
from lwidgets.sampling import stream
from lwidgets.sampling.identity import version
from lwidgets.studies.parts import checks
from lwidgets.studies.parts.mixture import Layers, mixture
from lwidgets.studies.parts.sliders import add_log_height, add_metric, add_tolerance
from lwidgets.studies.parts.splits import splits
from lwidgets.study import Check, Study
from lwidgets.subspaces import Grouping, Layerwise


def layers(
    objective: Objective, a: Source, b: Source, *, by: Grouping = "layer", test: Any = None, title: str = ""
) -> Study:
    """A slider for every layer, from one model's to the other's: what the mixture loses, and what each layer adds.

    Args:
        objective: What to evaluate.
        a: The model where every alpha is 0: module, state dict or checkpoint.
        b: The model where every alpha is 1.
        by: What has an alpha of its own: "layer", "block", or a mapping or function of parameter names.
        test: Held-out data, where the objective has none.
        title: Shown above.

    Returns:
        A study with the views ``mixture_picture`` and ``mixture_reading``.
    """
    given = Layerwise(a, b, by)
    objective, joined = objective.suited(lambda own: given.bound(own.space, own.device))
    objectives = splits(objective, test)
    study = Study(title or "Layer by layer", version=partial(version, objective))
    study.slider("data", next(iter(objectives)), options=tuple(objectives))
    add_metric(study, objective.names)
    add_tolerance(study, 1e-2)
    add_log_height(study)
    study.given("layers", (joined, objectives))
    study.add(mixture(joined.names))
    _add_checks(study)

    def summary() -> str:
        curves = study.get("layer_curves")
        if curves is None:
            return ""
        return f"{sum(one.evaluations for one in curves.values())} evaluations for {len(curves)} curves"

    study.summary = summary
    return study


def _add_checks(study: Study) -> None:
    @study.check
    def ends_reproduce(layers: Layers, data: str) -> Check:
        """All alphas 0 and all 1 are the two models."""
        joined, objectives = layers
        line = joined.line()
        *_, whole = stream(objectives[data], line, resolution=3, tolerance=0.0)
        return checks.reproduces(objectives[data], line, whole)

    @study.check
    def is_deterministic(layers: Layers, data: str) -> Check:
        """The data are the same in every pass."""
        joined, objectives = layers
        return checks.deterministic(objectives[data], joined.vertices[0])

    @study.check
    def models_differ(layers: Layers) -> Check:
        """The models are two."""
        return checks.apart(layers[0].line())

    checks.add_sampled(study, "layer_curves")
