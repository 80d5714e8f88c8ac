"""What a model computes on the objective's data: outputs, or what any of its modules passes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lwidgets.objective import Objective, modelled
from lwidgets.parameters import Source, State

See = Callable[[str, Any, Any], None]
"""Called with a module's name, the tuple of its inputs and its output."""


class Features(NamedTuple):
    """What a module returned.

    Attributes:
        output: Which of its outputs: "" where it returns one tensor, else a key, field or index, as "logits".
        rows: Of all examples, shape (N, ...).
    """

    output: str
    rows: Tensor


def features(objective: Objective, source: Source, layer: str = "", *, batchnorm: str = "frozen") -> Tensor:
    """The outputs of a module on all data.

    The model is called as the loss calls it, so this works for losses that call the model themselves.

    Args:
        objective: Supplies architecture and data.
        source: The parameters.
        layer: Name of the module, as in ``model.named_modules()``; "" is the model itself. Of several tensors, the
            first floating-point one with an axis counts, as the logits of a model that returns its loss before them;
            `named_features` tells which.
        batchnorm: A resolved mode.

    Returns:
        Shape (N, ...), on the objective's device and in the model's dtype.

    Raises:
        ValueError: No such module; it is not called exactly once for a batch; it returns no such tensor, or other
            shapes for other batches; an analytic objective.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, b = lw.demo.digits(hidden=(16,), steps=5)
        >>> features(objective, b).shape, features(objective, b, "1").shape
        (torch.Size([1438, 10]), torch.Size([1438, 16]))
    """
    return named_features(objective, source, layer, batchnorm=batchnorm).rows


def named_features(objective: Objective, source: Source, layer: str = "", *, batchnorm: str = "frozen") -> Features:
    """`features`, and which of a module's outputs they are; arguments as there."""
    found: list[Features] = []
    calls = len(modelled(objective, "features").data.batches)

    def see(name: str, inputs: Any, output: Any) -> None:
        found.append(_first(output, name))

    watch(objective, source, (layer,), see, batchnorm=batchnorm)
    if len(found) != calls:
        raise ValueError(
            f"features: layer must be called once for every batch, got {len(found)} calls of {layer!r} for {calls} "
            "batches. Use a module that the model itself calls, once."
        )
    shapes = {tuple(each.rows.shape[1:]) for each in found}
    if len(shapes) > 1:
        raise ValueError(
            f"features: outputs of {layer!r} must have one shape for each example, got {' and '.join(map(str, shapes))}"
            " in different batches. Pad all data to one length, or give a layer whose outputs have no such axis."
        )
    return Features(found[0].output, torch.cat([each.rows for each in found]))


def _first(output: Any, layer: str) -> Features:
    """The first floating-point tensor with an axis, and its place."""
    for place, tensor in _tensors(output, ""):
        if tensor.is_floating_point() and tensor.ndim:
            return Features(place, tensor.detach().clone())
    raise ValueError(
        f"features: layer {layer!r} must return floating-point tensors with a row for each example, got "
        f"{type(output).__name__}. Name a module that does."
    )


def _tensors(value: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
        return
    parts: dict[Any, Any] = {}
    if isinstance(value, Mapping):
        parts = dict(value)
    elif isinstance(value, tuple | list):
        parts = dict(zip(getattr(value, "_fields", range(len(value))), value, strict=True))
    elif dataclasses.is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    for key, part in parts.items():
        yield from _tensors(part, f"{place}.{key}".lstrip("."))


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
    objective = modelled(objective, "features")
    with objective.replica() as replica:
        objective._show(replica, objective.space.select(State.of(source)))
        objective._prepare(replica, batchnorm)
        with _hooks(replica.module, layers, see), torch.no_grad():
            for batch, _ in objective.data:
                objective.visit(replica.module, batch)


def labels(objective: Objective) -> Tensor:
    """The labels of all examples, int64 of shape (N,), on the objective's device.

    Raises:
        ValueError: The data are neither pairs (X, y) of examples and class indices, nor mappings with such "labels".
    """
    batches = modelled(objective, "features").data.batches
    found = [batch["labels"] for batch in batches if isinstance(batch, Mapping) and "labels" in batch]
    found += [batch[1] for batch in batches if isinstance(batch, tuple | list) and len(batch) == 2]
    indices = [y for y in found if isinstance(y, Tensor) and y.ndim == 1 and not y.is_floating_point()]
    if not batches or len(indices) < len(batches):
        raise ValueError(
            f"features: data must be pairs (X, y) of examples and class indices, or mappings with such 'labels', got "
            f"{_kind(batches)}. Use Objective(model, (X, y), loss=F.cross_entropy)."
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
    parts = batch if isinstance(batch, tuple | list) else [*batch.values()] if isinstance(batch, Mapping) else [batch]
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
