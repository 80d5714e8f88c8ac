"""Private copies of a module, given the tensors of one point after another."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lwidgets.batchnorm import batchnorm_layers
from lwidgets.parameters import State


class Replica:
    """A private skeleton of the user's module that is given the tensors of one point after another."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        """Copy the module; the copy owns its tensors until `show` gives it others."""
        # A tensor that the module keeps from its last pass cannot be copied by deepcopy itself.
        kept = [t for part in model.modules() for t in vars(part).values() if isinstance(t, Tensor) and not t.is_leaf]
        memo = {id(tensor): tensor.detach().clone() for tensor in kept}
        self.module = copy.deepcopy(model, memo).to(device).eval().requires_grad_(False)
        self.parameters = dict(self.module.named_parameters())
        self.buffers = dict(self.module.named_buffers())
        self.batchnorms = batchnorm_layers(self.module)

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
                self.parameters[name].data = tensor.to(self.parameters[name], copy=name in own)

    def release(self) -> None:
        """Hold no parameters any more."""
        for parameter in self.parameters.values():
            parameter.data = parameter.data.new_empty(0)
