"""Private copies of a module, given the tensors of one point after another."""

from __future__ import annotations

import copy
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import dropwhile
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from lwidgets.batchnorm import batchnorm_layers
from lwidgets.hooks import own_functions
from lwidgets.parameters import State, as_held, as_real
from lwidgets.wrappers import open_wrappers, refuse_uncopyable, unwrapped

_LOCKS = {type(make()): make for make in (threading.Lock, threading.RLock)}
_MADE_OF_PARTS = (nn.Module, dict, list, tuple, set, MethodType, partial)


class Replica:
    """A private skeleton of the user's module that is given the tensors of one point after another.

    Attributes:
        module: In eval mode, without gradients; no hook or function in it reaches what it was copied from.
        shared: Names of attributes that cannot be copied, and are those of the user's module.
    """

    def __init__(self, model: nn.Module, device: torch.device, function: str = "Objective") -> None:
        """Copy the module; the copy owns its tensors until `show` gives it others.

        Args:
            model: Any module; of a wrapper, what is inside.
            device: Where the copy is.
            function: Who asks for it, for errors.

        Raises:
            TypeError: It is a kind of module that cannot be copied; the message says which.
        """
        model = unwrapped(model)
        refuse_uncopyable(model, function)
        self.module, self.shared = private_copy(model, function)
        self.module.to(device).eval().requires_grad_(False)
        self.parameters = dict(self.module.named_parameters())
        self.buffers = dict(self.module.named_buffers())
        self.batchnorms = batchnorm_layers(self.module)
        self._views = list(_views(model, self.module))
        self._look()

    @property
    def coordinates(self) -> Mapping[str, Tensor]:
        """Name -> the parameter's memory as reals, to be written to."""
        return {name: as_real(parameter) for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def show(self, state: State, own: Iterable[str] = ()) -> None:
        """Take on the parameters of a state, not copied where dtype and device are right, and copies of its buffers.

        Args:
            state: Shown as it is, and not to be written to.
            own: Parameters that get memory of their own, to be overwritten.
        """
        own = set(own)
        for name, tensor in state.tensors.items():
            if name in self.buffers:
                self.buffers[name].copy_(tensor)
            elif name in self.parameters:
                parameter = self.parameters[name]
                parameter.data = as_held(as_real(tensor).to(as_real(parameter), copy=name in own), parameter)
        self._look()

    def release(self) -> None:
        """Hold no parameters any more, unless a copy could not tell from empty ones which attributes look at them."""
        for parameter in () if self._views else self.parameters.values():
            parameter.data = parameter.data.new_empty(0)

    def _look(self) -> None:
        """Let attributes that look at the memory of a parameter look at what it is now."""
        for part, attribute, name, layout in self._views:
            setattr(part, attribute, self.parameters[name].detach().as_strided(*layout))


def private_copy(model: nn.Module, function: str = "Objective") -> tuple[nn.Module, tuple[str, ...]]:
    """A module that shares with another only what cannot be copied, and the names of that.

    Locks are new ones. Any other object that deepcopy refuses, or that holds such an object, is shared whole: half a
    copy of an open file would close it. A tensor kept from the last pass is copied without its graph.

    Raises:
        TypeError: A part of it is a module that refuses to be copied.
    """
    instead: dict[int, Any] = {
        id(value): value.detach().clone()
        for part in model.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    shared: list[Any] = []
    weights: dict[int, Tensor] = {}
    while True:
        memo: dict[int, Any] = {**instead, **weights}
        try:
            module = copy.deepcopy(model, memo)
            if not weights:
                break
            weights = {}  # all else can be copied now
        except Exception as error:
            refused = _refused(error)
            if not refused or id(refused[0]) in instead:
                raise TypeError(
                    f"{function}: model must be a module that can be copied, got {_refuses(error, model)}, which says "
                    f"{type(error).__name__}: {str(error)[:200]}. Take that part out, or build the model anew and load "
                    "its state dict."
                ) from error
            if type(refused[-1]) in _LOCKS and not any(isinstance(thing, threading.Thread) for thing in refused):
                instead[id(refused[-1])] = _LOCKS[type(refused[-1])]()
            elif isinstance(refused[-1], Tensor):
                instead[id(refused[-1])] = refused[-1].detach().clone()
            else:
                instead[id(refused[0])] = refused[0]
                shared.append(refused[0])
            weights = {id(t): t for t in [*model.parameters(), *model.buffers()]}  # not copied only to be thrown away
    own_functions(module, memo)
    open_wrappers(module)
    return module, tuple(dict.fromkeys(_paths(model, shared)))


def _copied(error: BaseException) -> list[Any]:
    """What deepcopy was copying when it failed, from the whole to the part."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return [frame.f_locals["x"] for frame in frames if frame.f_code is copy.deepcopy.__code__]


def _refused(error: BaseException) -> list[Any]:
    """The same, from the first object on that is not made of parts which may be shared one by one."""
    return list(dropwhile(lambda thing: isinstance(thing, _MADE_OF_PARTS), _copied(error)))


def _refuses(error: BaseException, model: nn.Module) -> str:
    part = next((thing for thing in reversed(_copied(error)) if isinstance(thing, nn.Module)), model)
    path = next((path for path, each in model.named_modules() if each is part), "")
    return f"its part {path!r} of class {type(part).__name__}" if path else type(part).__name__


def _paths(model: nn.Module, things: Sequence[Any]) -> Iterator[str]:
    """The name of the attribute that each of them is in."""

    def holds(value: Any, thing: Any) -> bool:
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple | set) else ()
        return value is thing or any(holds(each, thing) for each in inside)

    for thing in things:
        yield next(
            (
                f"{path}.{name}".lstrip(".")
                for path, part in model.named_modules()
                for name, value in vars(part).items()
                if holds(value, thing)
            ),
            type(thing).__name__,
        )


def _views(
    model: nn.Module, copied: nn.Module
) -> Iterator[tuple[nn.Module, str, str, tuple[torch.Size, tuple[int, ...], Any]]]:
    """Plain attributes that look at the memory of a parameter: part of the copy, attribute, parameter, and layout."""
    owners = {p.untyped_storage().data_ptr(): (name, p) for name, p in model.named_parameters() if p.numel()}
    parts = dict(copied.named_modules())
    for path, part in model.named_modules():
        for attribute, value in vars(part).items():
            if isinstance(value, Tensor) and value.numel() and value.layout is torch.strided:
                name, parameter = owners.get(value.untyped_storage().data_ptr(), ("", None))
                if parameter is not None and parameter.dtype == value.dtype and parameter.is_contiguous():
                    offset = value.storage_offset() - parameter.storage_offset()
                    yield parts[path], attribute, name, (value.shape, value.stride(), offset)
