"""Layers that look across the items of a batch, right for a process or piece that holds only some of them.

While `whole_layers` is open, batch norm in training mode takes mean and variance over the whole batch, and dropout
draws as it would for the whole batch, whoever calls them (torch's layers, other libraries', a functional call). No
module is changed. Dropout inside fused attention is not reached: its masks depend on how the batch is shared out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from embodkd.core.batch.sums import all_sum
from embodkd.core.batch.whole import Portion, looking_at, portion
from embodkd.core.ranks import ranks


@contextmanager
def whole_layers(here: Portion | None) -> Iterator[None]:
    """While open, `here` of the batch is here, for layers too."""
    if here is None:
        yield
        return
    with looking_at(here), _Layers():
        yield


def statistics_layers(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers of `module`, by name, that take statistics over the batch when it is trained."""
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm) and (layer.training or not module.training):
            yield name, layer


class _Layers(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule, here = _RULES.get(func), portion()
        if rule is None or here is None:
            return func(*args, **(kwargs or {}))
        return rule(here, func, *args, **(kwargs or {}))


def _batch_norm(
    here: Portion,
    func: Any,
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        found: Tensor = func(x, running_mean, running_var, weight, bias, training, momentum, eps)
        return found
    if here.pieces > 1:
        raise ValueError(
            f"a batch norm of {x.shape[1]} channels takes its statistics over a whole batch, which trainer.accumulate "
            f"cuts into {here.pieces} pieces: set trainer.accumulate=1, or train a model without batch norm"
        )
    y, count, mean_C, var_C = _Normalised.apply(x, weight, bias, eps)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean_C.to(running_mean.dtype), momentum)
            running_var.lerp_((var_C * (count / (count - 1))).to(running_var.dtype), momentum)
    return y


class _Normalised(torch.autograd.Function):
    """Batch norm over the whole batch, as fast as torch's over a part: its kernels, and what the other parts change."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, ...]:
        count, mean_C, var_C = _moments(x)
        y = torch.native_batch_norm(x, weight, bias, mean_C, var_C, False, 0.0, eps)[0]
        ctx.save_for_backward(x, weight, bias, mean_C, (var_C + eps).rsqrt())
        ctx.count, ctx.eps = count, eps
        ctx.mark_non_differentiable(count, mean_C, var_C)
        return y, count, mean_C, var_C

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean_C, scale_C = ctx.saved_tensors
        if torch.is_grad_enabled():
            # Somebody differentiates this gradient: by a formula that torch can follow.
            wanted = [value for value in (x, weight, bias) if value is not None]
            found = iter(torch.autograd.grad(_formula(x, weight, bias, ctx.eps), wanted, slope, create_graph=True))
            return (*(None if value is None else next(found) for value in (x, weight, bias)), None)
        own = torch.ops.aten.native_batch_norm_backward(
            slope, x, weight, None, None, mean_C, scale_C, True, ctx.eps, [True, True, True]
        )
        slope_x, slope_weight_C, slope_bias_C = own
        # In `own` the moments answer to the items here; now to all of them.
        all_2C = all_sum(torch.stack([slope_bias_C, slope_weight_C]))
        bias_C, weight_C = torch.stack([slope_bias_C, slope_weight_C]) * (x.shape[1] / x.numel()) - all_2C / ctx.count
        factor_C = scale_C if weight is None else scale_C * weight
        along_C = weight_C * factor_C * scale_C
        shape = (1, -1, *[1] * (x.ndim - 2))
        rest = (bias_C * factor_C - along_C * mean_C).view(shape).to(x.dtype)
        slope_x = slope_x.addcmul_(x, along_C.view(shape).to(x.dtype)).add_(rest)
        return slope_x, None if weight is None else slope_weight_C, None if bias is None else slope_bias_C, None


def _formula(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    _, mean_C, var_C = _moments(x)
    scale_C = (var_C + eps).rsqrt()
    if weight is not None:
        scale_C = scale_C * weight
    shift_C = -mean_C * scale_C if bias is None else bias - mean_C * scale_C
    shape = (1, -1, *[1] * (x.ndim - 2))
    return torch.addcmul(shift_C.view(shape), x, scale_C.view(shape)).to(x.dtype)


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How many values per channel the whole batch has, their mean and (biased) variance, (C,).

    Each process's own moments are combined as Chan et al. 1979 do, which loses nothing where the mean is large.
    """
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    axes = [0, *range(2, x.ndim)]
    var_C, mean_C = torch.var_mean(wide, axes, correction=0)
    own = torch.cat([wide.new_tensor([wide.numel() / wide.shape[1]]), mean_C, var_C])
    who = ranks()
    slot_R1 = torch.eye(who.size, dtype=own.dtype, device=own.device)[who.rank].unsqueeze(1)
    count_R1, mean_RC, var_RC = all_sum(slot_R1 * own).split([1, len(mean_C), len(var_C)], 1)
    total = count_R1.detach().sum()
    if total < 2:
        raise ValueError("batch norm: one value per channel in the whole batch has no variance; use larger batches")
    mean_C = (count_R1 * mean_RC).sum(0) / total
    return total, mean_C, (count_R1 * (var_RC + (mean_RC - mean_C).square())).sum(0) / total


def _dropout(here: Portion, func: Any, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    rows, n = len(x), len(here.place_N)
    if not training or p == 0.0 or rows % n:
        return func(x, p, training, inplace)
    # The rows that are not here are drawn too and thrown away: masks are made row by row, in one order.
    each = rows // n
    place = (here.place_N.to(x.device)[:, None] * each + torch.arange(each, device=x.device)).flatten()
    last = x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    empty = torch.zeros(here.items * each, *x.shape[1:], dtype=x.dtype, device=x.device)
    everything = empty.index_copy(0, place, x).contiguous(memory_format=layout)
    return func(everything, p, training, False).index_select(0, place)


_RULES: dict[Any, Callable[..., Any]] = {
    F.batch_norm: _batch_norm,
    **{
        each: _dropout
        for each in (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout)
    },
}
