"""The model in what a training script saved beside its optimizer, schedule and averages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_MODELS = (  # where training scripts put the weights
    "state_dict",  # Lightning, timm, MoCo
    "model_state_dict",  # PyTorch's tutorial
    "model",  # torchvision's references, DETR, fairseq, nanoGPT
    "module",  # DeepSpeed
    "net",
    "network",
    "model_state",
    "weights",
    "params",  # BasicSR
)
_AVERAGES = (  # and those of a moving average
    "state_dict_ema",  # timm
    "model_ema",  # torchvision's references, DeiT
    "ema",
    "ema_model",
    "ema_state_dict",
    "model_state_dict_ema",
    "params_ema",  # BasicSR
    "swa_model",
    "averaged_model",
)
_TRAINING = ("optim", "sched", "scaler", "criterion", "loss", "callback", "loop", "rng", "hyper", "metric", "config")
_DEEP = 4  # mappings within mappings


def model_in(loaded: Mapping[str, Any], asking: str, label: str) -> tuple[Mapping[str, Tensor] | nn.Module, str]:
    """The tensors of the one model in a mapping, or the module, and the key it was under where that is worth saying.

    Args:
        loaded: A state dict, or whatever was saved around one.
        asking: For messages: who reads it,
        label: and what it is.

    Raises:
        ValueError: There are several different ones, by key.

    Example:
        >>> checkpoint = {"epoch": 3, "model": {"weight": torch.zeros(2)}, "optimizer": {"state": {}}}
        >>> model_in(checkpoint, "example", "checkpoint")
        ({'weight': tensor([0., 0.])}, '')
    """
    where: list[str] = []
    while len(where) < _DEEP:
        inner = {key: value for key, value in loaded.items() if _holds_weights(value)}
        usual = [key for key in (*_MODELS, *_AVERAGES) if key in inner]
        bare = any(_is_array(value) for value in loaded.values())
        keys = usual or ([] if bare else [k for k in inner if not any(word in k.lower() for word in _TRAINING)])
        if not keys:
            break
        if any(not _same(inner[keys[0]], inner[key]) for key in keys[1:]):
            told = ", ".join(map(repr, keys[:-1])) + f" and {keys[-1]!r}"
            raise ValueError(
                f"{asking}: {label} must hold one model, got different ones under {told}. Pass one of them: "
                f"torch.load(path, weights_only=True)[{keys[-1]!r}], or checkpoint[{keys[-1]!r}] of what is loaded."
            )
        loaded = inner[keys[0]]
        where += [keys[0]] if keys[0] not in _MODELS else []
        if isinstance(loaded, nn.Module):
            return loaded, ".".join(where)
    return {str(n): torch.as_tensor(value) for n, value in loaded.items() if _is_array(value)}, ".".join(where)


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "biufc")


def _holds_weights(value: Any, deep: int = _DEEP) -> bool:
    """Whether something is a module, a state dict, or a mapping with one in it; an optimizer's has numbers as keys."""
    if isinstance(value, nn.Module):
        return True
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) for key in value):
        return False
    return any(_is_array(part) or (deep > 1 and _holds_weights(part, deep - 1)) for part in value.values())


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    return type(a) is type(b) and isinstance(a, int | float | str | bool | None) and a == b
