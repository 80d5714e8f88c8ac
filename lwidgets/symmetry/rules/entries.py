"""Operations entry by entry: what commutes with a function of one number."""

from __future__ import annotations

from lwidgets.symmetry import atoms
from lwidgets.symmetry.atoms import Axes
from lwidgets.symmetry.elements import Level
from lwidgets.symmetry.flow import Flow, NoRule
from lwidgets.symmetry.rules.base import RULES, Rule, dim_of, rule, shape_of, slot_of
from lwidgets.symmetry.trace import Call, Slot


def pointwise(f: Flow, call: Call) -> Axes:
    """Any function of entries: what permutes them all in the same way is all that may act."""
    slots = f.slots(call)
    axes = f.join(call, slots, shape_of(call))
    for slot in slots:
        f.restrict(call, f.axes(slot), Level.PERMUTATION)
    return axes


def _unary(level: Level) -> Rule:
    def apply(f: Flow, call: Call) -> Axes | tuple[Axes, ...]:
        if len(f.slots(call)) != 1:
            return pointwise(f, call)
        axes = f.axes(f.slots(call)[0])
        f.restrict(call, axes, level)
        return axes

    return apply


POSITIVELY_HOMOGENEOUS = ("relu", "leaky_relu", "abs", "rrelu_with_noise")
ODD = ("tanh", "sin", "asin", "atan", "erf", "erfinv", "sinh", "asinh", "atanh", "tan", "sign", "sgn")
RULES |= dict.fromkeys(POSITIVELY_HOMOGENEOUS, _unary(Level.SCALED))
RULES |= dict.fromkeys(ODD, _unary(Level.SIGNED))


@rule("clamp_min", "clamp", "threshold")
def _clamp(f: Flow, call: Call) -> Axes | tuple[Axes, ...]:
    given = call.inputs
    at_zero = given.get("min", given.get("threshold")) == 0 and given.get("max") is None and given.get("value", 0) == 0
    return _unary(Level.SCALED if at_zero else Level.PERMUTATION)(f, call)


@rule("add", "sub", "rsub")
def _add(f: Flow, call: Call) -> Axes:
    slots = f.slots(call)
    axes = f.join(call, slots, shape_of(call), broadcast=Level.PERMUTATION)
    if len(slots) < 2 and call.inputs["other"] != 0:
        f.restrict(call, axes, Level.PERMUTATION)
    return axes


@rule("mul")
def _mul(f: Flow, call: Call) -> Axes:
    slots = f.slots(call)
    if len(slots) == 2 and slots[0] == slots[1]:
        return f.square(call, slots[0])
    return f.join(call, slots, shape_of(call), both=Level.PERMUTATION)


@rule("div")
def _div(f: Flow, call: Call) -> Axes:
    if call.inputs.get("rounding_mode") is not None:
        raise NoRule
    axes = f.join(call, f.slots(call), shape_of(call), both=Level.PERMUTATION)
    if isinstance(by := call.inputs["other"], Slot):
        f.restrict(call, f.axes(by), Level.PERMUTATION)
    return axes


@rule("pow")
def _pow(f: Flow, call: Call) -> Axes | tuple[Axes, ...]:
    if call.inputs.get("exponent") == 2:
        return f.square(call, slot_of(call, "self"))
    return pointwise(f, call)


@rule("square")
def _square(f: Flow, call: Call) -> Axes:
    return f.square(call, slot_of(call, "self"))


@rule("maximum", "minimum")
def maximum(f: Flow, call: Call) -> Axes:
    """The larger or smaller of two; scales that are the same for both go through."""
    axes = f.join(call, f.slots(call), shape_of(call), broadcast=Level.PERMUTATION)
    f.restrict(call, axes, Level.SCALED)
    return axes


@rule("masked_fill")
def _masked_fill(f: Flow, call: Call) -> Axes:
    x, mask, value = slot_of(call, "self"), slot_of(call, "mask"), call.inputs["value"]
    axes = f.join(call, [x, mask], shape_of(call), both=Level.PERMUTATION)
    if isinstance(value, Slot) or value != 0:
        f.restrict(call, axes, Level.PERMUTATION)
    return axes


@rule("where")
def _where(f: Flow, call: Call) -> Axes:
    """One mask for a whole axis leaves it free; a mask of its own has been compared with something, entry by entry."""
    values = [slot_of(call, "self"), slot_of(call, "other")]
    axes = f.join(call, values, shape_of(call), broadcast=Level.PERMUTATION)
    for axis, other in zip(reversed(axes), reversed(f.axes(slot_of(call, "condition"))), strict=False):
        if other and not atoms.is_constant(other):
            atoms.unify(axis, other, call.where)
    return axes


@rule("prelu", "_prelu_kernel")
def _prelu(f: Flow, call: Call) -> Axes:
    x, slopes = slot_of(call, "self"), slot_of(call, "weight")
    axes, own = f.axes(x), f.axes(slopes)
    if slopes.ndim == 1 and call.op == "prelu":
        own = [[], own[0], *[[]] * (x.ndim - 2)]
    f.restrict(call, axes, Level.SCALED)
    for axis, other in zip(reversed(axes), reversed(own), strict=False):
        if other:
            atoms.unify(axis, other, call.where)
            f.restrict(call, [axis], Level.PERMUTATION)
    return axes


@rule("glu")
def _glu(f: Flow, call: Call) -> Axes:
    slot = slot_of(call, "self")
    dim = dim_of(call, slot.ndim)
    half = slot.shape[dim] // 2
    a, b = (f.window(call, f.axes(slot), dim, start, half) for start in (0, half))
    atoms.unify(a[dim], b[dim], call.where)
    f.restrict(call, a, Level.PERMUTATION)
    return a


@rule("native_dropout")
def _dropout(f: Flow, call: Call) -> tuple[Axes, ...]:
    if call.inputs["train"]:
        raise NoRule
    return (f.axes(slot_of(call, "input")),)


RULES |= dict.fromkeys(
    # softmax keeps its axis; the others are pointwise, which not every version of torch says of them
    (
        "_softmax",
        "_log_softmax",
        "_safe_softmax",
        "hardswish",
        "hardsigmoid",
        "hardtanh",
        "relu6",
        "log_sigmoid_forward",
    ),
    pointwise,
)
