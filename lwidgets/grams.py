"""Inner products of what the linear maps of a network are given: X^T X, for every parameter that X is multiplied with.

Maps are known by the operation, not by the class of a layer: a matrix product with a parameter or with a view of one
(linear layers of any make, packed attention projections, recurrent cells, experts), a convolution as the product with
its patches, a look-up in a table as the product with one-hot rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lwidgets.attention import PlainAttention
from lwidgets.batch import mapped
from lwidgets.modes import ThreadMode
from lwidgets.objective import ModelObjective, Objective, modelled
from lwidgets.parameters import State
from lwidgets.pauses import pause
from lwidgets.symmetry.activations import in_dtype, models_at
from lwidgets.symmetry.trace import in_double

_ENTRIES = 1 << 22  # of patches at a time


@dataclass(frozen=True)
class Entries:
    """Some entries of a parameter, as a strided view of the contiguous tensor.

    Attributes:
        name: Of the parameter.
        shape: For a weight inputs in all axes but the last, which counts outputs; for a bias outputs.
        strides: One for each axis.
        offset: Of the first entry.
    """

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    def of(self, tensor: Tensor) -> Tensor:
        """A view of them in a contiguous parameter, of their shape."""
        return tensor.as_strided(self.shape, self.strides, tensor.storage_offset() + self.offset)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Of a linear map, over all data.

    Attributes:
        gram: X^T X, with a column of ones in X; float64, on the CPU, of shape (inputs + 1, inputs + 1). For a table,
            whose inputs are one-hot, its diagonal without that column: how often each row was looked up.
        bias: What was added to the outputs, and to those of no other map; None where that is nothing, or not always
            the same.
    """

    gram: Tensor
    bias: Entries | None = None


def input_grams(objective: Objective, state: State, batchnorm: str) -> dict[Entries, Inputs]:
    """What every linear map of a model is given, by the entries of its weight, over all data.

    Runs in float64 where the model does, so that recurrent layers are their cells. Products in the backward pass of a
    loss that differentiates are not counted.

    Args:
        objective: Of the architecture; its data are gone through once.
        state: The parameters.
        batchnorm: "batch", or anything else for the state's own statistics.

    Raises:
        ValueError: An analytic objective.
    """
    objective = modelled(objective, "input_grams")
    try:
        watch = _watched(objective, state, batchnorm, torch.float64)
    except (RuntimeError, TypeError):  # something in the model or its loss insists on its own dtype
        watch = _watched(objective, state, batchnorm, None)
    users: dict[Entries, set[Entries]] = {}
    for weight, added in watch.biases.items():
        for bias in added:
            if bias is not None:
                users.setdefault(bias, set()).add(weight)
    return {weight: Inputs(gram, _only(watch.biases.get(weight, ()), users)) for weight, gram in watch.grams.items()}


def disjoint(views: Sequence[Entries]) -> bool:
    """Whether no entry of a parameter is in two of them, or twice in one."""
    if len(views) == 1:
        reach = 1
        for stride, size in sorted(zip(views[0].strides, views[0].shape, strict=True)):
            if size > 1 and stride < reach:  # an axis does not step over all that the finer ones reach
                break
            reach = max(reach, stride * size)
        else:
            return True
    ends = [v.offset + sum(s * (n - 1) for s, n in zip(v.strides, v.shape, strict=True)) for v in views]
    places = torch.cat([view.of(torch.arange(end + 1)).flatten() for view, end in zip(views, ends, strict=True)])
    return len(places.unique()) == len(places)


def _only(added: Collection[Entries | None], users: Mapping[Entries, set[Entries]]) -> Entries | None:
    """The bias of a weight: the same in all calls, with no part in another weight's outputs."""
    bias = next(iter(added)) if len(added) == 1 else None
    if bias is None or len(users[bias]) > 1 or not disjoint([other for other in users if other.name == bias.name]):
        return None
    return bias


def _watched(objective: ModelObjective, state: State, batchnorm: str, dtype: torch.dtype | None) -> _Watch:
    (model,) = models_at(objective, state, dtype=dtype)
    for part in model.modules():
        part.train(batchnorm == "batch" and isinstance(part, _BatchNorm))
    names: dict[StorageWeakRef, str] = {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False).data = parameter.data.contiguous()
        names[StorageWeakRef(parameter.untyped_storage())] = name
    watch = _Watch(names)
    with ExitStack() as modes:
        for mode in (in_double() if dtype else PlainAttention(), torch.no_grad(), watch):
            modes.enter_context(mode)
        for batch, _ in objective.data:
            pause()
            objective.visit(model, mapped(batch, partial(in_dtype, dtype=dtype)))
    return watch


class _Watch(ThreadMode):
    """Adds up inner products of what is multiplied with parameters.

    Attributes:
        grams: Weight -> X^T X with a column of ones, or the diagonal for a table.
        biases: Weight -> what was added to its outputs, in all calls; None for nothing.
    """

    def __init__(self, names: Mapping[StorageWeakRef, str]) -> None:
        super().__init__()
        self.grams: dict[Entries, Tensor] = {}
        self.biases: dict[Entries, dict[Entries | None, None]] = {}
        self._names = dict(names)
        self._waiting: dict[StorageWeakRef, list[Entries]] = {}  # by results to which a bias may still be added

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        see = _SEEN.get(func.overloadpacket)
        if see is not None and torch._C._current_graph_task_id() == -1:  # not in a backward pass
            see(self, result, *args, **kwargs)
        return result

    def fused(self, result: Tensor, bias: Tensor, x: Tensor, weight: Tensor, beta: float = 1, alpha: float = 1) -> None:
        """A product with factors before it and before the bias."""
        self.product(result, bias if beta == 1 else beta, x if alpha == 1 else alpha * x, weight)

    def product(self, result: Tensor, bias: Any, x: Tensor, weight: Tensor) -> None:
        """Of two matrices, x and weight, or of two batches of them, with a bias added."""
        if self._known(x) and not self._known(weight):  # the same from the other side, where no bias is looked for
            self.product(result.mT, None, weight.mT, x.mT)
        elif self._known(weight) and not self._known(x):
            if not any(weight.stride()[:-2]):  # one matrix for all batches
                x, weight = x.reshape(1, -1, x.shape[-1]), weight[(0,) * (weight.ndim - 2)][None]
            maps = [
                self._add(self._entries(each), rows, self._bias(bias, i, each.shape[-1]))
                for i, (each, rows) in enumerate(zip(weight, x.expand(len(weight), -1, -1), strict=True))
            ]
            if bias is None:
                self._waiting[StorageWeakRef(result.untyped_storage())] = maps

    def convolution(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        transposed: bool,
        output_padding: Sequence[int],
        groups: int,
    ) -> None:
        """The product of patches with each group's kernels."""
        if not self._known(weight) or self._known(x):
            return
        taps = math.prod(weight.shape[2:])
        patches = _patches(x, weight.shape[2:], stride, padding, dilation, output_padding if transposed else None)
        entries = self._entries(weight)
        for group in range(groups):
            if transposed:  # (inputs, outputs of a group, taps)
                inputs, outputs = weight.shape[0] // groups, weight.shape[1]
                shape, strides = (inputs, taps, outputs), (outputs * taps, 1, taps)
            else:  # (outputs, inputs of a group, taps)
                inputs, outputs = weight.shape[1], weight.shape[0] // groups
                shape, strides = (inputs, taps, outputs), (taps, 1, inputs * taps)
            own = Entries(entries.name, shape, strides, entries.offset + group * inputs * outputs * taps)
            given = None if bias is None else bias[group * outputs : (group + 1) * outputs]
            added = self._bias(given, 0, outputs)
            for rows in patches(slice(group * inputs, (group + 1) * inputs)):
                self._add(own, rows, added)

    def look_up(self, weight: Tensor, indices: Tensor) -> None:
        """Counts how often each row is taken."""
        if self._known(weight):
            entries = self._entries(weight)
            counts = torch.bincount(indices.flatten(), minlength=len(weight)).double().cpu()
            self.grams[entries] = self.grams.get(entries, 0) + counts

    def sum(self, result: Tensor, x: Any, bias: Any, alpha: float = 1) -> None:
        """A bias that is added to what a product returned."""
        for given, added in ((x, bias), (bias, x)):
            if alpha != 1 or not isinstance(given, Tensor) or not isinstance(added, Tensor) or not self._known(added):
                continue
            key = StorageWeakRef(given.untyped_storage())
            maps = self._waiting.get(key, ())
            found = [self._bias(added, i, given.shape[-1]) for i in range(len(maps))]
            if maps and None not in found and given.stride(-1) == 1 and given.shape[-1] == maps[0].shape[-1]:
                del self._waiting[key]
                for weight, each in zip(maps, found, strict=True):
                    self._told(weight, each, instead=True)

    def same(self, result: Tensor, x: Any) -> None:
        """A copy of a whole parameter, as in another dtype, stands for it."""
        if isinstance(x, Tensor) and self._known(x) and (result.shape, result.stride()) == (x.shape, x.stride()):
            entries = self._entries(x)
            if not entries.offset and result.is_contiguous():
                self._names[StorageWeakRef(result.untyped_storage())] = entries.name

    def _known(self, tensor: Tensor) -> bool:
        return tensor.layout is torch.strided and StorageWeakRef(tensor.untyped_storage()) in self._names

    def _entries(self, tensor: Tensor) -> Entries:
        name = self._names[StorageWeakRef(tensor.untyped_storage())]
        return Entries(name, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()))

    def _bias(self, bias: Any, index: int, outputs: int) -> Entries | None:
        """What a map, the one with that number among several, has added to all of its rows; None unless that is so."""
        if not isinstance(bias, Tensor) or not self._known(bias) or bias.shape[-1:] != (outputs,):
            return None
        if bias.ndim == 3 and bias.shape[1] == 1 and index < len(bias):
            bias = bias[index, 0]
        while bias.ndim > 1 and len(bias) == 1:
            bias = bias[0]
        return self._entries(bias) if bias.ndim == 1 else None

    def _add(self, weight: Entries, rows: Tensor, bias: Entries | None) -> Entries:
        x = F.pad(rows.detach().double(), (0, 1), value=1.0)
        self.grams[weight] = self.grams.get(weight, 0) + (x.mT @ x).cpu()
        self._told(weight, bias)
        return weight

    def _told(self, weight: Entries, bias: Entries | None, instead: bool = False) -> None:
        """Note what was added in a call; instead of nothing, where nothing was known of it."""
        known = self.biases.setdefault(weight, {})
        if instead:
            known.pop(None, None)
        known[bias] = None


def _patches(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    output_padding: Sequence[int] | None,
) -> Callable[[slice], Iterator[Tensor]]:
    """What a convolution multiplies its kernels with: channels -> rows of shape (places, channels * taps), in parts.

    A transposed one is another over its input with zeros between, whose taps run backwards.
    """
    dims = len(kernel)
    padded = list(zip(padding, padding, strict=True))
    if output_padding is not None:
        spread = x.new_zeros(*x.shape[:2], *(s * (n - 1) + 1 for n, s in zip(x.shape[2:], stride, strict=True)))
        places: tuple[Any, ...] = (..., *(slice(None, None, s) for s in stride))
        spread[places] = x
        reach = [d * (k - 1) - p for d, k, p in zip(dilation, kernel, padding, strict=True)]
        x, padded, stride = spread, [(r, r + o) for r, o in zip(reach, output_padding, strict=True)], [1] * dims
    x = F.pad(x, [side for sides in reversed(padded) for side in sides])

    def rows(channels: slice) -> Iterator[Tensor]:
        part = x[:, channels]
        step = max(1, _ENTRIES // max(1, part[0].numel() * math.prod(kernel)))
        for some in part.split(step):
            seen = some
            for i, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
                seen = seen.unfold(2 + i, d * (k - 1) + 1, s)[..., ::d]
            if output_padding is not None:
                seen = seen.flip([*range(-dims, 0)])
            yield seen.movedim(1, 1 + dims).reshape(-1, seen.shape[1] * math.prod(kernel))

    return rows


_aten = torch.ops.aten
_SEEN: dict[Any, Callable[..., None]] = {
    _aten.mm: lambda watch, out, x, weight: watch.product(out, None, x, weight),
    _aten.bmm: lambda watch, out, x, weight: watch.product(out, None, x, weight),
    _aten.mv: lambda watch, out, weight, x: watch.product(out[None], None, x[None], weight.mT),
    _aten.addmm: lambda watch, out, *given, **scales: watch.fused(out, *given, **scales),
    _aten.baddbmm: lambda watch, out, *given, **scales: watch.fused(out, *given, **scales),
    _aten.addmv: lambda watch, out, bias, weight, x, **scales: watch.fused(
        out[None], bias, x[None], weight.mT, **scales
    ),
    _aten.convolution: lambda watch, out, *given: watch.convolution(*given),
    _aten.embedding: lambda watch, out, weight, indices, *_: watch.look_up(weight, indices),
    _aten.add: lambda watch, out, *terms, **scale: watch.sum(out, *terms, **scale),
    _aten.add_: lambda watch, out, *terms, **scale: watch.sum(out, *terms, **scale),
    _aten._to_copy: lambda watch, out, x, **_: watch.same(out, x),
    _aten.clone: lambda watch, out, x, **_: watch.same(out, x),
}
