"""Which tensors of a model move, and where a point in their space comes from.

A `State` is one point: named parameters and the buffers that belong to them. A `ParameterSpace` says what a
point must look like (names, shapes, ties, filters) and which of its parameters a subspace may move.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lwidgets.batchnorm import batchnorm_layers
from lwidgets.checkpoints import fit, is_buffer, model_in, read_checkpoint, shared_wrapper


@dataclass(frozen=True, eq=False, repr=False)
class State:
    """One parameter point.

    Attributes:
        parameters: Name -> tensor; floating point, detached, owned by this value.
        buffers: Name -> tensor: BatchNorm statistics and whatever else the module registered.
        label: Where it came from, for provenance (a file's name, never its folder).
        ties: Further names of tied tensors -> the name in ``parameters``.
        borrowed: Names of tensors that are another model's, because they do not move and this one has none that fits
            -> "", or the shape of its own.
        left: Names of buffers that it had, and that the model it is a point of does not.
    """

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    label: str = "state"
    ties: Mapping[str, str] = field(default_factory=dict)
    borrowed: Mapping[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()

    @classmethod
    def of(cls, source: Source, label: str | None = None) -> State:
        """Read a point from a module, a state dict, a checkpoint file or a vector, as copies.

        Args:
            source: nn.Module; mapping of names to tensors, or a checkpoint with one in it; path of a safetensors or
                weights-only checkpoint, an index of shards, or a folder; 1-D tensor of coordinates (the point of an
                analytic objective); or a State, returned as it is.
            label: Name for provenance; by default the class or file name.

        Raises:
            TypeError: The source is none of these.
            ValueError: The file or the mapping holds no tensors, or several models.
            FileNotFoundError: No file at that path.
        """
        if isinstance(source, State):
            return source
        if isinstance(source, nn.Module):
            parameters = {name: _own(p) for name, p in source.named_parameters()}
            buffers = {name: _own(b) for name, b in source.named_buffers()}
            return cls(parameters, buffers, label or type(source).__name__, _ties(source))
        if isinstance(source, str | Path):
            tensors, where = read_checkpoint(Path(source))
            return cls._split(tensors, label or _within(Path(source).name, where))
        if isinstance(source, Tensor):
            if source.ndim != 1:
                raise ValueError(
                    f"State.of: a vector must have shape (dim,), got {tuple(source.shape)}. "
                    "Pass one point as a 1-D tensor."
                )
            return cls({VECTOR: _own(source).to(torch.float64)}, label=label or "vector")
        if isinstance(source, Mapping):
            found, where = model_in(source, "State.of", "state dict")
            if isinstance(found, nn.Module):
                return cls.of(found, label or _within(type(found).__name__, where))
            return cls._split({n: _own(t) for n, t in found.items()}, label or _within("state dict", where))
        raise TypeError(
            f"State.of: source must be a module, a state dict, a checkpoint path or a 1-D tensor, got "
            f"{type(source).__name__}. Pass for example model or model.state_dict()."
        )

    @classmethod
    def _split(cls, tensors: Mapping[str, Tensor], label: str) -> State:
        """Tell parameters from buffers in a bare mapping."""
        if not tensors:
            raise ValueError(f"State.of: {label} must hold tensors, got none. Pass the dict that state_dict() returns.")
        if empty := next((name for name, tensor in tensors.items() if tensor.is_meta), ""):
            raise ValueError(
                f"State.of: {label} must hold tensors, but key {empty!r} holds no numbers (meta device). Load it "
                "without device_map and init_empty_weights."
            )
        prefix = shared_wrapper(tensors)
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        buffers = {name: tensor for name, tensor in tensors.items() if is_buffer(name, tensor)}
        return cls({name: t for name, t in tensors.items() if name not in buffers}, buffers, label)

    def __repr__(self) -> str:
        size = sum(t.numel() for t in self.parameters.values())
        return (
            f"State({self.label!r}: {len(self.parameters)} parameters of {size:,} numbers, {len(self.buffers)} buffers)"
        )

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers in one dict."""
        return {**self.parameters, **self.buffers}

    @property
    def named(self) -> dict[str, Tensor]:
        """The same, tied tensors under each of their names."""
        return {**self.tensors, **{alias: self.parameters[name] for alias, name in self.ties.items()}}


Source = nn.Module | Mapping[str, Any] | str | Path | Tensor | State
"""Anything that names one parameter point: module, state dict, checkpoint file, vector (analytic), State."""

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

VECTOR = "x"
"""The one parameter name of an analytic objective's space."""


def _ties(module: nn.Module) -> dict[str, str]:
    """Further names of a module's tied parameters -> the first."""
    first = {id(p): name for name, p in module.named_parameters()}
    every = module.named_parameters(remove_duplicate=False)
    return {name: first[id(p)] for name, p in every if first[id(p)] != name}


def _within(label: str, where: str) -> str:
    return f"{label}[{where}]" if where else label


def _own(tensor: Tensor) -> Tensor:
    """A copy of the numbers.

    Raises:
        ValueError: It is a piece of a tensor that is spread over processes.
    """
    if hasattr(tensor, "full_tensor"):
        raise ValueError(
            "State.of: tensors must be whole, got one that is spread over processes (DTensor). Pass what "
            "torch.distributed.checkpoint.state_dict.get_model_state_dict returns with "
            "options=StateDictOptions(full_state_dict=True)."
        )
    return tensor.detach().clone()


@dataclass(frozen=True)
class Filters:
    """How a weight falls into filters, one for each output unit (Li et al. 2018, section 4).

    Attributes:
        dim: The axis that counts output units: 0 for linear, convolution, packed qkv (its rows are output
            units of q, k and v) and embeddings (a row is a token's vector); 1 for transposed convolutions.
        groups: Groups of a transposed convolution, whose output units are (group, index) pairs.
    """

    dim: int = 0
    groups: int = 1

    def split(self, tensor: Tensor) -> Tensor:
        """View or copy of the tensor as (filters, entries of one filter)."""
        if self.groups > 1:  # (in, out/groups, ...) -> (groups, in/groups, out/groups, ...)
            tensor = tensor.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)
        elif self.dim:
            tensor = tensor.movedim(self.dim, 0)
        return tensor.reshape(tensor.shape[0], math.prod(tensor.shape[1:]))

    def scale(self, tensor: Tensor, factors: Tensor) -> Tensor:
        """The tensor with filter i multiplied by factors[i], in the tensor's own layout."""
        trailing = (1,) * (tensor.ndim - 2)
        if self.groups > 1:
            per_group = factors.reshape(self.groups, 1, -1, *trailing)
            scaled: Tensor = tensor.unflatten(0, (self.groups, -1)) * per_group
            return scaled.flatten(0, 1)
        shape = [1] * tensor.ndim
        shape[self.dim] = -1
        return tensor * factors.reshape(shape)


@dataclass(frozen=True)
class ParameterSpace:
    """What a point must look like, and which parameters may move.

    Attributes:
        shapes: Canonical parameter name -> shape; a tied tensor appears once, under its first name.
        dtypes: Canonical parameter name -> dtype; points are cast to it.
        moved: Names that subspaces move; the others keep the origin's values.
        aliases: Further names of tied tensors -> canonical name.
        buffers: Name -> shape of the module's buffers.
        filters: Name -> layout of its filters, where that is not "dim 0".
        flat: Names of moved tensors that random directions leave alone unless asked: biases and norm scales.
        guessed: True when read from a bare state dict, so ties and filters are not known.
        module: Has what a point lacks and does not move: the rest of a model of which a file holds an adapter. Read
            when it is needed, never written to.
        transient: Copies of the module's buffers that no state dict has.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, torch.dtype]
    moved: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    buffers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    filters: Mapping[str, Filters] = field(default_factory=dict)
    flat: frozenset[str] = frozenset()
    guessed: bool = False
    module: nn.Module | None = field(default=None, repr=False, compare=False)
    transient: Mapping[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of_module(
        cls, module: nn.Module, params: str | Iterable[str] | None = None, *, refuse: bool = True
    ) -> ParameterSpace:
        """The space of a module's parameters.

        Args:
            module: Any module; tied parameters count once and so move together.
            params: Glob or globs on parameter names that may move; ``!glob`` leaves names out. None: all.
            refuse: Raise when a parameter that would move cannot; otherwise leave it where it is.

        Raises:
            ValueError: No name matches.
            TypeError: A parameter that would move is integer or complex.
        """
        parameters, persistent = dict(module.named_parameters()), module.state_dict().keys()
        filters = {}
        for prefix, part in module.named_modules():
            layout = _filter_layout(part)
            if layout is not None:
                filters[f"{prefix}.weight".lstrip(".")] = layout
        moved = _matching(parameters, params)
        for name in moved:
            if refuse and not parameters[name].is_floating_point():
                raise TypeError(
                    f"Objective: parameter {name!r} must be real floating point to move along a direction, got "
                    f"{parameters[name].dtype}. Leave it where it is with params=['*', '!{name}']."
                )
        return cls(
            shapes={name: tuple(p.shape) for name, p in parameters.items()},
            dtypes={name: p.dtype for name, p in parameters.items()},
            moved=tuple(name for name in moved if parameters[name].is_floating_point()),
            aliases=_ties(module),
            buffers={name: tuple(b.shape) for name, b in module.named_buffers()},
            filters=filters,
            flat=frozenset(name for name in moved if parameters[name].ndim < 2),
            module=module,
            transient={name: _own(b) for name, b in module.named_buffers() if name not in persistent},
        )

    @classmethod
    def of_vector(cls, dim: int) -> ParameterSpace:
        """The space of an analytic objective: one vector of that length, all of which moves."""
        return cls(shapes={VECTOR: (dim,)}, dtypes={VECTOR: torch.float64}, moved=(VECTOR,))

    @classmethod
    def of_state(cls, state: State) -> ParameterSpace:
        """The best guess from tensors alone; an objective's own space replaces it when one is sampled."""
        if tuple(state.parameters) == (VECTOR,):
            return cls.of_vector(len(state.parameters[VECTOR]))
        return cls(
            shapes={name: tuple(t.shape) for name, t in state.parameters.items()},
            dtypes={name: t.dtype for name, t in state.parameters.items()},
            moved=tuple(state.parameters),
            buffers={name: tuple(t.shape) for name, t in state.buffers.items()},
            flat=frozenset(name for name, t in state.parameters.items() if t.ndim < 2),
            guessed=True,
        )

    @property
    def size(self) -> int:
        """How many numbers move."""
        return sum(torch.Size(self.shapes[name]).numel() for name in self.moved)

    @cached_property
    def statistics(self) -> frozenset[str]:
        """Names of BatchNorm's buffers, for which there are modes; of a bare state dict, by their names."""
        if self.module is None:
            return frozenset(n for n in self.buffers if n.rpartition(".")[2] in _STATISTICS)
        layers = {id(layer) for layer in batchnorm_layers(self.module)}
        return frozenset(
            f"{prefix}.{name}".lstrip(".")
            for prefix, part in self.module.named_modules(remove_duplicate=False)
            if id(part) in layers
            for name, _ in part.named_buffers(recurse=False)
        )

    def select(
        self, state: State, device: torch.device | None = None, rest: State | None = None, *, misfits: bool = False
    ) -> State:
        """The state under canonical names, checked, in the space's dtypes; tensors are shared where nothing changes.

        Names are matched by the rules of `lwidgets.checkpoints.names`.

        Args:
            state: Any point, or a part of one in which everything that moves is.
            device: Where its tensors shall be; None leaves them.
            rest: Has what the state lacks and does not move; by default the module.
            misfits: Whether what does not move may have another shape; ``borrowed`` then has it.

        Raises:
            ValueError: A key that moves is missing, or one is unknown, of another shape, or has several values; the
                message names it and the way out.
        """
        others = rest.tensors if rest is not None else {**_tensors_of(self.module), **self.transient}
        found = fit(state.label, state.named, state.parameters, self, others, device, misfits=misfits)
        borrowed = {n: was for n, was in {**state.borrowed, **found.borrowed}.items() if n not in self.moved}
        return replace(
            state,
            parameters=found.parameters,
            buffers=found.buffers,
            ties=self.aliases,
            borrowed={n: was for n, was in borrowed.items() if was or n not in self.transient},
            left=tuple(dict.fromkeys((*state.left, *found.left))),
        )


def _tensors_of(module: nn.Module | None) -> dict[str, Tensor]:
    """A module's own tensors by name, not copied."""
    if module is None:
        return {}
    return {n: t.detach() for n, t in (*module.named_parameters(), *module.named_buffers())}


def _filter_layout(module: nn.Module) -> Filters | None:
    """The filters of a module's ``weight`` where they do not lie along dim 0."""
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return Filters(dim=1, groups=module.groups)
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # Hugging Face's transposed linear layer
        return Filters(dim=1)
    return None


def _matching(names: Iterable[str], params: str | Iterable[str] | None) -> tuple[str, ...]:
    names = tuple(names)
    if params is None:
        return names
    globs = (params,) if isinstance(params, str) else tuple(params)
    wanted = [g for g in globs if not g.startswith("!")] or ["*"]
    unwanted = [g[1:] for g in globs if g.startswith("!")]
    chosen = tuple(
        name
        for name in names
        if any(fnmatchcase(name, g) for g in wanted) and not any(fnmatchcase(name, g) for g in unwanted)
    )
    if not chosen:
        raise ValueError(
            f"Objective: params must match at least one parameter name, got {list(globs)}. "
            f"The names are {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}."
        )
    return chosen
