"""The symmetries of a network, read off the operations of one forward pass.

Every axis of every tensor is followed from the parameters to the outputs. A contraction makes two axes the same with
opposite sides (S and S^-T), a sum makes them the same, a non-linearity leaves only what commutes with it, a view
splits an axis, and inputs and outputs stay as they are. No architecture is known, and sizes that coincide mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import nn

from lwidgets.calls import Calls
from lwidgets.noise import private_noise
from lwidgets.parameters import ParameterSpace
from lwidgets.symmetry import atoms
from lwidgets.symmetry.atoms import Atom, Axes, Refs
from lwidgets.symmetry.certify import certified, private
from lwidgets.symmetry.elements import Group, Level
from lwidgets.symmetry.follow import follow
from lwidgets.symmetry.spec import Axis, Factor, Pinned, Spec, Sum
from lwidgets.symmetry.trace import Trace, trace

_SIDELESS = (Level.ORTHOGONAL, Level.SIGNED, Level.PERMUTATION, Level.FIXED)  # S^-T = S


def derive(model: nn.Module, /, *inputs: Any, certify: bool = True, **keywords: Any) -> Spec:
    """Which reparametrisations leave a network's function as it is.

    Args:
        model: Any module. A private copy is run once, in eval mode and float64 on the CPU.
        *inputs: Its arguments, a small batch; floating-point tensors are cast to float64. One mapping may hold what
            the model takes by keyword, as a tokenizer's output does.
        certify: Check the result with random elements, and lower or pin the groups that fail.
        **keywords: Further arguments of its forward: ``derive(model, **batch)``.

    Returns:
        The groups, and the axes they act on. Operations that no rule covers are in `spec.pinned`: what they touch is
        taken to be fixed. Freedom that is not found: scales and signs that pass through a normalisation or a product
        of activations, permutations of the parts of a concatenation, rotations of pairs under rotary positions.

    Raises:
        TypeError: The model does not run in float64, or returns no tensors.
        ValueError: The model is not deterministic, or its outputs are not finite.

    Example:
        >>> import torch
        >>> mlp = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
        >>> {name: group.level for name, group in derive(mlp, torch.randn(3, 2)).groups.items()}
        {'0': Level.SCALED, '2': Level.SIGNED}
    """
    return derived(model, Calls.of(*inputs, **keywords), certify=certify)


def derived(model: nn.Module, calls: Calls, *, certify: bool = True) -> Spec:
    """`derive` for a model that is called once or several times; what it returns every time stays as it is."""
    with private_noise():
        module, calls = private(model, calls)
        spec = _spec(trace(module, calls.copied()), ParameterSpace.of_module(model, refuse=False).aliases)
        return certified(module, spec, calls) if certify else spec


def _spec(recorded: Trace, aliases: Mapping[str, str]) -> Spec:
    """Follow the trace until no more of its splits turn out to be those of sums."""
    stacks: frozenset[atoms.Site] = frozenset()
    while (flow := follow(recorded, stacks)).wanted - stacks:
        stacks |= flow.wanted
    used = sorted(recorded.tensors.items(), key=lambda item: item[1].key)  # in the order in which they were
    axes = {name: flow.axes(slot) for name, slot in used}
    sides = _sides(axes)
    copies = _copies(axes.values(), flow.together)
    names = _names(axes, sides, copies)
    groups = {
        name: Group(name, atom.size, atom.level, atom.reason, names[copies[atom]] if atom in copies else None)
        for atom, name in names.items()
    }

    def factors(refs: Refs) -> Iterator[Factor | Sum]:
        for ref in atoms.expand(refs):
            if ref.atom.terms is not None:
                terms = atoms.terms_of([ref])
                yield Sum(tuple(axis(term) or (Factor(None, atoms.size_of(term)),) for term in terms))
            elif ref.atom in names:
                sided = ref.atom.level not in _SIDELESS
                yield Factor(names[ref.atom], ref.atom.size, sided and ref.dual is not sides[ref.atom])
            else:
                yield Factor(None, ref.atom.size)

    def axis(refs: Refs) -> Axis:
        return tuple(factors(refs)) if any(ref.atom in names for ref in atoms.leaves(refs)) else ()

    def pinned() -> Iterator[Pinned]:
        for call, touched in flow.pins:
            atoms_ = {atoms.find(ref).atom for ref in touched}
            on = tuple(n for n, own in axes.items() if any(r.atom in atoms_ for a in own for r in atoms.leaves(a)))
            if on:
                yield Pinned(call.op, call.where, on)

    acted = {name: tuple(axis(refs) for refs in own) for name, own in axes.items()}
    return Spec(groups, {name: own for name, own in acted.items() if any(own)}, aliases, tuple(pinned()))


def _blocks(axes: Axes) -> Iterator[list[list[Atom]]]:
    """The atoms of each axis, in each block of a tensor."""
    terms = [atoms.terms_of(axis) for axis in axes]
    for i, parts in enumerate(terms):
        if len(parts) > 1:
            for part in parts:
                yield from _blocks([*axes[:i], part, *axes[i + 1 :]])
            return
    for i, axis in enumerate(axes):
        for j, ref in enumerate(expanded := atoms.expand(axis)):
            if (over := ref.atom.over) is not None:
                for index in range(len(ref.atom.terms or ())):
                    yield from _blocks([atoms.member(other, over, index) for other in axes])
                return
            if ref.atom.terms is not None:  # a sum within a product
                for part in atoms.terms_of([ref]):
                    yield from _blocks([*axes[:i], [*expanded[:j], *part, *expanded[j + 1 :]], *axes[i + 1 :]])
                return
    yield [[ref.atom for ref in atoms.leaves(axis)] for axis in axes]


def _copied(block: list[list[Atom]], atom: Atom, outer: Atom) -> bool:
    """Whether it is clear which axis of a block counts the copies of an atom: the only one, or the one before it."""
    if sum(axis.count(outer) for axis in block) == 1:
        return True
    before = [axis[i - 1] if i else None for axis in block for i, other in enumerate(axis) if other is atom]
    return all(other is outer for other in before)


def _copies(parameters: Iterable[Axes], together: Iterable[Axes]) -> dict[Atom, Atom]:
    """Atom -> the slower atom beside which alone it occurs: it has an element for each of that one's copies."""
    beside: dict[Atom, dict[Atom, None]] = {}
    for axes in together:
        for block in _blocks(axes):
            present = dict.fromkeys(atom for axis in block for atom in axis)
            for atom in present:
                if atom.level is not Level.FIXED:
                    known = beside.get(atom, present)
                    beside[atom] = {o: None for o in known if o is not atom and _copied(block, atom, o)}
    slower: dict[Atom, set[Atom]] = {}
    for axes in parameters:
        for axis in axes:
            refs = atoms.leaves(axis)
            for i, ref in enumerate(refs):
                slower.setdefault(ref.atom, set()).update(r.atom for r in refs[:i])
    chosen: dict[Atom, Atom] = {}
    for atom, others in beside.items():
        fit = [o for o in others if o.level <= Level.PERMUTATION and atom not in beside.get(o, ())]
        fit += [o for o in others if o.level is Level.PERMUTATION and o in slower.get(atom, ()) and o not in fit]
        if fit:
            chosen[atom] = max(fit, key=lambda o: (o.level is Level.PERMUTATION, o.size))
    return {atom: outer for atom, outer in chosen.items() if outer not in chosen}


def _sides(axes: Mapping[str, Axes]) -> dict[Atom, bool]:
    """Atom -> which of its two sides is the covariant one. What is never read or never made is fixed.

    Biases are covariant, and so are the first axes of most weights.
    """
    places = [(refs, own) for own in axes.values() for refs in own]
    places.sort(key=lambda place: (len(place[1]) > 1, place[0] is not place[1][0]))
    sides: dict[Atom, bool] = {}
    both: set[Atom] = set()
    for refs, _ in places:
        for ref in atoms.leaves(refs):
            if sides.setdefault(ref.atom, ref.dual) is not ref.dual:
                both.add(ref.atom)
    for atom in sides:
        if atom.level not in _SIDELESS and atom not in both:
            atom.level = Level.FIXED
    return sides


def _names(axes: Mapping[str, Axes], sides: Mapping[Atom, bool], copies: Mapping[Atom, Atom]) -> dict[Atom, str]:
    """A name for each group: the module of the first tensor that makes its activations."""
    outer = set(copies.values())
    bases: dict[Atom, str] = {}
    for made in (True, False):
        for name, own in axes.items():
            for refs in own:
                for ref in atoms.leaves(refs):
                    named = ref.atom.level is not Level.FIXED or ref.atom in outer
                    if named and (ref.dual is sides[ref.atom]) is made:
                        bases.setdefault(ref.atom, _base(name))
    names: dict[Atom, str] = {}
    for atom, base in bases.items():
        alone = sum(other == base for other in bases.values()) == 1
        wanted = base if alone or atom not in outer else f"{base}.copies"
        name, i = wanted, 1
        while name in names.values():
            i += 1
            name = f"{wanted}.{i}"
        names[atom] = name
    return names


def _base(name: str) -> str:
    """The module of a tensor."""
    module, _, own = name.rpartition(".")
    if ".parametrizations." in f".{name}":
        module, _, own = module.rpartition(".parametrizations")[0], "", "weight"
    return module if module and own in ("weight", "bias", "in_proj_weight", "in_proj_bias") else name
