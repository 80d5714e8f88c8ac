"""Normalisations and scales of the last axis, known by what they compute and not by their class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwidgets.calls import Calls
from lwidgets.symmetry.trace import in_double

_ROUNDING = 1e-12
_EPSILONS = (1e-5, 1e-6, 1e-12, 1e-8, None)  # where a module keeps none as an attribute


@dataclass(frozen=True, eq=False)
class Norm:
    """A module that computes gain * n(x) + shift.

    Attributes:
        path: Where it is.
        centred: n subtracts the mean, as LayerNorm does.
        scaled: n divides by the root of mean square + eps; n(x) = x if it does neither.
        eps: As for `nn.RMSNorm`.
        gain: Shape (D,).
        shift: Shape (D,).
        parameters: How many tensors it has.
    """

    path: str
    centred: bool
    scaled: bool
    eps: float | None
    gain: Tensor
    shift: Tensor
    parameters: int

    @property
    def weight(self) -> str:
        """Name of the weight of a linear layer in its place."""
        return f"{self.path}.weight"

    @property
    def shifted(self) -> bool:
        """Whether it can have a shift, if only after training."""
        return self.parameters > 1 or bool(self.shift.any())

    def bare(self, was: nn.Module) -> nn.Module:
        """What is left of it when gain, shift and mean are taken elsewhere.

        Args:
            was: The module in whose place it will stand.
        """
        return Bare(len(self.gain) if self.scaled else None, self.eps, was)


class Bare(nn.Module):
    """x / sqrt(mean x^2 + eps), or x itself.

    What else a forward reads of the module that was here, as the dtype of its weight, is still there; none of it is a
    parameter any more.
    """

    def __init__(self, size: int | None, eps: float | None, was: nn.Module) -> None:
        """Of a number of features; None for x itself."""
        super().__init__()
        self.size, self.eps = size, eps
        vars(self)["was"] = was

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "was" not in vars(self):  # while it is being copied
                raise
            return getattr(vars(self)["was"], name)

    def forward(self, x: Tensor) -> Tensor:
        """Of the same shape."""
        return x if self.size is None else F.rms_norm(x, (self.size,), eps=self.eps)


def find_norms(module: nn.Module, calls: Calls) -> list[Norm]:
    """All of them that a forward pass calls, in order; modules that do nothing are left out.

    Args:
        module: In eval mode and float64.
        calls: Its arguments.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def note(path: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], result: Any) -> None:
            if len(args) == 1 and all(isinstance(t, Tensor) and t.ndim for t in (*args, result)):
                shapes.setdefault(path, tuple(args[0].shape))

        return hook

    parts = {path: part for path, part in module.named_modules() if path and not [*part.children()]}
    hooks = [part.register_forward_hook(note(path)) for path, part in parts.items()]
    with torch.no_grad(), in_double():
        calls.copied().on(module)
    for hook in hooks:
        hook.remove()
    found = (_norm(path, parts[path], shape) for path, shape in shapes.items())
    return [norm for norm in found if norm is not None]


def _norm(path: str, part: nn.Module, shape: tuple[int, ...]) -> Norm | None:
    """What a module is that gets tensors of this shape."""
    own = [tuple(p.shape) for p in part.parameters()]
    if any(size != shape[-1:] for size in own):  # a matrix may happen to be diagonal
        return None
    generator = torch.Generator().manual_seed(0)
    x = 0.1 * torch.randn(8, *shape[1:-1], shape[-1], generator=generator, dtype=torch.float64)
    try:
        with torch.no_grad(), in_double():
            y, z = part(x.clone()), part(-x)
    except Exception:  # it wants something else
        return None
    if not all(isinstance(t, Tensor) and t.shape == x.shape for t in (y, z)):
        return None
    odd, even = ((y - z) / 2).flatten(0, -2), ((y + z) / 2).flatten(0, -2)
    if not odd.any() or (even - even[0]).abs().max() > _ROUNDING * y.abs().max():
        return None
    epsilons = [value for value in vars(part).values() if isinstance(value, float)]
    for centred, scaled, eps, n in _normalised(x, (*epsilons, *_EPSILONS)):
        gain = (odd * n).sum(0) / n.square().sum(0)
        if (odd - gain * n).abs().max() <= _ROUNDING * odd.abs().max():
            does = scaled or (len(own) == 1 and not even.any())
            return Norm(path, centred, scaled, eps, gain, even[0], len(own)) if does else None
    return None


def _normalised(x: Tensor, epsilons: Sequence[float | None]) -> Iterator[tuple[bool, bool, float | None, Tensor]]:
    """All that n may be, with its values as rows."""
    yield False, False, None, x.flatten(0, -2)
    for centred in (True, False):
        y = x - x.mean(-1, keepdim=True) if centred else x
        for eps in dict.fromkeys(epsilons):
            yield centred, True, eps, F.rms_norm(y, x.shape[-1:], eps=eps).flatten(0, -2)
