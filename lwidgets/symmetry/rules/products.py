"""Products of tensors, convolutions, and windows in space."""

from __future__ import annotations

import math
import re

from lwidgets.symmetry import atoms
from lwidgets.symmetry.atoms import Axes
from lwidgets.symmetry.elements import Level
from lwidgets.symmetry.flow import Flow, NoRule
from lwidgets.symmetry.rules.base import RULES, Rule, rule, shape_of, slot_of
from lwidgets.symmetry.trace import Call, Slot


@rule("mm", "bmm", "mv", "dot", "addmm", "baddbmm", "addmv", "vdot", "_sparse_mm", "_sparse_addmm")
def _matmul(f: Flow, call: Call) -> Axes:
    a = f.axes(slot_of(call, "mat1", "batch1", "mat", "sparse", "self"))
    b = f.axes(slot_of(call, "mat2", "batch2", "vec", "tensor", "other", "dense"))
    if call.op in ("bmm", "baddbmm"):
        atoms.unify(a[0], b[0], call.where)
        f.restrict(call, [a[0]], Level.PERMUTATION)
        f.contract(call, a[2], b[1], [a[0]])
        axes = [a[0], a[1], b[2]]
    else:
        f.contract(call, a[-1], b[0])
        axes = [*a[:-1], *b[1:]]
    if call.op in ("addmm", "baddbmm", "addmv", "_sparse_addmm"):
        offset = slot_of(call, "self")
        for back, axis in enumerate(reversed(f.axes(offset)), start=1):
            if axis:
                atoms.unify(axes[-back], axis, call.where)
        for back, axis in enumerate(reversed(axes), start=1):
            if back > offset.ndim or offset.shape[-back] == 1:
                f.restrict(call, [axis], Level.PERMUTATION)
    return axes


@rule("convolution")
def _convolution(f: Flow, call: Call) -> Axes:
    x, weight = f.axes(slot_of(call, "input")), f.axes(slot_of(call, "weight"))
    groups, shape = call.inputs["groups"], shape_of(call)
    into, out = (weight[0], weight[1]) if call.inputs["transposed"] else (weight[1], weight[0])
    f.restrict(call, [*x[2:], *weight[2:]], Level.FIXED)
    if groups == 1:
        f.contract(call, x[1], into)
        channels = out
    else:
        packed = into if call.inputs["transposed"] else out
        inputs = atoms.regroup(x[1], [groups, atoms.size_of(x[1]) // groups])
        weights = atoms.regroup(packed, [groups, atoms.size_of(packed) // groups])
        if inputs is None or weights is None:
            raise NoRule
        inputs, weights = ([atoms.solid(axis, call.where) for axis in pair] for pair in (inputs, weights))
        atoms.unify(inputs[0], weights[0], call.where)
        f.restrict(call, [inputs[0]], Level.PERMUTATION)
        f.contract(call, inputs[1], weights[1] if call.inputs["transposed"] else into, [inputs[0]])
        channels = [*weights[0], *(out if call.inputs["transposed"] else weights[1])]
    if isinstance(bias := call.inputs["bias"], Slot):
        atoms.unify(channels, f.axes(bias)[0], call.where)
    return [x[0], channels, *map(atoms.fixed, shape[2:])]


def _spatial(level: Level) -> Rule:
    def apply(f: Flow, call: Call) -> Axes:
        slot = slot_of(call, "self", "input")
        found = re.search(r"(\d)d", call.op)
        if found is None or len(shape_of(call)) != slot.ndim:
            raise NoRule
        n, axes = int(found[1]), f.axes(slot)
        f.restrict(call, axes[-n:], Level.FIXED)
        f.restrict(call, axes[:-n], level)
        return [*axes[:-n], *map(atoms.fixed, shape_of(call)[-n:])]

    return apply


for _op in (
    *("avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool1d"),
    *(f"{kind}_pad{n}d" for kind in ("reflection", "replication") for n in (1, 2, 3)),
    *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact2d"),
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"),
    *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
):
    RULES[_op] = _spatial(Level.GENERAL)
for _op in (
    *("max_pool2d_with_indices", "max_pool3d_with_indices", "adaptive_max_pool2d", "adaptive_max_pool3d"),
    *("max_pool1d", "max_pool2d", "max_pool3d"),
):
    RULES[_op] = _spatial(Level.SCALED)


@rule("im2col")
def _im2col(f: Flow, call: Call) -> Axes:
    batch, channels, *space = f.axes(slot_of(call, "self"))
    f.restrict(call, space, Level.FIXED)
    window = math.prod(call.inputs["kernel_size"])
    return [batch, [*channels, *atoms.fixed(window)], atoms.fixed(shape_of(call)[-1])]
