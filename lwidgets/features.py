"""What a model computes on the objective's data: outputs, or what any of its modules passes on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lwidgets.objective import FunctionObjective, Objective
from lwidgets.parameters import Source, State

See = Callable[[str, Any, Any], None]
"""Called with a module's name, the tuple of its inputs and its output."""


def features(objective: Objective, source: Source, layer: str = "", *, batchnorm: str = "frozen") -> Tensor:
    """The outputs of a module on all data.

    The model is called as the loss calls it, so this works for losses that call the model themselves.

    Args:
        objective: Supplies architecture and data.
        source: The parameters.
        layer: Name of the module, as in ``model.named_modules()``; "" is the model itself. Of a tuple, the first
            tensor counts.
        batchnorm: A resolved mode.

    Returns:
        Shape (N, ...), on the objective's device and in the model's dtype.

    Raises:
        ValueError: No such module; it is not called exactly once for a batch; an analytic objective.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(hidden=(16,), steps=5)
        >>> features(objective, b).shape, features(objective, b, "1").shape
        (torch.Size([1438, 10]), torch.Size([1438, 16]))
    """
    rows: list[Tensor] = []
    calls = len(objective.data.batches) if not isinstance(objective, FunctionObjective) else 0

    def see(name: str, inputs: Any, output: Any) -> None:
        first = output if isinstance(output, Tensor) else output[0]
        rows.append(first.detach().clone())

    watch(objective, source, (layer,), see, batchnorm=batchnorm)
    if len(rows) != calls:
        raise ValueError(
            f"features: layer must be called once for every batch, got {len(rows)} calls of {layer!r} for {calls} "
            "batches. Use a module that the model itself calls, once."
        )
    return torch.cat(rows)


def watch(
    objective: Objective, source: Source, layers: Collection[str], see: See, *, batchnorm: str = "frozen"
) -> None:
    """Pass all data through the model once, and see what goes through some of its modules.

    Args:
        objective: Supplies architecture and data.
        source: The parameters.
        layers: Names of modules.
        see: Called for every call of each of them.
        batchnorm: A resolved mode.

    Raises:
        ValueError: No such module; an analytic objective.
    """
    if isinstance(objective, FunctionObjective):
        raise ValueError("features: objective must have a model, got an analytic one. Use Objective(model, data).")
    with objective.replica() as replica:
        objective._show(replica, objective.space.select(State.of(source)))
        objective._prepare(replica, batchnorm)
        with _hooks(replica.module, layers, see), torch.no_grad():
            for batch, _ in objective.data:
                objective.visit(replica.module, batch)


def labels(objective: Objective) -> Tensor:
    """The labels of all examples, int64 of shape (N,), on the objective's device.

    Raises:
        ValueError: The data are not pairs (X, y) of examples and class indices.
    """
    batches = () if isinstance(objective, FunctionObjective) else objective.data.batches
    found = [batch[1] for batch in batches if isinstance(batch, tuple | list) and len(batch) == 2]
    indices = [y for y in found if isinstance(y, Tensor) and y.ndim == 1 and not y.is_floating_point()]
    if not batches or len(indices) < len(batches):
        raise ValueError(
            f"features: data must be pairs (X, y) of examples and class indices, got {_kind(batches)}. "
            "Use Objective(model, (X, y), loss=F.cross_entropy)."
        )
    return torch.cat(indices).long()


def class_scores(objective: Objective, state: State, batchnorm: str) -> Tensor:
    """The model's outputs, of shape (N, C), float64, after a check that the loss is their cross-entropy.

    Raises:
        ValueError: It is not; the message has both numbers.
    """
    scores = features(objective, state, batchnorm=batchnorm).double()
    if scores.ndim != 2:
        raise ValueError(
            f"features: outputs must be class scores of shape (N, C), got {tuple(scores.shape)}. "
            "Use an objective of a classifier."
        )
    own, found = objective.measure(state, batchnorm)["loss"], float(cross_entropies(scores, labels(objective)).mean())
    if not (abs(own - found) <= 1e-4 * max(1.0, abs(own)) or own == found):
        raise ValueError(
            f"features: loss must be the cross-entropy of the model's class scores, got {own:.6g} where that is "
            f"{found:.6g}. Use Objective(model, (X, y), loss=F.cross_entropy)."
        )
    return scores


def cross_entropies(scores: Tensor, labels: Tensor) -> Tensor:
    """Of every example: (N, C), (N,) -> (N,)."""
    return nn.functional.cross_entropy(scores, labels, reduction="none")


def _kind(batches: Sequence[Any]) -> str:
    if not batches:
        return "no data"
    batch = batches[0]
    parts = batch if isinstance(batch, tuple | list) else [batch]
    return ", ".join(
        f"{part.dtype} of shape {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
        for part in parts
    )


@contextmanager
def _hooks(module: nn.Module, layers: Collection[str], see: See) -> Iterator[None]:
    parts = dict(module.named_modules())
    unknown = [name for name in layers if name not in parts]
    if unknown:
        raise ValueError(
            f"features: layer must be a module's name, got {unknown[0]!r}. "
            f"The names are {', '.join(repr(name) for name in list(parts)[:8])}, ..."
        )

    def hook(_: nn.Module, inputs: Any, output: Any, name: str) -> None:
        see(name, inputs, output)

    handles = [parts[name].register_forward_hook(partial(hook, name=name)) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
