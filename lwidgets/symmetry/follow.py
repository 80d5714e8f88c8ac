"""What every tensor of a trace has on its axes, one operation after another."""

from __future__ import annotations

from lwidgets.symmetry import atoms
from lwidgets.symmetry.atoms import Axes, Site
from lwidgets.symmetry.elements import Level
from lwidgets.symmetry.flow import Flow, NoRule
from lwidgets.symmetry.rules import FRESH, RULES, STRUCTURAL, ZEROS, pointwise
from lwidgets.symmetry.trace import Call, Slot, Trace

_START = dict.fromkeys(("_u", "_v"), (Level.ORTHOGONAL, "singular vectors have norm 1"))


def follow(trace: Trace, stacks: frozenset[Site] = frozenset()) -> Flow:
    """Follow a trace from its first call to its last, and find out which axes are the same and what may act on them.

    Args:
        trace: A forward pass.
        stacks: Splits that are known to be those of sums. Where `Flow.wanted` names others, a pass that is given them
            too finds more.
    """
    flow = Flow({slot.key: _start(name, slot) for name, slot in trace.tensors.items()}, _zeros(trace), stacks)
    for flow.index, call in enumerate(trace.calls):
        _enter(flow, call, _found(flow, call))
    for slot in trace.outputs:
        for axis in flow.axes(slot):
            atoms.restrict(axis, Level.FIXED, "output")
    return flow


def _start(name: str, slot: Slot) -> Axes:
    """The axes of a parameter or buffer before anything is known of them."""
    return [atoms.leaf(size, *_START.get(name[-2:], (Level.GENERAL, "nothing restricts it"))) for size in slot.shape]


def _found(flow: Flow, call: Call) -> tuple[Axes, ...]:
    """The axes of a call's results; of those that are missing nothing is known."""
    if call.op in FRESH:
        return _tuple(FRESH[call.op](flow, call))
    if not any(atoms.is_free(axis) for slot in flow.slots(call) for axis in flow.values.get(slot.key, ())):
        return ()
    rule = RULES.get(call.op, pointwise if call.pointwise else None)
    try:
        if rule is None:
            raise NoRule
        return _checked(call, _tuple(rule(flow, call)))
    except NoRule:
        return _pin(flow, call)


def _tuple(found: Axes | tuple[Axes, ...]) -> tuple[Axes, ...]:
    return found if isinstance(found, tuple) else (found,)


def _checked(call: Call, found: tuple[Axes, ...]) -> tuple[Axes, ...]:
    """A rule that is mistaken about shapes is none."""
    for slot, axes in zip(call.outputs, found, strict=False):
        if slot is not None and [atoms.size_of(axis) for axis in axes] != list(slot.shape):
            raise NoRule
    return found


def _pin(flow: Flow, call: Call) -> tuple[Axes, ...]:
    """Fix all that a call reads or writes."""
    touched = [ref for slot in flow.slots(call) for axis in flow.raw(slot) for ref in atoms.leaves(axis)]
    free = [ref for ref in touched if ref.atom.level is not Level.FIXED]
    if free:
        flow.pins.append((call, free))
        atoms.restrict(free, Level.FIXED, call.where)
    return tuple([atoms.fixed(n) for n in slot.shape] if slot is not None else [] for slot in call.outputs)


def _enter(flow: Flow, call: Call, found: tuple[Axes, ...]) -> None:
    """Note the axes of a call's results; what is written in place keeps those it had."""
    written = {slot.key for slot in call.written}
    for slot, axes in zip(call.outputs, found, strict=False):
        if slot is None:
            continue
        if slot.key in written and call.op not in STRUCTURAL:
            for old, new in zip(flow.raw(slot), axes, strict=True):
                atoms.unify(old, new, call.where)
        flow.values[slot.key] = axes
        flow.together.append(axes)
    for slot in call.outputs[len(found) :]:
        if slot is not None:
            flow.values.pop(slot.key, None)


def _zeros(trace: Trace) -> frozenset[int]:
    """Keys of the tensors that are zero throughout: made so or moved from such, and never written to."""
    written = {slot.root for call in trace.calls for slot in call.written}
    zeros = set(trace.zeros)
    for call in trace.calls:
        source = call.inputs.get("self")
        moved = call.op in STRUCTURAL and isinstance(source, Slot) and source.key in zeros
        if moved or call.op in ZEROS:
            zeros |= {slot.key for slot in call.outputs if slot is not None and slot.root not in written}
    return frozenset(zeros)
