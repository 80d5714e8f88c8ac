"""What acts on which axis of which tensor, and how: the symmetries of a network as a value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lwidgets.parameters import Source, State
from lwidgets.symmetry.elements import Element, Group, Level


@dataclass(frozen=True)
class Factor:
    """One factor of an axis, whose index runs over `size` values.

    Attributes:
        group: Name of the group that acts on it; None if nothing does.
        size: Number of values.
        dual: The inverse transpose acts instead: activations go in here.
    """

    group: str | None
    size: int
    dual: bool = False


@dataclass(frozen=True)
class Sum:
    """An axis that is several axes one after the other, as after a concatenation.

    Attributes:
        parts: Their axes; one on which nothing acts is (Factor(None, size),).
    """

    parts: tuple[Axis, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return sum(size_of(part) for part in self.parts)


HEAD = ("group", "size", "level", "acts on", "why")
"""Of the columns of a spec as a table."""

Axis = tuple[Factor | Sum, ...]
"""An axis as a product of factors, the last of which runs fastest; () is a whole axis on which nothing acts."""


def size_of(axis: Axis) -> int:
    """How many values an axis has; 1 for ()."""
    return math.prod(factor.size for factor in axis)


def blocks(tensor: Tensor, axes: Sequence[Axis]) -> Iterator[tuple[Tensor, tuple[Factor | None, ...]]]:
    """Views that together are the tensor, with one dimension for each factor and no sums left.

    Args:
        tensor: Any shape.
        axes: One for each dimension.

    Yields:
        A view, and what acts on each of its dimensions; None where nothing does.

    Example:
        >>> packed = Sum(((Factor("q", 2),), (Factor("heads", 3), Factor("v", 2))))
        >>> for view, factors in blocks(torch.zeros(8), [(packed,)]):
        ...     print(tuple(view.shape), [factor.group for factor in factors])
        (2,) ['q']
        (3, 2) ['heads', 'v']
    """
    for dim, axis in enumerate(axes):
        if len(axis) > 1:
            split = tensor.unflatten(dim, [factor.size for factor in axis])
            yield from blocks(split, [*axes[:dim], *((factor,) for factor in axis), *axes[dim + 1 :]])
            return
        if axis and isinstance(axis[0], Sum):
            parts = axis[0].parts
            for piece, part in zip(tensor.split([size_of(part) for part in parts], dim), parts, strict=True):
                yield from blocks(piece, [*axes[:dim], part, *axes[dim + 1 :]])
            return
    yield (
        tensor,
        tuple(axis[0] if axis and isinstance(axis[0], Factor) and axis[0].group else None for axis in axes),
    )


@dataclass(frozen=True)
class Pinned:
    """An operation that no rule covers, so that what it touches was taken to be fixed.

    Attributes:
        op: Its name.
        where: Module and source line.
        tensors: Parameters and buffers whose axes it fixed.
    """

    op: str
    where: str
    tensors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lowered:
    """A group that did not keep the outputs at the level it was derived with.

    Attributes:
        group: Its name.
        derived: The level it was derived with.
        kept: The level at which it was certified; `Level.FIXED` if it was pinned.
        error: Relative change of the outputs at the derived level.
    """

    group: str
    derived: Level
    kept: Level
    error: float


@dataclass(frozen=True)
class Certificate:
    """Random elements left the outputs as they were.

    Attributes:
        error: Largest change of an output, relative to the largest output; float64.
        elements: How many random elements of all groups together.
        tolerance: What the error had to stay within.
        lowered: Groups that were derived with too high a level, and have a lower one now.
    """

    error: float
    elements: int
    tolerance: float
    lowered: tuple[Lowered, ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Spec:
    """The reparametrisations that leave a network's function as it is.

    Attributes:
        groups: Name -> group.
        axes: Parameter or buffer name -> one axis for each of its dimensions. A tensor on which nothing acts may be
            missing.
        aliases: Further names of tied tensors -> the name in `axes`.
        pinned: Operations no rule covers.
        certificate: How the spec was checked; None if it was not.

    Example:
        >>> spec = Spec.from_axes([Group("h", 3)], {"0.weight": ("h", None), "0.bias": ("h",), "2.weight": (None, "h")})
        >>> mlp = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
        >>> moved = spec.apply(spec.random(seed=1), mlp)
        >>> x = torch.randn(5, 2)
        >>> torch.allclose(torch.func.functional_call(mlp, moved.tensors, (x,)), mlp(x), atol=1e-6)
        True
    """

    groups: Mapping[str, Group]
    axes: Mapping[str, tuple[Axis, ...]]
    aliases: Mapping[str, str] = field(default_factory=dict)
    pinned: tuple[Pinned, ...] = ()
    certificate: Certificate | None = None

    def __post_init__(self) -> None:
        """Check that names and sizes fit together.

        Raises:
            ValueError: An axis names an unknown group, or one of another size, or one copy of a group whose copies
                are not in the same tensor.
        """
        for group in self.groups.values():
            outer = None if group.copies is None else self.groups.get(group.copies)
            if group.copies is not None and (
                outer is None or outer.copies is not None or not outer.level <= Level.PERMUTATION
            ):
                raise ValueError(
                    f"Spec: group {group.name!r} must have copies for a permutation group without copies of its own, "
                    f"got {group.copies!r}. Define that group, or leave copies out."
                )
        for name, axes in self.axes.items():
            for factors in _products(axes):
                present = {factor.group for factor in factors}
                for factor in factors:
                    known = None if factor.group is None else self.groups.get(factor.group)
                    if factor.group is not None and (known is None or known.size != factor.size):
                        raise ValueError(
                            f"Spec: axes of {name!r} must name groups of their size, got {factor.group!r} for "
                            f"{factor.size} values. The groups are "
                            f"{', '.join(f'{g.name} ({g.size})' for g in self.groups.values()) or 'none'}."
                        )
                    if known is not None and known.copies is not None and known.copies not in present:
                        raise ValueError(
                            f"Spec: axes of {name!r} must have {known.copies!r} beside {known.name!r}, which has one "
                            f"matrix for each of its copies, got {sorted(map(str, present))}. Leave copies out."
                        )

    @classmethod
    def from_axes(
        cls,
        groups: Sequence[Group],
        axes: Mapping[str, Sequence[str | int | Sequence[str | int] | None]],
        aliases: Mapping[str, str] | None = None,
    ) -> Spec:
        """A spec written by hand.

        Args:
            groups: The groups.
            axes: Tensor name -> for each dimension a group's name, with "*" after it where activations go in (this
                matters at `Level.GENERAL` and `Level.SCALED` only); None if nothing acts; or a sequence of names and
                plain sizes for a product, the last of which runs fastest.
            aliases: Further names of tied tensors -> name in `axes`.

        Raises:
            ValueError: As for the class.
        """
        known = {group.name: group for group in groups}

        def factor(entry: str | int) -> Factor:
            if isinstance(entry, int):
                return Factor(None, entry)
            name = entry.removesuffix("*")
            return Factor(name, known[name].size if name in known else 0, entry.endswith("*"))

        def axis(entry: str | int | Sequence[str | int] | None) -> Axis:
            if entry is None or isinstance(entry, int):
                return ()
            return (factor(entry),) if isinstance(entry, str) else tuple(factor(part) for part in entry)

        return cls(known, {name: tuple(axis(entry) for entry in given) for name, given in axes.items()}, aliases or {})

    def __repr__(self) -> str:
        said = "not certified" if self.certificate is None else f"certified to {self.certificate.error:.0e}"
        pinned = f", {len(self.pinned)} operations pinned" if self.pinned else ""
        return f"Spec({len(self.groups)} groups on {len(self.axes)} tensors, {said}{pinned})"

    def identity(self) -> Element:
        """The element that changes nothing."""
        return Element(self.groups, {})

    def random(self, seed: int) -> Element:
        """A random element of every group, far from the identity and well-conditioned; float64.

        Args:
            seed: The same seed gives the same element of a group, whatever other groups there are.
        """
        return Element(
            self.groups,
            {name: g.random(seed, self.copies(name)) for name, g in self.groups.items() if g.level is not Level.FIXED},
        )

    def copies(self, group: str) -> int | None:
        """How many matrices an element of a group has; None for a group that is not copied."""
        outer = self.groups[group].copies
        return None if outer is None else self.groups[outer].size

    def acts_on(self, group: str) -> tuple[tuple[str, int, bool], ...]:
        """Where a group acts: (tensor name, dimension, dual), in the order of the tensors."""
        return tuple(
            (name, dim, dual)
            for name, axes in self.axes.items()
            for dim, axis in enumerate(axes)
            for dual in sorted({f.dual for factors in _products((axis,)) for f in factors if f.group == group})
        )

    def apply(self, element: Element, state: Source) -> State:
        """The point that the element moves a point to; the network computes the same there.

        Args:
            element: Of this spec's groups.
            state: Module, state dict, checkpoint or State; not changed. Tied tensors stay tied, under each name.

        Returns:
            A new State, tensors in the dtypes given; those on which nothing acts are shared with a State given.

        Raises:
            ValueError: A tensor that is acted on has other sizes than the spec.
        """
        given = State.of(state)

        def moved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: self._moved(element, self.aliases.get(name, name), tensor) for name, tensor in tensors.items()
            }

        return replace(given, parameters=moved(given.parameters), buffers=moved(given.buffers))

    def _moved(self, element: Element, name: str, tensor: Tensor) -> Tensor:
        axes = self.axes.get(name, ())
        acting = {factor.group for factors in _products(axes) for factor in factors}
        if not tensor.is_floating_point() or acting.isdisjoint(element.values):
            return tensor
        wanted = tuple(size_of(axis) if axis else n for axis, n in zip(axes, tensor.shape, strict=False))
        if len(axes) != tensor.ndim or wanted != tuple(tensor.shape):
            raise ValueError(
                f"Spec.apply: tensor {name!r} must have shape {wanted}, got {tuple(tensor.shape)}. "
                "Derive the spec from a model of this architecture."
            )
        result = tensor.clone(memory_format=torch.contiguous_format)
        for block, factors in blocks(result, axes):
            block.copy_(act(element, block, factors))
        return result

    def restrict(self, level: Level) -> Spec:
        """The same with every group met with a level; what was certified stays certified.

        Example:
            >>> spec = Spec.from_axes([Group("h", 3, Level.SCALED)], {"w": ("h", "h*")})
            >>> spec.restrict(Level.ORTHOGONAL).groups["h"].level
            Level.PERMUTATION
        """
        groups = {name: replace(g, level=g.level.meet(level)) for name, g in self.groups.items()}
        return replace(self, groups=groups)

    def table(self) -> str:
        """What acts where and why, as aligned text: one line a group, one a pinned operation, one the certificate.

        Example:
            >>> print(Spec.from_axes([Group("h", 3)], {"0.weight": ("h", None), "2.weight": (None, "h")}).table())
            group  size  level        acts on                   why
            h      3     permutation  0.weight[0], 2.weight[1]  given
            not certified
        """
        rows = [HEAD, *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = ["  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]]) for row in rows]
        return "\n".join(line.rstrip() for line in (*lines, *self.notes()))

    def rows(self) -> list[tuple[str, ...]]:
        """The cells of each group under `HEAD`; tensor[dimension], with a star where its inverse acts."""
        found: list[tuple[str, ...]] = []
        for group in self.groups.values():
            places = [f"{name}[{dim}]{'*' if dual else ''}" for name, dim, dual in self.acts_on(group.name)]
            shown = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
            size = str(group.size) if group.copies is None else f"{group.size} per {group.copies}"
            found.append((group.name, size, group.level.value, shown, group.reason))
        return found

    def notes(self) -> list[str]:
        """A sentence for each operation without a rule, for each group that was lowered, and for the certificate."""
        told = []
        for pin in self.pinned:
            on = f", which fixed {', '.join(pin.tensors[:3])}" if pin.tensors else ""
            told.append(f"no rule for {pin.op} in {pin.where}{on}{' and more' if len(pin.tensors) > 3 else ''}")
        if self.certificate is None:
            return [*told, "not certified"]
        told += [
            f"{low.group} was derived as {low.derived.value}, which changes outputs by {low.error:.1e}; "
            f"it is {low.kept.value}"
            for low in self.certificate.lowered
        ]
        return [
            *told,
            f"certified: {self.certificate.elements} random elements change outputs by at most "
            f"{self.certificate.error:.1e} of their size",
        ]


def _products(axes: Sequence[Axis]) -> Iterator[tuple[Factor, ...]]:
    """The factors of each block of a tensor with these axes."""
    for i, axis in enumerate(axes):
        for j, factor in enumerate(axis):
            if isinstance(factor, Sum):
                for part in factor.parts:
                    yield from _products([*axes[:i], (*axis[:j], *part, *axis[j + 1 :]), *axes[i + 1 :]])
                return
    yield tuple(factor for axis in axes for factor in axis if isinstance(factor, Factor))


def copied_along(groups: Sequence[str | None], dim: int, outer: str) -> int:
    """The dimension that counts the copies of another: the last one before it, or the first one after it."""
    places = [place for place, group in enumerate(groups) if group == outer]
    return max((place for place in places if place < dim), default=places[0])


def act(element: Element, block: Tensor, factors: Sequence[Factor | None]) -> Tensor:
    """Act on every dimension of a block: what permutes copies first, then each copy's own matrix."""
    groups = [None if factor is None else factor.group for factor in factors]
    for copied in (False, True):
        for dim, factor in enumerate(factors):
            if factor is None or factor.group is None or factor.group not in element.values:
                continue
            outer = element.groups[factor.group].copies
            if (outer is not None) is copied:
                value = element.values[factor.group]
                along = None if outer is None else copied_along(groups, dim, outer)
                block = (value.dual if factor.dual else value).act(block, dim, along)
    return block
