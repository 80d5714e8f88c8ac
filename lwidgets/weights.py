"""What a batch counts in an average, for losses that are no mean over its samples: ``Objective(..., weight=...)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Tokens:
    """Target entries that count; made by `tokens`."""

    ignore_index: int = -100
    target: Any = None
    shifted: bool = False
    classes: Tensor | None = None

    def __call__(self, batch: Any) -> float:
        """How many, or the sum of their classes' weights."""
        target = target_in(batch) if self.target is None else _found(batch, self.target)
        if not isinstance(target, Tensor) or target.is_floating_point():
            raise ValueError(
                f"weights.tokens: target must be the tensor of class indices, got {_named(target)} in a "
                f"{type(batch).__name__}. Say where it is: target='labels', or a function of the batch."
            )
        if self.shifted:  # a causal model's output at t is compared with the label at t + 1
            target = target[..., 1:]
        counted = target[target != self.ignore_index]
        return float(
            counted.numel() if self.classes is None else self.classes.to(counted.device)[counted].double().sum()
        )

    @property
    def label(self) -> str:
        """In words."""
        what = "tokens" if self.classes is None else "tokens by their class weights"
        return f"{what} other than {self.ignore_index}" + (", shifted by one" if self.shifted else "")


def tokens(
    ignore_index: int = -100,
    *,
    target: str | int | Callable[[Any], Tensor] | None = None,
    shifted: bool = False,
    classes: Tensor | None = None,
) -> Tokens:
    """Count the target entries that are not ignored: the weight of a mean over tokens or pixels.

    With it the average over batches is the mean over all tokens of all data, whatever the batch size, and a batch
    without any counts nothing.

    Args:
        ignore_index: The label that does not count, as in `torch.nn.functional.cross_entropy`.
        target: Where the labels are: a key, an index or an attribute of the batch, or a function of it. By default the
            second of a pair, or "labels".
        shifted: Whether the first label of each sequence is compared with nothing, as in causal language models that
            shift the labels themselves.
        classes: Weights of classes, float of shape (C,), as `torch.nn.CrossEntropyLoss(weight=...)` has them: entries
            count by that of their class.

    Returns:
        A function of a batch.

    Example:
        >>> import torch
        >>> tokens()((torch.zeros(2, 3), torch.tensor([[1, 0, -100], [2, -100, -100]])))
        3.0
    """
    return Tokens(ignore_index, target, shifted, classes)


def target_in(batch: Any) -> Any:
    """The target of a batch where it is in one of the usual places; None elsewhere."""
    if isinstance(batch, Mapping):
        return batch.get("labels")
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[1]
    with suppress(Exception):  # attribute access may be anything
        return getattr(batch, "labels", getattr(batch, "y", None))
    return None


def _found(batch: Any, place: Any) -> Any:
    if callable(place):
        return place(batch)
    if isinstance(place, str) and not isinstance(batch, Mapping):
        return getattr(batch, place)
    return batch[place]


def _named(thing: Any) -> str:
    return f"{thing.dtype} of shape {tuple(thing.shape)}" if isinstance(thing, Tensor) else type(thing).__name__
