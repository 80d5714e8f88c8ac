"""Operations that make constants, or move values and change none."""

from __future__ import annotations

from lwidgets.symmetry import atoms
from lwidgets.symmetry.atoms import Axes
from lwidgets.symmetry.elements import Level
from lwidgets.symmetry.flow import Flow, NoRule
from lwidgets.symmetry.rules.base import FRESH, dim_of, dims_of, rule, shape_of, slot_of
from lwidgets.symmetry.trace import Call


def _zeros(f: Flow, call: Call) -> Axes:
    """Zero stays zero whatever acts."""
    return [atoms.leaf(n) for n in shape_of(call)]


def _ones(f: Flow, call: Call) -> Axes:
    """A constant is the same in any order."""
    return [atoms.constant(n, call.where) for n in shape_of(call)]


ZEROS = ("zeros", "zeros_like", "new_zeros")
FRESH |= dict.fromkeys((*ZEROS, "empty", "empty_like", "new_empty", "empty_strided"), _zeros)
FRESH |= dict.fromkeys(("ones", "ones_like", "new_ones", "full", "full_like", "new_full"), _ones)


@rule("fill", "zero")
def _fill(f: Flow, call: Call) -> Axes:
    axes = f.axes(slot_of(call, "self"))
    if call.inputs.get("value", 0) != 0:
        f.restrict(call, axes, Level.PERMUTATION)
    return axes


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy", "view_copy", structural=True)
def _view(f: Flow, call: Call) -> Axes:
    if "dtype" in call.inputs:
        raise NoRule
    refs = [ref for axis in f.raw(slot_of(call, "self")) for ref in axis]
    axes = atoms.regroup(refs, shape_of(call), f.index, f.stacks)
    if axes is None:
        raise NoRule
    return axes


@rule("clone", "detach", "alias", "contiguous", "_to_copy", "lift_fresh", "positive", "lift", structural=True)
def _same(f: Flow, call: Call) -> Axes:
    axes = f.raw(slot_of(call, "self"))
    if (dtype := call.inputs.get("dtype")) is not None and not (dtype.is_floating_point or dtype.is_complex):
        f.restrict(call, axes, Level.PERMUTATION)  # rounding
    return axes


@rule("as_strided", structural=True)
def _as_strided(f: Flow, call: Call) -> Axes:
    """Only where it leaves every value at its place, as pooling does to say how its result lies in memory."""
    slot, new = slot_of(call, "self"), call.inputs
    steps = [(a, b) for n, a, b in zip(slot.shape, slot.strides, new["stride"], strict=False) if n > 1]
    if tuple(new["size"]) != slot.shape or new["storage_offset"] or any(a != b for a, b in steps):
        raise NoRule
    return f.raw(slot)


@rule("neg")
def _neg(f: Flow, call: Call) -> Axes:
    return f.axes(slot_of(call, "self"))


@rule("t", "transpose", "permute", structural=True)
def _permute(f: Flow, call: Call) -> Axes:
    axes = f.raw(slot_of(call, "self"))
    order = list(range(len(axes)))
    if call.op == "permute":
        order = dims_of(call, len(axes), "dims")
    elif len(axes) > 1:
        a, b = (0, 1) if call.op == "t" else (dim_of(call, len(axes), "dim0"), dim_of(call, len(axes), "dim1"))
        order[a], order[b] = order[b], order[a]
    return [axes[d] for d in order]


@rule("squeeze", structural=True)
def _squeeze(f: Flow, call: Call) -> Axes:
    slot = slot_of(call, "self")
    dims = set(dims_of(call, slot.ndim))
    return [axis for d, axis in enumerate(f.raw(slot)) if not (d in dims and slot.shape[d] == 1)]


@rule("unsqueeze", structural=True)
def _unsqueeze(f: Flow, call: Call) -> Axes:
    axes = f.raw(slot_of(call, "self"))
    d = dim_of(call, len(axes) + 1)
    return [*axes[:d], [], *axes[d:]]


@rule("expand", structural=True)
def _expand(f: Flow, call: Call) -> Axes:
    slot, shape = slot_of(call, "self"), shape_of(call)
    new = len(shape) - slot.ndim
    return [
        axis if n == size else atoms.constant(size, call.where)
        for axis, n, size in zip([[]] * new + f.raw(slot), (1,) * new + slot.shape, shape, strict=True)
    ]


FRESH["expand"] = _expand  # also where nothing acts on what is expanded


@rule("repeat")
def _repeat(f: Flow, call: Call) -> Axes:
    axes = f.axes(slot_of(call, "self"))
    times = call.inputs["repeats"]
    padded: Axes = [[]] * (len(times) - len(axes)) + axes
    return [[*atoms.constant(n, call.where), *axis] for n, axis in zip(times, padded, strict=True)]


@rule("select", structural=True)
def _select(f: Flow, call: Call) -> Axes:
    slot = slot_of(call, "self")
    dim = dim_of(call, slot.ndim)
    return f.pick(call, f.raw(slot), dim, call.inputs["index"] % slot.shape[dim])


@rule("unbind", structural=True)
def _unbind(f: Flow, call: Call) -> tuple[Axes, ...]:
    slot = slot_of(call, "self")
    dim = dim_of(call, slot.ndim)
    return tuple(f.pick(call, f.raw(slot), dim, i) for i in range(slot.shape[dim]))


@rule("slice", structural=True)
def _slice(f: Flow, call: Call) -> Axes:
    slot, shape = slot_of(call, "self"), shape_of(call)
    axes, dim = f.raw(slot), dim_of(call, slot.ndim)
    if shape == slot.shape:
        return axes
    start, _, step = slice(call.inputs["start"], call.inputs["end"], call.inputs["step"]).indices(slot.shape[dim])
    if step != 1:
        f.restrict(call, [axes[dim]], Level.FIXED)
        return [*axes[:dim], atoms.fixed(shape[dim]), *axes[dim + 1 :]]
    return f.window(call, axes, dim, start, shape[dim])


@rule("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "split_copy", "chunk", structural=True)
def _split(f: Flow, call: Call) -> tuple[Axes, ...]:
    slot = slot_of(call, "self")
    dim, start, parts = dim_of(call, slot.ndim), 0, []
    for i in range(len(call.outputs)):
        length = shape_of(call, i)[dim]
        whole = length == slot.shape[dim]
        parts.append(f.raw(slot) if whole else f.window(call, f.raw(slot), dim, start, length))
        start += length
    return tuple(parts)


@rule("cat")
def _cat(f: Flow, call: Call) -> Axes:
    slots = [slot for slot in call.inputs["tensors"] if slot.shape != (0,)]
    dim = dim_of(call, slots[0].ndim)
    given = [f.axes(slot) for slot in slots]
    for other in given[1:]:
        for d, (a, b) in enumerate(zip(given[0], other, strict=True)):
            if d != dim:
                atoms.unify(a, b, call.where)
    return [*given[0][:dim], atoms.total([axes[dim] for axes in given]), *given[0][dim + 1 :]]


@rule("stack", structural=True)
def _stack(f: Flow, call: Call) -> Axes:
    """Nothing is asked of the tensors before it is clear that they are not only taken apart again."""
    given = [f.axes(slot) for slot in call.inputs["tensors"]]
    (over,) = atoms.leaf(len(given), Level.FIXED) or [atoms.Ref(atoms.Atom(1, Level.FIXED, ""))]
    axes = [
        atoms.stack(over.atom, parts) if any(map(atoms.is_free, parts)) else parts[0]
        for parts in zip(*given, strict=True)
    ]
    dim = dim_of(call, len(axes) + 1)
    return [*axes[:dim], [over] if len(given) > 1 else [], *axes[dim:]]


@rule("constant_pad_nd")
def _pad(f: Flow, call: Call) -> Axes:
    axes, pad = list(f.axes(slot_of(call, "self"))), call.inputs["pad"]
    level = Level.GENERAL if call.inputs["value"] == 0 else Level.PERMUTATION
    if min(pad) < 0:
        raise NoRule
    f.restrict(call, axes, level)
    for i, (before, after) in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        d = len(axes) - 1 - i
        if not atoms.is_free(axes[d]):
            axes[d] = atoms.fixed(shape_of(call)[d])
        elif before or after:
            ends = [atoms.leaf(n, level, call.where) if n else atoms.fixed(0) for n in (before, after)]
            axes[d] = atoms.total([ends[0], axes[d], ends[1]])
    return axes


@rule("flip", "roll", "cumsum")
def _along(f: Flow, call: Call) -> Axes:
    axes = f.axes(slot_of(call, "self"))
    dims = dims_of(call, len(axes), "dim" if call.op == "cumsum" else "dims")
    f.restrict(call, [axes[d] for d in dims], Level.FIXED)
    return axes


@rule("tril", "triu")
def _triangle(f: Flow, call: Call) -> Axes:
    axes = f.axes(slot_of(call, "self"))
    f.restrict(call, axes[-2:], Level.FIXED)
    return axes


@rule("copy")
def _copy(f: Flow, call: Call) -> Axes:
    target, source = slot_of(call, "self"), slot_of(call, "src")
    axes = f.axes(target)
    new = f.join(call, [target, source], target.shape, broadcast=Level.PERMUTATION)
    for old, joined in zip(axes, new, strict=True):
        atoms.unify(old, joined, call.where)
    return axes


@rule("pixel_shuffle")
def _pixel_shuffle(f: Flow, call: Call) -> Axes:
    *batch, channels, height, width = f.axes(slot_of(call, "self"))
    r, (c, h, w) = call.inputs["upscale_factor"], shape_of(call)[-3:]
    parts = atoms.regroup(channels, [c, r * r])
    if parts is None:
        raise NoRule
    f.restrict(call, [parts[1], height, width], Level.FIXED)
    return [*batch, parts[0], atoms.fixed(h), atoms.fixed(w)]


@rule("channel_shuffle", "native_channel_shuffle")
def _channel_shuffle(f: Flow, call: Call) -> Axes:
    batch, channels, *space = f.axes(slot_of(call, "input", "self"))
    groups = call.inputs["groups"]
    parts = atoms.regroup(channels, [groups, atoms.size_of(channels) // groups])
    if parts is None:
        raise NoRule
    return [batch, [*parts[1], *parts[0]], *space]


@rule("embedding")
def _embedding(f: Flow, call: Call) -> Axes:
    table, indices = f.axes(slot_of(call, "weight")), f.axes(slot_of(call, "indices"))
    f.restrict(call, [table[0], *indices], Level.FIXED)
    return [*indices, table[1]]


@rule("_embedding_bag", "_embedding_bag_forward_only")
def _embedding_bag(f: Flow, call: Call) -> tuple[Axes, ...]:
    table = f.axes(slot_of(call, "weight"))
    others = [axis for slot in f.slots(call) for axis in f.axes(slot) if slot != slot_of(call, "weight")]
    f.restrict(call, [table[0], *others], Level.FIXED)
    if call.inputs.get("mode") == 2:
        f.restrict(call, [table[1]], Level.SCALED)
    return ([atoms.fixed(shape_of(call)[0]), table[1]],)


@rule("index_select", "gather")
def _index_select(f: Flow, call: Call) -> Axes:
    slot, index = slot_of(call, "self"), slot_of(call, "index")
    axes = f.axes(slot)
    dim = dim_of(call, len(axes))
    f.restrict(call, [axes[dim]], Level.FIXED)
    if call.op == "gather":
        if any(a != b for d, (a, b) in enumerate(zip(slot.shape, index.shape, strict=True)) if d != dim):
            raise NoRule
        for d, own in enumerate(f.axes(index)):
            atoms.unify(axes[d] if d != dim else atoms.fixed(index.shape[d]), own, call.where)
    else:
        f.restrict(call, f.axes(index), Level.FIXED)
    return [*axes[:dim], atoms.fixed(shape_of(call)[dim]), *axes[dim + 1 :]]


@rule("index")
def _index(f: Flow, call: Call) -> Axes:
    """Advanced indexing: the indexed dimensions are fixed, the others go through."""
    axes, indices, shape = f.axes(slot_of(call, "self")), call.inputs["indices"], shape_of(call)
    dims: list[int | None] = []  # of the result: those of the tensor that go through
    places = [i for i, index in enumerate(indices) if index is not None]
    d, first = 0, None
    for index in [*indices, *[None] * len(axes)]:
        if d >= len(axes):
            break
        if index is None:
            dims.append(d)
            d += 1
            continue
        f.restrict(call, [*f.axes(index), axes[d]], Level.FIXED)
        if first is None:
            first = len(dims)
        d += 1
    new = len(shape) - len(dims)
    if first is None or new < 0 or places[-1] - places[0] >= len(places):
        raise NoRule
    dims[first:first] = [None] * new
    through = [atoms.fixed(n) if d is None else axes[d] for d, n in zip(dims, shape, strict=True)]
    if [atoms.size_of(axis) for axis in through] != list(shape):  # a mask takes several dimensions
        raise NoRule
    return through


@rule("scatter_add", "index_add", "scatter_reduce", "index_copy", "scatter")
def _scatter(f: Flow, call: Call) -> Axes:
    target, source, index = slot_of(call, "self"), slot_of(call, "src", "source"), slot_of(call, "index")
    axes, own = f.axes(target), f.axes(source)
    dim = dim_of(call, len(axes))
    f.restrict(call, [axes[dim], own[dim]], Level.FIXED)
    for d, (a, b) in enumerate(zip(axes, own, strict=True)):
        if d != dim:
            atoms.unify(a, b, call.where)
    if call.op.startswith("index"):
        f.restrict(call, f.axes(index), Level.FIXED)
    elif index.shape != source.shape:
        raise NoRule
    else:
        for d, axis in enumerate(f.axes(index)):
            atoms.unify(axis, own[d], call.where)
    return axes
