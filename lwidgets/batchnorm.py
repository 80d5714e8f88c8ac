"""BatchNorm away from the weights its running statistics were collected for.

Modes, always on show in provenance:
    "recalibrate": statistics reset, then a cumulative average over one pass of the training data, at every point.
    "frozen": the origin's running statistics at every point, as most of the literature draws around one model.
    "batch": each batch's own statistics.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lwidgets.failures import contextmanager

BatchNormMode = Literal["recalibrate", "frozen", "batch"]
BATCHNORM_MODES: tuple[str, ...] = get_args(BatchNormMode)


def batchnorm_layers(module: nn.Module) -> list[Any]:
    """Layers of the module that keep running statistics."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm) and part.running_mean is not None]


def resolve_batchnorm(mode: BatchNormMode | None, module: nn.Module, *, between_models: bool) -> str:
    """The mode that will be used: recalibrate between models, frozen around one, unless the user chose.

    A module without BatchNorm has mode "none"; one whose layers keep no statistics can only use each batch's own.

    >>> resolve_batchnorm(None, nn.BatchNorm1d(3), between_models=True)
    'recalibrate'
    >>> resolve_batchnorm("frozen", nn.BatchNorm1d(3, track_running_stats=False), between_models=False)
    'batch'
    >>> resolve_batchnorm("batch", nn.Linear(3, 3), between_models=True)
    'none'
    """
    if batchnorm_layers(module):
        return mode or ("recalibrate" if between_models else "frozen")
    return "batch" if any(isinstance(part, _BatchNorm) for part in module.modules()) else "none"


@contextmanager
def cumulative_statistics(layers: list[Any]) -> Iterator[None]:
    """Within: statistics are reset and every forward pass adds to their cumulative average.

    Source: as torch.optim.swa_utils.update_bn (momentum None, one pass).
    """
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    try:
        yield
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
            layer.eval()
