"""Operations that sum or search along axes, and normalisations."""

from __future__ import annotations

from collections.abc import Sequence

from lwidgets.symmetry import atoms
from lwidgets.symmetry.atoms import Axes
from lwidgets.symmetry.elements import Level
from lwidgets.symmetry.flow import Flow, NoRule
from lwidgets.symmetry.rules.base import dims_of, rule, shape_of, slot_of
from lwidgets.symmetry.rules.entries import maximum
from lwidgets.symmetry.trace import Call, Slot


def _left(axes: Axes, dims: Sequence[int], call: Call) -> Axes:
    keep = call.inputs.get("keepdim", False)
    return [[] if d in dims else axis for d, axis in enumerate(axes) if keep or d not in dims]


@rule("sum", "mean")
def _sum(f: Flow, call: Call) -> Axes:
    slot = slot_of(call, "self")
    squared = f.is_square(slot)
    axes, dims = f.axes(slot), dims_of(call, slot.ndim)
    if squared:
        f.restrict(call, axes, Level.ORTHOGONAL)
        f.restrict(call, _left(axes, dims, call), Level.PERMUTATION)
    else:
        f.restrict(call, [axes[d] for d in dims], Level.PERMUTATION)
    return _left(axes, dims, call)


@rule("linalg_vector_norm", "norm")
def _norm(f: Flow, call: Call) -> Axes:
    slot = slot_of(call, "self")
    axes, dims = f.axes(slot), dims_of(call, slot.ndim)
    euclidean = call.inputs.get("ord", call.inputs.get("p")) in (2, None)
    f.restrict(call, [axes[d] for d in dims], Level.ORTHOGONAL if euclidean else Level.PERMUTATION)
    left = _left(axes, dims, call)
    f.restrict(call, left, Level.SCALED)
    return left


@rule("amax", "amin")
def _extreme(f: Flow, call: Call) -> Axes:
    slot = slot_of(call, "self")
    axes, dims = f.axes(slot), dims_of(call, slot.ndim)
    f.restrict(call, [axes[d] for d in dims], Level.PERMUTATION)
    left = _left(axes, dims, call)
    f.restrict(call, left, Level.SCALED)
    return left


@rule("var", "std", "var_mean", "std_mean", "logsumexp", "prod", "any", "all")
def _statistic(f: Flow, call: Call) -> tuple[Axes, ...]:
    slot = slot_of(call, "self")
    axes = f.axes(slot)
    f.restrict(call, axes, Level.PERMUTATION)
    return (_left(axes, dims_of(call, slot.ndim), call),) * len(call.outputs)


@rule("max", "min", "argmax", "argmin", "median", "topk", "sort", "argsort", "kthvalue", "cumprod")
def _ordered(f: Flow, call: Call) -> Axes | tuple[Axes, ...]:
    if "other" in call.inputs:
        return maximum(f, call)
    slot = slot_of(call, "self")
    axes = f.axes(slot)
    f.restrict(call, axes, Level.PERMUTATION)
    if call.inputs.get("dim") is None and call.op in ("max", "min", "median"):
        return [[]] * len(shape_of(call))
    dims = dims_of(call, slot.ndim)
    f.restrict(call, [axes[d] for d in dims], Level.FIXED)
    if len(shape_of(call)) == slot.ndim:
        left = [atoms.fixed(shape_of(call)[d]) if d in dims else axis for d, axis in enumerate(axes)]
    else:
        left = [axis for d, axis in enumerate(axes) if d not in dims]
    return (left,) * len(call.outputs)


@rule(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update",
    "_batch_norm_with_update",
)
def _batch_norm(f: Flow, call: Call) -> tuple[Axes, ...]:
    axes = f.axes(slot_of(call, "input"))
    for name in ("weight", "bias", "running_mean", "running_var"):
        if isinstance(given := call.inputs.get(name), Slot):
            atoms.unify(axes[1], f.axes(given)[0], call.where)
    f.restrict(call, axes, Level.PERMUTATION)
    return (axes,)


@rule("native_layer_norm")
def _layer_norm(f: Flow, call: Call) -> tuple[Axes, ...]:
    axes = f.axes(slot_of(call, "input"))
    inner = axes[-len(call.inputs["normalized_shape"]) :]
    for name in ("weight", "bias"):
        if isinstance(given := call.inputs.get(name), Slot):
            for a, b in zip(inner, f.axes(given), strict=True):
                atoms.unify(a, b, call.where)
    f.restrict(call, axes, Level.PERMUTATION)
    return (axes,)


@rule("native_group_norm")
def _group_norm(f: Flow, call: Call) -> tuple[Axes, ...]:
    """Groups may change places, and channels within a group."""
    axes = f.axes(slot_of(call, "input"))
    groups = call.inputs["group"]
    parts = atoms.regroup(axes[1], [groups, atoms.size_of(axes[1]) // groups])
    if parts is None:
        raise NoRule
    channels = [ref for part in parts for ref in atoms.solid(part, call.where)]
    for name in ("weight", "bias"):
        if isinstance(given := call.inputs.get(name), Slot):
            atoms.unify(channels, f.axes(given)[0], call.where)
    axes = [axes[0], channels, *axes[2:]]
    f.restrict(call, axes, Level.PERMUTATION)
    return (axes,)


@rule("_weight_norm_interface")
def _weight_norm(f: Flow, call: Call) -> tuple[Axes, ...]:
    """Scales times unit vectors, one for each index of one dimension."""
    axes, scale, dim = f.axes(slot_of(call, "v")), f.axes(slot_of(call, "g")), call.inputs["dim"]
    atoms.unify(axes[dim], scale[dim], call.where)
    f.restrict(call, [axes[dim]], Level.PERMUTATION)
    f.restrict(call, axes, Level.ORTHOGONAL)
    return (axes,)
