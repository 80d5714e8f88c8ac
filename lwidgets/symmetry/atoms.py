"""Axes of tensors while a network is being followed: what they are made of, and which are the same.

An axis is an ordered product of references to atoms. Atoms are found to be equal (a union-find whose references have
a side, covariant or dual), split into products by views, cut into sums by slices, and lose freedom level by level.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lwidgets.symmetry.elements import Level

Site = tuple[int, int]
"""Where a view split an axis: which call of the trace, and which of its new dimensions."""


class Ref(NamedTuple):
    """An atom as a factor of an axis.

    Attributes:
        atom: The atom.
        dual: The inverse transpose acts.
    """

    atom: Atom
    dual: bool = False


Refs = list[Ref]
"""An axis: the product of these, the last of which runs fastest; [] is an axis with one value."""

Axes = list[Refs]
"""The axes of a tensor, one for each dimension."""


class Atom:
    """What one factor of an axis is.

    Attributes:
        size: Number of values.
        constant: What has this axis is the same all along it, as after an expansion.
        level: How much freedom is left; it means nothing where there are parts, which have their own.
        reason: What set the level.
        same: What this atom was found to be.
        factors: The product that it was split into.
        terms: The direct sum that it was cut into; or, with `over`, one axis for each index of `over`.
        over: The fixed atom, elsewhere in the same tensors, on whose index this one depends.
        sites: Where views split it off as the slower factor. A selection of one of its values tells that the axis
            which was split is a sum, as that of a packed query-key-value projection.
    """

    __slots__ = ("constant", "factors", "level", "over", "reason", "same", "sites", "size", "terms")

    def __init__(self, size: int, level: Level, reason: str, sites: frozenset[Site] = frozenset()) -> None:
        self.constant = False
        self.size, self.level, self.reason, self.sites = size, level, reason, sites
        self.same: Ref | None = None
        self.factors: Refs | None = None
        self.terms: list[Refs] | None = None
        self.over: Atom | None = None


def leaf(size: int, level: Level = Level.GENERAL, reason: str = "") -> Refs:
    """A new axis of one atom, or of none where there is but one value."""
    return [Ref(Atom(size, level, reason))] if size != 1 else []


def fixed(size: int) -> Refs:
    """A new axis on which nothing acts."""
    return leaf(size, Level.FIXED)


def constant(size: int, reason: str) -> Refs:
    """A new axis along which nothing changes: any order of it is the same."""
    axis = leaf(size, Level.PERMUTATION, reason)
    for ref in axis:
        ref.atom.constant = True
    return axis


def is_constant(refs: Iterable[Ref]) -> bool:
    """Whether what has this axis is the same all along it."""
    return all(ref.atom.constant and ref.atom.terms is None for ref in expand(refs))


def dual(refs: Iterable[Ref]) -> Refs:
    """The axis that this one contracts with."""
    return [Ref(ref.atom, not ref.dual) for ref in refs]


def find(ref: Ref) -> Ref:
    """The atom that stands for all that were found to be this one."""
    while (same := ref.atom.same) is not None:
        ref = Ref(same.atom, same.dual ^ ref.dual)
    return ref


def expand(refs: Iterable[Ref]) -> Refs:
    """An axis with every product written out."""
    found: Refs = []
    for given in refs:
        ref = find(given)
        if ref.atom.factors is not None:
            found += expand(dual(ref.atom.factors) if ref.dual else ref.atom.factors)
        else:
            found.append(ref)
    return found


def size_of(refs: Iterable[Ref]) -> int:
    """How many values an axis has."""
    return math.prod(ref.atom.size for ref in refs)


def _terms(ref: Ref) -> list[Refs]:
    assert ref.atom.terms is not None
    return [dual(term) for term in ref.atom.terms] if ref.dual else ref.atom.terms


def terms_of(refs: Iterable[Ref]) -> list[Refs]:
    """An axis as a direct sum, with every sum of sums written out; of one term if it is no sum."""
    axis = expand(refs)
    if not axis or axis[0].atom.terms is None:
        return [axis]
    each = [terms_of(term) for term in _terms(axis[0])]
    if axis[0].atom.over is None:
        parts = [part for terms in each for part in terms]
    elif len(each[0]) > 1 and all(list(map(size_of, terms)) == list(map(size_of, each[0])) for terms in each):
        parts = [stack(axis[0].atom.over, terms) for terms in zip(*each, strict=True)]  # a stack of sums, as a sum
    else:
        return [axis]
    return [[*part, *axis[1:]] for part in parts]  # (a + b) c = a c + b c


def total(terms: Sequence[Refs]) -> Refs:
    """The direct sum of axes, one after the other."""
    parts = [part for term in terms for part in terms_of(term) if size_of(part)]
    if len(parts) == 1:
        return parts[0]
    size = sum(map(size_of, parts))
    if not any(is_free(part) for part in parts):
        return fixed(size)
    atom = Atom(size, Level.GENERAL, "")
    atom.terms = parts
    return [Ref(atom)]


def leaves(refs: Iterable[Ref]) -> Refs:
    """The atoms of an axis that have no parts, in order."""
    found: Refs = []
    for ref in expand(refs):
        if ref.atom.terms is None:
            found.append(ref)
        else:
            found += [part for term in _terms(ref) for part in leaves(term)]
    return found


def is_free(refs: Iterable[Ref]) -> bool:
    """Whether anything may act on an axis."""
    return any(ref.atom.level is not Level.FIXED for ref in leaves(refs))


def restrict(refs: Iterable[Ref], level: Level, reason: str) -> None:
    """Nothing above this level acts on any part of an axis."""
    for ref in leaves(refs):
        lower = ref.atom.level.meet(level)
        if lower is not ref.atom.level:
            ref.atom.level, ref.atom.reason = lower, reason


def unify(a: Iterable[Ref], b: Iterable[Ref], reason: str) -> None:
    """Two axes are the same: whatever acts on one acts on the other. What does not match is fixed."""
    left, right = solid(a, reason), solid(b, reason)
    sums = terms_of(left), terms_of(right)
    if len(sums[0]) > 1 and len(sums[1]) > 1 and (len(left) > 1 or len(right) > 1):
        _unify_sums(*sums, reason)
        return
    while left and right:
        x, y = left[0], right[0]
        if x.atom.size == y.atom.size:
            _link(x, y, reason)
            left, right = left[1:], right[1:]
        elif x.atom.size > y.atom.size and (pair := split(x, y.atom.size)):
            left = [*pair[0], *pair[1], *left[1:]]
        elif y.atom.size > x.atom.size and (pair := split(y, x.atom.size)):
            right = [*pair[0], *pair[1], *right[1:]]
        else:
            break
        left, right = solid(left, reason), solid(right, reason)
    restrict([*left, *right], Level.FIXED, reason)


def _link(x: Ref, y: Ref, reason: str) -> None:
    """Two atoms of one size, neither of them a product or a stack, are the same."""
    x.atom.constant = y.atom.constant = False
    if x.atom is y.atom:
        if x.dual is not y.dual:  # S = S^-T
            restrict([x], Level.ORTHOGONAL, reason)
    elif not is_free([x]) or not is_free([y]):
        restrict([x, y], Level.FIXED, reason)
    elif x.atom.terms is not None and y.atom.terms is not None:
        _unify_sums(terms_of([x]), terms_of([y]), reason)
    else:
        if x.atom.terms is not None:
            x, y = y, x
        restrict([y], x.atom.level, x.atom.reason)
        x.atom.same = Ref(y.atom, x.dual ^ y.dual)


def _unify_sums(left: list[Refs], right: list[Refs], reason: str) -> None:
    while left and right:
        x, y = size_of(left[0]), size_of(right[0])
        if x == y:
            unify(left.pop(0), right.pop(0), reason)
            continue
        longer, n = (left, y) if x > y else (right, x)
        pieces = _cut(longer[0], n)
        if pieces is None:
            break
        longer[:1] = pieces
    for term in (*left, *right):
        restrict(term, Level.FIXED, reason)


def _cut(refs: Refs, n: int) -> list[Refs] | None:
    """The first n values of an axis and the others, where that leaves anything free; None where it cannot."""
    if not is_free(refs):
        return [fixed(n), fixed(size_of(refs) - n)]
    ref, *others = expand(refs)
    if n % size_of(others):
        return None
    if ref.atom.over is not None:
        pieces = [_cut(term, n // size_of(others)) for term in _terms(ref)]
        if any(piece is None for piece in pieces):
            return None
        return [[*stack(ref.atom.over, [piece[i] for piece in pieces if piece]), *others] for i in range(2)]
    if ref.atom.terms is not None:
        return None
    n //= size_of(others)
    ref.atom.terms = [leaf(size, ref.atom.level, ref.atom.reason) for size in (n, ref.atom.size - n)]
    return [[*term, *others] for term in _terms(ref)]


def window(refs: Refs, start: int, length: int) -> Refs | None:
    """The values of an axis from `start` on; None where that is not a part of it as a direct sum."""
    terms, chosen = terms_of(refs), []
    for skip, keep in ((start, False), (length, True)):
        while skip:
            if size_of(terms[0]) > skip:
                pieces = _cut(terms[0], skip)
                if pieces is None:
                    return None
                terms[:1] = pieces
            skip -= size_of(terms[0])
            term = terms.pop(0)
            if keep:
                chosen.append(term)
    return total(chosen)


def split(ref: Ref, slow: int, site: Site | None = None, *, stacked: bool = False) -> tuple[Refs, Refs] | None:
    """An atom as a product of a slower axis of a given size and a faster one.

    Args:
        ref: The atom, no product.
        slow: Size of the slower axis.
        site: Where this happens.
        stacked: It is known to be a sum: each index of the slower axis has its own faster axis.

    Returns:
        The two axes; None if the atom does not split there.
    """
    atom = ref.atom
    if atom.size % slow:
        return None
    fast = atom.size // slow
    if atom.over is not None:
        pairs = [regroup(term, [slow, fast]) for term in atom.terms or ()]
        if any(pair is None for pair in pairs):
            return None
        both = [stack(atom.over, [pair[i] for pair in pairs if pair is not None]) for i in range(2)]
        atom.factors, atom.terms, atom.over = [*both[0], *both[1]], None, None
        return both[0], both[1]  # a stack is covariant; its members may be dual
    if atom.level is Level.FIXED and atom.terms is None:
        return fixed(slow), fixed(fast)
    if atom.terms is None and stacked:
        atom.terms = [leaf(fast, atom.level, atom.reason) for _ in range(slow)]
    if atom.terms is not None:
        members, terms = [], terms_of([ref])
        for _ in range(slow):
            member: list[Refs] = []
            while (missing := fast - sum(map(size_of, member))) > 0:
                if size_of(terms[0]) > missing:
                    pieces = _cut(terms[0], missing)
                    if pieces is None:
                        return None
                    terms[:1] = pieces
                member.append(terms.pop(0))
            members.append(total(member))
        over = Ref(Atom(slow, Level.FIXED, ""))
        return [over], stack(over.atom, members)
    first = Ref(Atom(slow, atom.level, atom.reason, frozenset() if site is None else frozenset({site})))
    second = leaf(fast, atom.level, atom.reason)
    atom.factors = [first, *second]
    return ([Ref(first.atom, True)], dual(second)) if ref.dual else ([first], second)


def regroup(
    refs: Iterable[Ref], sizes: Sequence[int], call: int | None = None, stacks: frozenset[Site] = frozenset()
) -> list[Refs] | None:
    """One axis as several, as a view does it.

    Args:
        refs: The axis.
        sizes: Of the axes wanted; their product is its size.
        call: Which call of the trace this is.
        stacks: Where a split is known to be that of a sum.

    Returns:
        The axes; None where a boundary falls into what does not split.
    """
    queue, axes = expand(refs), []
    for place, missing in enumerate(sizes):
        axis: Refs = []
        while missing > 1:
            if not queue:
                return None
            ref = queue.pop(0)
            if missing % ref.atom.size == 0:
                axis.append(ref)
                missing //= ref.atom.size
                continue
            site = None if call is None else (call, place)
            pair = split(ref, missing, site, stacked=site in stacks)
            if pair is None:
                return None
            axis += pair[0]
            queue = [*expand(pair[1]), *queue]
            missing = 1
        axes.append(axis)
    return None if queue else axes


def stack(over: Atom, members: Sequence[Refs]) -> Refs:
    """An axis that is another one for each index of the axis `over`."""
    if size_of(members[0]) == 1:
        return []
    atom = Atom(size_of(members[0]), Level.GENERAL, "")
    atom.terms, atom.over = list(members), over
    return [Ref(atom)]


def stacked_over(refs: Iterable[Ref], over: Atom) -> bool:
    """Whether an axis depends on the index of another."""
    return any(ref.atom.over is over for ref in expand(refs))


def member(refs: Iterable[Ref], over: Atom, index: int) -> Refs:
    """An axis at one index of the axis that it depends on."""
    return [part for ref in expand(refs) for part in (_terms(ref)[index] if ref.atom.over is over else [ref])]


def members(refs: Iterable[Ref], over: Atom, new: Atom, chosen: Sequence[int]) -> Refs:
    """An axis at some indices of the axis that it depends on, which are those of a new one."""
    return [
        part
        for ref in expand(refs)
        for part in (stack(new, [_terms(ref)[i] for i in chosen]) if ref.atom.over is over else [ref])
    ]


def solid(refs: Iterable[Ref], reason: str) -> Refs:
    """An axis that depends on no other: the members of a stack are found to be the same."""
    axis = expand(refs)
    for ref in axis:
        atom = ref.atom
        if atom.over is not None and atom.terms is not None:
            first, *others = atom.terms
            atom.factors, atom.terms, atom.over = first, None, None
            for other in others:
                unify(first, other, reason)
    return axis if all(ref.atom.factors is None for ref in axis) else solid(axis, reason)
