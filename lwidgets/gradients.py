"""The loss of an objective as a differentiable function of named parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lwidgets.attention import PlainAttention
from lwidgets.measures import Measured
from lwidgets.objective import Objective, modelled
from lwidgets.objective.base import loss_in
from lwidgets.parameters import State
from lwidgets.pauses import pause

Tensors = Mapping[str, Tensor]

_OF_TORCH: dict[Callable[..., Tensor], type[nn.Module]] = {
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.mse_loss: nn.MSELoss,
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
}


class DifferentiableLoss:
    """The loss and its first and second derivatives at any point, by a private copy of the model in eval mode.

    The door to curvature: whatever takes a function of named tensors and a batch starts here, our own `hessian_product`
    as well as the operators of curvlinops (`as_curvlinops`).

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

    def as_curvlinops(
        self, parameters: Tensors | None = None
    ) -> tuple[nn.Module, nn.Module, list[nn.Parameter], list[tuple[Tensor, Tensor]]]:
        """The same loss as the operators of curvlinops take it: model, loss function, parameters, data.

        ``curvlinops.HessianLinearOperator(*loss.as_curvlinops())`` is then the Hessian by `names`, in their order, of
        the average over all data; ``GGNLinearOperator`` and others take the same, and those that know only torch's own
        losses (Fisher, KFAC) take cross entropy, squared error and binary cross entropy with logits. All is a private
        copy. (curvlinops is no dependency: install ``curvlinops-for-pytorch`` to use it.)

        Args:
            parameters: The point, name -> tensor; by default the origin's.

        Returns:
            A module in eval mode; a module ``(output, target) -> mean`` with ``reduction = "mean"``, torch's own where
            the loss is; the parameters that move, parts of the first; and the batches ``(X, y)``.

        Raises:
            ValueError: What curvlinops cannot express, by name: an analytic objective; a loss that calls the model
                itself, or draws random numbers; batches that are no pairs of tensors, or count for something else than
                their examples; statistics of batches; complex parameters.

        Example:
            >>> import lwidgets as lw
            >>> objective, a, _ = lw.demo.digits(hidden=(4,), steps=1)
            >>> model, loss, params, data = DifferentiableLoss(objective, lw.State.of(a)).as_curvlinops()
            >>> [p.numel() for p in params], loss.reduction, data[0][0].shape
            ([256, 4, 40, 10], 'mean', torch.Size([1438, 64]))
        """
        asking = "DifferentiableLoss.as_curvlinops"
        objective = modelled(self._objective, asking)

        def refuse(rule: str, got: str) -> NoReturn:
            raise ValueError(f"{asking}: {rule}, got {got}. Use gradient and hessian_product, which take any loss.")

        if objective.loss.takes_model:
            noise = "one with noise, which is drawn together with the model's"
            refuse("loss must be of the form loss(output, y)", noise if objective.loss.draws else "loss(model, batch)")
        if self._batchnorm == "batch":
            refuse('batchnorm must be "frozen"', "statistics of batches, which couple the examples")
        data, origin = objective.data, self._origin
        for batch in data.batches:
            if not (type(batch) in (tuple, list) and len(batch) == 2 and all(isinstance(t, Tensor) for t in batch)):
                refuse("batches must be pairs of tensors (X, y)", type(batch).__name__)
        shares = np.array([len(batch[0]) for batch in data.batches]) / sum(len(batch[0]) for batch in data.batches)
        if not np.allclose(np.array(data.weights) / data.total, shares, rtol=1e-9, atol=0):
            refuse("batches must count as many as their examples", "other weights")
        model = objective.model_at(origin if parameters is None else origin.with_parameters(parameters, "point"))
        for name, parameter in model.named_parameters():
            if parameter.is_complex():
                refuse("parameters must be real", f"{name!r}, which is complex")
            parameter.requires_grad_(name in self.names)
        own = dict(model.named_parameters())
        return model, _loss_module(objective.loss), [own[name] for name in self.names], [(X, y) for (X, y), _ in data]

    def _average(
        self, parameters: Tensors, derive: Callable[[dict[str, Tensor], Any], tuple[Tensor, ...]], batch: Any
    ) -> dict[str, Tensor]:
        leaves = {name: parameters[name].detach().requires_grad_() for name in self.names}
        total, weights = {name: torch.zeros_like(leaf, requires_grad=False) for name, leaf in leaves.items()}, 0.0
        for each, weight in self._objective.batches if batch is None else [(batch, 1.0)]:
            pause()
            if weight:
                for name, found in zip(leaves, derive(leaves, each), strict=True):
                    total[name] += weight * found
                weights += weight
        return {name: tensor / weights for name, tensor in total.items()}


def _loss_module(loss: Measured) -> nn.Module:
    """A loss (output, target) as a module that says how it is reduced: torch's own class where it is known by that."""
    for function, kind in _OF_TORCH.items():
        if loss.given is function:
            return kind()
        if type(loss.given) is kind and getattr(loss.given, "reduction", "") == "mean":
            return copy.deepcopy(loss.given)
    return _Mean(loss.function)


class _Mean(nn.Module):
    """A loss as a module that says how it is reduced, for curvlinops."""

    reduction = "mean"

    def __init__(self, function: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return loss_in(self._function(output, target)).clone()  # curvlinops detaches it in place, which no view allows


def prepare_to_train() -> None:
    """Let torch import here, in the calling thread, what the first optimizer of a process makes it import.

    Two threads that import it at once, a worker's and a user's, leave it half made until the process is started again.
    """
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0).step()
