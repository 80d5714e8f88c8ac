"""Random elements of every group must leave the outputs as they are; groups that do not are lowered or pinned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lwidgets.calls import Calls
from lwidgets.noise import private_noise
from lwidgets.parameters import State
from lwidgets.replica import Replica
from lwidgets.symmetry.elements import Element, Group, Level
from lwidgets.symmetry.spec import Certificate, Lowered, Spec
from lwidgets.symmetry.trace import in_double, run, tensors_in, wide

_LOWER = (Level.ORTHOGONAL, Level.SCALED, Level.SIGNED, Level.PERMUTATION, Level.FIXED)


def certify(
    model: nn.Module, spec: Spec, /, *inputs: Any, elements: int = 5, tolerance: float = 1e-10, **keywords: Any
) -> Spec:
    """Check a spec with random elements, and lower or pin the groups that change the outputs.

    A private copy runs in eval mode and float64 on the CPU, at a point near the model's own: every parameter and
    BatchNorm statistic has noise of a tenth of its size added, since biases of zero would hide errors.

    Args:
        model: Any module.
        spec: Derived or written by hand.
        *inputs: Arguments of its forward, a small batch; as for `derive`.
        elements: How many random elements of all groups together.
        tolerance: Largest change of an output allowed, relative to the largest value in it.
        **keywords: Further arguments of its forward.

    Returns:
        The spec with its certificate; `certificate.lowered` says which groups have a lower level now.

    Raises:
        TypeError: The model does not run in float64, or returns no tensors.
        ValueError: The model is not deterministic, its outputs are not finite, or its tensors do not fit the spec.

    Example:
        >>> mlp = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1))
        >>> axes = {"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h*")}
        >>> wrong = Spec.from_axes([Group("h", 3, Level.SCALED)], axes)
        >>> certify(mlp, wrong, torch.randn(4, 2)).groups["h"].level
        Level.PERMUTATION
    """
    with private_noise():
        module, calls = private(model, Calls.of(*inputs, **keywords))
        return certified(module, spec, calls, elements, tolerance)


def private(model: nn.Module, calls: Calls) -> tuple[nn.Module, Calls]:
    """A copy of a model and its arguments in float64 on the CPU."""

    def cast(tensor: Tensor) -> Tensor:
        tensor = tensor.detach().cpu()
        return tensor.to(wide(tensor.dtype), copy=True)

    module = Replica(model, torch.device("cpu"), "symmetry").module._apply(cast)
    for part in module.modules():  # plain attributes are no buffers
        vars(part).update({name: cast(value) for name, value in vars(part).items() if isinstance(value, Tensor)})
    given = calls.mapped(cast)
    unpacked = given.unpacked
    return module, given if unpacked is None or _runs(module, given) else unpacked


def _runs(module: nn.Module, calls: Calls) -> bool:
    try:
        with torch.no_grad(), in_double():
            calls.copied().on(module)
    except Exception:
        return False
    return True


def certified(module: nn.Module, spec: Spec, calls: Calls, elements: int = 5, tolerance: float = 1e-10) -> Spec:
    """`certify` for a module and arguments that are private and float64 already."""
    state, outputs = _somewhere_near(module, calls)

    def change(element: Element, spec: Spec) -> float:
        moved = _outputs(module, spec.apply(element, state), calls)
        return max(map(difference, outputs, moved))

    def worst(spec: Spec) -> float:
        return max((change(spec.random(seed), spec) for seed in range(elements)), default=0.0)

    error = worst(spec)
    lowered: tuple[Lowered, ...] = ()
    if not error <= tolerance:
        spec, lowered = _lower(spec, lambda spec: worst(spec) <= tolerance, worst)
        error = worst(spec)
    return replace(spec, certificate=Certificate(error, elements, tolerance, lowered))


def _lower(
    spec: Spec, holds: Callable[[Spec], bool], error: Callable[[Spec], float]
) -> tuple[Spec, tuple[Lowered, ...]]:
    """Take the groups back in one by one, each at the highest level at which the outputs stay."""
    kept = spec.restrict(Level.FIXED)
    lowered = []
    for name, group in spec.groups.items():
        for candidate in _candidates(group):
            tried = replace(kept, groups={**kept.groups, name: candidate})
            if candidate.level is Level.FIXED or holds(tried):
                break
        if candidate != group:
            alone = replace(spec, groups={**spec.restrict(Level.FIXED).groups, name: group})
            lowered.append(Lowered(name, group.level, candidate.level, error(alone)))
        kept = tried
    return kept, tuple(lowered)


def _candidates(group: Group) -> Iterator[Group]:
    yield group
    if group.copies is not None:
        yield replace(group, copies=None, reason="its copies are not independent, as random elements showed")
    for level in _LOWER:
        if level <= group.level and level is not group.level:
            reason = f"random elements of the {group.level.value} group changed the outputs"
            yield replace(group, level=level, copies=None, reason=reason)


def _somewhere_near(module: nn.Module, calls: Calls) -> tuple[State, tuple[Tensor, ...]]:
    """A point near the module's own where its outputs are finite, and the outputs there."""
    own = State.of(module)
    for scale in (0.1, 0.0):
        state = _noisy(own, scale)
        outputs = _outputs(module, state, calls)
        if all(bool(output.isfinite().all()) for output in outputs):
            break
    else:
        raise ValueError(
            "certify: the model's outputs must be finite, got NaN or infinity. Pass inputs that it can deal with."
        )
    again = max(map(difference, outputs, _outputs(module, state, calls)))
    if again > 1e-12:
        raise ValueError(
            f"certify: model must give the same outputs for the same inputs, got a relative change of {again:.1e} "
            "between two runs in eval mode. Turn off what draws random numbers in its forward."
        )
    return state, outputs


def _noisy(state: State, scale: float) -> State:
    generator = torch.Generator().manual_seed(0)

    def noise(tensor: Tensor) -> Tensor:
        return scale * torch.randn(tensor.shape, generator=generator, dtype=torch.float64)

    def near(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: tensor + noise(tensor) * (tensor.square().mean().sqrt() or 1.0)
            if tensor.dtype == torch.float64
            else tensor
            for name, tensor in tensors.items()
        }

    buffers = dict(state.buffers)
    buffers |= near({name: b for name, b in buffers.items() if name.endswith("running_mean")})
    buffers |= {name: b * noise(b).exp() for name, b in buffers.items() if name.endswith("running_var")}
    return State(near(state.parameters), buffers)


def _outputs(module: nn.Module, state: State, calls: Calls) -> tuple[Tensor, ...]:
    def at_state(*inputs: Any, **keywords: Any) -> Any:
        return functional_call(module, state.tensors, inputs, keywords)

    with torch.no_grad(), in_double():
        return tensors_in(run(at_state, calls.copied()))


def difference(a: Tensor, b: Tensor) -> float:
    """The largest change, relative to the largest entry; infinity where an integer or a shape changed."""
    if a.shape != b.shape or not (a.is_floating_point() or a.is_complex()):
        return 0.0 if torch.equal(a, b) else torch.inf
    if not a.numel():
        return 0.0
    change = (a - b).abs().max().item() / (a.abs().max().item() or 1.0)
    return torch.inf if math.isnan(change) else change
