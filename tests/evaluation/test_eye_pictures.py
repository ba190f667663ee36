"""What students see, as pictures for people."""

from __future__ import annotations

import numpy as np
from embodkd.envs.spec import Group

from embodkd.evaluation.pictures import PAPER, eye_picture

POINTS = Group("points", (200, 3), False, "m", "cloud")


def _drawn(points: np.ndarray) -> np.ndarray:
    return (eye_picture(POINTS, points, 120) != PAPER).any(-1)


def test_points_all_around_are_drawn_all_over_the_picture_and_not_in_a_line() -> None:
    points = np.random.default_rng(0).uniform(-0.1, 0.1, (200, 3))
    rows, columns = np.nonzero(_drawn(points))
    assert _drawn(points).sum() > 500 and np.ptp(rows) > 80 and np.ptp(columns) > 80
    # the highest are drawn highest
    high, low = (np.nonzero(_drawn(np.concatenate([points[:199], [[0, 0, z]]])))[0] for z in (5.0, -5.0))
    assert high.min() < 10 and np.median(high) > np.median(low)


def test_points_before_a_camera_are_drawn_as_it_sees_them() -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-1, 1, 10))
    flat = np.stack([x.ravel(), y.ravel(), -np.ones(200)], axis=1)
    assert (_drawn(flat) == _drawn(3 * flat)).all() and _drawn(flat)[:4].any() and _drawn(flat)[-4:].any()


def test_one_place_is_a_dot() -> None:
    assert 0 < _drawn(np.zeros((200, 3))).sum() < 30
