"""Modules that wrap another one, and modules of which no private copy can be evaluated."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

_WRAPPERS = {  # the package and the name of a class that adds nothing to the numbers -> where the module is
    "torch.DataParallel": "module",
    "torch.DistributedDataParallel": "module",
    "torch.OptimizedModule": "_orig_mod",
    "torch.AveragedModel": "module",
    "lightning._FabricModule": "_original_module",
    "lightning_fabric._FabricModule": "_original_module",
    "deepspeed.DeepSpeedEngine": "module",
}


def unwrapped(module: nn.Module) -> nn.Module:
    """The module itself, out of DataParallel, DistributedDataParallel, torch.compile, AveragedModel and their like.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> unwrapped(nn.DataParallel(net)) is net, unwrapped(net) is net
        (True, True)
    """
    while (inside := _inside(module)) is not None:
        module = inside
    return module


def open_wrappers(module: nn.Module) -> None:
    """Let every part that is such a wrapper call the module in it directly; names stay as they are. In place."""
    for part in list(module.modules()):
        for name, child in part._modules.items():
            part._modules[name] = None if child is None else _through(child)


def _through(module: nn.Module) -> nn.Module:
    inside = _inside(module)
    if inside is None:
        return module
    return _Through(next(name for name, child in module._modules.items() if child is inside), _through(inside))


class _Through(nn.Module):
    """A module under the name that a wrapper has given it; what it lacks itself is the module's."""

    def __init__(self, name: str, inside: nn.Module) -> None:
        super().__init__()
        self._name = name
        self.add_module(name, inside)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            inside = vars(self).get("_modules", {}).get(vars(self).get("_name"))
            if inside is None:  # it is being made, or copied
                raise
            return getattr(inside, name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._modules[self._name](*args, **kwargs)  # type: ignore[misc]


def _inside(module: nn.Module) -> nn.Module | None:
    for base in type(module).__mro__:
        attribute = _WRAPPERS.get(f"{base.__module__.partition('.')[0]}.{base.__name__}")
        inside = None if attribute is None else module._modules.get(attribute)
        if inside is not None:
            return inside
    return None


def refuse_uncopyable(model: nn.Module, function: str) -> None:
    """Say which part of a model cannot be copied and given other weights, and the way out.

    Args:
        model: Any module, unwrapped.
        function: Who asks; the message begins with it.

    Raises:
        TypeError: It has a part of TorchScript or of FSDP, or a parameter that is sharded, lazy or on the meta device.
    """
    for why, way_out in _obstacles(model):
        raise TypeError(f"{function}: model must hold its own weights as plain tensors, got {why}. {way_out}")


def _obstacles(model: nn.Module) -> Iterator[tuple[str, str]]:
    for path, part in model.named_modules():
        where = f" as its part {path!r}" if path else ""
        if isinstance(part, torch.jit.ScriptModule):
            yield (
                f"a ScriptModule (torch.jit.script or torch.jit.trace){where}, whose compiled code cannot be copied "
                "piece by piece",
                "Build the module that was scripted, and load script.state_dict() into it.",
            )
        if any(base.__name__ == "FullyShardedDataParallel" for base in type(part).__mro__):
            yield f"FullyShardedDataParallel{where}, which keeps them flat and in shards", _WHOLE
    sharded = sys.modules.get("torch.distributed.tensor")
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if is_lazy(tensor):
            yield (
                f"{name!r}, which is lazy and has no shape yet",
                "Call the model on a batch first, which gives lazy layers their shapes.",
            )
        elif sharded is not None and isinstance(tensor, sharded.DTensor):
            yield f"{name!r}, a DTensor in shards (fully_shard)", _WHOLE
        elif tensor.is_meta:
            yield (
                f"{name!r}, which is on the meta device and has no values",
                'Load its weights: model.to_empty(device="cpu"), then model.load_state_dict(...).',
            )


_WHOLE = (
    "Build the plain module and load the whole state dict into it: torch.distributed.checkpoint.state_dict."
    "get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))."
)


def hidden_weights(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Weights of a model that are none of its parameters, and so stay: where they are, and how they would be found."""
    registered = set(map(id, model.modules()))
    packed: tuple[str, ...] = ()
    for path, part in model.named_modules():
        if type(part).__module__.startswith(("torch.ao.nn.quantized", "torch.nn.quantized")):
            if not f"{path}.".startswith(packed):
                packed = (*packed, f"{path}." if path else "")
                yield (
                    f"{path or type(part).__name__}, packed by quantisation",
                    "Use the model as it was before it was quantised.",
                )
            continue
        for name, value in vars(part).items():
            attribute = f"{path}.{name}".lstrip(".")
            if name != "_modules" and any(id(layer) not in registered for layer in _layers_in(value)):
                kind, instead = type(value).__name__, "Dict" if isinstance(value, dict) else "List"
                yield f"layers in the {kind} {attribute}", f"Use nn.Module{instead} in place of the {kind}."
            elif isinstance(value, Tensor) and value.is_leaf and value.requires_grad:
                yield f"the plain tensor {attribute}", "Make it an nn.Parameter."


def _layers_in(value: Any) -> list[nn.Module]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [each for each in inside if isinstance(each, nn.Module)]


def why_nothing_moves(model: nn.Module) -> str:
    """What a model without parameters has instead, and the way out."""
    for told, way_out in hidden_weights(model):
        return f"It has {told}. {way_out}"
    return "Add one, or use lw.Objective.from_function for a function of a few numbers."
