"""How good and how diverse grasps are."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from embodkd.parts.grasps.quality import contacts, q1, spread


def _on_axes(radius: float) -> tuple[np.ndarray, np.ndarray]:
    direction = np.concatenate([np.eye(3), -np.eye(3)])
    return radius * direction, -direction


def test_the_cards_grasps() -> None:
    assert q1(*_on_axes(0.05)) == pytest.approx(0.408248, abs=1e-6)
    assert q1(*_on_axes(0.03)) == pytest.approx(0.244949, abs=1e-6)
    angle = 2 * np.pi * np.arange(3) / 3
    around = np.stack([np.cos(angle), np.sin(angle), np.zeros(3)], axis=1)
    assert q1(0.05 * around, -around) == pytest.approx(0.316388, abs=1e-6)


def test_a_grasp_that_reaches_in_too_far_or_bears_nothing_is_worth_nothing() -> None:
    point, normal = _on_axes(0.05)
    assert q1(point, normal, penetration=0.005) == 0 and q1(point, normal, penetration=0.0049) > 0
    assert q1(point, normal, table_penetration=0.01) == 0 and q1(point, normal, table_penetration=0.0099) > 0
    assert q1(point[:0], normal[:0]) == 0
    assert q1(point[:1], normal[:1]) == 0  # one finger
    assert q1(np.zeros((2, 3)), normal[[0, 3]]) == 0  # without arms no torque: flat


def test_turning_everything_changes_little_and_more_contacts_never_harm() -> None:
    point, normal = _on_axes(0.05)
    turn = Rotation.from_euler("xyz", [0.3, -0.7, 1.1]).as_matrix()
    # cones of eight edges are not round
    assert q1(point @ turn.T, normal @ turn.T) == pytest.approx(q1(point, normal), rel=0.15)
    assert q1(point, normal) >= q1(point[:5], normal[:5]) - 1e-9


def test_each_link_touches_where_it_is_deepest_or_not_at_all() -> None:
    surface = np.arange(18.0).reshape(3, 2, 3)
    signed = np.array([[-0.02, -0.005], [0.001, 0.002], [-0.02, -0.03]])
    point, normal = contacts(signed, surface, surface + 0.5)
    assert point.tolist() == [surface[0, 1].tolist(), surface[1, 1].tolist()] and (normal == point + 0.5).all()


def test_equal_grasps_are_not_diverse_and_a_known_spread_is_found() -> None:
    same = np.repeat(np.eye(3)[None], 4, axis=0)
    assert set(spread(same, np.zeros((4, 3)), np.zeros((4, 22))).values()) == {0.0}
    turned = Rotation.from_euler("z", [[-0.2], [0.2], [-0.2], [0.2]]).as_matrix()
    found = spread(turned, np.array([[0.01, 0, 0], [-0.01, 0, 0]] * 2), np.array([[0.1], [-0.1]] * 2))
    assert found["rotation_deg"] == pytest.approx(np.degrees(0.2))
    assert found["translation_cm"] == pytest.approx(1.0) and found["joint_deg"] == pytest.approx(np.degrees(0.1))
    with pytest.raises(ValueError, match="at least two"):
        spread(same[:1], np.zeros((1, 3)), np.zeros((1, 1)))
