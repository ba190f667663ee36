"""A grasp is moved until it touches where it should and reaches into nothing (UniDexGrasp's test-time adaptation)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def adapted(
    grasp_ND: Tensor, energy: Callable[[Tensor], Tensor], steps: int = 300, learning_rate: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """Grasps (N, D) after `steps` of Adam down `energy`, (N, D) -> (N,): each at its best, and its energy there.

    What the energy compares with (the wanted contacts) is fixed: made before, without a gradient. A grasp whose energy
    is not finite stays where it was. ValueError if it is not finite at the start.
    """
    with torch.no_grad():
        best_N = energy(grasp_ND).clone()
    if not best_N.isfinite().all():
        first = int((~best_N.isfinite()).nonzero()[0])
        raise ValueError(f"adapt: the energy of grasp {first} is not finite at the start; leave that grasp out")
    best_ND = grasp_ND.detach().clone()
    moving_ND = best_ND.clone().requires_grad_()
    optimiser = torch.optim.Adam([moving_ND], lr=learning_rate)
    with torch.enable_grad():
        for _ in range(steps):
            (gradient_ND,) = torch.autograd.grad(energy(moving_ND).sum(), moving_ND)
            # Adam never forgets a gradient that is no number
            moving_ND.grad = gradient_ND.nan_to_num(0.0, 0.0, 0.0)
            optimiser.step()
            with torch.no_grad():
                now_N = energy(moving_ND)
                better_N = now_N < best_N
                best_N = torch.where(better_N, now_N, best_N)
                best_ND = torch.where(better_N[:, None], moving_ND, best_ND)
    return best_ND, best_N
