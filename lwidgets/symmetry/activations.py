"""Activation matching: the element of a spec under which two models compute the most similar features.

Where a group acts on activations is not told but found: a random element of the group is applied to the weights, and
the results of all operations that change as that element says carry it. Source: Ainsworth et al., "Git Re-Basin", ICLR
2023, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lwidgets.batch import mapped
from lwidgets.modes import ThreadMode
from lwidgets.objective import ModelObjective
from lwidgets.parameters import State, as_held
from lwidgets.progress import Progress
from lwidgets.symmetry.elements import Element, Level, Matrix, Permutation, Value
from lwidgets.symmetry.matching import Descent, Match, assignment, units, weight_blocks
from lwidgets.symmetry.spec import Spec

_PROBED = 4  # examples by which it is found where groups act
_CHUNK = 256  # examples whose features are held at a time
_PASSES = 100


def match_activations(
    spec: Spec, a: State, b: State, objective: ModelObjective, *, progress: Progress | None = None
) -> Match:
    """The element under which b's features on the objective's data resemble a's most.

    Each group by itself, over all operations that carry it: the assignment for which the sum of the cosines of units is
    greatest, and scales that give them the same norms; the rotation for which that of inner products is. Groups with
    a matrix for each of several copies, general linear ones, and those that no operation carries by themselves are
    matched by weights, with the others held.

    Args:
        spec: Of both models.
        a: Stays.
        b: Of the same names and shapes.
        objective: Supplies the model and the data.
        progress: Called after every chunk of data.

    Returns:
        The match; its trace has two entries, one minus the mean similarity of features before and after.

    Example:
        >>> import lwidgets as lw
        >>> from lwidgets.symmetry import Group
        >>> objective, a, b = lw.demo.digits(hidden=(16,), steps=60)
        >>> axes = {"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h")}
        >>> spec = Spec.from_axes([Group("h", 16)], axes)
        >>> match = match_activations(spec, lw.State.of(a), lw.State.of(b), objective)
        >>> match.trace[1] < match.trace[0]
        True
    """
    places = carriers(spec, a, objective)
    moments = {
        unit.outer.name: [Moments.zero(unit.outer.size) for _ in places[unit.outer.name]]
        for unit in units(spec)
        if places.get(unit.outer.name)
    }
    wanted = frozenset(place.index for name in moments for place in places[name])
    models = models_at(objective, a, b, dtype=None)
    chunks = list(_chunks(objective))
    for done, chunk in enumerate(chunks):
        ours, theirs = (dict(_results(objective, model, mapped(chunk, Tensor.clone), wanted)) for model in models)
        for name, sums in moments.items():
            for k, place in enumerate(places[name]):
                x, y = (place.rows(seen, len(sums[k].cross)) for seen in (ours, theirs))
                if x is not None and y is not None and x.shape == y.shape:
                    sums[k] = sums[k] + Moments.of(x, y)
        if progress is not None:
            progress(done + 1, len(chunks))
    values, before, after = {}, [], []
    for name, sums in moments.items():
        level = spec.groups[name].level
        similar = sum((m.similarity(level) for m in sums), torch.zeros_like(sums[0].cross))
        values[name] = _best(level, similar, sums)
        before.append(float(similar.trace()) / len(similar) / len(sums))
        matrix = values[name].matrix if level is Level.ORTHOGONAL else values[name].matrix.sign()
        after.append(float((matrix * similar).sum()) / len(similar) / len(sums))
    element = _by_weights(spec, a, b, Element(spec.groups, values))
    trace = tuple(1 - (math.fsum(part) / len(part) if part else 0.0) for part in (before, after))
    return Match(element, trace, trace[1:])


def _best(level: Level, similar: Tensor, sums: Sequence[Moments]) -> Value:
    if level is Level.ORTHOGONAL:
        u, _, vh = torch.linalg.svd(similar)
        return Matrix(u @ vh)
    indices = assignment((similar.abs() if level is Level.SIGNED else similar)[None])[0]
    taken = similar.gather(1, indices[:, None])[:, 0]
    if level is Level.SIGNED:
        return Permutation(indices, torch.where(taken < 0, -1.0, 1.0).double())
    if level is Level.SCALED:
        norms = torch.stack([m.squares for m in sums]).sum(0).sqrt()
        ours, theirs = norms[0], norms[1][indices]
        both = (ours > 0) & (theirs > 0)
        return Permutation(indices, torch.where(both, ours / theirs.where(both, torch.ones_like(theirs)), 1.0))
    return Permutation(indices)


def _by_weights(spec: Spec, a: State, b: State, element: Element) -> Element:
    """The element with the groups that it lacks matched by weights."""
    pairs, _ = weight_blocks(spec, a, b)
    descent = Descent(spec, pairs, element)
    left = [unit for unit in descent.units if unit.outer.name not in element.values]
    for _ in range(_PASSES):
        if sum(descent.step(unit) for unit in left) == 0:
            break
    return descent.element


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over samples of the features x of one model and y of another, at one operation.

    Attributes:
        cross: sum x y^T, float64 of shape (n, n).
        squares: sum x^2 and sum y^2, float64 of shape (2, n).
    """

    cross: Tensor
    squares: Tensor

    @classmethod
    def zero(cls, n: int) -> Moments:
        """Of no samples, for n units."""
        return cls(torch.zeros(n, n, dtype=torch.float64), torch.zeros(2, n, dtype=torch.float64))

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Moments:
        """Of features of shape (n, samples)."""
        x, y = x.double(), y.double()
        return cls((x @ y.T).cpu(), torch.stack([x.square().sum(1), y.square().sum(1)]).cpu())

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.cross + other.cross, self.squares + other.squares)

    def similarity(self, level: Level) -> Tensor:
        """Cosines, not centred; for rotations inner products in units in which those of like models sum to n.

        Returns:
            Shape (n, n); 0 for units that are 0.
        """
        rotated = level is Level.ORTHOGONAL
        norms = (self.squares.mean(1, keepdim=True).expand_as(self.squares) if rotated else self.squares).sqrt()
        inverse = torch.where(norms > 0, 1 / norms.where(norms > 0, torch.ones_like(norms)), 0.0)
        return self.cross * inverse[0][:, None] * inverse[1]


@dataclass(frozen=True)
class Place:
    """A dimension of an operation's result.

    Attributes:
        index: Which operation of the pass.
        dim: Which dimension.
    """

    index: int
    dim: int

    def rows(self, seen: Mapping[int, Tensor], size: int) -> Tensor | None:
        """The result as (size, samples), if there is one of that size."""
        found = seen.get(self.index)
        if found is None or found.ndim <= self.dim or found.shape[self.dim] != size:
            return None
        return found.movedim(self.dim, 0).flatten(1)


def carriers(spec: Spec, state: State, objective: ModelObjective) -> dict[str, tuple[Place, ...]]:
    """Where groups act on activations: group name -> dimensions of results, for groups without copies.

    A result carries a group along a dimension if, once a random element of the group alone has moved the weights, it
    is what that element makes of it there.
    """
    try:
        return _carriers(spec, state, objective, torch.float64)
    except (RuntimeError, TypeError):  # something in the model or its loss insists on its own dtype
        return _carriers(spec, state, objective, None)


def _carriers(
    spec: Spec, state: State, objective: ModelObjective, dtype: torch.dtype | None
) -> dict[str, tuple[Place, ...]]:
    batch = next(iter((objective.part(_PROBED) or objective).data))[0]

    def results(point: State) -> dict[int, Tensor]:
        (model,) = models_at(objective, point, dtype=dtype)
        return dict(_results(objective, model, mapped(batch, partial(in_dtype, dtype=dtype)), None))

    exact = cast(state, dtype)
    before = results(exact)
    found: dict[str, tuple[Place, ...]] = {}
    for unit in units(spec):
        if unit.inner or unit.outer.level is Level.GENERAL:
            continue
        value = unit.outer.random(0)
        after = results(spec.apply(Element(spec.groups, {unit.outer.name: value}), exact))
        found[unit.outer.name] = tuple(
            Place(index, dim)
            for index, result in before.items()
            if index in after and after[index].shape == result.shape and not _close(result, after[index])
            for dim in range(result.ndim)
            if result.shape[dim] == unit.outer.size and _close(value.act(result.double(), dim), after[index])
        )
    return found


def _close(x: Tensor, y: Tensor) -> bool:
    tolerance = math.sqrt(torch.finfo(y.dtype).eps)
    return bool((x - y).abs().max() <= tolerance * y.abs().max())


def in_dtype(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A copy, in that dtype if it is floating point and there is one."""
    return tensor.to(dtype, copy=True) if dtype is not None and tensor.is_floating_point() else tensor.clone()


def cast(state: State, dtype: torch.dtype | None) -> State:
    """The state with every floating-point tensor in a dtype; None leaves them."""
    parameters, buffers = (
        {name: in_dtype(tensor, dtype) for name, tensor in tensors.items()}
        for tensors in (state.parameters, state.buffers)
    )
    return replace(state, parameters=parameters, buffers=buffers)


def models_at(objective: ModelObjective, *states: State, dtype: torch.dtype | None) -> list[nn.Module]:
    """New modules in eval mode that hold the tensors of states as they are, in a dtype."""
    models = []
    for state in states:
        module = objective.model_at(state)
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            tensor.data = as_held(in_dtype(state.tensors.get(name, tensor.data), dtype), tensor).to(tensor.device)
            tensor.requires_grad_(tensor.is_floating_point() and isinstance(tensor, nn.Parameter))
        models.append(module)
    return models


def _chunks(objective: ModelObjective) -> Iterator[Any]:
    """The data, batches that can be divided into examples in parts."""
    data = objective.divisible()
    for batch, count in zip(data.batches, data.sizes, strict=True):
        if data.cut is None or not data.additive:
            yield batch
        else:
            for start in range(0, count, _CHUNK):
                yield data.cut.take(batch, range(start, min(start + _CHUNK, count)))


def _results(
    objective: ModelObjective, model: nn.Module, batch: Any, wanted: frozenset[int] | None
) -> Iterator[tuple[int, Tensor]]:
    """The results of the operations of one pass, by number; copies, and without those that only view others.

    With gradients, because without them torch runs a whole transformer layer as one operation.
    """
    watch = _Watch(wanted)
    with torch.enable_grad(), watch:
        objective.visit(model, batch)
    yield from watch.seen.items()


class _Watch(ThreadMode):
    def __init__(self, wanted: frozenset[int] | None) -> None:
        super().__init__()
        self.seen: dict[int, Tensor] = {}
        self._wanted = wanted
        self._count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        first = result[0] if isinstance(result, tuple | list) and result else result
        returned = func._schema.returns
        views = bool(returned) and returned[0].alias_info is not None and not returned[0].alias_info.is_write
        index, self._count = self._count, self._count + 1
        asked = not views and (self._wanted is None or index in self._wanted)
        if asked and isinstance(first, Tensor) and first.is_floating_point() and first.ndim > 1:
            self.seen[index] = first.detach().clone()
        return result
