"""One forward pass as a list of the operations it ran."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from lwidgets import attention, calls
from lwidgets.attention import PlainAttention
from lwidgets.calls import Calls
from lwidgets.modes import ThreadMode

_NOT_THE_USERS = (
    os.path.dirname(torch.__file__) + os.sep,
    os.path.dirname(__file__) + os.sep,
    attention.__file__,
    calls.__file__,
)

_STATISTICS = ("running_mean", "running_var", "_u", "_v")


@dataclass(frozen=True)
class Slot:
    """A tensor of the trace.

    Attributes:
        key: The same for the same tensor, also after it was written to.
        shape: At the time of the call.
        strides: Steps in memory; none for a sparse tensor.
        root: Key of the tensor of which it is a view; its own key if of none.
    """

    key: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    root: int

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)


@dataclass(frozen=True)
class Call:
    """One operation.

    Attributes:
        op: Its name without namespace, overload, or the underscore of the in-place form.
        inputs: Argument name -> value, defaults filled in, every tensor as a `Slot`.
        outputs: The tensors it returned.
        written: Those of its arguments that it wrote to.
        pointwise: Each entry of the output depends on the same entry of the inputs, by one function for all.
        where: What and where it is, for people.
    """

    op: str
    inputs: Mapping[str, Any]
    outputs: tuple[Slot | None, ...]
    written: tuple[Slot, ...]
    pointwise: bool
    where: str


@dataclass(frozen=True)
class Trace:
    """A forward pass.

    Attributes:
        calls: Those that the outputs, or the module's own Python code, depend on; in order.
        tensors: Name -> slot of the parameters that were used, and of the buffers that hold statistics of a layer:
            those of BatchNorm, and the singular vectors of spectral normalisation. Other buffers are constants.
        outputs: What the module returned.
        zeros: Keys of buffers that no checkpoint has and that are zero, as the key bias that some attentions lack.
    """

    calls: tuple[Call, ...]
    tensors: Mapping[str, Slot]
    outputs: tuple[Slot, ...]
    zeros: frozenset[int]


def trace(module: nn.Module, given: Calls) -> Trace:
    """Run a module once, or once for each of several calls, and write down what it does.

    Args:
        module: In eval mode; it gets forward hooks, which are removed again.
        given: Its arguments; they may be written to.

    Raises:
        TypeError: It does not run, or returns no tensors.
    """
    recorder = _Recorder()
    with ExitStack() as hooks, in_double(), torch.no_grad():
        for path, part in module.named_modules():
            label = f"{path or 'the model'} ({type(part).__name__})"
            enter, leave = recorder.entering(label)
            hooks.callback(part.register_forward_pre_hook(enter).remove)
            hooks.callback(part.register_forward_hook(leave, always_call=True).remove)
        with recorder:
            result = run(module, given)
    outputs = tuple(recorder.slot(tensor) for tensor in tensors_in(result))
    statistics = {name: b for name, b in module.named_buffers() if name.endswith(_STATISTICS)}
    constants = {name: b for name, b in module.named_buffers() if name not in module.state_dict()}
    named = {**dict(module.named_parameters()), **statistics}
    return Trace(
        _live(recorder.calls, outputs),
        {name: recorder.slot(t) for name, t in named.items() if t in recorder.keys and t.is_floating_point()},
        outputs,
        frozenset(recorder.slot(b).key for name, b in constants.items() if not b.is_sparse and not b.any()),
    )


def run(function: Callable[..., Any], given: Calls) -> Any:
    """Call a model.

    Raises:
        TypeError: It does not run; the message says why.
    """
    try:
        return given.on(function)
    except Exception as error:
        raise TypeError(
            "symmetry: model must run in eval mode and float64 on the CPU with these inputs, got "
            f"{type(error).__name__}: {str(error)[:300]}. Pass the inputs that its forward takes, those by keyword as "
            "keywords: derive(model, x, mask=mask), or derive(model, **batch)."
        ) from error


@contextmanager
def in_double() -> Iterator[None]:
    """Attention as the matrix products it is, and everything in float64, where recurrent layers are their cells.

    All this holds in this thread only.
    """
    with PlainAttention(), _InDouble():
        yield


def tensors_in(value: Any) -> tuple[Tensor, ...]:
    """All tensors in what a module returned: in tuples, lists, mappings and dataclasses.

    What it keeps in an object of another kind, as a language model its cache, is no output, unless there is nothing
    else.

    Raises:
        TypeError: There are none.
    """
    for parts_of in (_parts, _attributes):
        found: dict[int, Tensor] = {}
        visited: dict[int, Any] = {}
        pending = [value]
        while pending:
            part = pending.pop(0)
            if isinstance(part, Tensor):
                found.setdefault(id(part), part)
            elif id(part) not in visited:
                visited[id(part)] = part
                pending += parts_of(part)
        if found:
            return tuple(found.values())
    raise TypeError(f"symmetry: model must return tensors, got {type(value).__name__}. Wrap it in a module that does.")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, tuple | list | set):
        return list(value)
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return []


def _attributes(value: Any) -> list[Any]:
    return _parts(value) or list(getattr(value, "__dict__", {}).values())


def _live(calls: Sequence[Call], outputs: Sequence[Slot]) -> tuple[Call, ...]:
    """The calls that matter: backwards from the outputs, and from whatever Python code looked at."""
    read, memory = {slot.key for slot in outputs}, {slot.root for slot in outputs}
    live = []
    for call in reversed(calls):
        returned = [slot for slot in call.outputs if slot is not None]
        if (
            not returned
            or any(slot.key in read for slot in returned)
            or any(slot.root in memory for slot in call.written)
        ):
            given = tuple(part for part in tree_leaves(dict(call.inputs)) if isinstance(part, Slot))
            read |= {slot.key for slot in given}
            memory |= {slot.root for slot in given}
            live.append(call)
    return tuple(reversed(live))


class _InDouble(ThreadMode):
    """What a layer casts to float32, or makes as float32, is float64, so that nothing is rounded on the way."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if isinstance(dtype := kwargs.get("dtype"), torch.dtype):
            kwargs = {**kwargs, "dtype": wide(dtype)}
        result = func(*args, **kwargs)
        if func._schema.is_mutable:
            return result
        return tree_map(lambda part: part.to(wide(part.dtype)) if isinstance(part, Tensor) else part, result)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The double precision of floating-point and complex numbers; other dtypes as they are."""
    return torch.float64 if dtype.is_floating_point else torch.complex128 if dtype.is_complex else dtype


class _Recorder(ThreadMode):
    """Writes down every operation below autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.keys: Any = WeakIdKeyDictionary()
        self._roots: list[int] = []
        self._modules: list[str] = []

    def entering(self, label: str) -> tuple[Any, Any]:
        def enter(module: nn.Module, inputs: Any) -> None:
            self._modules.append(label)

        def leave(module: nn.Module, inputs: Any, output: Any) -> None:
            self._modules.pop()

        return enter, leave

    def slot(self, tensor: Tensor, root: int | None = None) -> Slot:
        key = self.keys.get(tensor)
        if key is None:
            key = self.keys[tensor] = len(self._roots)
            self._roots.append(key if root is None else root)
        strides = tensor.stride() if tensor.layout is torch.strided else ()
        return Slot(key, tuple(tensor.shape), strides, self._roots[key])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}

        def slots(value: Any) -> Any:
            return tree_map(lambda leaf: self.slot(leaf) if isinstance(leaf, Tensor) else leaf, value)

        given = slots((args, kwargs))  # before the call: it may write shapes in place
        result = func(*args, **kwargs)
        schema = func._schema
        inputs = {argument.name: argument.default_value for argument in schema.arguments}
        inputs |= dict(zip(inputs, given[0], strict=False)) | given[1]
        written = [
            inputs[argument.name]
            for argument in schema.arguments
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        op = schema.name.partition("::")[2]
        base = inputs.get("self")
        root = base.root if isinstance(base, Slot) and any(part.alias_info for part in schema.returns) else None
        returned = result if isinstance(result, tuple | list) else (result,)
        self.calls.append(
            Call(
                op[:-1] if op.endswith("_") and not op.endswith("__") else op,
                inputs,
                tuple(self.slot(part, root) if isinstance(part, Tensor) else None for part in returned),
                tuple(part for part in written if isinstance(part, Slot)),
                torch.Tag.pointwise in func.tags,
                self._where(op),
            )
        )
        return result

    def _where(self, op: str) -> str:
        """The operation, the innermost module, and the innermost source line that is neither torch's nor ours."""
        inside = f" in {self._modules[-1]}" if self._modules else ""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            file = frame.f_code.co_filename
            if frame.f_code is trace.__code__:
                break
            if not file.startswith(_NOT_THE_USERS) and not file.startswith("<"):
                return f"{op}{inside}, {os.path.basename(file)}:{frame.f_lineno}"
            frame = frame.f_back
        return op + inside
