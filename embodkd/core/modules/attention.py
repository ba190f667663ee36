"""Attention seen from outside, whichever implementation computes it: its scores as signals, and its derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Forward passes inside can be differentiated twice, and forwards: fused attention has a first derivative only.

    Attention is then computed by plain products and a softmax, whose result differs by rounding.
    """
    with sdpa_kernel(SDPBackend.MATH):
        yield


class ScoreReader(TorchFunctionMode):
    """While it is on, `keep` gets what each attention gives to its softmax: Q K^T * scale + mask, (N, H, L, S).

    `found` is then True. Fused attention does not tell, so its scores are computed once more beside it. The network
    computes what it always does, except that nn.MultiheadAttention leaves its fast path. Gradient flows through.
    """

    def __init__(self, keep: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.found = False
        self._keep, self._heads = keep, 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Look at the calls that matter, and make all of them."""
        given = dict(kwargs or {})
        if function is F.multi_head_attention_forward:
            self._heads = given.get("num_heads", args[4] if len(args) > 4 else 0)
            # A function that is handed to a mode runs with the mode off; this copy of it is not handed over.
            with self:
                answer = _unhanded(F.multi_head_attention_forward)(*args, **given)
            self._heads = 0
            return answer
        if function is F.scaled_dot_product_attention:
            self._found(fused_scores(*args, **given))
        elif function in (F.softmax, torch.softmax, Tensor.softmax):
            self._found(args[0] if args else given["input"])
        return function(*args, **given)

    def _found(self, scores: Tensor) -> None:
        self.found = True
        # nn.MultiheadAttention has items and heads in one axis.
        self._keep(scores.unflatten(0, (-1, self._heads)) if self._heads and scores.ndim == 3 else scores)


def fused_scores(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The scores inside F.scaled_dot_product_attention with these arguments, -inf where a mask forbids: (..., L, S)."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    scores = query @ key.transpose(-2, -1) * (1.0 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        return scores.masked_fill(~allowed, -math.inf)
    if attn_mask is None:
        return scores
    return scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask


def _unhanded(function: Any) -> Callable[..., Any]:
    """A copy of a function of torch.nn.functional that does not ask who wants to take it over."""
    names = {**function.__globals__, "has_torch_function": lambda arguments: False}
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
