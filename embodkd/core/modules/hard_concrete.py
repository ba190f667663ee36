"""The hard-concrete distribution: gates that are zero or one with a chance, and can be learned by gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class HardConcrete(nn.Module):
    """`size` gates with a point mass at zero and at one (Louizos et al., arXiv 1712.01312), by their logits.

    start: logits, one number or (size,). At 10 a gate is open, at -10 shut.
    """

    BETA, LOW, HIGH, EPS = 2.0 / 3.0, -0.1, 1.1, 1e-6

    def __init__(self, size: int, start: float | Tensor = 10.0) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.as_tensor(start, dtype=torch.get_default_dtype()).expand(size).clone())

    def sample(self) -> Tensor:
        """A draw, (size,): clamp(1.2 s - 0.1, 0, 1), s = sigmoid((logit(u) + logits) / beta), u uniform."""
        u = torch.rand_like(self.logits).clamp(self.EPS, 1 - self.EPS)
        s = torch.sigmoid((u.logit() + self.logits) / self.BETA)
        return (s * (self.HIGH - self.LOW) + self.LOW).clamp(0.0, 1.0)

    def alive(self) -> Tensor:
        """P(z > 0), (size,); its sum is the expected number of open gates."""
        shut = torch.sigmoid(self.BETA * math.log(-self.LOW / self.HIGH) - self.logits)
        return (1 - shut).clamp(self.EPS, 1 - self.EPS)

    def mask(self) -> Tensor:
        """The gates of evaluation, (size,): sigmoid(0.8 logits / beta), the expected number of zeros set to zero."""
        soft = torch.sigmoid(self.logits / self.BETA * 0.8)
        zeros = round((1 - self.alive()).sum().item())
        return soft.index_fill(0, soft.argsort(stable=True)[:zeros], 0.0)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Keep the logits within +-log 100, so that every gate can still move."""
        self.logits.clamp_(-math.log(100.0), math.log(100.0))

    def forward(self) -> Tensor:
        """A draw in training mode, the mask in evaluation mode."""
        return self.sample() if self.training else self.mask()
