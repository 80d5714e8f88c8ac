"""A function of tensors, run once and written down as a graph of ATen operations without mutation.

`torch.fx.experimental.proxy_tensor.make_fx` does the same, but by switches that belong to the whole process: while it
traces, a compiled training loop in another thread fails, and its first use imports a compiler. A landscape is traced
beside whatever else the process does, so here everything belongs to the thread that traces: a dispatch mode sees every
operation, and tensors without memory of their own (`Symbol`) keep values from being read.

What is traced must be a function of its inputs: an operation that needs a value, draws random numbers or fails on the
way is refused by name, also when the code catches the failure and goes on.

Source: Reed et al., "torch.fx: Practical Program Capture and Transformation for Deep Learning in Python", MLSys 2022,
for the graph; its removal of mutation is that of `torch.func.functionalize`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from lwidgets.modes import ThreadMode

_aten = torch.ops.aten

_SHAPES_ONLY = {"_fused_sdp_choice", "device", "is_same_size", "sym_size", "sym_stride", "sym_numel", "is_contiguous"}
"""Operations whose result is no tensor and depends on shapes, dtypes and devices, not on values."""
_NO_VALUE = {"set_", "set", "resize_", "resize", "resize_as_", "_resize_output_"}
"""Operations that change what a tensor is, not what is in it."""


class Untraceable(Exception):
    """The evaluation cannot be written as one graph of torch operations; the message says why."""


class Symbol(Tensor):
    """A tensor of a trace: it has a shape and a place in the graph, and no memory that could be read.

    Attributes:
        value: What it is when the inputs are what they were.
        node: Its place in the graph.
        depends: Whether an input is behind it.
        looks_at: Of what it is a view and how, or None.
        version: Of a tensor that is no view: how often it was written to. Of a view: as of which it is right.
        reshaped: Whether it was made a view of itself in place.
    """

    value: Tensor
    node: Node
    depends: bool
    looks_at: _View | None
    version: int
    reshaped: bool

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, value: Tensor, node: Node, depends: bool, view: _View | None = None) -> Symbol:
        """Of the shape, dtype and device of the value."""
        symbol: Symbol = Tensor._make_wrapper_subclass(
            cls,
            value.shape,
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            layout=value.layout,
            device=value.device,
        )
        symbol.value, symbol.node, symbol.depends, symbol.looks_at = value, node, depends, view
        symbol.version = 0 if view is None else view.root.version
        symbol.reshaped = False
        return symbol

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"Symbol({self.node.name}: {tuple(self.shape)})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Only met after the trace has ended."""
        raise RuntimeError("a tensor of a trace was kept and used after it")


@dataclass(frozen=True)
class _View:
    """How a view is made: ``func(parent, *args, **kwargs)``, of several results the one at a place."""

    parent: Symbol
    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    place: int | None

    @property
    def root(self) -> Symbol:
        """What is looked at in the end."""
        return self.parent if self.parent.looks_at is None else self.parent.looks_at.root


def trace(function: Callable[..., Any], inputs: Sequence[Tensor]) -> GraphModule:
    """The function as a graph of ATen operations without mutation.

    It runs once. No value of an input can be read in it, so the graph cannot depend on the values that they have now,
    and none is written to. An operation that may fail for some values stays in the graph, used or not: where it fails,
    the graph fails as the function would.

    Args:
        function: Takes the tensors, returns a tensor or a tuple of them.
        inputs: Their shapes are built in.

    Raises:
        Untraceable: Some operation needs a value, draws random numbers, leaves torch, fails, or takes a parameter that
            is not among the inputs.
    """
    recorder = _Recorder()
    try:
        given = [recorder.input(tensor) for tensor in inputs]
        with torch.no_grad(), recorder, _Watch(recorder):
            returned = function(*given)
            outputs = tree_map(recorder.now, returned)
    except Exception as error:
        raise recorder.refused or _untraceable(error) from error
    if recorder.refused is not None:  # the code has caught it, and gone another way than it would have gone
        raise recorder.refused
    return recorder.finish(outputs)


def may_fail(node: Node) -> bool:
    """Whether an operation can fail for some values of its arguments, so that leaving it out could change something."""
    if node.op != "call_function" or node.target is operator.getitem:
        return False
    func = node.target
    tags = getattr(func, "tags", ())
    return not (torch.Tag.pointwise in tags or _is_view(func) or not node.all_input_nodes or _packet(func) in _SAFE)


_SAFE = {
    *("convolution", "mm", "bmm", "addmm", "baddbmm", "mv", "dot", "linear", "sum", "mean", "var_mean", "var", "cat"),
    *("stack", "clone", "_to_copy", "_softmax", "_log_softmax", "native_batch_norm", "native_layer_norm", "argmax"),
    *("native_group_norm", "max", "min", "amax", "amin", "sort", "topk", "constant_pad_nd", "convolution_backward"),
    *(
        "_native_batch_norm_legit_no_training",
        "cumsum",
        "flip",
        "roll",
        "repeat",
        "zeros_like",
        "ones_like",
        "empty_like",
    ),
    *("full_like", "new_zeros", "new_ones", "new_empty", "max_pool2d_with_indices", "avg_pool2d", "avg_pool1d"),
    *("native_layer_norm_backward", "native_batch_norm_backward", "threshold_backward", "select_scatter"),
    *("slice_scatter", "diagonal_scatter", "_unsafe_view", "norm", "linalg_vector_norm", "std", "prod", "any", "all"),
}
"""What never fails for the values of its arguments; whatever torch itself tags as pointwise comes on top."""


_RESHAPES = {"view", "_unsafe_view", "squeeze", "unsqueeze", "_reshape_alias", "alias", "detach"}
_SCATTERS = {
    "slice": _aten.slice_scatter.default,
    "select": _aten.select_scatter.default,
    "diagonal": _aten.diagonal_scatter.default,
}


class _Watch(TorchFunctionMode):
    """Notices what no operation shows: data that are replaced, and calls that fail."""

    def __init__(self, recorder: _Recorder) -> None:
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func == Tensor.data.__set__:  # type: ignore[attr-defined]
            raise self.recorder.refuse("it replaces the data of a parameter, which no operation shows")
        try:
            return func(*args, **(kwargs or {}))
        except Exception as error:
            if self.recorder.refused is None:
                self.recorder.refused = _untraceable(error)
            raise


class _Recorder(ThreadMode):
    """Writes down the operations of one run."""

    def __init__(self) -> None:
        super().__init__()
        self.graph, self.root = Graph(), nn.Module()
        self.refused: Untraceable | None = None
        self._constants: dict[int, tuple[Tensor, Symbol]] = {}

    def refuse(self, why: str) -> Untraceable:
        """The exception to raise; it stands even if somebody catches it."""
        self.refused = self.refused or Untraceable(why)
        return self.refused

    def input(self, tensor: Tensor) -> Symbol:
        """The next of the graph's inputs."""
        if type(tensor) not in (Tensor, Parameter) or tensor.layout is not torch.strided or tensor.is_quantized:
            raise self.refuse(f"it takes a tensor of its own kind: {type(tensor).__name__}, {tensor.layout}")
        node = self.graph.placeholder(f"input_{len(self.graph.nodes)}")
        return self._symbol(tensor.detach(), node, True)

    def finish(self, outputs: Any) -> GraphModule:
        """The graph, without what is not needed."""
        leaves = tree_leaves(outputs)
        if not all(isinstance(leaf, Symbol) for leaf in leaves):
            raise self.refuse("it returns something that is not a tensor of the trace")
        nodes = tree_map(lambda symbol: symbol.node, outputs)
        self.graph.output(nodes)
        for node in self.graph.nodes:
            if node.target in (_aten.view.default, _aten._unsafe_view.default):
                node.target = _aten.reshape.default  # batched over points, strides may not allow a view
        remove_dead(self.graph)
        return GraphModule(self.root, self.graph)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation: what it may be is checked, and it is written down."""
        try:
            return self._dispatch(func, args, kwargs or {})
        except Exception as error:
            if self.refused is None:
                self.refused = _untraceable(error)
            raise

    def _dispatch(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if not isinstance(func, torch._ops.OpOverload):
            raise self.refuse(f"it uses a higher-order operation: {func}")
        if _draws(func, args, kwargs):
            raise self.refuse(f"it draws random numbers: {func}")
        if func in (_aten.lift_fresh.default, _aten.lift.default) and not isinstance(args[0], Symbol):
            return self._constant(args[0].clone())  # a new tensor at every call, which may be written to
        if func._schema.is_mutable:
            return self._write(func, args, kwargs)
        return self._run(func, args, kwargs)

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """An operation that writes nowhere."""
        args, kwargs = tree_map(self.now, (args, dict(kwargs)))
        depends = any(isinstance(leaf, Symbol) and leaf.depends for leaf in tree_leaves((args, kwargs)))
        if depends and _needs_values(func, args, kwargs):
            raise self.refuse(f"a shape or a number depends on values: {func}")
        result = func(*tree_map(_value, args), **tree_map(_value, kwargs))
        if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
            if depends and result is not None and func._schema.name.rpartition("::")[2] not in _SHAPES_ONLY:
                raise self.refuse(f"a number depends on values: {func}")
            if result is None:  # a check, as of what linear algebra returns
                self.graph.call_function(func, *_in_graph(args, kwargs))
            return result
        node = self.graph.call_function(func, *_in_graph(args, kwargs))
        parent = args[0] if _is_view(func) and args and isinstance(args[0], Symbol) else None

        def symbol(value: Any, node: Node, place: int | None) -> Any:
            if not isinstance(value, Tensor):
                return value
            view = None if parent is None else _View(parent, func, args[1:], kwargs, place)
            return self._symbol(value, node, depends, view)

        if isinstance(result, Tensor):
            return symbol(result, node, None)
        node.meta["val"] = tree_map(_like, result)
        parts = [
            symbol(part, self.graph.call_function(operator.getitem, (node, i)), i) if part is not None else None
            for i, part in enumerate(result)
        ]
        return type(result)(parts) if type(result) in (list, tuple) else tuple(parts)

    def _write(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """An operation that writes into one of its arguments: what it would write, and what that changes."""
        schema, name = func._schema, func._schema.name.rpartition("::")[2]
        written = [i for i, a in enumerate(schema.arguments) if a.alias_info is not None and a.alias_info.is_write]
        if torch.Tag.inplace_view in func.tags and name not in _NO_VALUE:
            return self._reshape(func, args, kwargs)
        if name in _NO_VALUE or len(written) != 1:
            raise self.refuse(f"it changes a tensor in a way that no value shows: {func}")
        argument = schema.arguments[written[0]]
        target = kwargs.get(argument.name) if argument.kwarg_only else args[written[0]]
        if not isinstance(target, Symbol):
            raise self.refuse(f"it writes into a tensor that it keeps: {func}")
        plain, rest = _without_writing(func, argument.name if argument.kwarg_only else None)
        result = self._run(plain, args, {key: value for key, value in kwargs.items() if key != rest})
        if not isinstance(result, Symbol) or result.shape != target.shape:
            raise self.refuse(f"it changes the shape of a tensor: {func}")
        if result.dtype != target.dtype:
            result = self._run(_aten._to_copy.default, (result,), {"dtype": target.dtype})
        self._assign(target, result)
        return target

    def _reshape(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """An operation that lets a tensor be a view of what it was, as torch's products do with their results."""
        target = args[0]
        if not isinstance(target, Symbol):
            raise self.refuse(f"it changes a tensor that it keeps: {func}")
        before = Symbol(target.value, target.node, target.depends, target.looks_at)
        before.version = target.version
        after = self._run(_without_writing(func, None)[0], (before, *args[1:]), kwargs)
        with torch._C._DisableTorchDispatch():
            func(*args, **kwargs)  # sizes and strides; there is no memory that it could touch
        target.value, target.node, target.looks_at, target.reshaped = after.value, after.node, after.looks_at, True
        return target

    def _assign(self, target: Symbol, value: Symbol) -> None:
        """Let a tensor be another from now on, and all that share its memory."""
        view = target.looks_at
        if view is None:
            target.value, target.node, target.depends = value.value, value.node, value.depends
            target.version += 1
        else:
            self._assign(view.parent, self._scattered(view, self.now(view.parent), value))
            self.now(target)

    def _scattered(self, view: _View, parent: Symbol, value: Symbol) -> Symbol:
        """The parent of a view with other values where the view looks."""
        run: Callable[..., Symbol] = self._run
        name, args, shape = _packet(view.func), view.args, list(parent.shape)
        named = dict(zip([a.name for a in view.func._schema.arguments[1:]], args, strict=False)) | dict(view.kwargs)
        dim, place = named.get("dim", 0), view.place or 0
        if name in _RESHAPES and value.dtype == parent.dtype:
            return run(_aten.reshape.default, (value, shape), {})
        if name in ("t", "transpose", "permute"):
            axes = list(range(parent.ndim))
            moved = axes[::-1] if name == "t" else _swapped(axes, *args) if name == "transpose" else list(args[0])
            return run(_aten.permute.default, (value, sorted(axes, key=lambda i: moved[i] % len(axes))), {})
        if name in _SCATTERS:
            return run(_SCATTERS[name], (parent, value, *args), view.kwargs)
        if name == "unbind":
            return run(_aten.select_scatter.default, (parent, value, dim, place), {})
        if name in ("split", "split_with_sizes"):
            start = args[0] * place if name == "split" else sum(args[0][:place])
            return run(_aten.slice_scatter.default, (parent, value, dim, start, start + value.shape[dim]), {})
        raise self.refuse(f"it writes into a view that cannot be followed: {view.func}")

    def now(self, tensor: Any) -> Any:
        """A tensor as a symbol of this trace that is up to date; anything else as it is."""
        if not isinstance(tensor, Tensor):
            return tensor
        if not isinstance(tensor, Symbol):
            return self._constant(tensor)
        view = tensor.looks_at
        if view is not None and tensor.version != view.root.version:
            if view.parent.reshaped:
                raise self.refuse("it writes into a tensor that it has reshaped in place")
            made = self._run(view.func, (view.parent, *view.args), view.kwargs)
            made = made if view.place is None else made[view.place]
            tensor.value, tensor.node, tensor.depends = made.value, made.node, made.depends
            tensor.version = view.root.version
        return tensor

    def _constant(self, tensor: Tensor) -> Symbol:
        """A tensor that was there before the trace, or was made without a word to torch."""
        if isinstance(tensor, Parameter):
            raise self.refuse("it takes a parameter by another way than its name in the module")
        known = self._constants.get(id(tensor))
        if known is None:
            name = f"constant_{len(self._constants)}"
            self.root.register_buffer(name, tensor.detach(), persistent=False)
            symbol = self._symbol(tensor.detach(), self.graph.get_attr(name), False)
            known = self._constants[id(tensor)] = tensor, symbol
        return known[1]

    def _symbol(self, value: Tensor, node: Node, depends: bool, view: _View | None = None) -> Symbol:
        node.meta["val"] = _like(value)
        return Symbol(value, node, depends, view)


def remove_dead(graph: Graph) -> None:
    """Leave out what nothing uses, but for operations that may fail: code may ask whether they do."""
    for node in reversed(list(graph.nodes)):
        if not node.users and node.op in ("call_function", "get_attr") and not may_fail(node):
            graph.erase_node(node)


def _like(value: Any) -> Any:
    """Shape and dtype of a tensor, without its memory."""
    return torch.empty_like(value, device="meta") if isinstance(value, Tensor) else value


def _value(leaf: Any) -> Any:
    return leaf.value if isinstance(leaf, Symbol) else leaf


def _in_graph(args: Any, kwargs: Any) -> tuple[Any, Any]:
    nodes: tuple[Any, Any] = tree_map(lambda leaf: leaf.node if isinstance(leaf, Symbol) else leaf, (args, kwargs))
    return nodes


def _packet(func: Any) -> str:
    name: str = func._schema.name.rpartition("::")[2] if hasattr(func, "_schema") else ""
    return name


def _is_view(func: Any) -> bool:
    """Whether what it returns shares the memory of an argument, which it does not write to."""
    returns = getattr(getattr(func, "_schema", None), "returns", ())
    return any(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _draws(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation draws random numbers; dropout with nothing to drop does not."""
    if torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    given = dict(zip([a.name for a in func._schema.arguments], args, strict=False)) | dict(kwargs)
    chances = [a.name for a in func._schema.arguments if "dropout" in a.name]
    if chances:
        return any(given.get(name, 0.0) for name in chances)
    return _packet(func) not in ("native_dropout", "dropout") or given.get("train") is not False


def _needs_values(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a shape or a number that an operation returns depends on the values of its arguments."""
    if torch.Tag.data_dependent_output in func.tags:
        return True
    if _packet(func) == "index":  # a mask chooses, positions do not
        return any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return torch.Tag.dynamic_output_shape in func.tags


def _without_writing(func: Any, out: str | None) -> tuple[Any, str | None]:
    """The form of an operation that returns what this one would write; and the argument that it does not take."""
    name, overload = _packet(func), func._overloadname
    namespace = getattr(torch.ops, func._schema.name.partition("::")[0])
    plain = getattr(namespace, name[:-1] if out is None and name.endswith("_") else name, None)
    wanted = [(a.name, str(a.type)) for a in func._schema.arguments if a.name != out]
    others = [getattr(plain, each) for each in plain.overloads()] if plain is not None else []
    for other in sorted(others, key=lambda each: each._overloadname != overload):
        if not other._schema.is_mutable and [(a.name, str(a.type)) for a in other._schema.arguments] == wanted:
            return other, out
    raise Untraceable(f"it writes by an operation without another form: {func}")


def _swapped(axes: list[int], first: int, second: int) -> list[int]:
    axes = list(axes)
    axes[first], axes[second] = axes[second], axes[first]
    return axes


def _untraceable(error: Exception) -> Untraceable:
    if isinstance(error, Untraceable):
        return error
    return Untraceable(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}")
