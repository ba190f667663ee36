"""Attention seen from outside, whichever implementation computes it: its four stages, read or replaced, by one mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from types import FunctionType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

Stage = Literal["scores", "probs", "weights", "context"]
STAGES: tuple[Stage, ...] = ("scores", "probs", "weights", "context")
Visit = Callable[[Tensor], Tensor]
_SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)
_PRODUCT = (torch.matmul, torch.bmm, Tensor.matmul, Tensor.__matmul__, Tensor.bmm)


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Forward passes inside can be differentiated twice, and forwards: fused attention has a first derivative only.

    Attention is then computed by plain products and a softmax, whose result differs by rounding.
    """
    with sdpa_kernel(SDPBackend.MATH):
        yield


class AttentionMode(TorchFunctionMode):
    """While it is on, the visitors of each stage get its tensor, and attention goes on with what they return.

    The stages: "scores", Q K^T * scale + mask, as the softmax gets them, (N, H, L, S); "probs", the softmax's answer,
    (N, H, L, S); "weights", the same as it multiplies V, after the network's own dropout (and its own quantisation);
    "context", the product with V per head, (N, H, L, D).
    visits: what looks at each stage; a visitor that only reads returns the tensor that it got.
    replaces: the stages where a visitor returns another one. Fused attention tells and takes nothing but its context:
    its scores are computed once more beside it to be read, and it is computed by plain products and a softmax where
    something in it is replaced or what its dropout left is read: then the answer differs by rounding, the mask of the
    dropout by its draw.
    `found` holds the stages seen. nn.MultiheadAttention leaves its fast path. Gradient flows through everything.
    """

    def __init__(self, visits: Mapping[Stage, Sequence[Visit]], replaces: Set[Stage] = frozenset()) -> None:
        super().__init__()
        self.found: set[Stage] = set()
        self._visits, self._opened = visits, bool(replaces - {"context"})
        self._heads = 0
        self._awaited: torch.Size | None = None

    def start(self) -> None:
        """Be on, with nothing seen yet."""
        self.found.clear()
        self._awaited = None
        self.__enter__()

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
            try:
                # A function that is handed to a mode runs with the mode off; this copy of it is not handed over.
                with self:
                    return _unhanded(F.multi_head_attention_forward)(*args, **given)
            finally:
                self._heads = 0
        if function is F.scaled_dot_product_attention:
            return self._fused(*args, **given)
        if function in _SOFTMAX:
            scores, *rest = args or (given.pop("input"),)
            probs = function(self._visit("scores", scores), *rest, **given)
            self._awaited = probs.shape
            return self._visit("probs", probs)
        if function in _PRODUCT and len(args) > 1 and args[0].shape == self._awaited:
            # Between the softmax and this product lie casts, dropout and whatever else the network does to it.
            self._awaited = None
            weights = self._visit("weights", args[0])
            return self._visit("context", function(weights, *args[1:], **given))
        return function(*args, **given)

    def _fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        given = (attn_mask, dropout_p, is_causal)
        opened = self._opened or ("weights" in self._visits and dropout_p > 0.0)
        if opened or self._visits.keys() - {"context"}:
            scores = fused_scores(query, key, value, *given, scale=scale, enable_gqa=enable_gqa)
            probs = self._visit("probs", _softmax(self._visit("scores", scores)))
            weights = self._visit("weights", F.dropout(probs, dropout_p) if opened and dropout_p else probs)
        if not opened:
            answer = F.scaled_dot_product_attention(query, key, value, *given, scale=scale, enable_gqa=enable_gqa)
            return self._visit("context", answer)
        if enable_gqa:
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        return self._visit("context", weights @ value)

    def _visit(self, stage: Stage, tensor: Tensor) -> Tensor:
        self.found.add(stage)
        for visit in self._visits.get(stage, ()):
            # nn.MultiheadAttention has items and heads in one axis.
            folded = bool(self._heads) and tensor.ndim == 3
            shown = tensor.unflatten(0, (-1, self._heads)) if folded else tensor
            answer = visit(shown)
            if answer is shown:
                continue
            if answer.shape != shown.shape:
                raise ValueError(
                    f"the {stage} of an attention have shape {tuple(shown.shape)} and cannot be replaced by a tensor "
                    f"of shape {tuple(answer.shape)}"
                )
            tensor = answer.flatten(0, 1) if folded else answer
        return tensor


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


def _softmax(scores: Tensor) -> Tensor:
    """As fused attention takes it: zeros, value and gradient, where everything is forbidden."""
    nowhere = (scores == -math.inf).all(-1, keepdim=True)
    return scores.masked_fill(nowhere, 0.0).softmax(-1).masked_fill(nowhere, 0.0)


def _unhanded(function: Any) -> Callable[..., Any]:
    """A copy of a function of torch.nn.functional that does not ask who wants to take it over."""
    names = {**function.__globals__, "has_torch_function": lambda arguments: False}
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
