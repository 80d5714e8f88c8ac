"""Attention as a sum of circuits: for each head a matrix that scores pairs of tokens and one that moves them.

Source: Elhage et al., "A Mathematical Framework for Transformer Circuits", 2021, and Theus et al., "Generalized Linear
Mode Connectivity for Transformers", NeurIPS 2025, appendix A.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product, takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lwidgets.calls import Calls
from lwidgets.symmetry.elements import Level
from lwidgets.symmetry.spec import Spec, blocks
from lwidgets.symmetry.trace import in_double

_ROUNDING = 1e-11


class Circuits(nn.Module):
    r"""Attention of tokens x to each other.

    .. math:: \sum_h \mathrm{softmax}\bigl((x Q_h + q_h) x^\top\bigr)\, x V_h + c

    These are the circuits of homogeneous coordinates without what reaches no output: the bias of a key adds the same to
    all scores of a query, and the softmax takes it out again. The bias of a value passes through, and is in c.

    Attributes:
        qk: Q, shape (heads, D, D).
        query_bias: q, shape (heads, D).
        ov: V, shape (heads, D, D).
        bias: c, shape (D,).
        causal: A token attends to itself and those before it only.
    """

    def __init__(self, qk: Tensor, query_bias: Tensor, ov: Tensor, bias: Tensor, *, causal: bool = False) -> None:
        """Take the matrices as they are."""
        super().__init__()
        self.qk, self.query_bias = nn.Parameter(qk), nn.Parameter(query_bias)
        self.ov, self.bias = nn.Parameter(ov), nn.Parameter(bias)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of shape (..., tokens, D) to the same shape."""
        return self.attend(x)

    def attend(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The same with a mask: added to the scores, or true where a token may be attended to."""
        queries = torch.einsum("...td,hde->...hte", x, self.qk) + self.query_bias[:, None]
        keys = x.unsqueeze(-3).expand_as(queries)
        mixed = F.scaled_dot_product_attention(queries, keys, keys, mask, is_causal=self.causal, scale=1.0)
        return torch.einsum("...htd,hde->...te", mixed, self.ov) + self.bias


class MultiheadCircuits(Circuits):
    """Circuits that are called as `nn.MultiheadAttention` is, with one tensor as query, key and value.

    Attributes:
        batch_first: The first dimension counts examples, not tokens.
    """

    batch_first = False
    in_proj_bias = None  # tells `nn.TransformerEncoderLayer` not to go around this module

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, None]:
        """The output; there are no attention weights beside it.

        Raises:
            ValueError: Keys or values are other than queries; there is a mask for padding or one for each head.
        """
        by_head = attn_mask is not None and attn_mask.ndim > 2
        if key is not query or value is not query or key_padding_mask is not None or by_head:
            raise ValueError(
                "MultiheadCircuits: query, key and value must be one tensor, with one mask for all examples and heads, "
                "got others. Use canonical without circuits."
            )
        mask = ~attn_mask if attn_mask is not None and attn_mask.dtype == torch.bool else attn_mask
        turned = query.ndim == 3 and not self.batch_first
        mixed = self.attend(query.transpose(0, 1) if turned else query, mask)
        return (mixed.transpose(0, 1) if turned else mixed), None


@dataclass(frozen=True, eq=False)
class _Side:
    """A layer on one side of a space inside of heads.

    Attributes:
        tensor: Name of its weight.
        weight: Shape (heads, size of a head, D).
        bias: Shape (heads, size of a head).
        reads: The group of the features it reads; None where it writes.
    """

    tensor: str
    weight: Tensor
    bias: Tensor
    reads: str | None


def find_circuits(module: nn.Module, given: Calls, spec: Spec, read: frozenset[str]) -> dict[str, Circuits]:
    """Every attention of a network as circuits.

    Args:
        module: In eval mode and float64.
        given: Its arguments.
        spec: Symmetries of the network with a linear map in place of each norm.
        read: The groups of what these maps return.

    Returns:
        Path of a module -> what computes the same.

    Raises:
        ValueError: There is none, or one that is no sum of circuits, by name.
    """
    scores: dict[tuple[str, str | None], tuple[_Side, _Side]] = {}
    moves: list[tuple[str, str | None, tuple[_Side, _Side]]] = []
    for name, group in spec.groups.items():
        sides = _sides(module, spec, name, read) if group.level is Level.GENERAL and name not in read else None
        if sides is None:
            continue
        first, second = sides
        if first.reads is not None and first.reads == second.reads:
            scores[first.reads, group.copies] = sides
        elif (source := first.reads or second.reads) is not None and not (first.reads and second.reads):
            moves.append((source, group.copies, sides if first.reads else (second, first)))
    found: dict[str, tuple[tuple[_Side, _Side], tuple[_Side, _Side]]] = {}
    for source, copies, (value, out) in moves:
        pair = scores.pop((source, copies), None)
        path = _common([value.tensor, out.tensor, *(side.tensor for side in pair or ())])
        if pair is not None:
            found[path] = pair, (value, out)
        elif copies is not None:
            raise _refused(path, "scores that are no bilinear form of its input for each head (rotary positions?)")
    for pair in scores.values():
        raise _refused(_common([side.tensor for side in pair]), "heads that are not free of each other")
    if not found:
        raise _refused("model", "none")
    calls = _calls(module, given, found)
    return {path: _circuits(path, module.get_submodule(path), *calls[path], *forms) for path, forms in found.items()}


def _refused(path: str, got: str) -> ValueError:
    return ValueError(
        f"canonical: attention {path!r} must be a module that maps tokens to tokens by a sum of circuits, got {got}. "
        "Leave circuits out."
    )


def _common(names: Sequence[str]) -> str:
    """The path of the smallest module that holds all these tensors."""
    steps = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return ".".join(step[0] for step in takewhile(lambda step: len(set(step)) == 1, steps))


def _sides(module: nn.Module, spec: Spec, group: str, read: frozenset[str]) -> tuple[_Side, _Side] | None:
    """The covariant and the dual side of a group; None unless there is just one layer on each."""
    parameters = dict(module.named_parameters())
    copies = spec.groups[group].copies
    weights: dict[bool, tuple[str, Tensor, str | None]] = {}
    biases: dict[bool, Tensor] = {}
    for name in dict.fromkeys(name for name, _, _ in spec.acts_on(group)):
        if name not in parameters:
            return None
        for block, factors in blocks(parameters[name].detach(), spec.axes[name]):
            names = [None if factor is None else factor.group for factor in factors]
            if group not in names:
                continue
            at = names.index(group)
            dual = bool((factor := factors[at]) and factor.dual)
            inside = [at] if copies is None else [names.index(copies), at]
            others = [dim for dim in range(block.ndim) if dim not in inside]
            ordered = block.permute(*inside, *others)
            ordered = ordered if copies is not None else ordered[None]
            if len(others) > 1 or dual in (weights if others else biases):
                return None
            if others:
                weights[dual] = name, ordered, names[others[0]] if names[others[0]] in read else None
            else:
                biases[dual] = ordered
    if len(weights) < 2:
        return None
    first, second = (
        _Side(name, weight, biases.get(dual, weight.new_zeros(weight.shape[:2])), reads)
        for dual, (name, weight, reads) in sorted(weights.items())
    )
    return first, second


def _calls(
    module: nn.Module, given: Calls, paths: Mapping[str, Any]
) -> dict[str, tuple[tuple[Any, ...], dict[str, Any], Any]]:
    """Arguments and results of the first call of some modules."""
    calls: dict[str, tuple[tuple[Any, ...], dict[str, Any], Any]] = {}

    def note(path: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
            calls.setdefault(path, (args, kwargs, result))

        return hook

    hooks = [module.get_submodule(path).register_forward_hook(note(path), with_kwargs=True) for path in paths if path]
    with torch.no_grad(), in_double():
        given.copied().on(module)
    for hook in hooks:
        hook.remove()
    for path in paths:
        if path not in calls:
            raise _refused(path or "model", "one that is part of a larger forward")
    return calls


def _circuits(
    path: str,
    part: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    result: Any,
    scores: tuple[_Side, _Side],
    moves: tuple[_Side, _Side],
) -> Circuits:
    """Of the circuits that one attention may have by its weights those that compute what it did."""
    packed = isinstance(part, nn.MultiheadAttention)
    expected = result[0] if packed else result
    if not isinstance(expected, Tensor) or not (packed or (len(args) == 1 and not kwargs)):
        raise _refused(path, "other arguments or results")
    matches = []
    for made in _candidates(part, scores, moves):
        try:
            with torch.no_grad(), in_double():
                rest = expected - (made(*args, **kwargs)[0] if packed else made(*args))
        except (ValueError, RuntimeError, TypeError) as error:
            raise _refused(path, str(error)) from error
        made.bias.data = rest.flatten(0, -2).mean(0)
        if (rest - made.bias).abs().max() <= _ROUNDING * expected.abs().max():
            matches.append(made)
    if len(matches) > 1:
        raise _refused(path, "inputs that do not tell which (a single token?)")
    if not matches:
        raise _refused(path, "something else between its projections")
    return matches[0]


def _candidates(part: nn.Module, scores: tuple[_Side, _Side], moves: tuple[_Side, _Side]) -> Iterator[Circuits]:
    """Weights alone do not tell queries from keys, nor the scale, nor whether there is a causal mask."""
    value, out = moves
    ov = torch.einsum("hgd,hge->hde", value.weight, out.weight)
    _, size, width = scores[0].weight.shape
    for scale, (query, key) in product((size**-0.5, 1.0), (scores, scores[::-1])):
        qk = scale * torch.einsum("hgd,hge->hde", query.weight, key.weight)
        offset = scale * torch.einsum("hg,hge->he", query.bias, key.weight)
        matrices = qk, offset, ov, ov.new_zeros(width)
        if isinstance(part, nn.MultiheadAttention):  # it has no mask of its own
            made = MultiheadCircuits(*matrices)
            made.batch_first = part.batch_first
            yield made.requires_grad_(False).eval()
        else:
            for causal in (False, True):
                yield Circuits(*matrices, causal=causal).requires_grad_(False).eval()
