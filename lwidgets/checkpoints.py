"""Reading checkpoints without executing anything that is in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

_NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file or a weights-only torch checkpoint, on the CPU.

    A pickle that needs more than tensors and plain containers is refused: loading it would run its code.

    Args:
        path: File; ``.safetensors`` is read by safetensors, anything else by ``torch.load(weights_only=True)``.

    Raises:
        FileNotFoundError: Nothing is at that path.
        ValueError: The file is damaged, would execute code, or holds no tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"read_checkpoint: path must be a file, got {path.name!r}, which is not there. Check the path."
        )
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"read_checkpoint: {path.name} must be a complete safetensors file, got: {error}. Copy the file again."
        ) from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"read_checkpoint: {path.name} must hold only tensors, got a pickle that torch.load(weights_only=True) "
            "refuses, because loading it could run code. Save model.state_dict() with safetensors or torch.save, "
            "or load it yourself and pass the state dict."
        ) from error
    except Exception as error:  # torch.load raises whatever the bytes lead it to
        raise ValueError(
            f"read_checkpoint: {path.name} must be a complete checkpoint, got: {_first_line(error)}. Copy the "
            "file again."
        ) from error
    return _tensors(loaded, path)


def _tensors(loaded: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(loaded, Mapping):
        nested = next((loaded[key] for key in _NESTED if isinstance(loaded.get(key), Mapping)), loaded)
        tensors = {str(name): value for name, value in nested.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
    raise ValueError(
        f"read_checkpoint: {path.name} must hold a dict of tensors, got {type(loaded).__name__}. "
        f"Save model.state_dict(), alone or under one of {_NESTED}."
    )


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".") or type(error).__name__
