"""Turns, and a grid that shares them out evenly."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from embodkd.parts.grasps.rotations import (
    about,
    angle_of,
    conjugate,
    directions,
    from_euler,
    grid,
    matrix_of,
    multiply,
    random_rotations,
    yaw_of,
)

QUAT = torch.nn.functional.normalize(torch.randn(2, 16, 4, dtype=torch.float64), dim=-1)


def _scipy(quat: Tensor) -> Rotation:
    return Rotation.from_quat(quat.numpy())


def test_quaternions_agree_with_scipys() -> None:
    a, b = QUAT
    assert torch.allclose(matrix_of(a), torch.from_numpy(_scipy(a).as_matrix()))
    assert torch.allclose(matrix_of(multiply(a, b)), torch.from_numpy((_scipy(a) * _scipy(b)).as_matrix()))
    assert torch.allclose(matrix_of(multiply(a, conjugate(a))), torch.eye(3, dtype=torch.float64).expand(16, 3, 3))
    euler = torch.from_numpy(_scipy(a).as_euler("xyz"))
    assert torch.allclose(matrix_of(from_euler(euler)), matrix_of(a))
    assert torch.allclose(yaw_of(a), euler[:, 2])


@pytest.mark.parametrize("axis", "xyz")
def test_turns_about_an_axis_agree_with_scipys(axis: str) -> None:
    angle = torch.linspace(-3, 3, 7, dtype=torch.float64)
    assert torch.allclose(
        about(axis, angle), torch.from_numpy(Rotation.from_euler(axis, angle[:, None].numpy()).as_matrix())
    )


def test_a_quaternion_and_its_negative_turn_alike() -> None:
    assert torch.equal(angle_of(QUAT), angle_of(-QUAT))
    assert torch.allclose(angle_of(QUAT[0]), torch.from_numpy(_scipy(QUAT[0]).magnitude()))


def test_the_first_rotation_of_the_coarsest_grid_is_the_cards() -> None:
    expected = [[0.666667, -0.745356, 0], [0.527046, 0.471405, -0.707107], [0.527046, 0.471405, 0.707107]]
    assert torch.allclose(grid(0)[0], torch.tensor(expected, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_grid_holds_proper_rotations_eight_times_as_many_each_level(level: int) -> None:
    rotation = grid(level)
    assert rotation.shape == (72 * 8**level, 3, 3)
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand_as(rotation))
    assert torch.allclose(torch.linalg.det(rotation), torch.ones((), dtype=torch.float64))
    # no direction and no rotation is preferred: all entries' means are 0, their squares' a third
    assert rotation.mean(0).abs().max() < 1e-9
    assert (rotation.square().mean(0) - 1 / 3).abs().max() < 0.04 / 4**level


def test_areas_of_directions_are_equal_so_heights_are_evenly_spread() -> None:
    azimuth, polar = directions(3)
    height = polar.cos().sort().values
    even = torch.linspace(-1, 1, len(height), dtype=torch.float64)
    assert len(azimuth) == 12 * 4**3 and (height - even).abs().max() < 0.05
    assert bool((azimuth < 2 * math.pi).all()) and bool((azimuth >= 0).all())


def test_each_level_is_twice_as_fine() -> None:
    probe = random_rotations(300, torch.zeros((), dtype=torch.float64), torch.Generator().manual_seed(0))
    away = []
    for level in (0, 1, 2):
        trace = torch.einsum("nij,mij->nm", probe, grid(level)).amax(1)
        away.append(float(((trace - 1) / 2).clamp(-1, 1).acos().mean()))
    assert 1.7 < away[0] / away[1] < 2.3 and 1.7 < away[1] / away[2] < 2.3


def test_random_rotations_prefer_none() -> None:
    drawn = random_rotations(20000, torch.zeros(()), torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.float32 and drawn.mean(0).abs().max() < 0.02
    # the angle's density is (1 - cos) / pi: its mean is pi / 2 + 2 / pi
    angle = ((torch.einsum("nii->n", drawn) - 1) / 2).clamp(-1, 1).acos()
    assert abs(float(angle.mean()) - (math.pi / 2 + 2 / math.pi)) < 0.02
