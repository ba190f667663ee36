"""A density over rotations."""

from __future__ import annotations

import math

import pytest
import torch

from embodkd.parts.grasps.ipdf import VOLUME, GraspIPDF, ipdf_nll, probabilities, queries
from embodkd.parts.grasps.rotations import about, grid, random_rotations


def test_constant_scores_have_the_density_of_no_knowledge() -> None:
    for count in (4, 72, 4096):
        assert torch.allclose(
            ipdf_nll(torch.full((3, count), 1.7, dtype=torch.float64)), torch.tensor(2.289460).double()
        )


def test_the_cards_figures() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
    assert float(ipdf_nll(logits)) == pytest.approx(4.343355, abs=1e-6)
    assert probabilities(logits)[0].tolist() == pytest.approx([0.643914, 0.236883, 0.087144, 0.032059], abs=1e-6)
    assert probabilities(logits, True)[0].tolist() == pytest.approx([0.291860, 0.247475, 0.232903, 0.227761], abs=1e-6)


@pytest.mark.parametrize(("p", "drawn"), [(0.01, 0.020497), (0.02, 0.690640), (0.05, 1.0)])
def test_the_released_second_softmax_is_nearly_even_or_nearly_sure(p: float, drawn: float) -> None:
    rest = (1 - p) / 4607
    logits = torch.tensor([[p] + [rest] * 4607], dtype=torch.float64).log()
    assert float(probabilities(logits)[0, 0]) == pytest.approx(p)
    assert float(probabilities(logits, True)[0, 0]) == pytest.approx(drawn, abs=1e-6)


def test_the_density_integrates_to_one_on_any_even_grid() -> None:
    net = GraspIPDF(16, 32).eval()
    points = torch.randn(2, 20, 3) * 0.05
    for level in (0, 1):
        rotation = grid(level).float()
        with torch.no_grad():
            logits = net(points, rotation.expand(2, -1, -1, -1))
        density = probabilities(logits) * len(rotation) / VOLUME
        assert torch.allclose(density.mean(1) * VOLUME, torch.ones(2), atol=1e-4)


def test_queries_end_with_what_was_grasped_and_stay_evenly_drawn() -> None:
    rotation = random_rotations(2, torch.zeros(()))
    asked = queries(rotation, 4000, torch.Generator().manual_seed(1))
    assert torch.equal(asked[:, -1], rotation)
    assert torch.allclose(asked @ asked.mT, torch.eye(3).expand_as(asked), atol=1e-5)
    assert asked.mean(1).abs().max() < 0.05


def test_the_order_of_points_does_not_matter() -> None:
    net = GraspIPDF(16, 32).eval()
    points, rotation = torch.randn(1, 30, 3) * 0.05, grid(0).float()[None]
    with torch.no_grad():
        assert torch.allclose(net(points, rotation), net(points[:, torch.randperm(30)], rotation), atol=1e-5)


def _bar(yaw: torch.Tensor) -> torch.Tensor:
    """Points of a bar that lies turned by `yaw`, (N, 24, 3)."""
    along = torch.linspace(-0.1, 0.1, 24)
    bar = torch.stack([along, torch.zeros(24), torch.full((24,), 0.02)], -1)
    return torch.einsum("nij,pj->npi", about("z", yaw), bar)


def test_it_learns_that_a_bar_is_grasped_across_and_not_from_another_bars_points() -> None:
    torch.manual_seed(0)
    net, count = GraspIPDF(32, 64), 128
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)

    def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        yaw = torch.rand(size) * math.pi
        # either way round, and the palm down
        half_turn = math.pi * torch.randint(2, (size,))
        return _bar(yaw), about("z", yaw + half_turn + 0.05 * torch.randn(size)) @ about(
            "x", torch.full((size,), math.pi)
        )

    for _ in range(150):
        points, rotation = batch(32)
        optimiser.zero_grad()
        net.loss(points, rotation, count).mean().backward()
        optimiser.step()
    net.eval()
    points, rotation = batch(256)
    with torch.no_grad():
        told = net.loss(points, rotation, count).mean()
        another = net.loss(points[torch.randperm(256)], rotation, count).mean()
    assert told < math.log(VOLUME) - 1.0 and another > told + 1.0
    drawn, density = net.sample(_bar(torch.zeros(1)), 64, level=1, generator=torch.Generator().manual_seed(0))
    # palm down: the hand's z points down
    assert float((drawn[0, :, 2, 2] < -0.7).float().mean()) > 0.9 and bool((density > 0).all())
