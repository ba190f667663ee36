"""Kernel ridge regression that is taught by itself, in closed form: what self-distillation does without chance.

Round t fits alpha_t * Y + (1 - alpha_t) * (what round t-1 said at the inputs); round 1 fits Y. Source: Borup and
Andersen 2021 (arXiv:2102.13088), whose A, B and alpha are here `shrinkage`, `modes` and a share of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rbf(a_MD: Tensor, b_ND: Tensor, rate: float) -> Tensor:
    """exp(-rate * |a - b|^2) for all pairs: (M, D), (N, D) -> (M, N)."""
    return torch.exp(-rate * (a_MD[:, None] - b_ND[None]).square().sum(-1))


# scikit-learn's KernelRidge gives the same fits (a test holds it so), but solves anew for every target and knows no
# eigenvalues: here one decomposition serves all rounds, and the closed forms are functions of it.
class KernelRidge:
    """f = argmin 1/2 |f(X) - target|^2 + ridge/2 |f|_H^2 for any targets (N, Q) at one set of N inputs X.

    kernel_NN = k(X, X) is symmetric and positive semi-definite; it is decomposed once. ValueError for a ridge that is
    not positive. With eigenvalues d, `shrinkage_N` = d / (d + ridge) is what one fit keeps of each eigenvector.
    """

    def __init__(self, kernel_NN: Tensor, ridge: float) -> None:
        if ridge <= 0:
            raise ValueError(f"kernel ridge: ridge must be positive, got {ridge}")
        eigenvalue_N, self.vectors_NN = torch.linalg.eigh(kernel_NN)
        self.eigenvalue_N, self.ridge = eigenvalue_N.clamp(min=0.0), ridge
        self.shrinkage_N = self.eigenvalue_N / (self.eigenvalue_N + ridge)

    def at(self, cross_MN: Tensor, target_NQ: Tensor) -> Tensor:
        """The fit of `target_NQ` at M other points, (M, Q), from their kernel k(x, X) with the inputs."""
        return cross_MN @ self._scaled(1.0 / (self.eigenvalue_N + self.ridge), target_NQ)

    def fitted(self, target_NQ: Tensor) -> Tensor:
        """The fit of `target_NQ` at the inputs themselves, (N, Q)."""
        return self._scaled(self.shrinkage_N, target_NQ)

    def mixed_targets(self, label_NQ: Tensor, shares: Sequence[float]) -> list[Tensor]:
        """What the rounds fit, one (N, Q) per entry of `shares`, by going through them.

        The first entry is round 1, whose share has no effect: there is nothing but the labels to fit.
        """
        targets = [label_NQ]
        for share in shares[1:]:
            targets.append(share * label_NQ + (1.0 - share) * self.fitted(targets[-1]))
        return targets[: len(shares)]

    def modes(self, rounds: int | None, share: float) -> Tensor:
        """What `rounds` rounds with one share keep of each eigenvector of the labels, (N,); None: of infinitely many.

        0 rounds keep all. The limit is a single fit with ridge / share, and 0 without labels.
        """
        kept_N = (1.0 - share) * self.shrinkage_N
        limit_N = share * self.shrinkage_N / (1.0 - kept_N)
        if rounds is None:
            return limit_N
        if rounds == 0:
            return torch.ones_like(limit_N)
        power_N = kept_N ** (rounds - 1)
        return self.shrinkage_N * power_N + limit_N * (1.0 - power_N)

    def target_of(self, rounds: int | None, share: float, label_NQ: Tensor) -> Tensor:
        """What the last of `rounds` rounds (None: infinitely many) fits, (N, Q), without the rounds before it."""
        former = None if rounds is None else rounds - 1
        return self._scaled(share + (1.0 - share) * self.modes(former, share), label_NQ)

    def _scaled(self, scale_N: Tensor, target_NQ: Tensor) -> Tensor:
        return self.vectors_NN @ (scale_N[:, None] * (self.vectors_NN.T @ target_NQ))
