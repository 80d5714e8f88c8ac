"""One batch, whatever it is made of: its tensors, its samples, and its parts.

A batch is opened by one walk, through mappings, sequences, dataclasses and any object with attributes, down to its
tensors; arrays, data frames and what else offers ``__array__`` become tensors on the way. A batch with other tensors in
it is a deep copy that is told which tensor takes which one's place, so that classes, names, shared parts and whatever
else a batch holds stay as they are, no constructor runs, and nothing of the user's is written to.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from io import IOBase
from itertools import chain
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, unpack_sequence

_PLAIN = (
    *(NoneType, bool, int, float, complex, str, bytes, range, slice, Enum, np.generic, np.dtype, PurePath),
    *(torch.dtype, torch.device, torch.Size),
)
_SHARED = (IOBase, type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, nn.Module, torch.Generator)
_SIMPLE = frozenset((Tensor, str, int, float, bool, NoneType))
_CONTAINERS = (list, tuple, set, frozenset, dict)


def leaves(batch: Any) -> list[Tensor]:
    """The tensors of a batch, each once, in the order of the walk.

    >>> leaves({"x": torch.zeros(2), "more": [np.ones(3), "a word"]})
    [tensor([0., 0.]), tensor([1., 1., 1.], dtype=torch.float64)]
    """
    return [tensor for _, tensor in _walk(batch, {}) if tensor is not None]


def mapped(batch: Any, f: Callable[[Tensor], Tensor]) -> Any:
    """A copy of a batch in which f of a tensor stands for each; the batch itself stays as it is.

    Raises:
        TypeError: The batch holds an object that Python cannot copy.

    >>> mapped(([torch.ones(2)], "a word"), lambda t: 2 * t)
    ([tensor([2., 2.])], 'a word')
    """
    if _is_simple(batch):
        made: dict[int, Tensor] = {}

        def stand_in(thing: Any) -> Any:
            if isinstance(thing, Tensor) and id(thing) not in made:
                made[id(thing)] = f(thing)
            return made.get(id(thing), thing)

        return _rebuilt(batch, stand_in)
    return _replaced(batch, {id(thing): f(tensor) for thing, tensor in _walk(batch, {}) if tensor is not None})


def digest(batch: Any) -> bytes:
    """16 bytes that tell the numbers, words and shapes of a batch from those of another."""
    seen = blake2b(digest_size=16)
    for thing, tensor in _walk(batch, {}):
        if tensor is None:
            if isinstance(thing, _PLAIN):
                seen.update(repr(thing).encode())
            continue
        for part in _dense(tensor.detach()):
            seen.update(f"{part.dtype}{tuple(part.shape)}".encode())
            plain = part.cpu().clone(memory_format=torch.contiguous_format).reshape(-1)
            seen.update(plain.view(torch.uint8).numpy().data)
    return seen.digest()


@dataclass(frozen=True)
class Cut:
    """How a batch is divided into samples: an axis of each of its columns.

    A column is a tensor, a list, a packed sequence, or graphs that torch_geometric has put together.

    Attributes:
        axes: The axis that counts samples; None for a column that all samples share.
        lists: Whether lists that hold tensors are columns themselves (images of different sizes) or are opened.
    """

    axes: tuple[int | None, ...]
    lists: bool = False

    def count(self, batch: Any) -> int | None:
        """Samples in a batch; None where it has none along these axes."""
        columns = list(_columns(batch, self.lists).values())
        if len(columns) != len(self.axes):
            return None
        sizes = {_size(column, axis) for column, axis in zip(columns, self.axes, strict=True) if axis is not None}
        return sizes.pop() if len(sizes) == 1 else None

    def take(self, batch: Any, rows: Sequence[int]) -> Any:
        """Some samples of a batch, as a batch; views of it where rows are a range."""
        return _replaced(batch, {key: _select(c, axis, rows) for key, c, axis in self._counted(batch)})

    def join(self, batches: Sequence[Any]) -> Any:
        """The samples of several batches as one batch.

        Raises:
            RuntimeError: They cannot be put together: sequences of other lengths, say.
        """
        if len(batches) == 1:
            return batches[0]
        if any(self.count(batch) is None for batch in batches):
            raise RuntimeError("the batches are not made of the same parts")
        together = zip(*(self._counted(batch) for batch in batches), strict=True)
        return _replaced(
            batches[0], {same[0][0]: _concatenated([c for _, c, _ in same], same[0][2]) for same in together}
        )

    def rows(self, batch: Any) -> list[tuple[Any, ...]]:
        """What each sample consists of, a part of every column."""
        return list(zip(*(_unbound(column, axis) for _, column, axis in self._counted(batch)), strict=True))

    def moved(self, batch: Any) -> list[Tensor] | None:
        """Every tensor with samples first, where these are plain tensors; None where a column is something else."""
        columns = [(column, axis) for _, column, axis in self._counted(batch)]
        if not all(isinstance(c, Tensor) and c.layout is torch.strided and not c.is_nested for c, _ in columns):
            return None
        return [column.detach().movedim(axis, 0) for column, axis in columns]

    def _counted(self, batch: Any) -> list[tuple[int, Any, int]]:
        """Of every column that is counted: what stands for it in `_replaced`, itself, and its axis."""
        columns = zip(_columns(batch, self.lists).items(), self.axes, strict=True)
        return [(key, column, axis) for (key, column), axis in columns if axis is not None]


def cuts_of(batch: Any) -> tuple[Cut, ...]:
    """Every way to divide a batch into samples that its sizes allow, the most usual first.

    Samples may be the first axis of everything; any other size that all tensors share (sequences with time first);
    or the length of its lists.

    >>> cuts_of((torch.zeros(7, 3), torch.zeros(7)))
    (Cut(axes=(0, 0), lists=False),)
    >>> time_first = (torch.zeros(5, 7, 3), torch.zeros(7))
    >>> cuts_of(time_first), cuts_of(time_first)[0].count(time_first)
    ((Cut(axes=(1, 0), lists=False),), 7)
    """
    found: list[Cut] = []
    if isinstance(batch, tuple | list) and len(batch) == 2 and any(isinstance(t, Tensor) and not t.ndim for t in batch):
        return ()  # a pair of which one half is a single number: one sample
    for lists in (False, True):
        columns = list(_columns(batch, lists).values())
        shapes = [_shape(column) for column in columns]
        counted = [shape for shape in shapes if shape]
        if not counted or (lists and not any(isinstance(c, list) and not _is_plain_list(c) for c in columns)):
            continue
        common = [n for n in counted[0] if all(n in shape for shape in counted)]
        seconds = {shape[1] if len(shape) > 1 else shape[0] for shape in counted}
        ways: list[list[int | None]] = [[shape.index(n) if n in shape else None for shape in shapes] for n in common]
        if len(seconds) == 1 and any(len(shape) > 1 for shape in counted):  # as many steps as samples
            ways.append([None if not shape else min(1, len(shape) - 1) for shape in shapes])
        for way in ways:
            plain = [_is_plain_list(column) for column in columns]
            n = next(s[a] for s, a, p in zip(shapes, way, plain, strict=True) if a is not None and not p)
            axes = tuple(
                (0 if len(column) == n else None) if is_plain else axis
                for column, axis, is_plain in zip(columns, way, plain, strict=True)
            )
            found.append(Cut(axes, lists))
    return tuple(dict.fromkeys(found))


def sizes_of(batch: Any) -> str:
    """The sizes of the parts of a batch, for a message."""
    shapes = [tuple(leaf.shape) if not leaf.is_nested else (leaf.size(0), "...") for leaf in leaves(batch)]
    shown = ", ".join(map(str, shapes[:6])) + (", ..." if len(shapes) > 6 else "")
    return (
        f"{type(batch).__name__} with tensors of shapes {shown}" if shapes else f"{type(batch).__name__} of no tensor"
    )


def as_tensor(thing: Any) -> Tensor | None:
    """What a tensor, an array or a data frame holds, as a tensor; None for anything else.

    Raises:
        TypeError: It holds what a tensor cannot: words, or entries that are masked or missing.
    """
    if isinstance(thing, Tensor):
        return thing
    if isinstance(thing, np.generic | type):
        return None
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None and isinstance(thing, pandas.DataFrame | pandas.Series | pandas.Index):
        thing = _of_frame(thing)
    elif not isinstance(thing, np.ndarray):
        if not hasattr(type(thing), "__array__"):
            return None
        thing = np.asarray(thing)
    if np.ma.is_masked(thing):
        raise TypeError(
            f"Objective: data must not be masked, got a masked array in which {np.ma.getmaskarray(thing).sum()} of "
            f"{thing.size} entries are. Pass array.filled(value), and the mask as an array of its own."
        )
    if thing.dtype.kind not in "biufc":
        return None
    array = np.ascontiguousarray(thing, dtype=thing.dtype.newbyteorder("=")).reshape(thing.shape)
    return torch.as_tensor(array if array.flags.writeable else array.copy())


def _of_frame(frame: Any) -> Any:
    """The numbers of a data frame or a series."""
    pandas: Any = sys.modules["pandas"]
    parts = [frame[c] for c in frame.columns] if isinstance(frame, pandas.DataFrame) else [frame]
    wrong = [part for part in parts if not pandas.api.types.is_numeric_dtype(part.dtype)]
    if wrong:
        raise TypeError(
            f"Objective: data must be numbers, got a {_described(frame, wrong[0])}. "
            "Turn words and categories into numbers first, for example with pandas.factorize(column)[0] or "
            "pandas.get_dummies(frame, dtype=float)."
        )
    missing = [part for part in parts if part.isna().any() and part.dtype.kind not in "fc"]
    if missing:
        raise TypeError(
            f"Objective: data must be numbers, got a {_described(frame, missing[0])}, some of "
            "which are missing. Leave them out with .dropna(), or use .fillna(value)."
        )
    plain = [part.to_numpy(dtype=getattr(part.dtype, "numpy_dtype", part.dtype)) for part in parts]
    return np.stack(plain, axis=1) if isinstance(frame, pandas.DataFrame) else plain[0]


def _described(frame: Any, part: Any) -> str:
    return f"{type(frame).__name__} of {part.dtype}" + (f" in {part.name!r}" if part.name is not None else "")


def _walk(
    thing: Any, seen: dict[int, Any], is_column: Callable[[Any], bool] = lambda _: False
) -> Iterator[tuple[Any, Tensor | None]]:
    """Everything in a batch, each thing once, and the tensor that it is or becomes; what is in a column is not told."""
    if not isinstance(thing, _PLAIN):
        if id(thing) in seen:
            return
        seen[id(thing)] = thing
    tensor = None if isinstance(thing, (*_PLAIN, *_SHARED)) else as_tensor(thing)
    yield thing, tensor
    if tensor is None and not isinstance(thing, (*_PLAIN, *_SHARED, np.ndarray)) and not is_column(thing):
        for part in _parts(thing):
            yield from _walk(part, seen, is_column)


def _parts(thing: Any) -> Iterator[Any]:
    """What an object holds: in its attributes, and as a container."""
    if isinstance(thing, dict):
        yield from thing.values()
    elif isinstance(thing, _CONTAINERS):
        yield from thing
    yield from attributes(thing).values()


def attributes(thing: Any) -> dict[str, Any]:
    """Attributes of an object, in a ``__dict__`` or in slots."""
    names = chain.from_iterable(
        (each,) if isinstance(each := vars(base).get("__slots__", ()), str) else each for base in type(thing).__mro__
    )
    slots = {name: getattr(thing, name) for name in names if name != "__weakref__" and hasattr(thing, name)}
    return {**slots, **getattr(thing, "__dict__", {})}


def _is_simple(thing: Any, depth: int = 4) -> bool:
    """Tensors in built-in containers, as most batches are: these are copied at every point, and need no deep copy."""
    kind = type(thing)
    if kind is tuple or kind is list:
        return depth > 0 and all(_is_simple(part, depth - 1) for part in thing)
    if kind is dict:
        return depth > 0 and all(_is_simple(part, depth - 1) for part in thing.values())
    return kind in _SIMPLE


def _rebuilt(thing: Any, stand_in: Callable[[Any], Any]) -> Any:
    """A simple batch with what stands in for each of its parts, which may be the part itself."""
    other = stand_in(thing)
    if other is not thing:
        return other
    if isinstance(thing, dict):
        return {key: _rebuilt(part, stand_in) for key, part in thing.items()}
    if isinstance(thing, tuple | list):
        return type(thing)([_rebuilt(part, stand_in) for part in thing])
    return thing


def _replaced(batch: Any, by: dict[int, Any]) -> Any:
    """A copy of a batch with other things in the places of some, by id."""
    if _is_simple(batch):
        return _rebuilt(batch, lambda thing: by.get(id(thing), thing))
    things = [thing for thing, _ in _walk(batch, {})]
    memo = {id(thing): thing for thing in things if id(thing) not in by and _is_shared(thing)} | by
    for packed in things:
        if isinstance(packed, PackedSequence) and id(packed) not in memo:
            parts: list[Any] = [None if part is None else memo.get(id(part), part) for part in packed]
            parts[1] = parts[1].cpu()  # where torch wants these sizes
            memo[id(packed)] = PackedSequence(*parts)
    try:
        # attribute access that looks keys up raises what deepcopy does not expect
        unready = [(thing, memo.setdefault(id(thing), _bare(thing))) for thing in things if _looks_up(thing)]
        for thing, made in unready:
            if isinstance(thing, dict):
                dict.update(made, {key: copy.deepcopy(value, memo) for key, value in dict.items(thing)})
            vars(made).update(copy.deepcopy(vars(thing), memo))
        return copy.deepcopy(batch, memo)
    except Exception as error:  # whatever a class says that does not want to be copied
        raise TypeError(
            f"Objective: data must be batches that can be copied, got {type(batch).__name__}: "
            f"{type(error).__name__}: {error}. Pass batches that are tuples or dicts of the tensors in it."
        ) from error


def _looks_up(thing: Any) -> bool:
    if not hasattr(type(thing), "__getattr__") or not hasattr(type(thing), "__dict__"):
        return False
    try:
        getattr(thing, "__deepcopy__", None)
    except Exception:  # a KeyError, mostly
        return True
    return False


def _bare(thing: Any) -> Any:
    """A new object of the same class, of which no constructor has run."""
    cls: Any = type(thing)
    return cls.__new__(cls)


def _is_shared(thing: Any) -> bool:
    """Modules, functions, and what has neither parts nor attributes, as locks and generators have not."""
    if isinstance(thing, _SHARED):
        return True
    whole = isinstance(thing, (*_PLAIN, *_CONTAINERS, Tensor, np.ndarray))
    return not whole and not hasattr(thing, "__dict__") and not attributes(thing)


def _columns(batch: Any, lists: bool) -> dict[int, Any]:
    """What a batch is divided along, see `Cut`, by the id of what stands for it."""

    def is_column(thing: Any) -> bool:
        if isinstance(thing, PackedSequence) or _is_graphs(thing):
            return True
        return type(thing) is list and bool(thing) and (lists or _is_plain_list(thing))

    met = _walk(batch, {}, is_column)
    return {
        id(thing): thing if tensor is None else tensor
        for thing, tensor in met
        if tensor is not None or is_column(thing)
    }


def _is_plain_list(thing: Any) -> bool:
    """A list without a tensor: words, numbers, or dicts of these."""
    return type(thing) is list and bool(thing) and not leaves(thing)


def _is_graphs(thing: Any) -> bool:
    """Several graphs of torch_geometric in one."""
    return hasattr(type(thing), "to_data_list") and hasattr(type(thing), "from_data_list")


def _shape(column: Any) -> tuple[int, ...]:
    """Sizes of the axes that samples may lie along; empty for what all samples share."""
    if isinstance(column, PackedSequence):
        return (int(column.batch_sizes[0]),)
    if _is_graphs(column):
        return (int(column.num_graphs),)
    if isinstance(column, list):
        return () if _is_plain_list(column) else (len(column),)
    if column.is_nested:
        return (int(column.size(0)),)
    return tuple(column.shape)


def _size(column: Any, axis: int) -> int | None:
    if isinstance(column, list):
        return len(column)
    shape = _shape(column)
    return shape[axis] if axis < len(shape) else None


def _select(column: Any, axis: int, rows: Sequence[int]) -> Any:
    if isinstance(column, list):
        return [column[i] for i in rows]
    if isinstance(column, PackedSequence):
        sequences = unpack_sequence(column)
        return pack_sequence([sequences[i] for i in rows], enforce_sorted=False)
    if _is_graphs(column):
        graphs = column.to_data_list()
        return type(column).from_data_list([graphs[i] for i in rows])
    if column.is_nested:
        parts = column.unbind()
        return torch.nested.nested_tensor([parts[i] for i in rows], layout=column.layout)
    if isinstance(rows, range) and column.layout is torch.strided:
        return column.narrow(axis, rows.start, len(rows))
    index = torch.as_tensor(list(rows), device=column.device)
    if column.layout in (torch.strided, torch.sparse_coo):
        return column.index_select(axis, index)
    return column.to_sparse_coo().index_select(axis, index).to_sparse(layout=column.layout)


def _unbound(column: Any, axis: int) -> Sequence[Any]:
    if isinstance(column, list):
        return column
    if isinstance(column, PackedSequence):
        return list(unpack_sequence(column))
    if _is_graphs(column):
        return list(column.to_data_list())
    if column.is_nested or column.layout is torch.strided:
        return list(column.unbind(axis))
    return [_select(column, axis, [i]) for i in range(column.shape[axis])]


def _concatenated(columns: Sequence[Any], axis: int) -> Any:
    first = columns[0]
    if isinstance(first, list):
        return [item for column in columns for item in column]
    if isinstance(first, PackedSequence):
        sequences = [s for column in columns for s in unpack_sequence(column)]
        return pack_sequence(sequences, enforce_sorted=False)
    if _is_graphs(first):
        return type(first).from_data_list([graph for column in columns for graph in column.to_data_list()])
    if first.is_nested:
        return torch.nested.nested_tensor([t for column in columns for t in column.unbind()], layout=first.layout)
    if first.layout in (torch.strided, torch.sparse_coo):
        return torch.cat(list(columns), dim=axis)
    return torch.cat([column.to_sparse_coo() for column in columns], dim=axis).to_sparse(layout=first.layout)


def _dense(tensor: Tensor) -> tuple[Tensor, ...]:
    """The plain tensors that a tensor of another layout consists of."""
    if tensor.is_nested:
        return tuple(tensor.unbind())
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce()
        return tensor.indices(), tensor.values()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    return (tensor.resolve_conj().resolve_neg(),)
