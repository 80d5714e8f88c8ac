"""How a model is called: with which arguments, by a person or by the loss of an objective."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from lwidgets.batch import mapped
from lwidgets.objective import Objective, modelled

_FEW = 4  # examples by which it is found out
_PLAIN = (int, float, complex, str, bytes, bool, type(None), torch.dtype, torch.device)

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]
"""Positional ones, and those by keyword."""


@dataclass(frozen=True, eq=False)
class Calls:
    """What a model is called with, once or several times.

    Attributes:
        each: The arguments of each call.
    """

    each: tuple[Arguments, ...]

    @classmethod
    def of(cls, *inputs: Any, **keywords: Any) -> Calls:
        """One call."""
        return cls(((inputs, keywords),))

    def on(self, function: Callable[..., Any]) -> Any:
        """What a function returns; a tuple where it is called several times."""
        results = [function(*inputs, **keywords) for inputs, keywords in self.each]
        return results[0] if len(results) == 1 else tuple(results)

    def mapped(self, f: Callable[[Tensor], Tensor]) -> Calls:
        """The same with other tensors; what is no tensor is copied."""
        return Calls(tuple((_copied(mapped(tuple(i), f)), _copied(mapped(dict(k), f))) for i, k in self.each))

    def copied(self) -> Calls:
        """The same in memory of its own, because a forward may write to what it is given."""
        return self.mapped(Tensor.clone)

    @property
    def unpacked(self) -> Calls | None:
        """With the entries of the one mapping that is passed as keywords; None unless that is all there is."""
        inputs, keywords = self.each[0]
        if len(self.each) > 1 or keywords or len(inputs) != 1 or not isinstance(inputs[0], Mapping):
            return None
        return Calls.of(**inputs[0]) if all(isinstance(key, str) for key in inputs[0]) else None


def calls_of(objective: Objective, model: nn.Module) -> Calls:
    """What the loss calls a model with, for a few examples of the objective's data; calls of one form count once.

    Args:
        objective: Of the architecture.
        model: A private copy; it gets hooks, which are removed again.

    Raises:
        ValueError: The loss does not call the model, or calls parts of it by themselves; the message names them. Or an
            analytic objective.

    Example:
        >>> import lwidgets as lw
        >>> objective, a, _ = lw.demo.digits(hidden=(16,), steps=1)
        >>> ((inputs, keywords),) = calls_of(objective, objective.model_at(lw.State.of(a))).each
        >>> inputs[0].shape, keywords
        (torch.Size([4, 64]), {})
    """
    objective = modelled(objective, "symmetry")
    found: dict[Any, Arguments] = {}
    alone: dict[str, None] = {}
    inside: list[nn.Module] = []

    def enter(module: nn.Module, inputs: Any, keywords: Any) -> None:
        if module is model and model not in inside:
            own = Calls.of(*inputs, **keywords).mapped(lambda tensor: tensor.detach().clone())
            found.setdefault(_form(own), own.each[0])
        elif not inside:
            alone[names[module]] = None
        inside.append(module)

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        inside.pop()

    names = {part: name for name, part in model.named_modules() if ".parametrizations." not in f".{name}."}
    with ExitStack() as hooks, torch.no_grad():
        for part in names:
            hooks.callback(part.register_forward_pre_hook(enter, with_kwargs=True).remove)
            hooks.callback(part.register_forward_hook(leave, always_call=True).remove)
        objective.visit(model, next(iter((objective.part(_FEW) or objective).data))[0])
    if alone or not found:
        parts = ", ".join(repr(name) for name in list(alone)[:4])
        raise ValueError(
            f"symmetry: the loss must call the model as a whole, as model(...), got "
            f"{f'calls of its parts {parts} by themselves' if parts else 'none'}. Make the objective of an nn.Module "
            "that holds the model and whose forward does with it what the loss does, as calling a method."
        )
    return Calls(tuple(found.values()))


def _form(calls: Calls) -> Any:
    """Alike for calls that differ in numbers only."""
    leaves, structure = tree_flatten(tuple((inputs, dict(keywords)) for inputs, keywords in calls.each))
    return str(structure), tuple(
        (tuple(leaf.shape), leaf.dtype)
        if isinstance(leaf, Tensor)
        else leaf
        if isinstance(leaf, _PLAIN)
        else type(leaf)
        for leaf in leaves
    )


def _copied(value: Any) -> Any:
    """A deep copy, but for tensors, which are new already."""
    tensors: dict[int, Any] = {}
    mapped(value, lambda tensor: tensors.setdefault(id(tensor), tensor))
    return copy.deepcopy(value, tensors)
