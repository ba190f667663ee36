"""Anchors: where they begin, what a training counts of them, and how they come and go."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodkd.core import Context
from embodkd.parts.splats.anchors import Anchors, spacing, spread
from embodkd.parts.splats.growth import Grow
from embodkd.parts.splats.project import Pinhole

CONTEXT = Context(None, 0, torch.device("cpu"))
SEEDS = st.integers(0, 2**16)


def points(seed: int, count: int) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(SEEDS)
def test_spread_points_are_each_the_farthest_from_those_before(seed: int):
    cloud = points(seed, 20)
    chosen = spread(cloud, 6).tolist()
    distance = torch.cdist(cloud, cloud)
    assert chosen[0] == 0 and len(set(chosen)) == 6
    for k in range(1, 6):
        nearest = distance[:, chosen[:k]].min(1)[0]
        assert nearest[chosen[k]] == nearest.max()
    with pytest.raises(ValueError, match="21 anchors were asked for where 20 points"):
        spread(cloud, 21)


@given(SEEDS, st.integers(1, 7))
def test_spacing_is_the_mean_distance_to_the_three_nearest_others(seed: int, count: int):
    cloud = points(seed, count)
    for k, found in enumerate(spacing(cloud).tolist()):
        others = sorted(math.dist(cloud[k].tolist(), cloud[j].tolist()) for j in range(count) if j != k)[:3]
        assert found == pytest.approx(max(np.mean(others) if others else 1.0, 1e-3), rel=1e-5)


def anchors() -> Anchors:
    made = Anchors(torch.tensor([[0.05, 0, 0], [1.0, 0, 0], [2.0, 0, 0]]), 2, 2)
    with torch.no_grad():
        made.feature.copy_(torch.arange(6.0).view(3, 2))
    return made


def test_a_pulled_gaussian_gets_an_anchor_with_its_anchors_features_unless_its_voxel_has_one():
    made = anchors()
    grow = Grow(made, voxel=0.5, pull=0.1, opacity=0.0, most=9)
    with torch.no_grad():
        made.size.zero_()
        made.offset[0, 0], made.offset[1, 1] = torch.tensor([0.0, 1.02, 0.0]), torch.tensor([0.0, 0.0, 0.9])
        made.offset[2, 0] = torch.tensor([-0.95, 0.0, 0.0])  # where the second anchor is
    made.pull += torch.tensor([[0.6, 0.0], [0.0, 0.5], [0.9, 0.1]])
    made.pulled += torch.tensor([[2.0, 1.0], [1.0, 4.0], [1.0, 2.0]])
    found = grow(CONTEXT)
    assert found == {"growth/came": 2.0, "growth/went": 0.0, "growth/anchors": 5.0}
    torch.testing.assert_close(made.position[3:], torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]))
    torch.testing.assert_close(made.feature[3:], made.feature[:2])
    torch.testing.assert_close(made.size[3:].exp(), torch.full((2, 6), 0.5))
    assert not any(count.any() for count in (made.pull, made.pulled, made.dense, made.looked, made.offset[3:]))


def test_what_is_hardly_seen_goes_but_never_all_and_never_more_than_most_come():
    made = anchors()
    grow = Grow(made, voxel=0.5, pull=0.1, opacity=0.5, most=2)
    made.looked += torch.tensor([30.0, 30.0, 5.0])
    made.dense += torch.tensor([20.0, 10.0, 0.0])  # the last one was not looked at often enough
    made.pull += 1.0
    made.pulled += 1.0
    assert grow(CONTEXT)["growth/went"] == 1.0
    assert made.feature[:, 0].tolist() == [0.0, 4.0]
    made.looked += 30.0
    assert grow(CONTEXT)["growth/went"] == 0.0 and len(made.position) == 2


def test_what_is_counted_is_the_pull_at_the_centres_in_halves_of_the_picture():
    made = anchors()
    centre = torch.zeros(3, 2, requires_grad=True)
    drawn = torch.tensor([[True, False], [True, True], [False, False]])
    opacity = torch.tensor([[0.5, -0.5], [0.25, 0.5], [0.9, 0.9]])
    camera = Pinhole(torch.eye(4), torch.ones(4), 10, 20)
    made.watch(centre * 1.0, opacity, torch.tensor([True, True, False]), drawn, camera)
    assert made.looked.tolist() == [1.0, 1.0, 0.0] and made.dense.tolist() == [0.5, 0.75, 0.0]
    shown = centre * 1.0
    made.watch(shown, opacity, torch.tensor([True, True, False]), drawn, camera)
    (shown * torch.tensor([[0.3, 0.0], [0.0, 0.0], [0.3, 0.8]])).sum().backward()
    torch.testing.assert_close(made.pull, torch.tensor([[3.0, 0.0], [0.0, math.hypot(3.0, 4.0)], [0.0, 0.0]]))
    assert made.pulled.tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
