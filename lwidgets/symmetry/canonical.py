"""Transformers rewritten so that their symmetries lie open: norms without weights, a centred stream, circuits.

The gain and shift of a normalisation, and the mean that LayerNorm subtracts, single out axes of the residual stream,
so that only permutations of its features would be left. Both can be moved into the layers around, exactly: the gain
and shift into the linear layers that read the norm, the mean out of all that writes into the stream. What then remains
is x / sqrt(mean x^2 + eps), which commutes with every rotation.

Source: Ashkboos et al., "SliceGPT", ICLR 2024, section 3.2, and Theus et al., "Generalized Linear Mode Connectivity for
Transformers", NeurIPS 2025, appendix A. Here shifts become biases, so that gains may be zero.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lwidgets.calls import Calls
from lwidgets.noise import private_noise
from lwidgets.objective import Objective, modelled
from lwidgets.replica import Replica, private_copy
from lwidgets.symmetry.certify import difference, private
from lwidgets.symmetry.circuits import find_circuits
from lwidgets.symmetry.derive import derived
from lwidgets.symmetry.elements import Level
from lwidgets.symmetry.norms import Bare, Norm, find_norms
from lwidgets.symmetry.spec import Axis, Factor, Spec, blocks
from lwidgets.symmetry.trace import in_double, run, tensors_in

Coordinates = Literal["original", "folded", "circuits"]
COORDINATES: tuple[str, ...] = get_args(Coordinates)

_TOLERANCE = 1e-10
_BIASES = {"weight": "bias", "in_proj_weight": "in_proj_bias"}


@dataclass(frozen=True, eq=False, repr=False)
class Canonical:
    """A network that computes the same as another, in coordinates in which more of its symmetries show.

    Attributes:
        module: New, in eval mode, in the dtype and on the device of the model.
        change: Largest difference of an output from the model's, relative to the largest output; both in float64.
        coordinates: "original" if nothing had to be done; "folded" after norms were folded; "circuits" where heads are
            products of matrices. A line between two models in one kind of coordinates is a curve in another.
        steps: What was done, in words.
    """

    module: nn.Module
    change: float
    coordinates: Coordinates
    steps: tuple[str, ...]

    def __repr__(self) -> str:
        name, done = type(self.module).__name__, len(self.steps)
        return f"Canonical({name}: {self.coordinates} coordinates, {done} steps, outputs changed by {self.change:.0e})"


def canonical(model: nn.Module, /, *inputs: Any, circuits: bool = False, **keywords: Any) -> Canonical:
    r"""A pre-norm transformer rewritten so that its stream may be rotated, and its heads compared as circuits.

    1. A parameter held by several modules, as a tied head, becomes one for each.
    2. y = g * n(x) + s is read by W y + c: W <- W diag(g), c <- c + W s, for every LayerNorm and RMSNorm. A module that
       only scales a layer's output (LayerScale) goes into the layer.
    3. What writes into a stream that LayerNorm reads is multiplied by I - 1 1^T / D, and LayerNorm becomes
       x / sqrt(mean x^2 + eps), with the same eps.
    4. With `circuits`, every attention becomes

       .. math:: \sum_h \mathrm{softmax}\bigl((x Q_h + q_h) x^\top\bigr)\, x\, V_h + c, \quad
                 Q_h = W_q^\top W_k / \sqrt{d_k}, \; q_h = b_q^\top W_k / \sqrt{d_k}, \; V_h = W_v^\top W_o^\top.

       A key's bias does not change the softmax; a value's adds a constant, which is in c.

    Norms are known by what they compute; what reads and writes is followed through the operations of a forward pass, so
    it does not matter how the network is written. Packed projections stay packed, since `derive` takes them apart.

    Args:
        model: Any module; not changed.
        *inputs: Its arguments, a small batch; as for `derive`.
        circuits: Also make heads circuits. The interpolated circuits of two models have twice the rank of a head, so
            the line between them leaves the architecture.
        **keywords: Further arguments of its forward.

    Raises:
        ValueError: A norm cannot be folded (post-norm, its output is used by more than linear layers), the mean cannot
            be taken out of a stream, or an attention is no sum of circuits (rotary positions, shared keys); by name.
            Or the outputs are not the same to 1e-10.
        TypeError: The model does not run in float64.

    Example:
        >>> block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        >>> model = nn.Sequential(nn.Linear(3, 8), block, nn.LayerNorm(8), nn.Linear(8, 4))
        >>> x = torch.randn(2, 5, 3)
        >>> from lwidgets.symmetry import derive
        >>> derive(model, x).groups["0"].level, derive(canonical(model, x).module, x).groups["0"].level
        (Level.PERMUTATION, Level.ORTHOGONAL)
        >>> canonical(model, x, circuits=True)
        Canonical(Sequential: circuits coordinates, 8 steps, outputs changed by ...)
    """
    return rewritten(model, Calls.of(*inputs, **keywords), circuits=circuits)


def rewritten(model: nn.Module, calls: Calls, *, circuits: bool = False) -> Canonical:
    """`canonical` for a model that is called once or several times."""
    with private_noise(), torch.no_grad():
        module, calls = private(model, calls)
        before = _run(module, calls)
        norms = [n for n in find_norms(module, calls) if circuits or n.centred or n.parameters]
        steps, new = _rewrite(module, calls, norms, circuits) if norms or circuits else ([], {})
        change = max(map(difference, before, _run(module, calls)))
    if not change <= _TOLERANCE:
        raise ValueError(
            f"canonical: outputs must stay the same to {_TOLERANCE:.0e} of their size, got a change of {change:.1e} "
            f"after these steps: {'; '.join(steps)}. Align the model as it is."
        )
    done: Coordinates = "circuits" if circuits else "folded" if steps else "original"
    return Canonical(_like(model, module, new), change, done, tuple(steps))


def recast(objective: Objective, canonical: Canonical) -> Objective:
    """The same data, loss and metrics for a model in canonical coordinates.

    Args:
        objective: Of the original model, all of whose parameters move.
        canonical: Of that architecture.

    Raises:
        ValueError: An analytic objective, or one in which some parameters do not move.

    Example:
        >>> import lwidgets as lw
        >>> model = nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(4, 3))
        >>> x, y = torch.randn(6, 2), torch.arange(6) % 3
        >>> objective = lw.Objective(model, (x, y), loss=nn.functional.cross_entropy)
        >>> folded = canonical(model, x)
        >>> abs(recast(objective, folded).measure(folded.module)["loss"] - objective.measure(model)["loss"]) < 1e-6
        True
    """
    if len(modelled(objective, "recast").space.moved) < len(objective.space.shapes):
        raise ValueError(
            "recast: objective must have a model all of whose parameters move, got one in which some parameters stay. "
            "Leave params out."
        )
    return objective.with_model(canonical.module)


def _run(module: nn.Module, calls: Calls) -> tuple[Tensor, ...]:
    with in_double():
        return tensors_in(run(module, calls.copied()))


def _rewrite(
    module: nn.Module, calls: Calls, norms: Sequence[Norm], circuits: bool
) -> tuple[list[str], dict[str, nn.Module]]:
    """Rewrite a private module where it is; what was done, and which modules are new."""
    steps = _untie(module)
    told, new = _absorb(module, calls, [norm for norm in norms if not norm.scaled])
    steps += told
    norms = [norm for norm in norms if norm.scaled]
    spec = _linear(module, calls, norms)
    for norm in norms:
        if norm.parameters:
            told, spec = _fold(module, spec, norm, norms)
            steps += told
    steps += _centre(module, spec, [norm for norm in norms if norm.centred])
    new |= {norm.path: norm.bare(module.get_submodule(norm.path)) for norm in norms if norm.centred or norm.parameters}
    _place(module, new)
    if circuits:
        read = frozenset(group for norm in norms if (group := _groups(spec, norm)[0]))
        found = find_circuits(module, calls, spec, read)
        steps += [f"{path} became circuits (heads: {len(part.qk)})" for path, part in found.items()]
        _place(module, found)
        new |= found
    return steps, new


def _untie(module: nn.Module) -> list[str]:
    """Each module gets parameters of its own."""
    first: dict[int, str] = {}
    steps = []
    for path, part in module.named_modules():
        for own, parameter in part._parameters.items():
            name = f"{path}.{own}".lstrip(".")
            if parameter is not None and first.setdefault(id(parameter), name) != name:
                part._parameters[own] = nn.Parameter(parameter.detach().clone(), requires_grad=False)
                steps.append(f"{name} is no longer tied to {first[id(parameter)]}")
    return steps


def _linear(module: nn.Module, calls: Calls, norms: Sequence[Norm]) -> Spec:
    """The symmetries with a linear map in place of each norm: they tell what writes into it and what reads it."""
    other = private_copy(module)
    _place(other, {norm.path: _any_map(len(norm.gain)) for norm in norms})
    return derived(other, calls, certify=False)


def _any_map(size: int) -> nn.Linear:
    """A linear map without symmetries of its own, drawn without the process's generator."""
    layer = nn.Linear(size, size, bias=False, device="meta")
    generator = torch.Generator().manual_seed(size)
    layer.weight = nn.Parameter(torch.randn(size, size, generator=generator, dtype=torch.float64) / size**0.5)
    return layer


def _groups(spec: Spec, norm: Norm) -> tuple[str | None, str | None]:
    """The groups that act on what a norm returns and on what it is given, where that is all that acts."""
    out, into = (
        axis[0].group if len(axis) == 1 and isinstance(axis[0], Factor) else None
        for axis in spec.axes.get(norm.weight, ((), ()))
    )
    return out, into


def _sides(spec: Spec, group: str, tensor: str) -> tuple[list[str], list[str]]:
    """The tensors on which a group acts from the side from which it acts on this one, and the others."""
    places = spec.acts_on(group)
    own = next(dual for name, _, dual in places if name == tensor)
    with_it = dict.fromkeys(name for name, _, dual in places if dual is own and name != tensor)
    return [*with_it], [*dict.fromkeys(name for name, _, dual in places if dual is not own)]


def _fault(spec: Spec, group: str | None) -> str | None:
    """Why the features a group acts on may not be changed by any matrix; None if they may."""
    if group is None:
        pins = [f"{pin.op} in {pin.where}" for pin in spec.pinned]
        return f"features that are fixed (an output, a constant, {' or '.join(pins) or 'or an input'})"
    return None if spec.groups[group].level is Level.GENERAL else f"features used by {spec.groups[group].reason}"


def _absorb(module: nn.Module, calls: Calls, scales: Sequence[Norm]) -> tuple[list[str], dict[str, nn.Module]]:
    """Move scales, as of a layer before it is added to the stream, into what is scaled; others stay as they are."""
    if not scales:
        return [], {}
    spec = _linear(module, calls, scales)
    steps, new = [], {}
    for scale in scales:
        _, group = _groups(spec, scale)
        if group is None or _fault(spec, group):
            continue
        readers, writers = _sides(spec, group, scale.weight)
        if readers or {norm.weight for norm in scales}.intersection(writers):
            continue
        for name in writers:
            _change(module, spec, name, group, _times(scale.gain))
        steps.append(f"gain of {scale.path} went into {_join(writers)}")
        new[scale.path] = scale.bare(module.get_submodule(scale.path))
    _place(module, new)
    return steps, new


def _fold(module: nn.Module, spec: Spec, norm: Norm, norms: Sequence[Norm]) -> tuple[list[str], Spec]:
    """Move gain and shift of a norm into what reads it; also the spec with the biases that were made for that."""
    group, given = _groups(spec, norm)
    fault = _fault(spec, group)
    beside, readers = ([], []) if group is None or fault else _sides(spec, group, norm.weight)
    if beside:
        fault = f"{_join(beside)} beside it"
    elif nested := [n.path for n in norms if n.weight in readers]:
        fault = f"{_join(nested)}, which normalises again"
    elif group == given:
        fault = f"{_join(readers)}, which also writes what it normalises"
    if group is None or fault:
        raise ValueError(
            f"canonical: norm {norm.path!r} must be read by linear layers only, which take its weights, got {fault}. "
            "This is so in pre-norm networks; align the model as it is."
        )
    axes = dict(spec.axes)
    for name in readers:
        if norm.shifted:
            bias, axis = _shift(module, spec, norm, group, name)
            axes[bias] = (axis,)
        _change(module, spec, name, group, _times(norm.gain))
    shift = " and shift" if norm.shifted else ""
    return [f"gain{shift} of {norm.path} went into {_join(readers)}"], replace(spec, axes=axes)


def _shift(module: nn.Module, spec: Spec, norm: Norm, group: str, name: str) -> tuple[str, Axis]:
    """Add what a layer makes of a norm's shift to its bias; the bias's name and axis."""
    path, _, own = name.rpartition(".")
    part, weight = module.get_submodule(path), module.get_parameter(name).detach()
    if own not in _BIASES or not hasattr(part, _BIASES[own]) or weight.ndim != 2:
        raise ValueError(
            f"canonical: norm {norm.path!r} must be read by layers that can have a bias, which takes up its shift, got "
            f"{name!r}. Use nn.Linear there."
        )
    dim = next(d for tensor, d, _ in spec.acts_on(group) if tensor == name)
    given = torch.zeros(weight.shape[dim], dtype=torch.float64)
    for block, factors in blocks(given, (spec.axes[name][dim],)):
        for d in _dims(factors, group):
            block.copy_(_along(norm.shift, block, d).expand_as(block))
    bias = getattr(part, _BIASES[own])
    offset = torch.tensordot(weight, given, ([dim], [0]))
    setattr(part, _BIASES[own], nn.Parameter(offset if bias is None else bias.detach() + offset, requires_grad=False))
    return f"{path}.{_BIASES[own]}".lstrip("."), spec.axes[name][1 - dim]


def _centre(module: nn.Module, spec: Spec, norms: Sequence[Norm]) -> list[str]:
    """Take the mean over features out of all that writes into streams that LayerNorm reads."""
    steps: dict[str, str] = {}
    for norm in norms:
        _, group = _groups(spec, norm)
        fault = _fault(spec, group)
        readers, writers = ([], []) if group is None or fault else _sides(spec, group, norm.weight)
        others = [name for name in readers if name not in {n.weight for n in norms}]
        others += [n.path for n in norms if n.weight in writers]
        if group is None or fault or others:
            raise ValueError(
                f"canonical: what {norm.path!r} normalises must be written by parameters and read by such norms only, "
                f"so that its mean can be taken out, got {fault or _join(others)}. Make constants that are added (as "
                "fixed positions) parameters, or align the model as it is."
            )
        if group not in steps:
            for name in writers:
                _change(module, spec, name, group, lambda block, dim: block - block.mean(dim, keepdim=True))
            steps[group] = f"the mean over features was taken out of {_join(writers)}"
    return [*steps.values(), *(f"{norm.path} divides by the root mean square only" for norm in norms)]


def _change(module: nn.Module, spec: Spec, name: str, group: str, function: Callable[[Tensor, int], Tensor]) -> None:
    """Change a parameter along every dimension on which a group acts."""
    for block, factors in blocks(module.get_parameter(name).detach(), spec.axes[name]):
        for dim in _dims(factors, group):
            block.copy_(function(block, dim))


def _dims(factors: Sequence[Factor | None], group: str) -> list[int]:
    return [dim for dim, factor in enumerate(factors) if factor is not None and factor.group == group]


def _times(gain: Tensor) -> Callable[[Tensor, int], Tensor]:
    return lambda block, dim: block * _along(gain, block, dim)


def _along(vector: Tensor, block: Tensor, dim: int) -> Tensor:
    """A vector along one dimension of a block."""
    return vector.reshape(-1, *[1] * (block.ndim - dim - 1))


def _join(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _place(module: nn.Module, new: Mapping[str, nn.Module]) -> None:
    """Put modules where others are, under each of their names."""
    instead = {id(module.get_submodule(path)): part for path, part in new.items()}
    for part in list(module.modules()):
        for name, child in part._modules.items():
            part._modules[name] = child if child is None else instead.get(id(child), child)
        if new and isinstance(part, nn.TransformerEncoderLayer):
            part.activation_relu_or_gelu = 0  # or it would compute what it was, past its modules


def _as_here(part: nn.Module, was: nn.Module) -> nn.Module:
    """A copy of a new module for another place."""
    return Bare(part.size, part.eps, was) if isinstance(part, Bare) else copy.deepcopy(part)


def _like(model: nn.Module, rewritten: nn.Module, new: Mapping[str, nn.Module]) -> nn.Module:
    """A copy of the model with the modules and the values of a rewritten one, in its own dtypes and on its device."""
    given = dict(model.named_parameters(remove_duplicate=False))
    like = next(iter(given.values()), torch.empty(0))
    module = Replica(model, like.device).module
    _place(module, {path: _as_here(part, module.get_submodule(path)) for path, part in new.items()})
    for name, value in rewritten.named_parameters():
        path, _, own = name.rpartition(".")
        setattr(module.get_submodule(path), own, nn.Parameter(value.detach().clone().to(given.get(name, like))))
    return module.eval()
