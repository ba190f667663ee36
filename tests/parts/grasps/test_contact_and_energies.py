"""Where a hand touches, and what reaching into things costs."""

from __future__ import annotations

import math

import pytest
import torch

from embodkd.parts.grasps.adapt import adapted
from embodkd.parts.grasps.contact import (
    ContactNet,
    bin_of,
    contact_label,
    contact_loss,
    contact_of,
    expected,
    likeliest,
)
from embodkd.parts.grasps.energies import (
    ADAPTING,
    JOINT_STAGE,
    capsule_distance,
    capsule_penetration,
    closure_energy,
    contact_energy,
    joint_energy,
    penetration_energy,
    self_energy,
    table_energy,
    weighted,
)

MM = torch.tensor([0.0, 1.0, 5.0, 10.0, 30.0], dtype=torch.float64) / 1000


def test_contact_falls_with_distance_as_the_card_says() -> None:
    assert contact_label(MM).tolist() == pytest.approx([1, 0.970009, 0.851115, 0.708687, 0.283702], abs=1e-6)
    assert contact_of(MM).tolist() == pytest.approx([0.997, 0.969860, 0.851086, 0.708674, 0.283700], abs=1e-6)
    assert torch.equal(contact_of(MM), contact_of(-MM))
    many = torch.linspace(0, 1, 200, dtype=torch.float64)
    assert bool((contact_label(many).diff() <= 0).all()) and float(contact_label(many)[-1]) < 1e-20
    depth = torch.zeros(1, requires_grad=True)
    contact_of(depth).sum().backward()
    assert depth.grad.isfinite().all()


def test_bins_and_their_middles() -> None:
    assert bin_of(torch.tensor([0.0, 0.0999, 0.95, 1.0])).tolist() == [0, 0, 9, 9]
    probability = torch.tensor([0.05] * 6 + [0.1, 0.1, 0.2, 0.3])
    assert float(likeliest(probability.log())) == pytest.approx(0.95)
    assert float(expected(probability.log())) == pytest.approx(0.685)


def test_contact_net_says_something_of_each_point_whatever_their_order() -> None:
    net = ContactNet(32, (32,)).eval()
    points, hand, order = torch.randn(2, 12, 3) * 0.1, torch.randn(2, 9, 3) * 0.1, torch.randperm(12)
    with torch.no_grad():
        logits = net(points, hand)
        assert logits.shape == (2, 12, 10)
        assert torch.allclose(net(points[:, order], hand[:, torch.randperm(9)]), logits[:, order], atol=1e-5)
    assert contact_loss(logits, torch.rand(2, 12)).shape == (2, 12)


def test_the_cards_energies() -> None:
    point = torch.tensor([0.002, -0.004, 0.01], dtype=torch.float64)
    radius, length = torch.tensor(0.008, dtype=torch.float64), torch.tensor(0.03, dtype=torch.float64)
    depth = capsule_distance(point, radius, length)
    assert float(depth.square()) == pytest.approx(1.244582e-5, abs=1e-11) and depth > 0
    finger = capsule_penetration(point, radius, length)
    assert float(finger) == pytest.approx(2.0e-5, abs=1e-12)
    assert float(capsule_penetration(point, radius, length, thumb=True)) == pytest.approx(1.16e-4, abs=1e-12)
    keypoint = torch.zeros(1, 3, 3, dtype=torch.float64)
    keypoint[0, :, 0] = torch.tensor([0.0, 0.015, 0.05])
    spen = self_energy(keypoint)
    keypoint[0, :, 2] = torch.tensor([0.004, -0.003, 0.02])
    tpen = table_energy(keypoint)
    cmap = contact_energy(torch.tensor([[0.997, 0.2, 0.4]]).double(), torch.tensor([[0.95, 0.05, 0.55]]).double())
    assert (float(spen), float(tpen)) == pytest.approx((0.010, 0.019))
    assert float(cmap) == pytest.approx(0.047209)
    parts = {"cmap": cmap, "pen": finger[None], "tpen": tpen, "spen": spen}
    assert float(weighted(parts, ADAPTING)) == pytest.approx(19.303305, abs=1e-6)
    assert float(weighted(parts, JOINT_STAGE)) == pytest.approx(1.060944, abs=1e-6)


def test_an_energy_without_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="no weight for depth"):
        weighted({"depth": torch.zeros(1)}, ADAPTING)


def test_nothing_outside_a_capsule_costs_anything() -> None:
    point = torch.tensor([[0.0, 0.0, 0.05], [0.02, 0.0, 0.01], [0.0, 0.0, -0.009]])
    radius, length = torch.tensor(0.008), torch.tensor(0.03)
    assert not capsule_penetration(point, radius, length).any()
    assert not penetration_energy(capsule_distance(point, radius, length)[None]).any()
    assert capsule_distance(point, radius, length).tolist() == pytest.approx([-0.012, -0.012, -0.001])


def test_pushes_that_hold_each_other_close_a_grasp_wherever_it_is() -> None:
    contact = torch.tensor([[[0.05, 0.0, 0.0], [-0.05, 0.0, 0.0]]]).double()
    normal = -contact / 0.05
    assert float(closure_energy(contact, normal)) == 0
    assert float(closure_energy(contact + 3.0, normal)) == pytest.approx(0, abs=1e-20)
    assert float(closure_energy(contact, normal.abs())) == pytest.approx(4.0)


def test_joints_within_their_limits_cost_nothing() -> None:
    low, high = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 2.0])
    assert joint_energy(torch.tensor([[0.0, 2.0], [-1.5, 2.25]]), low, high).tolist() == [0.0, 0.75]


def test_a_moved_grasp_costs_less_and_touches_where_it_was_told_to() -> None:
    """A ball of 3 cm, a fingertip of 1 cm beside it: it shall touch the ball's top."""
    direction = torch.nn.functional.normalize(torch.randn(200, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    ball = 0.03 * direction
    wanted = contact_label(torch.linalg.vector_norm(ball - torch.tensor([0.0, 0.0, 0.04]), dim=-1) - 0.01)

    def energy(place_N3: torch.Tensor) -> torch.Tensor:
        depth_NP = 0.01 - torch.linalg.vector_norm(ball[None] - place_N3[:, None], dim=-1)
        return 0.07 * contact_energy(contact_of(depth_NP), wanted) + 10000.0 * penetration_energy(depth_NP)

    start = torch.tensor([[0.03, 0.0, 0.05], [0.0, 0.02, 0.03]])
    with torch.no_grad():
        before = energy(start)
    moved, after = adapted(start, energy)
    assert bool((after < 0.7 * before).all()) and torch.allclose(after, energy(moved))
    assert (moved - torch.tensor([0.0, 0.0, 0.04])).norm(dim=1).max() < 0.005
    assert not wanted.requires_grad


def test_an_energy_that_is_no_number_at_the_start_is_refused_and_later_moves_nothing() -> None:
    with pytest.raises(ValueError, match="grasp 1"):
        adapted(torch.zeros(2, 1), lambda x: torch.tensor([0.0, math.nan]) + x[:, 0])
    moved, best = adapted(torch.ones(1, 1), lambda x: (x[:, 0] - 0.9995).clamp(min=0).sqrt() * x[:, 0], steps=5)
    assert moved.isfinite().all() and best.isfinite().all()
