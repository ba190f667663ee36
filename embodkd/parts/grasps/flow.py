"""GraspGlow: where the hand is and how its joints stand, the object seen in the hand's frame (UniDexGrasp, 4.1).

A flow of steps that can be undone exactly: activation norm, a linear map by its LU factors, an additive coupling that
sees the object (Kingma and Dhariwal 2018). Written here since no flow library that is kept up has the three with a
context in the coupling: zuko lacks the activation norm, normflows passes no context to its couplings, and nflows, which
has them, had its last release in 2020.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from embodkd.parts.grasps.points import PointFeatures

LEAST_STD = 1e-3  # of a column in the first batch


class ActivationNorm(nn.Module):
    """x * exp(log_scale) + shift, so that the first batch that it sees in training has mean 0 and deviation 1."""

    started: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.log_scale, self.shift = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """The scaled rows (N, D) and the logarithm of the determinant (N,). ValueError for a first batch of one."""
        if self.training and not self.started:
            self._start(x_ND.detach())
        return x_ND * self.log_scale.exp() + self.shift, self.log_scale.sum().expand(len(x_ND))

    def inverse(self, z_ND: Tensor) -> Tensor:
        """What was scaled."""
        return (z_ND - self.shift) * (-self.log_scale).exp()

    @torch.no_grad()
    def _start(self, x_ND: Tensor) -> None:
        if len(x_ND) < 2:
            raise ValueError("activation norm: its first batch has one row, which has no deviation: take at least two")
        std_D = x_ND.std(0).clamp(min=LEAST_STD)
        self.log_scale.copy_(-std_D.log())
        self.shift.copy_(-x_ND.mean(0) / std_D)
        self.started.fill_(True)


class LULinear(nn.Module):
    """x W^T + b with W = L U, L of unit diagonal, the diagonal of U positive and one at first."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.lower = nn.Parameter(0.01 * torch.randn(size, size))
        self.upper = nn.Parameter(0.01 * torch.randn(size, size))
        # softplus(raw) + 1e-3 = 1
        self.raw_diagonal = nn.Parameter(torch.full((size,), math.log(math.expm1(1.0 - 1e-3))))
        self.bias = nn.Parameter(torch.zeros(size))

    def diagonal(self) -> Tensor:
        """That of U, (D,)."""
        return nn.functional.softplus(self.raw_diagonal) + 1e-3

    def factors(self) -> tuple[Tensor, Tensor]:
        """L and U, (D, D)."""
        unit = torch.eye(len(self.bias), dtype=self.bias.dtype, device=self.bias.device)
        return self.lower.tril(-1) + unit, self.upper.triu(1) + self.diagonal().diag()

    def forward(self, x_ND: Tensor) -> tuple[Tensor, Tensor]:
        """The mapped rows and the logarithm of the determinant."""
        lower, upper = self.factors()
        return x_ND @ upper.T @ lower.T + self.bias, self.diagonal().log().sum().expand(len(x_ND))

    def inverse(self, z_ND: Tensor) -> Tensor:
        """What was mapped, by two triangular systems."""
        lower, upper = self.factors()
        half = torch.linalg.solve_triangular(lower, (z_ND - self.bias).T, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(upper, half, upper=True).T


class _Residual(nn.Module):
    """x + a small network of it, normalised and cut before each layer."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, width),
            nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width),
        )  # fmt: skip

    def forward(self, x_NW: Tensor) -> Tensor:
        return x_NW + self.inner(x_NW)


class AdditiveCoupling(nn.Module):
    """Moves every second column, those of `parity`, by a function of the others and the context: determinant 1."""

    moved: Tensor
    kept: Tensor

    def __init__(self, size: int, context: int, parity: int, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        column = torch.arange(size)
        self.register_buffer("moved", column[column % 2 == parity], persistent=False)
        self.register_buffer("kept", column[column % 2 != parity], persistent=False)
        self.shift = nn.Sequential(
            nn.Linear(len(self.kept) + context, width),
            _Residual(width, dropout),
            _Residual(width, dropout),
            nn.Linear(width, len(self.moved)),
        )

    def _moved_by(self, x_ND: Tensor, context_NC: Tensor, sign: float) -> Tensor:
        shift = sign * self.shift(torch.cat([x_ND[:, self.kept], context_NC], 1))
        return x_ND.index_add(1, self.moved, shift.to(x_ND.dtype))

    def forward(self, x_ND: Tensor, context_NC: Tensor) -> tuple[Tensor, Tensor]:
        """The moved rows, and zeros (N,)."""
        return self._moved_by(x_ND, context_NC, 1.0), x_ND.new_zeros(len(x_ND))

    def inverse(self, z_ND: Tensor, context_NC: Tensor) -> Tensor:
        """What was moved: exact in evaluation mode, where no dropout draws anew."""
        return self._moved_by(z_ND, context_NC, -1.0)


class _Block(nn.Module):
    """The three steps."""

    def __init__(self, size: int, context: int, parity: int, width: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.linear = ActivationNorm(size), LULinear(size)
        self.coupling = AdditiveCoupling(size, context, parity, width, dropout)

    def forward(self, x_ND: Tensor, context_NC: Tensor) -> tuple[Tensor, Tensor]:
        x_ND, by_norm_N = self.norm(x_ND)
        x_ND, by_linear_N = self.linear(x_ND)
        x_ND, by_coupling_N = self.coupling(x_ND, context_NC)
        return x_ND, by_norm_N + by_linear_N + by_coupling_N

    def inverse(self, z_ND: Tensor, context_NC: Tensor) -> Tensor:
        return self.norm.inverse(self.linear.inverse(self.coupling.inverse(z_ND, context_NC)))


class Flow(nn.Module):
    """Rows (N, D) given a context (N, C) <-> normal numbers (N, D), by `blocks` of the three steps."""

    def __init__(self, size: int, context: int, blocks: int = 8, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        self.size = size
        self.blocks = nn.ModuleList(_Block(size, context, i % 2, width, dropout) for i in range(blocks))

    def forward(self, x_ND: Tensor, context_NC: Tensor) -> tuple[Tensor, Tensor]:
        """The normal numbers (N, D) and the logarithm of the determinant (N,)."""
        total_N = x_ND.new_zeros(len(x_ND))
        for block in self.blocks:
            x_ND, log_det_N = block(x_ND, context_NC)
            total_N = total_N + log_det_N
        return x_ND, total_N

    def inverse(self, z_ND: Tensor, context_NC: Tensor) -> Tensor:
        """The rows (N, D) of normal numbers."""
        for block in reversed(list(self.blocks)):
            assert isinstance(block, _Block)
            z_ND = block.inverse(z_ND, context_NC)
        return z_ND

    def nll(self, x_ND: Tensor, context_NC: Tensor) -> Tensor:
        """-log density (N,)."""
        z_ND, log_det_N = self(x_ND, context_NC)
        return normal_nll(z_ND) - log_det_N


def normal_nll(z_ND: Tensor) -> Tensor:
    """-log density (N,) of standard normal rows."""
    return 0.5 * (z_ND.square() + math.log(2.0 * math.pi)).sum(1)


class GraspGlow(nn.Module):
    """Translations and joints (N, D) in the hand's frame, given the cloud (N, P, 3) there."""

    def __init__(
        self, size: int = 25, feature: int = 256, blocks: int = 21, width: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.points = PointFeatures(size=feature)
        self.flow = Flow(size, feature, blocks, width, dropout)

    def loss(self, points_NP3: Tensor, grasp_ND: Tensor) -> Tensor:
        """-log density (N,) of grasps."""
        return self.flow.nll(grasp_ND, self.points(points_NP3)[1])

    @torch.no_grad()
    def sample(
        self, points_NP3: Tensor, draws: int = 8, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """`draws` grasps per cloud (N, draws, D), the likeliest first, and their -log density (N, draws)."""
        context_NC = self.points(points_NP3)[1].repeat_interleave(draws, 0)
        z_ND = torch.randn(len(context_NC), self.flow.size, generator=generator).to(points_NP3)
        x_ND = self.flow.inverse(z_ND, context_NC)
        nll_NS = self.flow.nll(x_ND, context_NC).view(-1, draws)
        order_NS = nll_NS.argsort(stable=True, dim=1)
        x_NSD = x_ND.view(-1, draws, self.flow.size)
        return x_NSD.take_along_dim(order_NS[..., None], 1), nll_NS.take_along_dim(order_NS, 1)
