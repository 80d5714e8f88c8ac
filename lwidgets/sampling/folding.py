"""Folding: what depends linearly on the parameters is combined after the data has passed through it.

The evaluation of one batch is traced to a graph of ATen operations, and every value in it is one of three:

    fixed    no moving parameter is behind it; computed once for a batch (the layers before the first one that moves)
    affine   sum_k c_k F_k at the point sum_k c_k V_k; its parts F_k are computed once for a basis (the first layer's
             output), and combining them takes the place of the operations before it
    other    computed at every point

That is found from the operations, never from the names of layers. A model that cannot be traced (its path depends on
values, it leaves torch) raises `Untraceable`, and the plain loop remains.

Sources: Jones et al., "Partial Evaluation and Automatic Program Generation", 1993, for computing once what does not
depend on what changes; Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2, for BatchNorm inside the convolution before it. New here:
the class "affine".
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_leaves

from lwidgets.sampling.tracing import may_fail, remove_dead

Kind = Literal["fixed", "affine", "other"]
_aten = torch.ops.aten

_EVERY: tuple[int, ...] = tuple(range(64))
_RULES: dict[Any, tuple[tuple[int, ...], tuple[int, ...]]] = {
    # operation: (arguments of which one may be affine, arguments that may all be); what is left must be fixed
    **dict.fromkeys(
        (
            *(_aten.add, _aten.sub, _aten.rsub, _aten.neg, _aten.cat, _aten.stack, _aten.clone, _aten.sum, _aten.mean),
            *(_aten.constant_pad_nd, _aten.flip, _aten.roll, _aten.avg_pool1d, _aten.avg_pool2d, _aten.avg_pool3d),
            *(_aten._adaptive_avg_pool2d, _aten.cumsum, _aten.repeat, _aten.copy),
        ),
        ((), _EVERY),
    ),
    **dict.fromkeys((_aten.mul, _aten.mm, _aten.bmm, _aten.mv, _aten.dot), ((0, 1), ())),
    **dict.fromkeys((_aten.addmm, _aten.baddbmm, _aten.addbmm, _aten.addmv), ((1, 2), (0,))),
    **dict.fromkeys((_aten.convolution, _aten.linear), ((0, 1), (2,))),
    **dict.fromkeys((_aten.div.Tensor, _aten.div.Scalar, _aten.index, _aten.index_select), ((0,), ())),
    **dict.fromkeys((_aten.gather, _aten.embedding), ((0,), ())),
    **dict.fromkeys((_aten.native_batch_norm, _aten._native_batch_norm_legit_no_training), ((0, 1), (2,))),
}
_NORMALIZATIONS = {  # operation: where its epsilon is
    _aten.native_batch_norm.default: 7,
    _aten.cudnn_batch_norm.default: 7,
    _aten._native_batch_norm_legit_no_training.default: 6,
}
_VIEWS = {
    *(
        _aten.t,
        _aten.transpose,
        _aten.permute,
        _aten.reshape,
        _aten.expand,
        _aten.slice,
        _aten.select,
        _aten.unsqueeze,
    ),
    *(_aten.squeeze, _aten.split, _aten.split_with_sizes, _aten.unbind, _aten.alias, _aten.detach, _aten.diagonal),
    operator.getitem,
}
_RULES.update(dict.fromkeys(_VIEWS, ((), _EVERY)))
_PRODUCTS = {op for op, (factors, _) in _RULES.items() if len(factors) == 2} | {_aten.embedding}
"""Where the data meet the parameters: what comes out is as large as the data, and saves the product at every point."""


@dataclass(frozen=True)
class Split:
    """A traced function in three parts.

    Attributes:
        fixed: Fixed inputs -> what the other two take of them.
        affine: Those, and the moving tensors -> affine values.
        rest: Those, the affine values and the moving tensors used as they are -> the outputs.
        direct: Positions of the moving tensors that ``rest`` takes.
        sizes: Bytes of the affine values, and of everything that ``rest`` computes.
    """

    fixed: GraphModule
    affine: GraphModule
    rest: GraphModule
    direct: tuple[int, ...]
    sizes: tuple[int, int]


def fuse_batchnorm(graph: GraphModule) -> None:
    """Scale a convolution's weight instead of its output where a BatchNorm layer with given statistics follows.

    gamma (W * x + b - mu) / sigma + beta = (gamma / sigma W) * x + (b - mu) gamma / sigma + beta, one pass over the
    activations less. In place.
    """
    for node in list(graph.graph.nodes):
        if node.target not in _NORMALIZATIONS or _batch_statistics(node):
            continue
        inputs, gamma, beta, mean, variance = node.args[:5]
        epsilon = node.args[_NORMALIZATIONS[node.target]]
        fits = (
            isinstance(inputs, Node)
            and inputs.target is _aten.convolution.default
            and inputs.args[6] is False  # transposed convolutions keep their outputs in another dimension
            and len(inputs.users) == 1
            and all(value.dtype.itemsize >= 4 for value in _values(inputs))  # a scaled weight is rounded once more
            and all(user.target is operator.getitem and user.args[1] == 0 for user in node.users)
        )
        if not fits:
            continue
        with graph.graph.inserting_before(node):
            call = graph.graph.call_function
            scale = call(_aten.rsqrt.default, (call(_aten.add.Tensor, (variance, epsilon)),))
            scale = call(_aten.mul.Tensor, (scale, gamma)) if gamma is not None else scale
            data, weight, bias, *rest = inputs.args
            ndim = _values(weight)[0].ndim
            column = call(_aten.reshape.default, (scale, [-1] + [1] * (ndim - 1)))
            scaled = call(_aten.mul.Tensor, (weight, column))
            shift = call(_aten.neg.default, (mean,)) if bias is None else call(_aten.sub.Tensor, (bias, mean))
            shift = call(_aten.mul.Tensor, (shift, scale))
            shift = call(_aten.add.Tensor, (shift, beta)) if beta is not None else shift
            fused = call(_aten.convolution.default, (data, scaled, shift, *rest))
            scaled.meta, shift.meta, fused.meta = dict(weight.meta), dict(mean.meta), dict(inputs.meta)
        for user in list(node.users):
            user.replace_all_uses_with(fused)
    remove_dead(graph.graph)


def split(graph: GraphModule, roles: Sequence[Kind], *, fold: bool = True) -> Split:
    """Cut a graph where what was computed once meets what changes.

    Args:
        graph: From `trace`.
        roles: What each input is.
        fold: Combine after products with the data; otherwise only the parameters themselves are combined.
    """
    nodes = list(graph.graph.nodes)
    inputs = [node for node in nodes if node.op == "placeholder"]
    kinds: dict[Node, Kind] = dict(zip(inputs, roles, strict=True))
    for node in nodes:
        if node.op in ("get_attr", "call_function"):
            kinds[node] = _kind(node, kinds, fold)
    output = next(node for node in nodes if node.op == "output")
    kinds[output] = "other"
    checks = [node for node in nodes if not node.users and may_fail(node)]

    needed = _behind([output, *checks])
    frontier: list[Node] = []
    for node in reversed([n for n in nodes if n in needed and kinds[n] == "affine"]):
        if any(kinds[user] == "other" for user in node.users if user in needed):
            if _is_view(node):
                kinds[node] = "other"  # a view costs nothing at a point; what it looks at is combined
            else:
                frontier.insert(0, node)
    direct = [node for node in frontier if node.op == "placeholder"]
    folded = [node for node in frontier if node.op != "placeholder"]
    changing = [node for node, role in zip(inputs, roles, strict=True) if role == "other"]
    moving = [node for node, role in zip(inputs, roles, strict=True) if role == "affine"]
    constants = [
        node
        for node in nodes
        if node in needed and kinds[node] == "fixed" and any(kinds[u] != "fixed" for u in node.users if u in needed)
    ]
    given = [node for node, role in zip(inputs, roles, strict=True) if role == "fixed"]
    wanted = list(output.args[0]) if isinstance(output.args[0], tuple | list) else [output.args[0]]
    return Split(
        fixed=_slice(graph, given, constants, [node for node in checks if kinds[node] == "fixed"]),
        affine=_slice(graph, [*constants, *moving], folded),
        rest=_slice(
            graph,
            [*constants, *changing, *folded, *direct],
            wanted,
            [node for node in checks if kinds[node] != "fixed"],
            late=frozenset(direct),
        ),
        direct=tuple(moving.index(node) for node in direct),
        sizes=(sum(map(_bytes, folded)), sum(_bytes(n) for n in nodes if kinds[n] == "other")),
    )


def _kind(node: Node, kinds: Mapping[Node, Kind], fold: bool) -> Kind:
    behind = [kinds[n] for n in node.all_input_nodes]
    if all(kind == "fixed" for kind in behind):
        return "fixed"
    if "other" in behind:
        return "other"
    packet = _packet(node)
    if packet not in _RULES or not node.users or _batch_statistics(node) or (not fold and packet in _PRODUCTS):
        return "other"
    factors, addends = _RULES[packet]
    affine = [i for i, arg in enumerate(node.args) if any(kinds[n] == "affine" for n in _nodes_in(arg))]
    affine_keywords = any(kinds[n] == "affine" for n in _nodes_in(node.kwargs))
    free = [i for i in affine if i not in addends]
    allowed = not affine_keywords and all(i in factors for i in free) and len(free) <= 1
    return "affine" if allowed and _is_float(node) else "other"


def _batch_statistics(node: Node) -> bool:
    """Whether a normalisation uses the statistics of what passes through it."""
    return node.target in _NORMALIZATIONS and _NORMALIZATIONS[node.target] == 7 and node.args[5] is True


def _packet(node: Node) -> Any:
    return node.target if node.target in _RULES else getattr(node.target, "overloadpacket", node.target)


def _is_view(node: Node) -> bool:
    """Whether it only looks at the memory of another; one of several results counts as what gives them does."""
    if node.target is operator.getitem:
        return _is_view(node.all_input_nodes[0])
    return node.op == "call_function" and _packet(node) in _VIEWS


def _nodes_in(value: Any) -> list[Node]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Node)]


def _values(node: Node) -> list[Tensor]:
    """The shapes and dtypes that tracing saw."""
    return [leaf for leaf in tree_leaves(node.meta.get("val")) if isinstance(leaf, Tensor)]


def _is_float(node: Node) -> bool:
    return all(value.is_floating_point() for value in _values(node))


def _bytes(node: Node) -> int:
    if _is_view(node):
        return 0
    return sum(value.numel() * value.element_size() for value in _values(node))


def _behind(nodes: Iterable[Node], stop: Collection[Node] = ()) -> set[Node]:
    """The nodes and all they are made from, not going further back than ``stop``."""
    found: set[Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting.extend(() if node in stop else node.all_input_nodes)
    return found


def _slice(
    graph: GraphModule,
    given: Sequence[Node],
    wanted: Sequence[Node],
    checks: Sequence[Node] = (),
    late: Collection[Node] = (),
) -> GraphModule:
    """The part of a graph that leads from some of its values to others, as a function of its own.

    It does the checks, too, which return nothing and may fail.

    What is ``late`` may be given as a function that makes the tensor, called right before its first use; so of a large
    model only one weight at a time exists.
    """
    part = Graph()
    copies = {node: part.placeholder(node.name) for node in given}
    made = set(given) - set(late)
    needed = _behind([*wanted, *checks], stop=set(given))

    def copied(node: Node) -> Node:
        if node not in made:
            made.add(node)
            copies[node] = part.call_function(ready, (copies[node],))
        return copies[node]

    for node in graph.graph.nodes:
        if node in needed and node not in given:
            for n in node.all_input_nodes:
                copied(n)
            copies[node] = part.node_copy(node, copies.__getitem__)
            made.add(node)
    part.output(tuple(copied(node) for node in wanted))
    return GraphModule(graph, part)


def ready(value: Any) -> Tensor:
    """A tensor as it is, or what makes one."""
    return value if isinstance(value, Tensor) else value()
