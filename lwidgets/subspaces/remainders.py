"""What of a model is not at its place in a subspace, because it does not move there.

A point takes what does not move from the origin: buffers, and the parameters that an objective leaves out. Where a
model has something else there, the point at its coordinates is not quite the model, and every picture says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lwidgets.checkpoints import is_counter
from lwidgets.parameters import ParameterSpace, State

_NAMED = 2  # names in a label
_LISTED = 8  # names in provenance


@dataclass(frozen=True)
class Remainder:
    """A tensor that a model has otherwise than the origin.

    Attributes:
        name: The objective's name for it.
        is_buffer: Whether it is a buffer; a parameter may be made to move.
        gap: The largest difference, inf where one of them is not finite; None where shapes differ.
        shape: The model's own, as text, where it differs.
    """

    name: str
    is_buffer: bool
    gap: float | None
    shape: str = ""

    def __str__(self) -> str:
        return (
            f"{self.name} (differs by up to {self.gap:.3g})"
            if self.gap is not None
            else f"{self.name} (of shape {self.shape})"
        )


def remainders(origin: State, model: State, space: ParameterSpace) -> tuple[Remainder, ...]:
    """What a model has otherwise than the origin and does not move; BatchNorm's statistics and counters left out.

    Args:
        origin: Supplies what does not move, in the space.
        model: Another in the space.
        space: The objective's.
    """
    still = [(name, False) for name in space.shapes if name not in set(space.moved)]
    still += [(name, True) for name in space.buffers if not (name in space.statistics or is_counter(name))]
    other = [Remainder(n, buffer, None, model.borrowed[n]) for n, buffer in still if model.borrowed.get(n)]
    pairs = [
        (name, buffer, origin.tensors[name], model.tensors[name])
        for name, buffer in still
        if name not in model.borrowed
    ]
    gaps = [(name, buffer, _gap(a, b)) for name, buffer, a, b in pairs if a is not b]
    return (*other, *(Remainder(name, buffer, gap) for name, buffer, gap in gaps if gap > 0))


def told(label: str, origin: Sequence[Remainder], model: Sequence[Remainder]) -> str:
    """The label of an axis, with what of the model where it is 1 is not there.

    >>> told("alpha (0 = a, 1 = b)", (), [Remainder("mu", True, 1.0)])
    "alpha (0 = a, 1 = b but for mu, which is a's)"
    """
    notes = [f"but for {_few(model)}, which {'is' if len(model) == 1 else 'are'} {_whose(label)}"] if model else []
    notes += [f"with the objective's own {_few(origin)}"] if origin else []
    if not notes:
        return label
    body = label.removesuffix(")")
    return f"{body} {'; '.join(notes)}" + (")" if body != label else "")


def facts(vertices: Sequence[State], differing: Sequence[Sequence[Remainder]]) -> dict[str, Any]:
    """For provenance, as plain values: what is not a model's own at its place, and what was taken for what it lacks."""
    found: dict[str, dict[str, list[str]]] = {
        "not at its place": {
            v.label: _listed(map(str, each)) for v, each in zip(vertices, differing, strict=True) if each
        },
        "taken from elsewhere": {v.label: _listed(names) for v in vertices if (names := _lacking(v))},
        "left out": {v.label: _listed(v.left) for v in vertices if v.left},
    }
    return {key: value for key, value in found.items() if value}


def warning(vertices: Sequence[State], differing: Sequence[Sequence[Remainder]], lacking: Sequence[str] = ()) -> str:
    """One sentence for each model that is not quite at its place, with the way out; nothing if there is none.

    Args:
        vertices: The models.
        differing: What each has otherwise.
        lacking: BatchNorm's statistics that the first does not have.
    """
    sentences = [
        f"{vertex.label} is at its place but for what does not move: {listed(each)}. {way_out(each)}."
        for vertex, each in zip(vertices, differing, strict=True)
        if each
    ]
    if lacking:
        sentences.append(
            f"{vertices[0].label} has no {_few_names(lacking)}; the objective's own are used. Pass a state dict with "
            'buffers, or batchnorm="recalibrate".'
        )
    return " ".join(sentences)


def listed(differing: Sequence[Remainder]) -> str:
    """The one with the largest difference, and how many more."""
    largest = max(differing, key=lambda r: float("inf") if r.gap is None else r.gap)
    return f"{largest} and {len(differing) - 1} more" if len(differing) > 1 else str(largest)


def way_out(differing: Sequence[Remainder]) -> str:
    """How the models come to be at their places."""
    parameters = [r.name for r in differing if not r.is_buffer and r.gap is not None]
    buffers = [r.name for r in differing if r.is_buffer and r.gap is not None]
    ways = [f"let the objective's params have {_few_names(parameters)} move"] if parameters else []
    ways += [f"give the models the same {_few_names(buffers)}"] if buffers else []
    if not ways:
        return "What has another shape can only be evaluated by itself, with an objective of its own"
    return f"To have it there, {' and '.join(ways)}"


def _lacking(state: State) -> list[str]:
    return [name for name, was in state.borrowed.items() if not was and not is_counter(name)]


def _whose(label: str) -> str:
    """The origin as the label calls it."""
    return f"{label.partition('0 = ')[2].partition(',')[0]}'s" if "0 = " in label else "the origin's"


def _few(differing: Sequence[Remainder]) -> str:
    return _few_names([r.name for r in differing])


def _few_names(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) <= _NAMED else f"{len(names)} tensors"


def _listed(each: Iterable[str]) -> list[str]:
    names = list(each)
    return names[:_LISTED] + ([f"and {len(names) - _LISTED} more"] if len(names) > _LISTED else [])


def _gap(a: Tensor, b: Tensor) -> float:
    b = b.to(a.device)
    if torch.equal(a, b):
        return 0.0
    wide = torch.promote_types(a.dtype, torch.complex128 if a.is_complex() else torch.float64)
    differ = ~((a == b) | ((a != a) & (b != b)))  # nan is the same nan, and an infinity of a mask the same infinity
    gap = (a.to(wide) - b.to(wide)).abs()[differ]
    return float(gap.nan_to_num(nan=torch.inf, posinf=torch.inf).max()) if gap.numel() else 0.0
