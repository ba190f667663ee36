"""What several processes that share one batch tell each other. Sums, so that their backward passes are sums too.

The loss of an update is the sum of what each process adds to it. A sum over processes is its own adjoint, so gradients
that pass through `all_sum` are those of that whole loss, and adding up the processes' gradients gives the gradient that
one process with the whole batch would find. Nothing here is called by a process that is alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from embodkd.core.sharded import is_sharded


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Tensor:
        return all_sum(slopes[0])


def all_sum(value: Tensor) -> Tensor:
    """The sum of `value` over all processes, the same bits on each; differentiable any number of times."""
    total: Tensor = _Sum.apply(value)
    return total


def sum_gradients(parameters: Iterable[nn.Parameter], numbers_K: Tensor) -> Tensor:
    """Put the sums over processes into the gradients of `parameters`; `numbers_K`, summed alike, come back.

    A parameter without a gradient in any process keeps none, so that its optimiser passes it over. Those that lie in
    parts have their sums.
    """
    once = [p for p in dict.fromkeys(parameters) if not is_sharded(p)]
    has_P = torch.tensor([float(p.grad is not None) for p in once], dtype=numbers_K.dtype, device=numbers_K.device)
    totals = all_sum(torch.cat([numbers_K, has_P]))
    used = [p for p, count in zip(once, totals[len(numbers_K) :].tolist(), strict=True) if count]
    for dtype in dict.fromkeys(p.dtype for p in used):
        _sum_flat([p for p in used if p.dtype == dtype])
    return totals[: len(numbers_K)]


def _sum_flat(parameters: Sequence[nn.Parameter]) -> None:
    """One message for all of them."""
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    slopes = [p.grad for p in parameters if p.grad is not None]
    total = torch.cat([slope.reshape(-1) for slope in slopes])
    dist.all_reduce(total)
    parts = [part.view_as(slope) for part, slope in zip(total.split([s.numel() for s in slopes]), slopes, strict=True)]
    torch._foreach_copy_(slopes, parts)


@torch.no_grad()
def start_alike(modules: Iterable[nn.Module]) -> None:
    """Give every process the parameters and buffers that the first one has."""
    for module in modules:
        for value in (*module.parameters(), *module.buffers()):
            if is_sharded(value):
                continue  # cut from what was alike
            first = value.contiguous()
            dist.broadcast(first, 0)
            value.copy_(first)
