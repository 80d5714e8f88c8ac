"""Tensors by name, held against what a model looks like: what fits, what is left as it is, and what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from lwidgets.checkpoints.names import is_counter, match, under

_SHOWN = 5  # faults in a message
_SCALES = ("_scale", "_scale_inv", ".SCB", ".scales", ".qzeros", ".zero_point", ".absmax", ".quant_map")
_DEQUANTISE = "Its weights are quantised: dequantise it before, or use the checkpoint that it was made from"


class Untied(ValueError):
    """Nothing is wrong but that tensors which are tied in the model are different in the checkpoint."""


class Layout(Protocol):
    """What a model looks like; `lwidgets.parameters.ParameterSpace` is one."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Parameter -> shape, a tied one once."""

    @property
    def dtypes(self) -> Mapping[str, torch.dtype]:
        """Parameter -> dtype."""

    @property
    def moved(self) -> tuple[str, ...]:
        """Parameters that move."""

    @property
    def aliases(self) -> Mapping[str, str]:
        """Further names of tied tensors -> the name in ``shapes`` or ``buffers``."""

    @property
    def buffers(self) -> Mapping[str, tuple[int, ...]]:
        """Buffer -> shape."""


@dataclass(frozen=True)
class Fit:
    """A point under a model's own names.

    Attributes:
        parameters: Name -> tensor in the model's dtype.
        buffers: Name -> tensor.
        borrowed: Names whose tensors are not the checkpoint's, because they do not move, and what it has: "", or the
            shape of what does not fit.
        left: Names of the checkpoint's buffers that the model does not have.
    """

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    borrowed: Mapping[str, str]
    left: tuple[str, ...]


def fit(
    label: str,
    given: Mapping[str, Tensor],
    weights: Collection[str],
    layout: Layout,
    rest: Mapping[str, Tensor],
    device: torch.device | None = None,
    *,
    misfits: bool = False,
) -> Fit:
    """The tensors under the model's names, checked, in the model's dtypes; shared where nothing changes.

    Args:
        label: What the checkpoint is called in messages.
        given: Its tensors; a tied one may be there under each of its names.
        weights: Those of its names that are parameters, not buffers.
        layout: What the model looks like.
        rest: Has what the checkpoint lacks and does not move.
        device: Where the tensors shall be; None leaves them.
        misfits: Whether what does not move may be there in another shape.

    Raises:
        ValueError: A tensor that moves is missing, has another shape, has several values or is no plain number, or the
            checkpoint has a parameter that the model does not have. The message names it and what to do; an `Untied`
            where only ties are broken.
    """
    spelled: dict[str, list[str]] = {name: [name] for name in (*layout.shapes, *layout.buffers)}
    for alias, name in layout.aliases.items():
        spelled[name].append(alias)
    known = [name for names in spelled.values() for name in names]
    matched = match(known, given, moved=layout.moved, weights=weights)
    faults = _Faults(label, layout, given, matched.unclear)
    moved, parameters, buffers, borrowed = set(layout.moved), dict[str, Tensor](), dict[str, Tensor](), dict[str, str]()
    for name, shape in (*layout.shapes.items(), *layout.buffers.items()):
        each = [matched.found[spelling] for spelling in spelled[name] if spelling in matched.found]
        sources = [source for found in each for source in found]
        tensor = given[sources[0]] if sources else None
        spare = None if name in moved else rest.get(name)
        tensor, spare = (_as_moved(t, shape, name in layout.shapes) for t in (tensor, spare))
        if len(sources) > 1 and name in layout.shapes:
            faults.several(name, sources, tied=spelled[name][:2] if all(len(f) == 1 for f in each) else ())
        if tensor is None or tuple(tensor.shape) != shape:
            allowed = misfits or tensor is None or name in layout.buffers
            if allowed and spare is not None and tuple(spare.shape) == shape:
                borrowed[name] = "" if tensor is None else str(tuple(tensor.shape))
                tensor = spare
            elif tensor is None and name in layout.buffers and is_counter(name):
                tensor = torch.zeros(shape, dtype=torch.long)
            else:
                faults.misfit(name, shape, tensor)
                continue
        elif name in layout.shapes and not faults.are_numbers(name, sources[0]):
            continue
        if name in layout.shapes:
            parameters[name] = tensor.to(device=device, dtype=layout.dtypes[name])
        else:
            buffers[name] = tensor.to(device=device)
    used = {given[source].data_ptr() for sources in matched.found.values() for source in sources}
    extra = [n for n in matched.left if n in weights and (not given[n].numel() or given[n].data_ptr() not in used)]
    faults.unknown([name for name in extra if not any(name in names for names in faults.explained)])
    if faults.told:
        raise (Untied if faults.untied == len(faults.told) else ValueError)(faults.message())
    return Fit(parameters, buffers, borrowed, tuple(n for n in matched.left if n not in weights and not is_counter(n)))


def _as_moved(tensor: Tensor | None, shape: tuple[int, ...], weight: bool) -> Tensor | None:
    """Complex parameters as the pairs of reals that move; complex buffers as they are."""
    if tensor is None:
        return None
    if weight:
        pairs = tensor.is_complex() and (*tensor.shape, 2) == shape
        return torch.view_as_real(tensor.resolve_conj()) if pairs else tensor
    pairs = not tensor.is_complex() and tuple(tensor.shape) == (*shape, 2)
    return torch.view_as_complex(tensor) if pairs else tensor


@dataclass
class _Faults:
    """What is wrong, and from that the way out."""

    label: str
    layout: Layout
    given: Mapping[str, Tensor]
    unclear: Sequence[tuple[tuple[str, ...], str]]
    told: list[str] = field(default_factory=list)
    untied: int = 0
    missing: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    ways: list[str] = field(default_factory=list)  # out of what is neither of these
    explained: list[Collection[str]] = field(default_factory=list)  # names that have been told of

    def several(self, name: str, sources: Sequence[str], tied: Sequence[str]) -> None:
        """More than one tensor for a name is none too many if they are equal."""
        first, *others = (self.given[source] for source in sources)
        gaps = [(_gap(first, other), source) for other, source in zip(others, sources[1:], strict=True)]
        gap, source = max(gaps)
        if gap == 0:
            return
        names = f"{sources[0]!r} and {source!r}"
        if tied:
            self.untied += 1
            self.told.append(
                f"{names} must be equal, because {' and '.join(map(repr, tied))} are one tensor in the model (tied), "
                f"got two that differ by up to {gap:.3g}"
            )
            self.ways.append("Use objective.untied(), which takes tied models, too")
        else:
            self.told.append(f"key {name!r} could be {names}, which differ by up to {gap:.3g}")
            self.doubled.append(source)

    def misfit(self, name: str, shape: tuple[int, ...], tensor: Tensor | None) -> None:
        """Missing, or of another shape."""
        if tensor is not None:
            self.shapes.append(name)
            self.told.append(f"key {name!r} must have shape {shape}, got {tuple(tensor.shape)}")
            return
        claimed = next(((ours, theirs) for ours, theirs in self.unclear if name in ours), None)
        if claimed is not None:
            ours, theirs = claimed
            self.explained.append((theirs,))
            self.told.append(f"key {theirs!r} could be any of {', '.join(map(repr, ours))}")
            self.ways.append(f"Give it the name that it has in the model: {{{ours[0]!r}: tensors[{theirs!r}], ...}}")
            return
        self.missing.append(name)
        close = difflib.get_close_matches(name, self.given, n=1, cutoff=0.8) if len(self.told) < _SHOWN else []
        self.told.append(f"key {name!r} of shape {shape} is missing" + (f" (is it {close[0]!r}?)" if close else ""))

    def are_numbers(self, name: str, source: str) -> bool:
        """A weight must be the numbers themselves, not what they are computed from or a part of them."""
        tensor, wanted = self.given[source], self.layout.dtypes[name]
        if tensor.dtype == wanted or not wanted.is_floating_point:
            return True
        if tensor.is_complex() and (*tensor.shape, 2) == self.layout.shapes[name]:
            return True
        if tensor.is_complex():
            self.told.append(f"key {source!r} must be real, got {tensor.dtype}")
            self.ways.append("Use a checkpoint of the same architecture")
            return False
        scales = [whole + end for whole in (source, source.removesuffix(".weight")) for end in _SCALES]
        scale = next((name for name in scales if name in self.given), None)
        if scale is None and _is_plain(tensor):
            return True
        beside = f" with its scale {scale!r} beside it" if scale else ""
        self.told.append(f"key {source!r} must hold the weights themselves, got {tensor.dtype}{beside} (quantised)")
        self.ways.append(_DEQUANTISE)
        self.explained.append([n for n in self.given if n.endswith(_SCALES)])
        return False

    def unknown(self, names: Iterable[str]) -> None:
        """Parameters that the model does not have."""
        self.extra = list(names)
        self.told += [f"key {name!r} is not one of the model's" for name in self.extra]

    def message(self) -> str:
        """One sentence that lists the first few, and one that says what to do."""
        shown = "; ".join(self.told[:_SHOWN])
        shown += f"; and {len(self.told) - _SHOWN} more" if len(self.told) > _SHOWN else ""
        count = f", got {len(self.told)} mismatched keys" if len(self.told) > 1 else ""
        return f"Subspace: {self.label} must fit the objective's model{count}: {shown}. {self._way_out()}."

    def _way_out(self) -> str:
        if self.ways:
            return "; ".join(dict.fromkeys(self.ways))
        if self.doubled:
            return f"Leave one of them out: {self._without(self.doubled)}"
        if self.missing and any(name.endswith((".qweight", *_SCALES[2:])) for name in self.given):
            return _DEQUANTISE
        within = under(self.layout.moved, self.given) if self.missing else []
        if within:
            took = f"{{n.removeprefix({within[0]!r}): t for n, t in tensors.items() if n.startswith({within[0]!r})}}"
            return f"It has all of the model's names under {' and '.join(map(repr, within))}: pass {took}"
        if self.extra and not (self.missing or self.shapes):
            few = ", ".join(map(repr, self.extra[:_SHOWN])) + (", ..." if len(self.extra) > _SHOWN else "")
            return (
                f"If the model can do without, leave them out: {{n: t for n, t in tensors.items() if n not in [{few}]}}"
            )
        fits = [name for name in self.layout.moved if name not in {*self.missing, *self.shapes}]
        if not fits or self.extra or (self.missing and self.shapes):
            return "Use a checkpoint of the same architecture"
        tied = [n for n, t in self.given.items() if self._could_be_tied(n, t)] if len(self.missing) == 1 else []
        if tied:
            (name,) = self.missing
            return f"If its output is tied to its embedding, say so: {{**tensors, {name!r}: tensors[{tied[0]!r}]}}"
        if self.missing:
            globs = ["*lora_*"] if all("lora_" in name for name in fits) else _globs(fits, self.layout.shapes)
            return (
                f"If it holds all that is to move, say so: an Objective with params={globs} keeps its own of the others"
            )
        if not set(self.shapes) & set(self.layout.moved):
            return (
                "It does not move, so a Line or Plane keeps the origin's there; for anything else put it into the "
                "loss: Objective(model.encoder, data, loss=lambda features, y: loss(head(features), y))"
            )
        if len(self.layout.moved) == len(self.layout.shapes):
            globs = ["*", *(f"!{glob}" for glob in _globs(self.shapes, self.layout.shapes))]
        else:
            globs = _globs(fits, self.layout.shapes)
        return f"If they need not move, leave them out: an Objective with params={globs} keeps its own there"

    def _could_be_tied(self, name: str, tensor: Tensor) -> bool:
        """Whether it is an embedding of the shape of what is missing, which files of tied models have only once."""
        embedding = any(word in name.lower() for word in ("embed", "wte", "shared"))
        return embedding and tuple(tensor.shape) == self.layout.shapes.get(self.missing[0])

    def _without(self, names: Sequence[str]) -> str:
        """What to copy for a checkpoint without some of its names."""
        kept = self.given.keys() - set(names)
        starts = {name.partition(".")[0] + "." for name in names}
        if len(names) > _SHOWN and not any(name.startswith(tuple(starts)) for name in kept):
            return f"{{n: t for n, t in tensors.items() if not n.startswith({tuple(sorted(starts))})}}"
        few = ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
        return f"{{n: t for n, t in tensors.items() if n not in [{few}]}}"


def _is_plain(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and (tensor.dtype.itemsize > 1 or "float8" in str(tensor.dtype))


def _gap(a: Tensor, b: Tensor) -> float:
    """The largest difference, inf where shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    if a.data_ptr() == b.data_ptr() and a.stride() == b.stride():
        return 0.0
    if torch.equal(a, b.to(a)):
        return 0.0
    gap = float((a.double() - b.to(a.device).double()).abs().max())
    return gap if gap == gap else float("inf")


def _globs(names: Sequence[str], among: Iterable[str]) -> list[str]:
    """The fewest globs that choose these: a module's, where all of its parameters are among them."""
    globs: dict[str, None] = {}
    others = set(among) - set(names)
    for name in names:
        parts = name.split(".")
        modules = (".".join(parts[:i]) for i in range(1, len(parts)))
        globs[next((f"{m}.*" for m in modules if not any(o.startswith(f"{m}.") for o in others)), name)] = None
    return list(globs)
