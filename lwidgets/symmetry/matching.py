"""Weight matching: the element of a spec that brings one model's weights closest to another's.

Coordinate descent on the squared distance, one group after another with the others held, from several starts. Source:
Ainsworth et al., "Git Re-Basin: Merging Models modulo Permutation Symmetries", ICLR 2023, algorithm 1, which is the
case of permutations; the other levels have closed forms of their own, or a small minimisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lwidgets.parameters import State
from lwidgets.progress import Progress
from lwidgets.symmetry.elements import Element, Group, Level, Matrix, Permutation, Value
from lwidgets.symmetry.spec import Factor, Spec, act, blocks, copied_along

"""Called with (steps done, steps at most); raise in it to stop."""

_PASSES = 100
_GAIN = 1e-6  # of the squared distance: what a step must lower it by to count
_SETTLED = 1e-4  # of the squared distance: what a pass must lower it by to be followed by another
_RIDGE = 1e-12  # of the mean square: keeps scales and matrices finite where nothing speaks for any
_LENGTHS = (0.0, 0.1, 1.0)  # of a Gauss-Newton step: which are tried
_LOWER = {Level.SCALED: Level.PERMUTATION, Level.GENERAL: Level.ORTHOGONAL}
_NEEDS_GRAM = (Level.SCALED, Level.GENERAL)


@dataclass(frozen=True, eq=False)
class Match:
    """What matching found.

    Attributes:
        element: Moves the second model's weights towards the first's.
        trace: Distance of all parameters at the start of the best run, or the best of each part, and after each of
            its passes; never rises.
        restarts: The final distance of every run.
    """

    element: Element
    trace: tuple[float, ...]
    restarts: tuple[float, ...]


def match_weights(
    spec: Spec,
    a: State,
    b: State,
    *,
    seed: int = 0,
    restarts: int = 2,
    init: Element | None = None,
    progress: Progress | None = None,
) -> Match:
    """The element whose action on b comes closest to a, over all parameters.

    Minimises the sum of squared distances of all tensors, biases and norm scales among them. Runs start from the
    identity, from the tensors whose other axes are fixed inwards, and from random elements, until all is as close as
    rounding lets it. Groups that act on no tensor together, directly or through others, do not depend on each other,
    and of each such part the closest run wins: with many of them no single run need be the best of all. A step counts
    only if the distance itself falls, which matters where one group acts on two axes of a tensor.

    Args:
        spec: Of both models.
        a: Stays.
        b: Of the same names and shapes.
        seed: Of the random starts and of the order of groups.
        restarts: How many random starts.
        init: Instead of the identity.
        progress: Called after every step.

    Raises:
        ValueError: restarts is negative.

    Example:
        >>> from lwidgets.symmetry import Group
        >>> spec = Spec.from_axes([Group("h", 3)], {"up": ("h", None), "down": (None, "h")})
        >>> a = State({"up": torch.randn(3, 2), "down": torch.randn(2, 3)})
        >>> b = spec.apply(spec.random(seed=1), a)
        >>> match_weights(spec, a, b).trace[-1]
        0.0
    """
    if restarts < 0:
        raise ValueError(f"match_weights: restarts must be at least 0, got {restarts}. Leave it out for the usual.")
    pairs, rest = weight_blocks(spec, a, b)
    starts: list[Callable[[], Element]] = [
        lambda: init or spec.identity(),
        lambda: _inwards(spec, pairs),
        *[lambda k=k: spec.random((seed << 16) + k) for k in range(restarts)],
    ]
    coarsest = max((torch.finfo(t.dtype).eps for t in b.parameters.values() if t.is_floating_point()), default=0.0)
    rounding = coarsest**2 * sum(float(pair.a.square().sum()) for pair in pairs)
    parts = _parts(spec, pairs)
    runs: list[_Run] = []
    for i, start in enumerate(starts):
        descent = Descent(spec, pairs, start())
        run = _Run([descent.squares], descent.element)
        order, moving = list(descent.units), parts
        rng = np.random.default_rng((seed, i))
        for done in range(_PASSES):
            for unit in order:
                descent.step(unit)
                if progress is not None:
                    progress(i * _PASSES + done, len(starts) * _PASSES)
            run.passes.append(descent.squares)
            moving = [part for part in moving if run.square(part) < run.square(part, done) * (1 - _SETTLED)]
            order = [unit for unit in order if any(unit.names <= part.groups for part in moving)]
            if not order:
                break
            if i:
                rng.shuffle(order)
        runs.append(replace(run, element=descent.element))
        best_of = [min(runs, key=lambda run, part=part: run.square(part)) for part in parts]  # type: ignore[misc]
        if math.fsum(run.square(part) for run, part in zip(best_of, parts, strict=True)) <= rounding:
            break
    if progress is not None:
        progress(len(starts) * _PASSES, len(starts) * _PASSES)
    length = max((len(run.passes) for run in best_of), default=1)
    values = {
        name: value
        for run, part in zip(best_of, parts, strict=True)
        for name, value in run.element.values.items()
        if name in part.groups
    }
    return Match(
        Element(spec.groups, values),
        tuple(
            math.sqrt(math.fsum(run.square(part, done) for run, part in zip(best_of, parts, strict=True)) + rest)
            for done in range(length)
        ),
        tuple(math.sqrt(math.fsum(run.passes[-1]) + rest) for run in runs),
    )


@dataclass(frozen=True)
class _Part:
    """Groups that depend on each other, and the numbers of the pairs on which they act."""

    groups: frozenset[str]
    pairs: tuple[int, ...]


def _parts(spec: Spec, pairs: Sequence[Pair]) -> list[_Part]:
    """What can be matched by itself: groups that act on a tensor together, or have copies together, are in one."""
    fixed = {name for name, group in spec.groups.items() if group.level is Level.FIXED}
    acting = [pair.groups - fixed or pair.groups for pair in pairs]
    found: list[frozenset[str]] = []
    for groups in [*acting, *(unit.names for unit in units(spec))]:
        touching = [other for other in found if other & groups]
        found = [other for other in found if not other & groups] + [groups.union(*touching)]
    return [_Part(part, tuple(i for i, groups in enumerate(acting) if groups <= part)) for part in found]


@dataclass(frozen=True, eq=False)
class _Run:
    """The squared distance of every pair at the start of a run and after each of its passes; and where it ended."""

    passes: list[tuple[float, ...]]
    element: Element

    def square(self, part: _Part, done: int | None = None) -> float:
        """Of a part, after so many passes; None for all."""
        squares = self.passes[-1 if done is None else min(done, len(self.passes) - 1)]
        return math.fsum(squares[i] for i in part.pairs)


@dataclass(frozen=True, eq=False)
class Pair:
    """The same block of two tensors, and what acts on each of its dimensions.

    Attributes:
        a: Float64.
        b: Float64, of the same shape.
        factors: One for each dimension; None where nothing acts.
    """

    a: Tensor
    b: Tensor
    factors: tuple[Factor | None, ...]

    @property
    def groups(self) -> frozenset[str]:
        """The names of the groups that act on it."""
        return frozenset(factor.group for factor in self.factors if factor is not None and factor.group is not None)


def weight_blocks(spec: Spec, a: State, b: State) -> tuple[list[Pair], float]:
    """All blocks of parameters on which a group acts, and the squared distance of the other parameters."""
    pairs, rest = [], 0.0
    for name, first in a.parameters.items():
        if name in spec.aliases or not first.is_floating_point():
            continue
        ours, theirs = (t.detach().to("cpu", torch.float64) for t in (first, b.parameters[name]))
        for (x, factors), (y, _) in zip(
            blocks(ours, spec.axes.get(name, ((),) * ours.ndim)),
            blocks(theirs, spec.axes.get(name, ((),) * theirs.ndim)),
            strict=True,
        ):
            pair = Pair(x, y, factors)
            if pair.groups:
                pairs.append(pair)
            else:
                rest += float((x - y).square().sum())
    return pairs, rest


@dataclass(frozen=True)
class Unit:
    """What is matched at once: a group without copies, and the groups that have one matrix for each of its values.

    Attributes:
        outer: The group without copies.
        inner: Those whose copies it counts.
    """

    outer: Group
    inner: tuple[Group, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Of its groups."""
        return frozenset(group.name for group in (self.outer, *self.inner))

    def isometric(self) -> Unit:
        """The same with the isometries of each level only."""
        inner = (replace(group, level=_LOWER.get(group.level, group.level)) for group in self.inner)
        return Unit(replace(self.outer, level=_LOWER.get(self.outer.level, self.outer.level)), tuple(inner))


def units(spec: Spec) -> list[Unit]:
    """What there is to match; units of fixed groups are left out."""
    found = [
        Unit(group, tuple(inner for inner in spec.groups.values() if inner.copies == name))
        for name, group in spec.groups.items()
        if group.copies is None
    ]
    return [u for u in found if any(group.level is not Level.FIXED for group in (u.outer, *u.inner))]


class Descent:
    """One run of coordinate descent.

    Attributes:
        units: What is stepped through.
        element: Where it is.
        square: The squared distance there, over the blocks given.
    """

    def __init__(self, spec: Spec, pairs: Sequence[Pair], start: Element) -> None:
        """Move b to the start."""
        self.units = units(spec)
        self.element = start
        self._spec = spec
        self._pairs = [replace(pair, b=act(start, pair.b, pair.factors)) for pair in pairs]
        self._squares = [_square(pair) for pair in self._pairs]

    @property
    def squares(self) -> tuple[float, ...]:
        """Of each block."""
        return tuple(self._squares)

    @property
    def square(self) -> float:
        """Sum over all blocks."""
        return math.fsum(self._squares)

    def step(self, unit: Unit) -> bool:
        """Set one unit to its best with all others held; whether that came closer."""
        touched = [i for i, pair in enumerate(self._pairs) if pair.groups & unit.names]
        values = best(unit, gathered(unit, (self._pairs[i] for i in touched)))
        moved = self._moved(Element(self._spec.groups, values), touched)
        squares = {i: _square(pair) for i, pair in moved.items()}
        if not math.fsum(squares.values()) < math.fsum(self._squares[i] for i in touched) - _GAIN * self.square:
            return False
        self._take(Element(self._spec.groups, values), moved)
        return True

    def guess(self, unit: Unit, decided: frozenset[str]) -> None:
        """Set one unit to the best isometry by the blocks on which nothing else acts that is not decided."""
        touched = [i for i, pair in enumerate(self._pairs) if pair.groups & unit.names]
        known = [i for i in touched if self._pairs[i].groups - unit.names <= decided] or touched
        step = Element(self._spec.groups, best(unit.isometric(), gathered(unit, (self._pairs[i] for i in known))))
        self._take(step, self._moved(step, touched))

    def known(self, unit: Unit, decided: frozenset[str]) -> float:
        """Which share of the squares on which a unit acts depends on nothing else that is not decided."""
        touched = [pair for pair in self._pairs if pair.groups & unit.names]
        squares = [float(pair.b.square().sum()) for pair in touched]
        known = [s for pair, s in zip(touched, squares, strict=True) if pair.groups - unit.names <= decided]
        return sum(known) / sum(squares) if sum(squares) else 0.0

    def _moved(self, step: Element, touched: Sequence[int]) -> dict[int, Pair]:
        pairs = {i: self._pairs[i] for i in touched}
        return {i: replace(pair, b=act(step, pair.b, pair.factors)) for i, pair in pairs.items()}

    def _take(self, step: Element, moved: Mapping[int, Pair]) -> None:
        for i, pair in moved.items():
            self._pairs[i], self._squares[i] = pair, _square(pair)
        self.element = step.after(self.element)


def _inwards(spec: Spec, pairs: Sequence[Pair]) -> Element:
    """A start: each unit once, first the one of whose weights most is known not to depend on any that is left."""
    descent = Descent(spec, pairs, spec.identity())
    left = descent.units
    while left:
        decided = frozenset(spec.groups) - frozenset().union(*(unit.names for unit in left))
        unit = max(left, key=lambda u: descent.known(u, decided))
        descent.guess(unit, decided)
        left = [u for u in left if u is not unit]
    return descent.element


def _square(pair: Pair) -> float:
    return float((pair.a - pair.b).square().sum())


@dataclass(frozen=True, eq=False)
class Evidence:
    r"""All that a sum of squares says about a matrix S, for K matrices at once.

    With a and b as rows of values where S acts (place 0) or its inverse transpose does (place 1), the sum is a
    constant and

    .. math:: \langle S, S G_0 - 2 C_0 \rangle + \langle S^{-T}, S^{-T} G_1 - 2 C_1 \rangle, \quad
              C = \sum a b^\top, \; G = \sum b b^\top.

    Attributes:
        cross: C, shape (2, K, n, n).
        gram: G, of the same shape; zeros for isometries, which do not need it.
    """

    cross: Tensor
    gram: Tensor

    def of(self, chosen: Tensor) -> Evidence:
        """Some of the K."""
        return Evidence(self.cross[:, chosen], self.gram[:, chosen])

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(self.cross + other.cross, self.gram + other.gram)


def gathered(unit: Unit, pairs: Iterable[Pair]) -> dict[str, Evidence]:
    """What pairs of tensors say about the groups of a unit.

    Args:
        unit: What is to be matched.
        pairs: Blocks of weights or of activations. Where two of the unit's groups act on one of them, each is taken
            with the other held.

    Returns:
        Group name -> evidence; for an inner group of c copies there are K = c * c, that for copy i of a and copy j of
        b at i * c + j.
    """
    total: dict[str, Evidence] = {}
    inner = {group.name: group for group in unit.inner}
    for pair in pairs:
        names = [None if factor is None else factor.group for factor in pair.factors]
        inside = [(dim, f) for dim, f in enumerate(pair.factors) if f is not None and f.group in inner]
        whole = [(dim, f) for dim, f in enumerate(pair.factors) if f is not None and f.group == unit.outer.name]
        for dim, factor in inside or whole:
            if inside:
                group = inner[str(factor.group)]
                along = copied_along(names, dim, unit.outer.name)
                x, y = (t.movedim((along, dim), (0, 1)).flatten(1) for t in (pair.a, pair.b))
                x, y = (t.unflatten(1, (group.size, -1)) for t in (x, y))
            else:
                group = unit.outer
                x, y = (t.movedim(dim, 0).reshape(1, group.size, -1) for t in (pair.a, pair.b))
            found = _evidence(x, y, factor.dual, group.level in _NEEDS_GRAM)
            total[group.name] = total[group.name] + found if group.name in total else found
    return total


def _evidence(x: Tensor, y: Tensor, dual: bool, with_gram: bool) -> Evidence:
    """Of all pairs of copies: both of shape (copies, n, entries)."""
    copies, n, _ = x.shape
    cross = (x.flatten(0, 1) @ y.flatten(0, 1).T).reshape(copies, n, copies, n).transpose(1, 2).flatten(0, 1)
    gram = (y @ y.mT).repeat(copies, 1, 1) if with_gram else torch.zeros_like(cross)
    places = [torch.zeros_like(cross), cross], [torch.zeros_like(cross), gram]
    return Evidence(*(torch.stack(place if dual else place[::-1]) for place in places))


def best(unit: Unit, found: Mapping[str, Evidence]) -> dict[str, Value]:
    """The elements of a unit's groups for which the evidence is best; those with none are left out.

    Copies are matched each with each, and then assigned to each other by what that gives; general linear ones by what
    rotations give.
    """
    outer = unit.outer
    if not unit.inner:
        return {outer.name: _only(solve(outer.level, found[outer.name])[1])} if outer.name in found else {}
    cost = torch.zeros(outer.size, outer.size, dtype=torch.float64)
    if outer.name in found:
        cost -= 2 * found[outer.name].cross.sum(0)[0]
    inner = [group for group in unit.inner if group.name in found]
    for group in inner:
        cost += least(group.level, found[group.name]).reshape(cost.shape)
    order = torch.arange(outer.size) if outer.level is Level.FIXED else assignment(-cost[None])[0]
    chosen = torch.arange(outer.size) * outer.size + order
    values = {group.name: solve(group.level, found[group.name].of(chosen))[1] for group in inner}
    return {outer.name: Permutation(order), **values}


def _only(value: Value) -> Value:
    """The one of a value with one copy."""
    if isinstance(value, Matrix):
        return Matrix(value.matrix[0])
    return Permutation(value.indices[0], None if value.scales is None else value.scales[0])


def least(level: Level, evidence: Evidence) -> Tensor:
    """The first of what `solve` returns; for general linear groups that of rotations."""
    if level in (Level.ORTHOGONAL, Level.GENERAL):
        singular: Tensor = torch.linalg.svdvals(evidence.cross.sum(0))
        return -2 * singular.sum(-1)
    return solve(level, evidence)[0]


def solve(level: Level, evidence: Evidence) -> tuple[Tensor, Value]:
    """The best matrices of a level.

    Returns:
        (costs, value): the sums of squares that are left, up to what no matrix changes, shape (K,); and K copies. That
        of a general linear group is only closer than none, see `_general`.

    Example:
        >>> turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
        >>> seen = Evidence(torch.stack([turn, 0 * turn])[:, None], torch.zeros(2, 1, 2, 2))
        >>> solve(Level.ORTHOGONAL, seen)[1].matrix.round().tolist()
        [[[0.0, -1.0], [1.0, 0.0]]]
    """
    cross = evidence.cross.sum(0)
    if level is Level.GENERAL:
        return _general(evidence)
    if level is Level.ORTHOGONAL:
        u, s, vh = torch.linalg.svd(cross)
        return -2 * s.sum(-1), Matrix(u @ vh)
    if level is Level.SCALED:
        return _scaled(evidence)
    if level is Level.FIXED:
        indices = torch.arange(cross.shape[-1]).expand(cross.shape[:-1])
    else:
        indices = assignment(cross.abs() if level is Level.SIGNED else cross)
    taken = cross.gather(-1, indices[..., None])[..., 0]
    if level is Level.SIGNED:
        return -2 * taken.abs().sum(-1), Permutation(indices, torch.where(taken < 0, -1.0, 1.0).double())
    return -2 * taken.sum(-1), Permutation(indices)


def assignment(scores: Tensor) -> Tensor:
    """For each row the column it gets, so that the sum of the scores is greatest.

    Args:
        scores: Shape (K, n, n).

    Returns:
        int64, shape (K, n).

    >>> assignment(torch.tensor([[[1.0, 3.0], [0.0, 1.0]]])).tolist()
    [[1, 0]]
    """
    if scores.shape[-1] == 1:
        return torch.zeros(scores.shape[:-1], dtype=torch.int64)
    found = [linear_sum_assignment(matrix, maximize=True)[1] for matrix in scores.detach().cpu().double().numpy()]
    return torch.as_tensor(np.stack(found))


def _scaled(evidence: Evidence) -> tuple[Tensor, Permutation]:
    """Each row of a with each of b at the best scale for the two, and then the assignment.

    With d the scale, a pair costs A d^2 - 2 B d + C / d^2 - 2 D / d, which in units in which A = C = 1 is `_lowest`'s.
    """
    own = evidence.gram.diagonal(dim1=-2, dim2=-1)[:, :, None, :]
    own = own + _RIDGE * own.mean() + torch.finfo(torch.float64).tiny
    size, unit = own.prod(0).sqrt(), (own[1] / own[0]) ** 0.25
    p, q = evidence.cross[0] * unit / size, evidence.cross[1] / (unit * size)
    x = _lowest(p, q)
    costs = size * (x.square() - 2 * p * x + x.reciprocal().square() - 2 * q / x)
    indices = assignment(-costs)
    taken, scales = (t.gather(-1, indices[..., None])[..., 0] for t in (costs, unit * x))
    return taken.sum(-1), Permutation(indices, scales)


def _lowest(p: Tensor, q: Tensor) -> Tensor:
    r"""The positive x at which x^2 - 2 p x + x^-2 - 2 q / x is least; any shape.

    Newton's method in log x, where the function is convex if neither \|p\| nor \|q\| exceeds 2; the other pairs start
    at the lowest of a few points.
    """
    u = ((p - q) / 4).clamp(-1, 1)
    hard = torch.maximum(p.abs(), q.abs()) > 2
    if hard.any():
        grid = torch.arange(-8, 8.5, 0.5, dtype=torch.float64)[:, None]
        u[hard] = grid[(torch.cosh(2 * grid) - p[hard] * grid.exp() - q[hard] * (-grid).exp()).argmin(0), 0]
    for _ in range(8):
        x = u.exp()
        y = x.reciprocal()
        even, odd = x.square() + y.square(), x.square() - y.square()
        bend = (2 * even - p * x - q * y).abs().clamp_min(1e-9)
        u = u - ((odd - p * x + q * y) / bend).clamp(-0.5, 0.5)
    return u.exp()


def _general(evidence: Evidence) -> tuple[Tensor, Matrix]:
    """One Gauss-Newton step over all invertible matrices from the best rotation, which is no further than none.

    With b moved to where S is and S -> exp(X) S, what the step leaves is least to first order where
    X G_0 + G_1 X = (C_0 - G_0) - (C_1 - G_1)^T, solved in the eigenvectors of the two. Of a few lengths of X the best
    is taken, none among them. More steps do not pay before the other groups have moved.
    """
    cross = evidence.cross
    eye = torch.eye(cross.shape[-1], dtype=torch.float64)
    size = evidence.gram.diagonal(dim1=-2, dim2=-1).mean()
    gram = evidence.gram + (_RIDGE * size + torch.finfo(torch.float64).tiny) * eye
    start = solve(Level.ORTHOGONAL, evidence)[1].matrix
    grams = start @ gram @ start.mT
    bends, axes = torch.linalg.eigh(grams)
    slopes = cross @ start.mT - grams
    slope = axes[1].mT @ (slopes[0] - slopes[1].mT) @ axes[0]
    step = axes[1] @ (slope / (bends[1][:, :, None] + bends[0][:, None, :])) @ axes[0].mT
    curve = step @ step / 2
    tried = torch.stack([(eye + length * step + length**2 * curve) @ start for length in _LENGTHS])
    both = torch.stack([tried, torch.linalg.inv(tried).mT], dim=1)
    costs, taken = (both * (both @ gram - 2 * cross)).sum((1, -2, -1)).min(0)
    return costs, Matrix(tried[taken, torch.arange(len(taken))])
