"""What every tensor of a trace has on its axes, one operation after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch.utils._pytree import tree_leaves

from lwidgets.symmetry import atoms
from lwidgets.symmetry.atoms import Atom, Axes, Refs, Site
from lwidgets.symmetry.elements import Level
from lwidgets.symmetry.rules import FRESH, RULES, STRUCTURAL, ZEROS, NoRule, pointwise
from lwidgets.symmetry.trace import Call, Slot, Trace

_START = dict.fromkeys(("_u", "_v"), (Level.ORTHOGONAL, "singular vectors have norm 1"))


class Follower:
    """Goes through a trace and finds out which axes are the same, and what may act on them.

    Attributes:
        values: Key of a tensor -> its axes; all are fixed where there is none.
        together: Axes that stood beside each other in one tensor or one contraction.
        pins: Calls that no rule covers, and what they fixed.
        wanted: Splits that were found to be those of sums; another pass that knows them finds more.
    """

    def __init__(self, trace: Trace, stacks: frozenset[Site] = frozenset()) -> None:
        """Follow a trace from its first call to its last.

        Args:
            trace: A forward pass.
            stacks: Splits that are known to be those of sums.
        """
        self.values: dict[int, Axes] = {
            slot.key: [
                atoms.leaf(size, *_START.get(name[-2:], (Level.GENERAL, "nothing restricts it"))) for size in slot.shape
            ]
            for name, slot in trace.tensors.items()
        }
        self.together: list[Axes] = list(self.values.values())
        self.pins: list[tuple[Call, Refs]] = []
        self.wanted: set[Site] = set()
        self.stacks = stacks
        self.index = 0
        self._zeros = _zeros(trace)
        self._squares: set[int] = set()
        for self.index, call in enumerate(trace.calls):
            self._follow(call)
        for slot in trace.outputs:
            for axis in self.axes(slot):
                atoms.restrict(axis, Level.FIXED, "output")

    def _follow(self, call: Call) -> None:
        if call.op in FRESH:
            found: Axes | tuple[Axes, ...] = FRESH[call.op](self, call)
        elif not any(atoms.is_free(axis) for slot in self.slots(call) for axis in self.values.get(slot.key, ())):
            found = ()
        else:
            rule = RULES.get(call.op, pointwise if call.pointwise else None)
            try:
                if rule is None:
                    raise NoRule
                found = rule(self, call)
                self._check(call, found)
            except NoRule:
                found = self._pin(call)
        outputs = found if isinstance(found, tuple) else (found,)
        for slot, axes in zip(call.outputs, outputs, strict=False):
            if slot is None:
                continue
            if slot.key in {written.key for written in call.written} and call.op not in STRUCTURAL:
                for old, new in zip(self.raw(slot), axes, strict=True):
                    atoms.unify(old, new, call.where)
            self.values[slot.key] = axes
            self.together.append(axes)
        for slot in call.outputs[len(outputs) :]:
            if slot is not None:
                self.values.pop(slot.key, None)

    def _check(self, call: Call, found: Axes | tuple[Axes, ...]) -> None:
        """A rule that is mistaken about shapes is none."""
        for slot, axes in zip(call.outputs, found if isinstance(found, tuple) else (found,), strict=False):
            if slot is not None and [atoms.size_of(axis) for axis in axes] != list(slot.shape):
                raise NoRule

    def _pin(self, call: Call) -> tuple[Axes, ...]:
        """Fix all that a call reads or writes."""
        touched = [ref for slot in self.slots(call) for axis in self.raw(slot) for ref in atoms.leaves(axis)]
        free = [ref for ref in touched if ref.atom.level is not Level.FIXED]
        if free:
            self.pins.append((call, free))
            atoms.restrict(free, Level.FIXED, call.where)
        return tuple([atoms.fixed(n) for n in slot.shape] if slot is not None else [] for slot in call.outputs)

    def slots(self, call: Call) -> list[Slot]:
        """The tensors that a call was given."""
        return [part for part in tree_leaves(dict(call.inputs)) if isinstance(part, Slot)]

    def raw(self, slot: Slot) -> Axes:
        """The axes of a tensor; one may depend on the index of another."""
        if slot.key in self._zeros:
            return [atoms.leaf(n) for n in slot.shape]  # zero stays zero whatever acts, each time anew
        axes = self.values.get(slot.key)
        if axes is None:
            return [atoms.fixed(n) for n in slot.shape]
        if slot.key in self._squares:
            self._squares.discard(slot.key)
            for axis in axes:
                atoms.restrict(axis, Level.PERMUTATION, "a square")
        return axes

    def axes(self, slot: Slot) -> Axes:
        """The axes of a tensor, each by itself."""
        return [atoms.solid(axis, "a packed axis") for axis in self.raw(slot)]

    def square(self, call: Call, slot: Slot) -> Axes:
        """The axes of a tensor's square, of which nothing is asked before it is clear what becomes of it."""
        axes = self.axes(slot)
        if call.written or call.outputs[0] is None:
            raise NoRule
        self._squares.add(call.outputs[0].key)
        return axes

    def is_square(self, slot: Slot) -> bool:
        """Whether a tensor is a square of which nothing was asked yet; from now on it is asked."""
        found = slot.key in self._squares
        self._squares.discard(slot.key)
        return found

    def join(
        self,
        call: Call,
        operands: Iterable[Slot],
        shape: Sequence[int],
        *,
        both: Level | None = None,
        broadcast: Level | None = None,
    ) -> Axes:
        """The axes of what is made entry by entry from tensors that are broadcast against each other.

        Args:
            call: For the reason.
            operands: The tensors.
            shape: Of the result.
            both: What remains of an axis that more than one of them have.
            broadcast: What remains of an axis along which one of them is constant.
        """
        given = [(slot, self.axes(slot)) for slot in operands]
        joined: Axes = []
        for back in range(len(shape), 0, -1):
            own = [axes[-back] for slot, axes in given if slot.ndim >= back and slot.shape[-back] != 1]
            present = [axis for axis in own if not atoms.is_constant(axis)] or own[:1]
            if shape[-back] == 1 or not present:
                joined.append(atoms.fixed(shape[-back]))
                continue
            for other in present[1:]:
                atoms.unify(present[0], other, call.where)
            if both is not None and len(present) > 1:
                atoms.restrict(present[0], both, call.where)
            if broadcast is not None and len(present) < len(given):
                atoms.restrict(present[0], broadcast, call.where)
            joined.append(present[0])
        return joined

    def contract(self, call: Call, a: Refs, b: Refs, beside: Axes | None = None) -> None:
        """Two axes are summed over together; those `beside` run along with them in both tensors."""
        atoms.unify(a, atoms.dual(b), call.where)
        self.together.append([*(beside or []), a])

    def restrict(self, call: Call, axes: Iterable[Refs], level: Level) -> None:
        """Nothing above a level acts on these axes."""
        for axis in axes:
            atoms.restrict(axis, level, call.where)

    def pick(self, call: Call, axes: Axes, dim: int, index: int) -> Axes:
        """The axes of what is left when one index of a dimension is taken."""
        others = [*axes[:dim], *axes[dim + 1 :]]
        if over := self._over(axes, dim):
            return [atoms.member(axis, over, index) for axis in others]
        self._note_sum(axes[dim])
        atoms.restrict(axes[dim], Level.FIXED, call.where)
        return others

    def window(self, call: Call, axes: Axes, dim: int, start: int, length: int) -> Axes:
        """The axes of what is left when a range of a dimension is taken."""
        others = [*axes[:dim], *axes[dim + 1 :]]
        if over := self._over(axes, dim):
            new = Atom(length, Level.FIXED, call.where)
            others = [atoms.members(axis, over, new, range(start, start + length)) for axis in others]
            part = [atoms.Ref(new)] if length != 1 else []
        else:
            lone = length == 1 and self._note_sum(axes[dim])
            found = None if lone else atoms.window(axes[dim], start, length)
            if found is None:
                atoms.restrict(axes[dim], Level.FIXED, call.where)
            part = atoms.fixed(length) if found is None else found
        return [*others[:dim], part, *others[dim:]]

    def _over(self, axes: Axes, dim: int) -> Atom | None:
        """The atom of a dimension on whose index other dimensions depend, if they do."""
        axis = atoms.expand(axes[dim])
        if len(axis) == 1 and any(atoms.stacked_over(other, axis[0].atom) for other in axes):
            return axis[0].atom
        return None

    def _note_sum(self, axis: Refs) -> bool:
        """Whether an axis was split off by a view that may have split a sum; it is remembered."""
        refs = atoms.expand(axis)
        sites = refs[0].atom.sites if len(refs) == 1 and refs[0].atom.level is not Level.FIXED else frozenset()
        self.wanted |= sites
        return bool(sites)


def _zeros(trace: Trace) -> set[int]:
    """Keys of the tensors that are zero throughout: made so or moved from such, and never written to."""
    written = {slot.root for call in trace.calls for slot in call.written}
    zeros = set(trace.zeros)
    for call in trace.calls:
        source = call.inputs.get("self")
        moved = call.op in STRUCTURAL and isinstance(source, Slot) and source.key in zeros
        if moved or call.op in ZEROS:
            zeros |= {slot.key for slot in call.outputs if slot is not None and slot.root not in written}
    return zeros
