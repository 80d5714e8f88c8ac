"""Losses and metrics as they are called: the form each has, and what it returned as one number for each name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lwidgets.batch import leaves

Metric = Callable[..., Any]
"""``metric(output, target)`` or ``metric(model, batch)``, a mean over the batch as a 0-d tensor."""

_ROUNDING = 8  # times the machine epsilon, relative: two sums of the same numbers in another order
_MOST = 1e-3  # relative: more is no rounding, in whatever precision


@dataclass(frozen=True)
class Measured:
    """A loss or metric and the form it has."""

    function: Metric
    takes_model: bool
    label: str

    @classmethod
    def of(cls, name: str, function: Metric, module: nn.Module, batch: Any) -> tuple[Measured, Any]:
        """The form that works, and what it returned."""
        label = getattr(function, "__name__", type(function).__name__)
        module.eval()
        failures = []
        named_like_model = _first_argument(function) in ("model", "module", "net", "network")
        forms = (True,) if not _is_pair(batch) else (True, False) if named_like_model else (False, True)
        for takes_model in forms:
            try:
                if takes_model:
                    with torch.enable_grad():
                        value = function(module, batch)
                else:
                    with torch.no_grad():
                        value = function(module(inputs_of(batch)), target_of(batch))
                return cls(function, takes_model, label), value
            except Exception as error:
                failures.append((takes_model, error))
        told = "; ".join(
            f"as {label}({'model, batch' if takes_model else 'output, target'}): {type(error).__name__}: "
            f"{str(error)[:300]}"
            for takes_model, error in failures
        )
        hint = " A pair of tensors must be the tuple (X, y), not a list." if isinstance(batch, Tensor) else ""
        hint += _other_dtypes(module, batch)
        raise TypeError(
            f"Objective: {name} must work as loss(output, target) or as loss(model, batch) on the first batch, "
            f"got {told}. "
            f"Call it by hand on one batch to see the whole traceback.{hint}"
        ) from failures[0][1]


def _other_dtypes(module: nn.Module, batch: Any) -> str:
    """What to do about inputs that have another dtype than all of the model."""
    ours = {p.dtype for p in module.parameters() if p.is_floating_point()}
    theirs = {leaf.dtype for leaf in leaves(batch) if leaf.is_floating_point()} - ours
    if len(ours) != 1 or not theirs:
        return ""
    (wanted,) = ours
    return (
        f" The data hold {theirs.pop()} where the model's parameters are {wanted}: bring them to one dtype, with "
        f"X.to({wanted}) where they are made, or with model.to(dtype)."
    )


def same_but_rounding(a: Tensor, b: Tensor) -> bool:
    """Attention kernels and sums on an accelerator may add in another order the second time; dropout does more."""
    rounding = min(_ROUNDING * torch.finfo(a.dtype).eps, _MOST) if a.is_floating_point() else 0.0
    return bool(torch.isclose(a, b, rtol=rounding, atol=0.0, equal_nan=True).all())


def _first_argument(function: Metric) -> str | None:
    try:
        return next(iter(inspect.signature(function).parameters), None)
    except (TypeError, ValueError):  # built-in functions have no signature
        return None


def _is_pair(batch: Any) -> bool:
    return isinstance(batch, tuple | list) and len(batch) == 2


def inputs_of(batch: Any) -> Any:
    """What a model is called with, of a pair (inputs, target)."""
    return batch[0]


def target_of(batch: Any) -> Any:
    """What a metric compares the output with, of a pair (inputs, target)."""
    return batch[1]


def one_number_each(found: Mapping[str, Any]) -> dict[str, Tensor]:
    """What loss and metrics returned, as one number for each name; a loss may have returned several."""
    values: dict[str, Tensor] = {}
    for name, value in found.items():
        if name in values:
            raise ValueError(
                f"Objective: metrics must not repeat {name!r}, a key of the loss's dict. Use another name."
            )
        if isinstance(value, Mapping) and name == "loss":
            values.update({key: _one_number(key, part) for key, part in value.items()})
        else:
            values[name] = _one_number(name, value)
    if "loss" in values:  # wherever a dict has it, it comes first: the first metric decides
        values = {"loss": values.pop("loss"), **values}
    return values


def count_of(value: Any) -> int | None:
    """What a batch counts, of a loss that returned (sum, count); None for any other.

    >>> count_of((torch.tensor(7.5), 3)), count_of(torch.tensor(2.5))
    (3, None)
    """
    if not (isinstance(value, tuple) and len(value) == 2):
        return None
    count = value[1]
    whole = isinstance(count, Tensor) and not (count.ndim or count.is_floating_point() or count.is_complex())
    return int(count) if (whole and count.dtype != torch.bool) or type(count) is int else None


def _one_number(name: str, value: Any) -> Tensor:
    if count_of(value) is not None:
        value = torch.as_tensor(value[0]) / value[1]
    number: Tensor = torch.as_tensor(value)
    if number.ndim != 0 or number.is_complex():
        raise ValueError(
            f"Objective: {name} must return one real number for a batch, got shape {tuple(number.shape)} of "
            f"{number.dtype}. Use reduction='mean', or take .mean()."
        )
    return number.detach()
