"""A model put together of two, layer by layer."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from lwidgets.explorers import checks
from lwidgets.explorers.curve import TOLERANCE_HELP
from lwidgets.explorers.mixture import Layers, Mixture
from lwidgets.explorers.splits import splits
from lwidgets.landscape import Landscape
from lwidgets.objective import Objective
from lwidgets.parameters import Source
from lwidgets.sampling import stream
from lwidgets.sampling.identity import version
from lwidgets.study import Check, Study
from lwidgets.subspaces import Grouping, Layerwise
from lwidgets.widgets.study import StudyWidget


class LayerwiseExplorer(StudyWidget):
    """A slider for every layer, from one model's to the other's: what the mixture loses, and what each layer adds.

    Traits (all keywords of the constructor): mix, one alpha for each group of parameters; data; metric; log;
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
        """Explore the mixtures of two models.

        Args:
            objective: What to evaluate.
            a: The model where every alpha is 0: module, state dict or checkpoint.
            b: The model where every alpha is 1.
            by: What has an alpha of its own: "layer", "block", or a mapping or function of parameter names.
            test: Held-out data, where the objective has none.
            title: Shown above.
            **sliders: Where the sliders start.
        """
        self._objectives = splits(objective, test)
        self._joined = joined = Layerwise(a, b, by).bound(objective.space, objective.device)
        self._mixture = Mixture()
        study = Study(title or "Layer by layer", version=partial(version, objective))
        study.slider("data", next(iter(self._objectives)), options=tuple(self._objectives))
        study.slider("metric", objective.names[0], options=objective.names)
        study.slider("tolerance", 1e-2, low=0.0, high=1.0, help=TOLERANCE_HELP)
        study.slider("log", False, label="log height")

        @study.node(keep=1)
        def layers() -> Layers:
            return joined, self._objectives

        self._mixture.add_to(study, joined.names)
        self._add_checks(study)
        super().__init__(study, **sliders)

    @property
    def landscapes(self) -> dict[str, Landscape]:
        """Group -> the curve along its alpha, the others where the sliders are; waits for all."""
        return dict(self.latest("layer_curves"))

    def model_at(self, mix: tuple[float, ...]) -> nn.Module:
        """The mixture with these alphas as a new module in eval mode, BatchNorm as in the picture."""
        objective = next(iter(self._objectives.values()))
        return objective.model_at(self._joined.point(mix), objective.resolve(self._joined.between_models))

    def close(self) -> None:
        """Close the curves too, which are on the page only while there are any."""
        if self._open:
            self._mixture.close()
        super().close()

    def summary(self) -> str:
        """Of the curves for the status bar."""
        curves = self.study.get("layer_curves")
        if curves is None:
            return ""
        return f"{sum(one.evaluations for one in curves.values())} evaluations for {len(curves)} curves"

    def _add_checks(self, study: Study) -> None:
        joined, objectives = self._joined, self._objectives

        @study.check
        def ends_reproduce(data: str) -> Check:
            """All alphas 0 and all 1 are the two models."""
            line = joined.line()
            *_, whole = stream(objectives[data], line, resolution=3, tolerance=0.0)
            return checks.reproduces(objectives[data], line, whole)

        @study.check
        def is_deterministic(data: str) -> Check:
            """The data are the same in every pass."""
            return checks.deterministic(objectives[data], joined.vertices[0])

        @study.check
        def models_differ() -> Check:
            """The models are two."""
            return checks.apart(joined.line())

        checks.add_sampled(study, "layer_curves")
