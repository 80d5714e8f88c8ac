"""What is known of every tensor's axes while a trace is followed, and the tools by which rules say more.

Rules import this and nothing that imports them; `follow` goes through a trace and asks them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from torch.utils._pytree import tree_leaves

from lwidgets.symmetry import atoms
from lwidgets.symmetry.atoms import Atom, Axes, Refs, Site
from lwidgets.symmetry.elements import Level
from lwidgets.symmetry.trace import Call, Slot


class NoRule(Exception):
    """A rule does not cover this call."""


@dataclass(eq=False)
class Flow:
    """Which axes are the same, and what may act on them, as far as a trace has been followed.

    Attributes:
        values: Key of a tensor -> its axes; all are fixed where there is none.
        zeros: Keys of the tensors that are zero throughout.
        stacks: Splits that are known to be those of sums.
        index: Of the call that is being followed.
        together: Axes that stood beside each other in one tensor or one contraction.
        pins: Calls that no rule covers, and what they fixed.
        wanted: Splits that were found to be those of sums; another pass that knows them finds more.
    """

    values: dict[int, Axes]
    zeros: frozenset[int] = frozenset()
    stacks: frozenset[Site] = frozenset()
    index: int = 0
    together: list[Axes] = field(init=False)
    pins: list[tuple[Call, Refs]] = field(init=False, default_factory=list)
    wanted: set[Site] = field(init=False, default_factory=set)
    _squares: set[int] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self.together = list(self.values.values())

    def slots(self, call: Call) -> list[Slot]:
        """The tensors that a call was given."""
        return [part for part in tree_leaves(dict(call.inputs)) if isinstance(part, Slot)]

    def raw(self, slot: Slot) -> Axes:
        """The axes of a tensor; one may depend on the index of another."""
        if slot.key in self.zeros:
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
