"""The loss of an objective as a differentiable function of named parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from lwidgets.attention import PlainAttention
from lwidgets.objective import Objective
from lwidgets.parameters import State

Tensors = Mapping[str, Tensor]


class DifferentiableLoss:
    """The loss and its first and second derivatives at any point, by a private copy of the model in eval mode.

    Attributes:
        names: Of the parameters that move.

    Example:
        >>> import lwidgets as lw
        >>> cubic = lw.Objective.from_function(lambda u: (u**3).sum(dim=1), dim=2)
        >>> point = lw.State.of(torch.tensor([1.0, 2.0]))
        >>> loss = DifferentiableLoss(cubic, point)
        >>> loss.gradient(point.parameters)["x"].tolist()
        [3.0, 12.0]
        >>> loss.hessian_product(point.parameters, {"x": torch.tensor([1.0, 0.0], dtype=torch.float64)})["x"].tolist()
        [6.0, 0.0]
    """

    def __init__(self, objective: Objective, origin: State, batchnorm: str = "frozen") -> None:
        """Copy the model.

        Args:
            objective: Whose loss and data.
            origin: Supplies what a call does not give: BatchNorm statistics, and parameters that do not move.
            batchnorm: "none", "frozen" or "batch".

        Raises:
            ValueError: "recalibrate": these statistics are no differentiable function of the parameters.
        """
        if batchnorm == "recalibrate":
            raise ValueError(
                'DifferentiableLoss: batchnorm must be "frozen" or "batch", got "recalibrate", which has no '
                'derivative. Use Objective(..., batchnorm="batch").'
            )
        self.names = objective.space.moved
        self._objective, self._origin, self._batchnorm = objective, origin, batchnorm
        self._loss = objective.loss_at(origin, batchnorm)

    def __call__(self, parameters: Tensors, batch: Any = None) -> Tensor:
        """The loss on a batch, a 0-d tensor with its graph.

        Args:
            parameters: Name -> tensor.
            batch: One of the objective's data, or a part of one; an analytic objective has none.
        """
        with torch.enable_grad():
            return self._loss(parameters, batch)

    def gradient(self, parameters: Tensors, batch: Any = None) -> dict[str, Tensor]:
        """The gradient by every parameter that moves.

        Args:
            parameters: Name -> tensor, all that move among them.
            batch: Of a batch; None for the average over all data, by weight.
        """

        def derive(leaves: dict[str, Tensor], each: Any) -> tuple[Tensor, ...]:
            return torch.autograd.grad(self(leaves, each), list(leaves.values()), materialize_grads=True)

        return self._average(parameters, derive, batch)

    def hessian_product(self, parameters: Tensors, direction: Tensors, batch: Any = None) -> dict[str, Tensor]:
        """The Hessian times a direction, by differentiating twice; arguments as for `gradient`.

        Attention is computed by plain matrix products, because the fused kernels have no second derivative.
        """

        def derive(leaves: dict[str, Tensor], each: Any) -> tuple[Tensor, ...]:
            at = list(leaves.values())
            with PlainAttention():
                first = torch.autograd.grad(self(leaves, each), at, create_graph=True, materialize_grads=True)
            with torch.enable_grad():
                along = [(g * direction[n]).sum() for n, g in zip(leaves, first, strict=True) if n in direction]
                slope = sum(along, torch.zeros((), dtype=torch.float64, device=first[0].device))
            if not slope.requires_grad:
                return tuple(torch.zeros_like(leaf) for leaf in at)
            return torch.autograd.grad(slope, at, materialize_grads=True)

        return self._average(parameters, derive, batch)

    def _average(
        self, parameters: Tensors, derive: Callable[[dict[str, Tensor], Any], tuple[Tensor, ...]], batch: Any
    ) -> dict[str, Tensor]:
        leaves = {name: parameters[name].detach().requires_grad_() for name in self.names}
        total, weights = {name: torch.zeros_like(leaf, requires_grad=False) for name, leaf in leaves.items()}, 0.0
        for each, weight in self._objective.batches if batch is None else [(batch, 1.0)]:
            if weight:
                for name, found in zip(leaves, derive(leaves, each), strict=True):
                    total[name] += weight * found
                weights += weight
        return {name: tensor / weights for name, tensor in total.items()}


def prepare_to_train() -> None:
    """Let torch import here, in the calling thread, what the first optimizer of a process makes it import.

    Two threads that import it at once, a worker's and a user's, leave it half made until the process is started again.
    """
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0).step()
