"""REPAIR: units that keep their mean and spread on the way from one model to another.

Between two models, even aligned ones, what units compute varies less and less with depth. REPAIR normalises every layer
and gives its units the means and standard deviations that lie between those at the ends. Source: Jordan et al.,
"REPAIR: REnormalizing Permuted Activations for Interpolation Repair", ICLR 2023, section 3.

The goals are linear in the position on the line. So they are parameters here, of a normalisation behind each layer, and
a line between two repaired models is repaired at every point once statistics are recalibrated there, as the objective
does for any BatchNorm.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lwidgets.batchnorm import batchnorm_layers
from lwidgets.features import watch
from lwidgets.objective import Objective, modelled
from lwidgets.parameters import Source, State

_NAME = "repair"
_CHANNELS_SECOND = (nn.modules.conv._ConvNd,)
_LAYERS = (nn.Linear, *_CHANNELS_SECOND)


class Repaired(NamedTuple):
    """Two models between which every point is repaired, for `Line`, `CurveExplorer` and whatever samples.

    Attributes:
        objective: Of the models with their normalisations, recalibrated at every point.
        a: One model, with the statistics of its layers.
        b: The other.
    """

    objective: Objective
    a: State
    b: State


def repair(objective: Objective, a: Source, b: Source) -> Repaired:
    """Put a normalisation behind every linear and convolutional layer, with goals that lead from a's to b's statistics.

    At the ends it changes nothing, exactly so if the data are one batch. A model that has BatchNorm needs none: its own
    layers are recalibrated at every point. A layer that is not called exactly once in a pass stays as it is.

    Args:
        objective: Of the architecture; its data give the statistics.
        a: One model.
        b: The other, aligned with a.

    Raises:
        ValueError: A model does not fit; an analytic objective.

    Example:
        >>> import lwidgets as lw
        >>> found = repair(*lw.demo.digits(hidden=(16, 16), steps=60))
        >>> line = lw.Line(found.a, found.b)
        >>> landscape = lw.sample(found.objective, line, resolution=5, tolerance=0)
        >>> landscape.provenance["batchnorm"]
        'recalibrate'
    """
    objective = modelled(objective, "repair")
    ends = [objective.space.select(State.of(source)) for source in (a, b)]
    if batchnorm_layers(objective.module):
        return Repaired(objective.with_model(objective.module, batchnorm="recalibrate"), *ends)
    found = [_statistics(objective, end) for end in ends]
    names = [name for name in found[0] if name in found[1]]
    model = objective.model_at(ends[0])
    for name in names:
        layer = model.get_submodule(name)
        goal = Goal(len(found[0][name][0]), 1 if isinstance(layer, _CHANNELS_SECOND) else -1)
        layer.add_module(_NAME, goal.to(found[0][name][0]))
        layer.register_forward_hook(goal.after)
    states = [
        replace(
            end,
            parameters={
                **end.parameters,
                **{f"{name}.{_NAME}.weight": (statistics[name][1] + Goal.EPS).sqrt() for name in names},
                **{f"{name}.{_NAME}.bias": statistics[name][0] for name in names},
            },
            buffers={
                **end.buffers,
                **{f"{name}.{_NAME}.running_mean": statistics[name][0] for name in names},
                **{f"{name}.{_NAME}.running_var": statistics[name][1] for name in names},
                **{f"{name}.{_NAME}.num_batches_tracked": torch.tensor(1) for name in names},
            },
            label=f"{end.label}, repaired",
        )
        for end, statistics in zip(ends, found, strict=True)
    ]
    return Repaired(objective.with_model(model, batchnorm="recalibrate"), *states)


class Goal(nn.BatchNorm1d):
    """Gives units a mean and a standard deviation, its parameters; variances are of the whole batch, not of a sample.

    Attributes:
        dim: Which dimension counts units.
    """

    EPS = 1e-8
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, units: int, dim: int) -> None:
        super().__init__(units, eps=self.EPS)
        self.dim = dim

    def after(self, layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """The hook of a layer."""
        return self(output)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch in training mode, which adds to the running statistics, else by these."""
        running = self.running_mean, self.running_var
        mean, variance = _moments(x, self.dim) if self.training else running
        if self.training:
            self.num_batches_tracked.add_(1)
            for total, new in zip(running, (mean, variance), strict=True):
                total.lerp_(new.detach(), 1 / int(self.num_batches_tracked))
        normal = (x.movedim(self.dim, -1) - mean) / (variance + self.eps).sqrt()
        return (normal * self.weight + self.bias).movedim(-1, self.dim)


def _moments(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of every unit."""
    rows = x.movedim(dim, -1).flatten(0, -2)
    return rows.mean(0), rows.var(0, unbiased=False)


def _statistics(objective: Objective, state: State) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer -> mean and variance of its units, averaged over batches, for layers that are called once a pass."""
    layers = {name: part for name, part in objective.module.named_modules() if isinstance(part, _LAYERS)}
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def see(name: str, inputs: Any, output: Tensor) -> None:
        seen.setdefault(name, []).append(_moments(output, 1 if isinstance(layers[name], _CHANNELS_SECOND) else -1))

    watch(objective, state, layers, see)
    batches = len(objective.data.batches)
    return {
        name: (torch.stack([m for m, _ in found]).mean(0), torch.stack([v for _, v in found]).mean(0))
        for name, found in seen.items()
        if len(found) == batches
    }
