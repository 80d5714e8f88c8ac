"""Which tensors of a model move, and where a point in their space comes from.

A `State` is one point: named parameters and the buffers that belong to them. A `ParameterSpace` says what a
point must look like (names, shapes, ties, filters) and which of its parameters a subspace may move.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwidgets.batchnorm import batchnorm_layers
from lwidgets.checkpoints import fit, is_buffer, model_in, read_checkpoint, shared_wrapper
from lwidgets.wrappers import unwrapped, why_nothing_moves


@dataclass(frozen=True, eq=False, repr=False)
class State(dict[str, Tensor]):
    """One parameter point: names to tensors, as a state dict has them.

    ``model.load_state_dict(state)`` and ``torch.func.functional_call(model, state, inputs)`` take it: it holds the
    parameters, tied ones under each of their names, and then the buffers, but for those that no state dict has. It is a
    dict because `functional_call` asks for one by type; it cannot be changed, and is equal only to itself. (A module in
    train mode writes into the statistics that it is given: then pass ``copy.deepcopy(state)``.)

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1)).eval()
        >>> state = State.of(model)
        >>> list(state)[:3], state["1.num_batches_tracked"]
        (['0.weight', '0.bias', '1.weight'], tensor(0))
        >>> model.load_state_dict(state)
        <All keys matched successfully>
        >>> State.of([0.5, 2]).parameters
        {'x': tensor([0.5000, 2.0000], dtype=torch.float64)}

    Attributes:
        parameters: Name -> tensor; floating point, detached, owned by this value. Complex ones are pairs of reals,
            of shape (..., 2), once a `ParameterSpace` has selected them; the dict itself has them complex.
        buffers: Name -> tensor: BatchNorm statistics and whatever else the module registered.
        label: Where it came from, for provenance (a file's name, never its folder).
        ties: Further names of tied tensors -> the name in ``parameters``.
        borrowed: Names of tensors that are another model's, because they do not move and this one has none that fits
            -> "", or the shape of its own.
        left: Names of buffers that it had, and that the model it is a point of does not.
        transient: Names of buffers that no state dict has, and so not the dict itself either.
        pairs: Names of parameters that are pairs of reals where the model has complex numbers.
    """

    parameters: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor] = field(default_factory=dict)
    label: str = "state"
    ties: Mapping[str, str] = field(default_factory=dict)
    borrowed: Mapping[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    transient: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        own = {name: self._held(name) for name in self.parameters}
        tied = {alias: own[name] for alias, name in self.ties.items()}
        kept = {name: tensor for name, tensor in self.buffers.items() if name not in self.transient}
        dict.update(self, {**own, **tied, **kept})

    def _held(self, name: str) -> Tensor:
        """A parameter as the model has it, in the same memory where that goes."""
        tensor = self.parameters[name]
        return torch.view_as_complex(tensor.contiguous()) if name in self.pairs else tensor

    def update(self, *given: Any, **named: Any) -> None:
        """Nothing to do where all is as it is, which is how `functional_call` gives back what it was given.

        Raises:
            TypeError: A tensor is another one, or a name is new.
        """
        if any(self.get(name) is not tensor for name, tensor in dict(*given, **named).items()):
            self._refuse()

    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return State, tuple(getattr(self, field.name) for field in fields(self))

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("State: a point must stay as it is, got a change. Change a copy: dict(state).")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = _refuse

    @classmethod
    def of(cls, source: Source, label: str | None = None) -> State:
        """Read a point from a module, a state dict, a checkpoint file or a vector, as copies.

        Args:
            source: nn.Module; mapping of names to tensors, or a checkpoint with one in it; path of a safetensors or
                weights-only checkpoint, an index of shards, or a folder; 1-D tensor, array or list of coordinates (the
                point of an analytic objective), taken as float64; or a State, returned as it is.
            label: Name for provenance; by default the class or file name.

        Raises:
            TypeError: The source is none of these.
            ValueError: The file or the mapping holds no tensors, or several models.
            FileNotFoundError: No file at that path.
        """
        if isinstance(source, State):
            return source
        if isinstance(source, nn.Module):
            source = unwrapped(source)
            parameters = {name: _own(p) for name, p in source.named_parameters()}
            buffers = {name: _own(b) for name, b in source.named_buffers()}
            transient = frozenset(_transient(source))
            return cls(parameters, buffers, label or type(source).__name__, _ties(source), transient=transient)
        if isinstance(source, str | Path):
            tensors, where = read_checkpoint(Path(source))
            return cls._split(tensors, label or _within(Path(source).name, where))
        if isinstance(source, np.ndarray | list | tuple):
            source = _as_vector(source)
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
            f"State.of: source must be {_KINDS}, got {type(source).__name__}. Pass for example model or "
            "model.state_dict()."
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

    def with_parameters(self, parameters: Mapping[str, Tensor], label: str) -> State:
        """Another point of the same model, whose other parameters and buffers are shared with this one."""
        moved = {**self.parameters, **parameters}
        return State(moved, self.buffers, label, self.ties, transient=self.transient, pairs=self.pairs)


Source = nn.Module | Mapping[str, Any] | str | Path | Tensor | NDArray[Any] | Sequence[float] | State
"""Anything that names one parameter point: module, state dict, checkpoint file, vector (analytic), State."""

_KINDS = "a module, a state dict, a checkpoint path or a 1-D tensor, array or list of numbers"

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")

VECTOR = "x"
"""The one parameter name of an analytic objective's space."""


def _ties(module: nn.Module) -> dict[str, str]:
    """Further names of a module's tied parameters -> the first."""
    first = {id(p): name for name, p in module.named_parameters()}
    every = module.named_parameters(remove_duplicate=False)
    return {name: first[id(p)] for name, p in every if first[id(p)] != name}


def _transient(module: nn.Module) -> set[str]:
    """Names of a module's buffers that no state dict has."""
    return {
        f"{prefix}.{name}".lstrip(".")
        for prefix, part in module.named_modules()
        for name in part._non_persistent_buffers_set
    }


def _as_vector(source: NDArray[Any] | Sequence[Any]) -> Tensor:
    """Coordinates in float64.

    Raises:
        TypeError: They are no numbers.
    """
    try:
        array = np.asarray(source)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"a {type(source).__name__} of {array.dtype}")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"State.of: source must be {_KINDS}, got {type(source).__name__} of something else ({error}). "
            "Pass one point at a time."
        ) from error
    return torch.tensor(array, dtype=torch.float64)


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


def as_real(tensor: Tensor) -> Tensor:
    """A complex tensor as pairs of reals, of shape (..., 2), in the same memory; a real one as it is."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def as_held(tensor: Tensor, parameter: Tensor) -> Tensor:
    """What `as_real` was given: pairs of reals as the complex numbers that a parameter holds.

    >>> as_held(torch.tensor([[1.0, 2.0]]), torch.zeros(1, dtype=torch.complex64))
    tensor([1.+2.j])
    """
    pairs = parameter.is_complex() and not tensor.is_complex()
    return torch.view_as_complex(tensor.contiguous()) if pairs else tensor


@dataclass(frozen=True)
class Filters:
    """How a weight falls into filters, one for each output unit (Li et al. 2018, section 4).

    Attributes:
        dims: The axes that together count output units, in their order: (0,) for linear, convolution, packed qkv (its
            rows are output units of q, k and v) and embeddings (a row is a token's vector); (1,) for transposed
            convolutions; (0, 1) for the weights of several experts; () where all is one filter.
        groups: Groups of a transposed convolution, whose output units are (group, index) pairs.
    """

    dims: tuple[int, ...] = (0,)
    groups: int = 1

    def split(self, tensor: Tensor) -> Tensor:
        """View or copy of the tensor as (filters, entries of one filter)."""
        if self.groups > 1:  # (in, out/groups, ...) -> (groups, in/groups, out/groups, ...)
            tensor = tensor.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1)
            units = 1
        else:
            tensor = tensor.movedim(self.dims, tuple(range(len(self.dims))))
            units = len(self.dims)
        return tensor.reshape(math.prod(tensor.shape[:units]), math.prod(tensor.shape[units:]))

    def scale(self, tensor: Tensor, factors: Tensor) -> Tensor:
        """The tensor with filter i multiplied by factors[i], in the tensor's own layout."""
        trailing = (1,) * (tensor.ndim - 2)
        if self.groups > 1:
            per_group = factors.reshape(self.groups, 1, -1, *trailing)
            scaled: Tensor = tensor.unflatten(0, (self.groups, -1)) * per_group
            return scaled.flatten(0, 1)
        return tensor * factors.reshape([size if i in self.dims else 1 for i, size in enumerate(tensor.shape)])


@dataclass(frozen=True)
class ParameterSpace:
    """What a point must look like, and which parameters may move.

    Attributes:
        shapes: Canonical parameter name -> shape; a tied tensor appears once, under its first name. A complex one is
            as many pairs of reals, (..., 2).
        dtypes: Canonical parameter name -> dtype; points are cast to it.
        moved: Names that subspaces move; the others keep the origin's values.
        aliases: Further names of tied tensors -> canonical name.
        buffers: Name -> shape of the module's buffers.
        filters: Name -> layout of its filters, where that is not "dim 0".
        flat: Names of moved tensors that random directions leave alone unless asked: biases and norm scales.
        frozen: Names that stay, and that the model does not train either.
        guessed: True when read from a bare state dict, so ties and filters are not known.
        module: Has what a point lacks and does not move: the rest of a model of which a file holds an adapter. Read
            when it is needed, never written to.
        transient: Copies of the module's buffers that no state dict has.
        pairs: Names of parameters that are complex in the module.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, torch.dtype]
    moved: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict)
    buffers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    filters: Mapping[str, Filters] = field(default_factory=dict)
    flat: frozenset[str] = frozenset()
    frozen: frozenset[str] = frozenset()
    guessed: bool = False
    module: nn.Module | None = field(default=None, repr=False, compare=False)
    transient: Mapping[str, Tensor] = field(default_factory=dict, repr=False, compare=False)
    pairs: frozenset[str] = frozenset()

    @classmethod
    def of_module(
        cls, module: nn.Module, params: str | Iterable[str] | None = None, *, refuse: bool = True
    ) -> ParameterSpace:
        """The space of a module's parameters.

        Args:
            module: Any module; tied parameters count once and so move together. One in DataParallel, torch.compile and
                the like has the names of the module inside.
            params: Glob or globs on parameter names that may move, by any name that they have; ``!glob`` leaves names
                out. None: those with ``requires_grad``, or all where no parameter has it; "*" is all.
            refuse: Raise when a parameter that would move cannot; otherwise leave it where it is.

        Raises:
            ValueError: No name matches, or there are no parameters.
            TypeError: A parameter that would move is an integer, or has 8 bits or fewer.

        Example:
            >>> net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
            >>> ParameterSpace.of_module(net[0].requires_grad_(False) and net).moved
            ('1.weight', '1.bias')
        """
        module, outer = unwrapped(module), module
        parameters = dict(module.named_parameters())
        named = [*module.named_parameters(remove_duplicate=False)]
        if refuse and not parameters:
            raise ValueError(
                f"Objective: model must have parameters, got {type(module).__name__} without. "
                f"{why_nothing_moves(module)}"
            )
        names = {id(p): name for name, p in parameters.items()}
        called: dict[str, list[str]] = {name: [] for name in parameters}
        for name, p in [*named, *outer.named_parameters(remove_duplicate=False)]:
            called[names[id(p)]].append(name)
        trained = [name for name, p in parameters.items() if p.requires_grad] or list(parameters)
        moved = _matching(called, params, trained)
        for name in moved:
            if refuse and not _movable(parameters[name]):
                raise TypeError(
                    f"Objective: parameter {name!r} must be floating point of 16 bits or more to move along a "
                    f"direction, got {parameters[name].dtype}. Leave it where it is with params=['*', '!{name}']"
                    + (", or use model.to(torch.bfloat16)." if parameters[name].is_floating_point() else ".")
                )
        moved = tuple(name for name in moved if _movable(parameters[name]))
        real = {name: as_real(p.detach()) for name, p in parameters.items()}
        layouts = {
            f"{prefix}.{name}".lstrip("."): layout
            for prefix, part in module.named_modules()
            for name, layout in _filter_layouts(part)
        }
        vectors = {name for name, p in parameters.items() if p.ndim < 2 and p.is_complex()}
        alone = {name for name, layout in layouts.items() if not layout.dims}
        transient = _transient(module)
        return cls(
            shapes={name: tuple(p.shape) for name, p in real.items()},
            dtypes={name: p.dtype for name, p in real.items()},
            moved=moved,
            aliases=_ties(module),
            buffers={name: tuple(b.shape) for name, b in module.named_buffers()},
            filters={n: f for n, f in {**layouts, **dict.fromkeys(vectors, Filters(()))}.items() if n in parameters},
            flat=frozenset(name for name in moved if parameters[name].ndim < 2 or name in alone),
            frozen=frozenset(parameters).difference(moved, trained),
            module=module,
            transient={name: _own(b) for name, b in module.named_buffers() if name in transient},
            pairs=frozenset(name for name, p in parameters.items() if p.is_complex()),
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
            shapes={name: tuple(as_real(t).shape) for name, t in state.parameters.items()},
            dtypes={name: as_real(t).dtype for name, t in state.parameters.items()},
            moved=tuple(state.parameters),
            buffers={name: tuple(t.shape) for name, t in state.buffers.items()},
            flat=frozenset(name for name, t in state.parameters.items() if t.ndim < 2),
            pairs=state.pairs.union(name for name, t in state.parameters.items() if t.is_complex()),
            guessed=True,
        )

    @property
    def size(self) -> int:
        """How many numbers move."""
        return self.count(self.moved)

    def count(self, names: Iterable[str]) -> int:
        """How many numbers those parameters have together."""
        return sum(math.prod(self.shapes[name]) for name in names)

    def __str__(self) -> str:
        """How many numbers move, of how many, and why the others do not."""
        total, frozen = self.count(self.shapes), self.count(self.frozen)
        of = f" of {total:,}" if self.size < total else ""
        return f"{self.size:,}{of} numbers move" + (f" ({frozen:,} frozen)" if frozen else "")

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
            transient=frozenset(self.transient),
            pairs=self.pairs,
        )


def _tensors_of(module: nn.Module | None) -> dict[str, Tensor]:
    """A module's own tensors by name, not copied."""
    if module is None:
        return {}
    return {n: t.detach() for n, t in (*module.named_parameters(), *module.named_buffers())}


def _movable(parameter: Tensor) -> bool:
    """Whether weights like these can be added up; torch has no arithmetic for floats of 8 bits."""
    return parameter.is_complex() or (parameter.is_floating_point() and parameter.dtype.itemsize > 1)


def _filter_layouts(module: nn.Module) -> Iterator[tuple[str, Filters]]:
    """The filters of a module's parameters, by their names in it, where they do not lie along dim 0."""
    weight = None
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        weight = Filters((1,), groups=module.groups)
    elif type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # Hugging Face's transposed linear layer
        weight = Filters((1,))
    own = {name: p for name, p in module.named_parameters() if _computed(name) == "weight"}
    if weight is not None:  # what a weight is computed from has its axes
        yield from ((name, weight) for name, p in own.items() if p.ndim > 1)
    experts = {
        value
        for name, value in vars(module).items()
        if type(value) is int and _SEVERAL.search(name.lower()) is not None
    }
    for name, p in module.named_parameters(recurse=False):
        if p.ndim > 1 and len(p) in experts:
            if p.ndim > 2:
                yield name, Filters((0, 2 if _inputs_first(module, name, p) else 1))
            elif name.endswith("bias"):
                yield name, Filters(())


_SEVERAL = re.compile("expert|ensemble")
"""In the name of the attribute that says how many layers a module keeps in one tensor."""


def _inputs_first(module: nn.Module, name: str, weight: Tensor) -> bool:
    """Whether the weights of experts are (experts, in, out); their layer says it, or its width or its bias does."""
    if isinstance(said := getattr(module, "is_transposed", None), bool):
        return said
    bias = {"weight": "bias"}.get(name, f"{name}_bias")
    known = [
        getattr(module, "out_features", None),
        *(p.shape[-1:] for p in [getattr(module, bias, None)] if p is not None),
    ]
    outputs = {n if isinstance(n, int) else n[0] for n in known if n is not None}
    return weight.shape[2] in outputs and weight.shape[1] not in outputs


def _computed(name: str) -> str:
    """The weight that a parameter is computed into: itself, or for weight norm, spectral norm, pruning and the like."""
    head, _, last = name.rpartition(".")
    if head.startswith("parametrizations.") and last.startswith("original"):
        return head.removeprefix("parametrizations.")
    return re.sub("_(g|v|orig)$", "", name)


def _matching(
    called: Mapping[str, Iterable[str]], params: str | Iterable[str] | None, otherwise: Iterable[str]
) -> tuple[str, ...]:
    """The names that globs choose; without one that says what to take, some of ``otherwise``."""
    if params is None:
        return tuple(otherwise)
    globs = (params,) if isinstance(params, str) else tuple(params)
    wanted = [g for g in globs if not g.startswith("!")]
    unwanted = [g[1:] for g in globs if g.startswith("!")]

    def fits(name: str, globs: Iterable[str]) -> bool:
        return any(fnmatchcase(each, glob) for each in called[name] for glob in globs)

    chosen = tuple(
        name
        for name in (called if wanted else otherwise)
        if not fits(name, unwanted) and (not wanted or fits(name, wanted))
    )
    if not chosen:
        names = list(called)
        raise ValueError(
            f"Objective: params must match at least one parameter name, got {list(globs)}. "
            f"The names are {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}."
        )
    return chosen
