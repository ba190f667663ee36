"""Linear systems whose matrix is known only by its products: (H + damping I)^-1 vector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]
"""Vector (P,) -> H times vector, (P,), for a symmetric H."""


def dense(product: Product, vector_P: Tensor, *, damping: float) -> Tensor:
    """(H + damping I)^-1 vector by forming H, P products: exact, for some hundred parameters."""
    identity_PP = torch.eye(len(vector_P), dtype=vector_P.dtype, device=vector_P.device)
    hessian_PP = torch.stack([product(row_P) for row_P in identity_PP])
    return torch.linalg.solve(hessian_PP + damping * identity_PP, vector_P)


# scipy's cg has no eye for negative curvature, where it returns something without a word, and works on numpy's arrays.
def conjugate_gradient(
    product: Product, vector_P: Tensor, *, damping: float, tolerance: float = 1e-10, steps: int = 1000
) -> Tensor:
    """(H + damping I)^-1 vector by conjugate gradients, until the residual is `tolerance` of the vector's length.

    ValueError along a direction of negative curvature (a network is not convex: more damping helps), or when `steps`
    do not suffice.
    """
    solution_P, residual_P = torch.zeros_like(vector_P), vector_P.clone()
    direction_P, squared = residual_P, residual_P @ residual_P
    goal = tolerance**2 * squared
    for _ in range(steps):
        if squared <= goal:
            return solution_P
        image_P = product(direction_P) + damping * direction_P
        curvature = direction_P @ image_P
        if curvature <= 0:
            raise ValueError(f"influence.damping: {damping} leaves directions of negative curvature; raise it")
        solution_P = solution_P + squared / curvature * direction_P
        residual_P = residual_P - squared / curvature * image_P
        former, squared = squared, residual_P @ residual_P
        direction_P = residual_P + squared / former * direction_P
    raise ValueError(
        f"influence: {steps} steps of conjugate gradients do not reach {tolerance}; raise steps or damping"
    )


def lissa(
    product: Product,
    vector_P: Tensor,
    *,
    damping: float,
    scale: float = 25.0,
    steps: int = 5000,
    repeats: int = 1,
    tolerance: float = 1e-12,
) -> Tensor:
    """(H + damping I)^-1 vector by the Neumann series (LiSSA, Agarwal et al. 2017), the mean of `repeats` runs.

        s <- vector + (1 - damping / scale) s - H s / scale;    the result is s / scale.

    scale must exceed half the largest eigenvalue of H + damping I (ValueError when the series diverges); flat
    directions need some scale / damping steps. It stops early when a step changes s by less than `tolerance` of it.
    """
    total_P = torch.zeros_like(vector_P)
    for _ in range(repeats):
        s_P = vector_P.clone()
        for _ in range(steps):
            next_P = vector_P + (1.0 - damping / scale) * s_P - product(s_P) / scale
            moved, s_P = (next_P - s_P).norm(), next_P
            if moved <= tolerance * s_P.norm():
                break
            if not torch.isfinite(moved):
                raise ValueError(f"influence.scale: the series diverges with {scale}; raise it")
        total_P = total_P + s_P / scale
    return total_P / repeats
