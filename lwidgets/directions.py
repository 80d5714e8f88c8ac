"""Directions in parameter space: drawn, then scaled to the model they will move.

Source: Li, Xu, Taylor, Studer, Goldstein, "Visualizing the Loss Landscape of Neural Nets", NeurIPS 2018, section 4.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from lwidgets.normals import normals
from lwidgets.parameters import Filters, ParameterSpace, State, as_real

Normalization = Literal["filter", "layer", "model", "none"]
NORMALIZATIONS: tuple[str, ...] = get_args(Normalization)
_BLOCK = 1 << 16  # entries that are squared at a time


class Made(Mapping[str, Tensor]):
    """Named tensors that are made whenever they are asked for, so that a large model's are never held all at once.

    Example:
        >>> ones = Made(["weight", "bias"], lambda name: torch.ones(2 if name == "weight" else 1))
        >>> list(ones), ones["weight"], ones.get("scale")
        (['weight', 'bias'], tensor([1., 1.]), None)
    """

    def __init__(self, names: Collection[str], make: Callable[[str], Tensor]) -> None:
        """Nothing is made yet.

        Args:
            names: In their order.
            make: A tensor from its name; the same one every time.
        """
        self._names, self._make = dict.fromkeys(names), make

    def __getitem__(self, name: str) -> Tensor:
        """Make one."""
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __contains__(self, name: object) -> bool:
        """Without making it."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._names)


class Direction(Protocol):
    """A recipe that becomes a vector once its origin and space are known."""

    @property
    def label(self) -> str:
        """Short name for axes and provenance."""

    def vector(self, origin: State, space: ParameterSpace) -> Mapping[str, Tensor]:
        """Named tensors on the origin's device, best `Made` one by one; a missing name is a block of zeros."""

    def unmoved(self, origin: State, space: ParameterSpace) -> Mapping[str, int]:
        """Of how many numbers the weights are zero and the direction with them, where it is scaled to the weights."""


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian direction, scaled to its origin.

    Attributes:
        seed: Any integer; 0 is a seed like any other.
        normalize: "filter": every filter gets the norm of the origin's filter (Li et al.); "layer": every tensor;
            "model": the whole direction; "none": entries stay standard normal.
        zero_1d: Leave biases and norm scales alone, as the reference code's ``biasbn`` does.
        draw: Which of the generator's draws: 0 for the first; 1 is independent of it, for two axes of one seed.
    """

    seed: int
    normalize: Normalization = "filter"
    zero_1d: bool = True
    draw: int = 0

    def __post_init__(self) -> None:
        """Check the two choices that are easy to mistype."""
        if self.normalize not in NORMALIZATIONS:
            raise ValueError(
                f"Gaussian: normalize must be one of {', '.join(NORMALIZATIONS)}, got {self.normalize!r}. "
                'Use "filter" for pictures as in the literature.'
            )
        try:
            if isinstance(self.seed, bool):
                raise TypeError
            seed = operator.index(self.seed)
        except TypeError:
            raise TypeError(
                f"Gaussian: seed must be an integer, got {self.seed!r}. Pass for example seeds=(0, 1)."
            ) from None
        object.__setattr__(self, "seed", seed)  # NumPy's integers would be drawn and saved differently

    @property
    def label(self) -> str:
        """Seed and scaling, as axes show them."""
        drawn = f"seed {self.seed}" + (f" draw {self.draw + 1}" if self.draw else "")
        return f"{drawn}, {self.normalize} normalised" if self.normalize != "none" else drawn

    def vector(self, origin: State, space: ParameterSpace) -> Mapping[str, Tensor]:
        """Draw on the CPU, cast and move to the origin's dtype and device, scale: each tensor when it is asked for.

        Raises:
            ValueError: Nothing would move.
        """
        weights = self._weights(origin, space)
        if not weights:
            raise ValueError(
                "Gaussian: zero_1d must leave something to move, got a model whose moved parameters are all 1-D. "
                "Pass zero_1d=False."
            )

        def drawn(name: str) -> Tensor:
            return gaussian(self.seed, name, weights[name].shape, self.draw).to(weights[name])

        if self.normalize == "model":  # drawn twice: all of them for the norm, and each to be scaled
            factor = _ratio(_norm(weights), _norm(Made(weights, drawn)))
            return Made(weights, lambda name: drawn(name).mul_(factor.to(weights[name])))
        return Made(weights, lambda n: normalize({n: drawn(n)}, {n: weights[n]}, self.normalize, space.filters)[n])

    def unmoved(self, origin: State, space: ParameterSpace) -> Mapping[str, int]:
        """Name -> how many of its numbers stay where they are because the weights that they are scaled to are zero."""
        return unmoved(self._weights(origin, space), self.normalize, space.filters)

    def _weights(self, origin: State, space: ParameterSpace) -> dict[str, Tensor]:
        """What is moved, and scaled to."""
        names = [name for name in space.moved if not (self.zero_1d and name in space.flat)]
        return {name: origin.parameters[name] for name in names}


@dataclass(frozen=True, eq=False)
class Given:
    """A direction that is already there: an eigenvector, a difference, a unit vector."""

    tensors: State
    label: str = "direction"

    def vector(self, origin: State, space: ParameterSpace) -> dict[str, Tensor]:
        """The moved part of the tensors, on the origin's device and in its dtypes."""
        named = {space.aliases.get(n, n): as_real(t) for n, t in self.tensors.parameters.items()}
        unknown = [name for name in named if name not in space.shapes]
        if unknown:
            raise ValueError(
                f"Given: {self.label} must use the model's names, got {unknown[0]!r}. "
                f"The names are {', '.join(list(space.shapes)[:5])}, ..."
            )
        known = {name: tensor for name, tensor in named.items() if name in space.moved}
        for name, tensor in known.items():
            if tuple(tensor.shape) != tuple(space.shapes[name]):
                raise ValueError(
                    f"Given: key {name!r} of {self.label} must have shape {space.shapes[name]}, got "
                    f"{tuple(tensor.shape)}. "
                    "Use a direction made for this model."
                )
        return {name: tensor.to(origin.parameters[name]) for name, tensor in known.items()}

    def unmoved(self, origin: State, space: ParameterSpace) -> Mapping[str, int]:
        """Nothing: it is taken as it is."""
        return {}


def gaussian(seed: int, name: str, shape: torch.Size | tuple[int, ...], draw: int = 0) -> Tensor:
    """Standard normal float32 numbers that depend on (seed, parameter name, draw) and on nothing else.

    They are those of `normals.normals`, which are the same to the bit on every machine and under every version of
    torch, and in a page's script too. They leave the global generators alone, and do not change when another
    parameter is added, removed or filtered out.

    >>> bool((gaussian(0, "weight", (2, 3)) == gaussian(0, "weight", (2, 3))).all())
    True
    >>> bool((gaussian(0, "weight", (2, 3)) == gaussian(0, "bias", (2, 3))).any())
    False
    """
    return torch.from_numpy(normals(seed, name, math.prod(shape), draw)).reshape(tuple(shape))


def normalize(
    direction: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    kind: Normalization,
    filters: Mapping[str, Filters] | None = None,
) -> dict[str, Tensor]:
    r"""Scale a direction to the weights it will move.

    .. math:: d_{f} \leftarrow d_{f} \, \lVert w_{f} \rVert / \lVert d_{f} \rVert

    for every filter f ("filter"), every tensor ("layer") or the concatenation of all ("model"). A block of zero
    weights stays zero. Norms are accumulated in float64.

    Args:
        direction: Name -> tensor.
        weights: The origin's tensors, same names and shapes.
        kind: One of NORMALIZATIONS.
        filters: Layout of the filters where it is not dim 0.

    Returns:
        New tensors.
    """
    if kind == "none":
        return dict(direction)
    if kind == "model":
        factor = _ratio(_norm(weights), _norm(direction))
        return {name: d * factor.to(d) for name, d in direction.items()}
    scaled = {}
    for name, d in direction.items():
        if _whole(d, kind):
            scaled[name] = d * _ratio(_norm({name: weights[name]}), _norm({name: d})).to(d)
        else:
            layout = (filters or {}).get(name, Filters())
            factors = _ratio(*(_norms(layout.split(t)) for t in (weights[name], d)))
            scaled[name] = layout.scale(d, factors.to(d))
    return scaled


def unmoved(
    weights: Mapping[str, Tensor], kind: Normalization, filters: Mapping[str, Filters] | None = None
) -> dict[str, int]:
    """How many numbers `normalize` leaves at zero in any direction, because it scales them to weights that are zero.

    Args:
        weights: Name -> tensor.
        kind: One of NORMALIZATIONS.
        filters: Layout of the filters where it is not dim 0.

    Returns:
        Name -> how many of its numbers; names without any are left out.

    Example:
        >>> unmoved({"head": torch.tensor([[0.0, 0.0], [0.0, 1.0]]), "lora_B": torch.zeros(2, 3)}, "filter")
        {'head': 2, 'lora_B': 6}
    """
    if kind == "none" or (kind == "model" and any(bool(w.any()) for w in weights.values())):
        return {}
    counts = {}
    for name, w in weights.items():
        rows = w.reshape(1, -1) if _whole(w, kind) else (filters or {}).get(name, Filters()).split(w)
        if w.numel():
            suspects = rows[rows[:, 0] == 0]  # few, so that not all of the weights are read
            counts[name] = int((~suspects.any(dim=1)).sum()) * rows.shape[1]
    return {name: count for name, count in counts.items() if count}


def _whole(tensor: Tensor, kind: Normalization) -> bool:
    """Whether a tensor is scaled by one factor; otherwise each of its filters is."""
    return kind != "filter" or tensor.ndim < 2


def _norm(tensors: Mapping[str, Tensor]) -> Tensor:
    norms = [torch.linalg.vector_norm(t, dtype=torch.float64) for t in tensors.values()]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm


def _norms(rows: Tensor) -> Tensor:
    """The norm of every row, float64."""
    if rows.stride(0) >= rows.stride(1):
        return torch.as_tensor(torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64))
    blocks = rows.split(max(1, _BLOCK // len(rows)), dim=1)  # the rows lie across memory: read it in its own order
    squares = sum((block.to(torch.float64).square().sum(dim=1) for block in blocks), start=torch.zeros(()))
    return torch.as_tensor(squares).sqrt()


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator, torch.zeros_like(numerator))
