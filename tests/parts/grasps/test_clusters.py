"""Which tasks belong together, and clouds that are told by a code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embodkd.parts.grasps.chamfer import PointAutoEncoder, chamfer, codes, reconstruction
from embodkd.parts.grasps.clusters import clusters, curriculum, levels, tree


@given(st.integers(1, 60), st.integers(1, 9), st.integers(2, 4), st.integers(0, 3))
@settings(deadline=None, max_examples=20)
def test_each_level_shares_all_tasks_out_and_the_curriculum_ends_with_all(
    count: int, most: int, branches: int, seed: int
) -> None:
    feature = np.random.default_rng(seed).normal(size=(count, 2)).round(1)
    root = tree(feature, branches, most)
    for node in (node for level in levels(root) for node in level):
        assert node.middle in node.rows
        if node.parts:
            assert sorted(np.concatenate([part.rows for part in node.parts])) == sorted(node.rows)
        else:
            assert len(node.rows) <= most or len(np.unique(feature[node.rows], axis=0)) == 1
    stages = curriculum(root)
    assert stages[0].tolist() == [root.middle] and stages[-1].tolist() == list(range(count))
    assert all(set(a) <= set(b) for a, b in zip(stages, stages[1:], strict=False))


def test_far_groups_are_found_and_numbered_by_first_appearance() -> None:
    feature = np.array([[0.0], [9.0], [0.1], [9.1], [-5.0]])
    assert clusters(feature, 3).tolist() == [0, 1, 0, 1, 2]
    with pytest.raises(ValueError, match="take 1 to 5"):
        clusters(feature, 6)
    with pytest.raises(ValueError, match="finite"):
        tree(np.array([[np.nan]]))


def test_equal_tasks_do_not_split_for_ever() -> None:
    assert [len(level) for level in levels(tree(np.zeros((50, 3)), most=5))] == [1]


def test_the_cards_distance_of_clouds() -> None:
    a = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]])
    b = torch.tensor([[[0.1, 0, 0], [0, 0.2, 0], [1, 0, 0.3]]])
    assert float(chamfer(a, b)) == pytest.approx(0.24) and float(chamfer(b, a)) == pytest.approx(0.24)
    assert not chamfer(a, a[:, [1, 0]]).any()


def test_a_code_tells_shapes_apart_and_ignores_the_order_of_points() -> None:
    torch.manual_seed(0)
    model = PointAutoEncoder(code=8, points=32, width=64)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)

    def shapes(count: int) -> torch.Tensor:
        size = 0.03 + 0.05 * torch.rand(count, 1, 3)
        return torch.nn.functional.normalize(torch.randn(count, 48, 3), dim=-1) * size

    held_out = shapes(32)
    before = reconstruction(model, held_out).mean()
    for _ in range(150):
        optimiser.zero_grad()
        reconstruction(model, shapes(32)).mean().backward()
        optimiser.step()
    assert reconstruction(model, held_out).mean() < 0.35 * before
    assert torch.allclose(codes(model, held_out, piece=5), codes(model, held_out[:, torch.randperm(48)]), atol=1e-5)
