"""A flow that can be undone."""

from __future__ import annotations

import math

import pytest
import torch

from embodkd.parts.grasps.flow import ActivationNorm, AdditiveCoupling, Flow, GraspGlow, LULinear, normal_nll


def _made(size: int = 25, context: int = 6, blocks: int = 5) -> Flow:
    torch.manual_seed(0)
    flow = Flow(size, context, blocks).double()
    flow.train()
    for _ in range(3):  # starts the norms, and gives batch normalisation something to remember
        flow(torch.randn(64, size).double() * 2 + 1, torch.randn(64, context).double())
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return flow.eval()


def test_rows_come_back() -> None:
    flow = _made()
    x, context = torch.randn(32, 25).double(), torch.randn(32, 6).double()
    z, _ = flow(x, context)
    assert (flow.inverse(z, context) - x).abs().max() < 1e-9
    single = flow.float()
    x, context = x.float(), context.float()
    assert (single.inverse(single(x, context)[0], context) - x).abs().max() < 1e-4


def test_the_determinant_is_the_jacobians() -> None:
    flow = _made()
    x, context = torch.randn(4, 25).double(), torch.randn(4, 6).double()
    for i in range(4):
        seen = context[i : i + 1]
        jacobian = torch.autograd.functional.jacobian(lambda row, seen=seen: flow(row[None], seen)[0][0], x[i])
        _, log_det = flow(x[i : i + 1], seen)
        assert float(torch.linalg.slogdet(jacobian)[1]) == pytest.approx(float(log_det.detach()), abs=1e-8)


def test_the_first_batch_comes_out_with_mean_zero_and_deviation_one_and_no_later_one_moves_it() -> None:
    norm = ActivationNorm(2).train()
    x = torch.tensor([[0.1, 2.0], [0.3, 4.0], [0.2, 9.0]])
    y, log_det = norm(x)
    assert norm.log_scale.tolist() == pytest.approx([2.302585, -1.282475], abs=1e-5)
    assert norm.shift.tolist() == pytest.approx([-2.0, -1.386750], abs=1e-5)
    assert torch.allclose(y.mean(0), torch.zeros(2), atol=1e-6) and torch.allclose(y.std(0), torch.ones(2))
    assert torch.allclose(log_det, norm.log_scale.sum().expand(3))
    before = norm.log_scale.clone()
    norm(torch.randn(5, 2))
    assert torch.equal(norm.log_scale, before)


def test_a_column_that_never_changes_is_not_blown_up_without_limit() -> None:
    norm = ActivationNorm(1).train()
    norm(torch.full((4, 1), 3.0))
    assert norm.log_scale.item() == pytest.approx(math.log(1e3))


def test_a_first_batch_of_one_row_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        ActivationNorm(3).train()(torch.zeros(1, 3))


def test_the_linear_map_begins_with_a_diagonal_of_one() -> None:
    assert torch.allclose(LULinear(25).diagonal(), torch.ones(25))


def test_a_coupling_keeps_volume_and_what_it_reads() -> None:
    coupling = AdditiveCoupling(5, 2, 1).eval()
    x = torch.randn(3, 5)
    y, log_det = coupling(x, torch.randn(3, 2))
    assert not log_det.any() and torch.equal(y[:, ::2], x[:, ::2]) and not torch.equal(y[:, 1::2], x[:, 1::2])


def test_the_density_at_zero_is_the_cards() -> None:
    assert float(normal_nll(torch.zeros(1, 25).double())) == pytest.approx(22.973463, abs=1e-6)


def test_it_learns_which_cloud_is_held_where() -> None:
    torch.manual_seed(0)
    glow = GraspGlow(3, 16, blocks=4, width=32, dropout=0.0)
    optimiser = torch.optim.Adam(glow.parameters(), lr=3e-3)

    def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        length = 0.02 + 0.08 * torch.rand(size)
        points = torch.randn(size, 16, 3) * length[:, None, None]
        return points, torch.stack([length, 2 * length, 0 * length], -1) * 10 + 0.05 * torch.randn(size, 3)

    for _ in range(200):
        optimiser.zero_grad()
        glow.loss(*batch(64)).mean().backward()
        optimiser.step()
    glow.eval()
    points, grasp = batch(256)
    with torch.no_grad():
        told, other = glow.loss(points, grasp).mean(), glow.loss(points[torch.randperm(256)], grasp).mean()
        # the best that can be done without looking: a normal distribution of the grasps
        blind = -torch.distributions.MultivariateNormal(grasp.mean(0), grasp.T.cov()).log_prob(grasp).mean()
    assert told < blind - 0.3 < other
    drawn, nll = glow.sample(points[:4], 8)
    assert drawn.shape == (4, 8, 3) and bool((nll.diff(dim=1) >= 0).all())
    assert torch.allclose(nll[:, 0], glow.loss(points[:4], drawn[:, 0]), atol=1e-3)
