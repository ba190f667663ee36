"""What students of clouds do with their points."""

from __future__ import annotations

import pytest
import torch
from embodkd.policies import make_policy
from embodkd.policies.clouds import farthest, thinned
from hypothesis import given
from hypothesis import strategies as st
from small_policies import GROUPS, small

STUDENTS = ("pointnet", "point_transformer")
CLOUD = torch.randn(4, 60, 3, generator=torch.Generator().manual_seed(0)) * 0.05


def _acts(name: str, points: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    policy = make_policy(name, GROUPS, 3).eval()
    obs = {"points": points, "proprio": torch.linspace(-1, 1, 4 * len(points)).view(len(points), 4)}
    with torch.no_grad():
        return policy(obs)


@pytest.mark.parametrize("name", STUDENTS)
def test_neither_the_order_of_points_nor_repeated_ones_matter(name: str) -> None:
    plain = _acts(name, CLOUD)
    assert torch.allclose(_acts(name, CLOUD[:, torch.randperm(60)]), plain, atol=1e-5)
    assert torch.allclose(_acts(name, torch.cat([CLOUD, CLOUD[:, 7:20]], 1)), plain, atol=1e-5)
    assert not torch.allclose(_acts(name, CLOUD + 0.02), plain, atol=1e-3)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_cloud_of_one_place_is_a_cloud(name: str) -> None:
    one = CLOUD[:, :1].expand(-1, 60, -1)
    assert _acts(name, one).isfinite().all()
    assert torch.allclose(_acts(name, one), _acts(name, one[:, :1]), atol=1e-5)


def test_rows_do_not_see_each_other() -> None:
    together = _acts("point_transformer", CLOUD)
    torch.manual_seed(0)
    policy = make_policy("point_transformer", GROUPS, 3).eval()
    proprio = torch.linspace(-1, 1, 16).view(4, 4)
    with torch.no_grad():
        alone = [policy({"points": CLOUD[i : i + 1], "proprio": proprio[i : i + 1]}) for i in range(4)]
    assert torch.allclose(torch.cat(alone), together, atol=1e-5)


@given(st.integers(1, 30), st.integers(1, 8))
def test_points_that_cover_a_cloud_are_of_it_and_never_nearer_than_the_rest_is_far(points: int, count: int) -> None:
    cloud = torch.randn(2, points, 3)
    found = farthest(cloud, count)
    assert found.shape == (2, count, 3)
    assert torch.cdist(found, cloud, compute_mode="donot_use_mm_for_euclid_dist").amin(2).max() == 0
    if count < points:
        apart = torch.cdist(found, found) + 1e9 * torch.eye(count)
        left = torch.cdist(cloud, found).amin(2).amax(1)
        assert count == 1 or (apart.flatten(1).amin(1) >= left - 1e-5).all()


def test_without_noise_and_loss_only_the_sample_is_drawn() -> None:
    torch.manual_seed(3)
    found = thinned(CLOUD, 20)
    torch.manual_seed(3)
    assert torch.equal(found, CLOUD[:, torch.randperm(60)[:20]])
    state = torch.random.get_rng_state()
    assert thinned(CLOUD, 60) is CLOUD and torch.equal(torch.random.get_rng_state(), state)


def test_noise_and_loss_are_as_large_as_said() -> None:
    torch.manual_seed(0)
    many = torch.zeros(200, 100, 3)
    assert float(thinned(many, 100, noise=0.003).std()) == pytest.approx(0.003, rel=0.05)
    marked = torch.arange(100.0)[None, :, None].expand(200, -1, 3)
    lost = thinned(marked, 100, lost=0.3)
    assert float((lost != marked).any(-1).float().mean()) == pytest.approx(0.3, abs=0.02)
    # what stands in is another point of the same row
    assert (lost % 1 == 0).all() and lost.max() < 100
    assert thinned(marked, 100, lost=1.0).isfinite().all()


def test_a_width_that_heads_do_not_share_and_points_with_colours_are_refused() -> None:
    with pytest.raises(ValueError, match="take a multiple"):
        make_policy("point_transformer", GROUPS, 3, width=10, heads=4)
    wide = {**GROUPS, "points": type(GROUPS["points"])("points", (32, 6), False, "m", "cloud")}
    with pytest.raises(ValueError, match="pointnet"):
        make_policy("point_transformer", wide, 3)


def test_it_learns_where_a_cloud_is() -> None:
    policy = small("point_transformer").train()
    optimiser = torch.optim.Adam(policy.parameters(), lr=3e-3)
    losses = []
    for _ in range(120):
        middle = 0.1 * torch.randn(64, 1, 3)
        obs = {"points": middle + 0.02 * torch.randn(64, 32, 3), "proprio": torch.randn(64, 4)}
        loss = (policy(obs) - 10 * middle[:, 0]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])
