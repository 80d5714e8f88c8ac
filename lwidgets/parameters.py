"""Which tensors of a model move, and where a point in their space comes from.

A `State` is one point: named parameters and the buffers that belong to them. A `ParameterSpace` says what a
point must look like (names, shapes, ties, filters) and which of its parameters a subspace may move.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lwidgets.checkpoints import read_checkpoint

_BATCHNORM_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_WRAPPERS = ("module.", "_orig_mod.")  # DataParallel and torch.compile put these before every name


@dataclass(frozen=True, eq=False, repr=False)
class State:
    """One parameter point.

    Attributes:
        parameters: Name -> tensor; floating point, detached, owned by this value.
        buffers: Name -> tensor: BatchNorm statistics and whatever else the module registered.
        label: Where it came from, for provenance (a file's name, never its folder).
    """

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    label: str = "state"

    @classmethod
    def of(cls, source: Source, label: str | None = None) -> State:
        """Read a point from a module, a state dict, a checkpoint file or a vector, as copies.

        Args:
            source: nn.Module; mapping of names to tensors; path of a safetensors or weights-only checkpoint;
                1-D tensor of coordinates (the point of an analytic objective); or a State, returned as it is.
            label: Name for provenance; by default the class or file name.

        Raises:
            TypeError: The source is none of these.
            ValueError: The file or the mapping holds no tensors.
            FileNotFoundError: No file at that path.
        """
        if isinstance(source, State):
            return source
        if isinstance(source, nn.Module):
            parameters = {name: _own(p) for name, p in source.named_parameters()}
            buffers = {name: _own(b) for name, b in source.named_buffers()}
            return cls(parameters, buffers, label or type(source).__name__)
        if isinstance(source, str | Path):
            return cls._split(read_checkpoint(Path(source)), label or Path(source).name)
        if isinstance(source, Tensor):
            if source.ndim != 1:
                raise ValueError(
                    f"State.of: a vector must have shape (dim,), got {tuple(source.shape)}. "
                    "Pass one point as a 1-D tensor."
                )
            return cls({VECTOR: _own(source).to(torch.float64)}, label=label or "vector")
        if isinstance(source, Mapping):
            return cls._split(
                {name: _own(t) for name, t in source.items() if isinstance(t, Tensor)}, label or "state dict"
            )
        raise TypeError(
            f"State.of: source must be a module, a state dict, a checkpoint path or a 1-D tensor, got "
            f"{type(source).__name__}. Pass for example model or model.state_dict()."
        )

    @classmethod
    def _split(cls, tensors: Mapping[str, Tensor], label: str) -> State:
        """Tell parameters from buffers in a bare mapping by dtype and BatchNorm's own names."""
        if not tensors:
            raise ValueError(f"State.of: {label} must hold tensors, got none. Pass the dict that state_dict() returns.")
        prefix = _wrapper(tensors)
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        is_buffer = {
            name: not tensor.is_floating_point() or name.rpartition(".")[2] in _BATCHNORM_BUFFERS
            for name, tensor in tensors.items()
        }
        return cls(
            {name: t for name, t in tensors.items() if not is_buffer[name]},
            {name: t for name, t in tensors.items() if is_buffer[name]},
            label,
        )

    def __repr__(self) -> str:
        size = sum(t.numel() for t in self.parameters.values())
        return (
            f"State({self.label!r}: {len(self.parameters)} parameters of {size:,} numbers, {len(self.buffers)} buffers)"
        )

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers in one dict."""
        return {**self.parameters, **self.buffers}


Source = nn.Module | Mapping[str, Any] | str | Path | Tensor | State
"""Anything that names one parameter point: module, state dict, checkpoint file, vector (analytic), State."""

VECTOR = "x"
"""The one parameter name of an analytic objective's space."""


def _wrapper(names: Iterable[str]) -> str:
    """The prefix that DataParallel and torch.compile have put before every name, or nothing."""
    names, prefix = list(names), ""
    while found := next((w for w in _WRAPPERS if all(name.startswith(prefix + w) for name in names)), ""):
        prefix += found
    return prefix


def _own(tensor: Tensor) -> Tensor:
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
        buffers: Name -> shape of the module's persistent buffers.
        filters: Name -> layout of its filters, where that is not "dim 0".
        flat: Names of moved tensors that random directions leave alone unless asked: biases and norm scales.
        guessed: True when read from a bare state dict, so ties and filters are not known.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, torch.dtype]
    moved: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    buffers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    filters: Mapping[str, Filters] = field(default_factory=dict)
    flat: frozenset[str] = frozenset()
    guessed: bool = False

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
        parameters = dict(module.named_parameters())
        names = {id(p): name for name, p in parameters.items()}
        aliases = {
            name: names[id(p)] for name, p in module.named_parameters(remove_duplicate=False) if names[id(p)] != name
        }
        persistent = module.state_dict().keys()
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
            aliases=aliases,
            buffers={name: tuple(b.shape) for name, b in module.named_buffers() if name in persistent},
            filters=filters,
            flat=frozenset(name for name in moved if parameters[name].ndim < 2),
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

    def select(self, state: State, device: torch.device | None = None) -> State:
        """The state under canonical names, checked, in the space's dtypes; tensors are shared where nothing changes.

        Args:
            state: Any point.
            device: Where its tensors shall be; None leaves them.

        Raises:
            ValueError: A key is missing, unknown or of another shape; the message names it and both shapes.
        """
        given = state.tensors
        prefix = _wrapper(self.shapes)  # the model's own child may be called "module"
        if prefix and not _wrapper(given):
            given = {prefix + name: tensor for name, tensor in given.items()}
        known = {**self.shapes, **self.buffers}
        faults = []
        parameters, buffers = {}, {}
        for name, shape in known.items():
            found = given.get(name)
            if found is None:
                alias = next((a for a, canonical in self.aliases.items() if canonical == name and a in given), None)
                found = given[alias] if alias is not None else None
            if found is None:
                close = difflib.get_close_matches(name, given, n=1)
                faults.append(
                    f"key {name!r} of shape {shape} is missing" + (f" (is it {close[0]!r}?)" if close else "")
                )
            elif tuple(found.shape) != shape:
                faults.append(f"key {name!r} must have shape {shape}, got {tuple(found.shape)}")
            else:
                if name in self.shapes:
                    parameters[name] = found.to(device=device, dtype=self.dtypes[name])
                else:
                    buffers[name] = found.to(device=device)
        buffers_given = {prefix + name for name in state.buffers} | set(state.buffers)
        unknown = [n for n in given if n not in known and n not in self.aliases and n not in buffers_given]
        faults += [f"key {name!r} is not one of the model's" for name in unknown]
        if faults:
            shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
            raise ValueError(
                f"Subspace: {state.label} must fit the objective's model, got {len(faults)} mismatched keys: {shown}. "
                "Use a checkpoint of the same architecture."
                if len(faults) > 1
                else f"Subspace: {state.label} must fit the objective's model: {shown}. "
                "Use a checkpoint of the same architecture."
            )
        return replace(state, parameters=parameters, buffers=buffers)


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
