"""Attention as the matrix products it is, in one thread, for a while.

The fused kernels have no second derivative, and are one operation in which no symmetry can be read. Torch's own
switches (`torch.nn.attention.sdpa_kernel`, `torch.backends.mha`) are the process's, and other threads may be training.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class PlainAttention(TorchFunctionMode):
    """Computes `F.scaled_dot_product_attention` by matrix products; entered and left like any context.

    Under it, as under any function mode, `nn.MultiheadAttention` and `nn.TransformerEncoderLayer` call their parts
    instead of one fused operation for all of them.

    Example:
        >>> q, k, v = torch.randn(3, 2, 5, 4, dtype=torch.float64)
        >>> with PlainAttention():
        ...     plain = F.scaled_dot_product_attention(q, k, v)
        >>> torch.allclose(plain, (q @ k.mT / 2).softmax(-1) @ v)
        True
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call what stands for a function, or the function itself."""
        return _INSTEAD.get(func, func)(*args, **(kwargs or {}))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Tensor:
    """What `F.scaled_dot_product_attention` computes, arguments as there."""
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = query.new_zeros(attn_mask.shape).masked_fill(~attn_mask, -torch.inf)
    math = torch.ops.aten._scaled_dot_product_attention_math
    result: Tensor = math(query, key, value, attn_mask, dropout_p, is_causal, **options)[0]
    return result


def _reading(function: Any, **names: Any) -> Any:
    """The same function, with other values for some of the global names it reads."""
    other = FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    other.__kwdefaults__ = function.__kwdefaults__
    return other


# A mode does not see what torch's own functions call in turn.
_INSTEAD: dict[Any, Any] = {
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _reading(F.multi_head_attention_forward, scaled_dot_product_attention=_attention),
}
