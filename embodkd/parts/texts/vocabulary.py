"""Losses over a large vocabulary from what its head reads: logits are made for some positions at a time.

Each is a term of the core, position by position, with the same values and the same gradient in hidden states and
head. Logits of a chunk are made, compared and forgotten, and made once more in the backward pass, when the slopes are
known; so (chunk x vocabulary) numbers are held and never (tokens x vocabulary). What a mask leaves out is 0.

liger-kernel's fused losses are faster where triton is, but fold the gradient into their forward pass: they give one
number for a batch, not one per token with a weight and a mass of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from embodkd.core.terms.logits import cross_entropy, jensen_shannon, kl

CHUNK = 1024
"""Positions whose logits are held at once."""

Compared = Callable[[Tensor, Tensor], Tensor]
"""(logits (K, V), target (K, ...)) -> one value per position (K,)."""


@dataclass(frozen=True)
class Head:
    """What makes logits of hidden states: the last linear layer, of whose outputs the first `vocabulary` count."""

    weight_VD: Tensor
    bias_V: Tensor | None = None

    @classmethod
    def of(cls, model: Any) -> Head:
        """That of a language model, see `LanguageModel`; ValueError for a model without one."""
        layer, size = getattr(model, "head", None), getattr(model, "vocabulary", None)
        if not isinstance(layer, nn.Linear) or size is None:
            raise ValueError(f"chunked losses need a model whose last layer is a linear `head`, not {type(model)}")
        return cls(layer.weight[:size], None if layer.bias is None else layer.bias[:size])

    def __call__(self, hidden_KD: Tensor) -> Tensor:
        """The logits, (K, V)."""
        return nn.functional.linear(hidden_KD, self.weight_VD, self.bias_V)


class Headless(nn.Module):
    """A language model that gives {"hidden": what its head reads} and makes no logits: see `LanguageModel.hidden`."""

    reads = "tokens"

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.train(model.training)

    def forward(self, tokens_NT: Tensor) -> dict[str, Tensor]:
        """Hidden states, (N, T, D)."""
        return {"hidden": self.model.hidden(tokens_NT)}


def chunked_cross_entropy(
    hidden_NTD: Tensor,
    head: Head,
    label_NT: Tensor,
    *,
    smoothing: float = 0.0,
    mask: Tensor | None = None,
    chunk: int = CHUNK,
) -> Tensor:
    """`cross_entropy` of head(hidden), one value per position and 0 where it is masked: (N, T, D), (N, T) -> (N, T)."""
    compare = partial(cross_entropy, smoothing=smoothing)
    return _by_chunks(hidden_NTD, head, mask, chunk, compare, lambda rows_K: label_NT.flatten()[rows_K])


def chunked_kl(
    hidden_NTD: Tensor,
    head: Head,
    target_hidden_NTE: Tensor,
    target_head: Head,
    *,
    temperature: float = 1.0,
    scale_by_t2: bool = True,
    reverse: bool = False,
    mask: Tensor | None = None,
    chunk: int = CHUNK,
) -> Tensor:
    """`kl` to a fixed teacher's head(hidden), one value per position: (N, T, D), (N, T, E) -> (N, T)."""
    compare = partial(kl, temperature=temperature, scale_by_t2=scale_by_t2, reverse=reverse)
    return _by_chunks(hidden_NTD, head, mask, chunk, compare, _logits(target_hidden_NTE, target_head))


def chunked_jensen_shannon(
    hidden_NTD: Tensor,
    head: Head,
    target_hidden_NTE: Tensor,
    target_head: Head,
    *,
    beta: float = 0.5,
    mask: Tensor | None = None,
    chunk: int = CHUNK,
) -> Tensor:
    """`jensen_shannon` to a fixed teacher's head(hidden), one value per position: (N, T, D), (N, T, E) -> (N, T)."""
    compare = partial(jensen_shannon, beta=beta)
    return _by_chunks(hidden_NTD, head, mask, chunk, compare, _logits(target_hidden_NTE, target_head))


def _logits(hidden_NTE: Tensor, head: Head) -> Callable[[Tensor | slice], Tensor]:
    hidden_ME = hidden_NTE.detach().flatten(0, -2)
    fixed = Head(head.weight_VD.detach(), None if head.bias_V is None else head.bias_V.detach())
    return lambda rows_K: fixed(hidden_ME[rows_K])


def _by_chunks(
    hidden_NTD: Tensor,
    head: Head,
    mask: Tensor | None,
    chunk: int,
    compare: Compared,
    target: Callable[[Any], Tensor],
) -> Tensor:
    if chunk < 1:
        raise ValueError(f"chunked losses: chunk must be at least 1, got {chunk}")
    shape = hidden_NTD.shape[:-1]
    if mask is not None and mask.shape != shape:
        raise ValueError(f"chunked losses: a mask of shape {tuple(mask.shape)} for positions {tuple(shape)}")
    hidden_MD = hidden_NTD.flatten(0, -2)
    there_M = None if mask is None else mask.bool().flatten()
    bias = () if head.bias_V is None else (head.bias_V,)
    values_M: Tensor = _Chunked.apply(compare, target, there_M, chunk, hidden_MD, head.weight_VD, *bias)
    return values_M.view(shape)


class _Chunked(torch.autograd.Function):
    """Forward makes values only; backward makes each chunk's logits once more, with the slopes then known.

    One matrix product more than held logits cost, for memory that does not grow with the positions.
    """

    @staticmethod
    def forward(ctx: Any, compare: Any, target: Any, there_M: Any, chunk: int, *tensors: Tensor) -> Tensor:
        hidden_MD, *head = tensors
        ctx.save_for_backward(*tensors)
        kind = hidden_MD.device.type
        # the backward pass makes the same numbers again
        halves = torch.is_autocast_enabled(kind)
        ctx.told = compare, target, there_M, chunk
        ctx.autocast = partial(torch.autocast, kind, torch.get_autocast_dtype(kind)) if halves else nullcontext
        found = []
        for rows in _rows(len(hidden_MD), chunk):
            found.append(_values(compare, target, there_M, rows, hidden_MD[rows], *head))
        return torch.cat(found) if found else hidden_MD.new_zeros(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        compare, target, there_M, chunk = ctx.told
        hidden_MD, *head = ctx.saved_tensors
        wanted = ctx.needs_input_grad[4:]
        slope_MD = torch.zeros_like(hidden_MD) if wanted[0] else None
        totals = [torch.zeros_like(p) if need else None for p, need in zip(head, wanted[1:], strict=True)]
        for rows in _rows(len(hidden_MD), chunk):
            with torch.enable_grad(), ctx.autocast():
                own = [
                    value.detach().requires_grad_(need)
                    for value, need in zip((hidden_MD[rows], *head), wanted, strict=True)
                ]
                values_K = _values(compare, target, there_M, rows, *own)
            asked = [value for value in own if value.requires_grad]
            found = iter(torch.autograd.grad(values_K, asked, slopes[0][rows]))
            if slope_MD is not None:
                slope_MD[rows] = next(found)
            for total in totals:
                if total is not None:
                    total += next(found)
        return (None, None, None, None, slope_MD, *totals)


def _rows(count: int, chunk: int) -> list[slice]:
    return [slice(start, min(start + chunk, count)) for start in range(0, count, chunk)]


def _values(
    compare: Compared, target: Any, there_M: Tensor | None, rows: slice, hidden_KD: Tensor, *head: Tensor
) -> Tensor:
    if there_M is None:
        return compare(Head(*head)(hidden_KD), target(rows))
    there_K = there_M[rows]
    # what is not there is a row of zeros before any arithmetic; its value is cut off with its gradient
    logits_KV = Head(*head)(torch.where(there_K[:, None], hidden_KD, 0.0))
    compared_K = compare(logits_KV, _blank(target(rows), there_K))
    return torch.where(there_K, compared_K, 0.0)


def _blank(value: Tensor, there_K: Tensor) -> Tensor:
    return torch.where(there_K.view(-1, *[1] * (value.ndim - 1)), value, 0)
