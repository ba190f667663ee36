"""A tool turns the short way: what its controller pulls at is the logarithm of the rotation that is missing."""

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.geometry import matrix_from_quat, quat_from_rotvec, quat_multiply, rot6d_from_matrix, turn_between
from every_world import every_robot
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

ALL = slice(None)
vectors = st.tuples(*[st.floats(-10.0, 10.0)] * 3).map(np.array)


def anywhere(count, seed=0):
    """Rotations drawn uniformly, and some at the edge: none, half turns, and turns a hair's breadth off them."""
    drawn = Rotation.random(count, random_state=seed)
    half = Rotation.from_rotvec(np.pi * np.eye(3)[np.arange(count) % 3])
    hair = half * Rotation.from_rotvec(np.random.default_rng(seed).normal(scale=1e-3, size=(count, 3)))
    return Rotation.concatenate([Rotation.identity(1), drawn, half, hair])


def quat(rotation):
    return rotation.as_quat(scalar_first=True)


@given(vectors, vectors, vectors)
def test_a_turn_is_at_most_half_a_circle_reaches_its_end_and_is_continuous(a, b, change):
    start, end = (quat_from_rotvec(vector[None]) for vector in (a, b))
    turn = turn_between(start, end)
    assert np.linalg.norm(turn) <= np.pi + 1e-9
    reached = matrix_from_quat(quat_multiply(start, quat_from_rotvec(turn)))
    np.testing.assert_allclose(reached, matrix_from_quat(end), atol=1e-9)
    little = 1e-3 * change / max(1.0, np.linalg.norm(change))
    beside = turn_between(start, quat_multiply(end, quat_from_rotvec(little[None])))
    assert abs(np.linalg.norm(beside) - np.linalg.norm(turn)) <= np.linalg.norm(little) + 1e-9


@every_robot
def test_the_controller_sees_the_logarithm_of_the_missing_turn(name, options):
    task, copies = make_task(name, 8, **options), np.arange(8)
    task.reset(copies)
    robot, aims = task.world.robot, anywhere(21)
    assert len(aims) == 64
    for first in range(0, 64, 8):
        aim = aims[first : first + 8]
        robot.aim(ALL, robot.position, quat(aim))
        task.world.settle(copies)
        turn, expected = robot.missing_turn, (Rotation.from_matrix(robot.rotation).inv() * aim).as_rotvec()
        np.testing.assert_allclose(np.linalg.norm(turn, axis=1), np.linalg.norm(expected, axis=1), atol=2e-6)
        straight = np.linalg.norm(expected, axis=1) < np.pi - 1e-3  # at half a turn both ways are as short
        np.testing.assert_allclose(turn[straight], expected[straight], atol=2e-6)


FLOATING = [("peg_hole", {}), ("peg_hole", {"engine": "bullet"}), ("peg_assembly", {}), ("hand_lift", {})]


@pytest.mark.parametrize(("name", "options"), FLOATING, ids=str)
def test_in_free_motion_the_missing_turn_only_gets_less(name, options):
    pytest.importorskip({"bullet": "pybullet"}.get(options.get("engine"), "numpy"))
    pytest.importorskip({"hand_lift": "gymnasium_robotics"}.get(name, "numpy"))
    starts, aims = anywhere(4, seed=1), anywhere(4, seed=2)
    count = len(starts)
    task = make_task(name, count, **options)
    task.reset(np.arange(count))
    world, copies = task.world, np.arange(count)
    place = np.tile([0.0, 0.0, 0.6], (count, 1))  # above all that it could touch
    world.robot.place(copies, place, starts.as_rotvec())
    world.robot.aim(ALL, place, quat(aims))
    world.settle(copies)
    before = first = np.linalg.norm(world.robot.missing_turn, axis=1)
    for _ in range(25):
        world._step()
        now = np.linalg.norm(world.robot.missing_turn, axis=1)
        assert (now <= before + 0.02).all(), "it turned away from its aim"
        before = now
    assert (now < np.maximum(0.05, 0.1 * first)).all()


def test_a_gripper_that_is_asked_to_turn_on_and_on_never_whirls():  # R13
    task = make_task("peg_assembly", 1)
    task.reset(np.arange(1))
    place = task.tool().position.copy()
    for k in range(60):
        asked = Rotation.from_rotvec([0.0, 0.0, 0.1 * k]) * Rotation.from_rotvec([0.02, 0.0, 0.0])
        rows = rot6d_from_matrix(asked.as_matrix()[None])
        task.step(np.concatenate([place, rows, [[-1.0]]], axis=1))
        assert np.linalg.norm(task.world.robot.twist[:, 3:]) < 4.0
        if k > 0:
            off = (Rotation.from_matrix(task.tool().rotation[0]).inv() * asked).magnitude()
            assert off < np.radians(2)


@every_robot
def test_turning_on_and_on_about_the_vertical_never_whirls(name, options):  # R13
    task = make_task(name, 1, **options)
    task.reset(np.arange(1))
    deltas = np.zeros((1, task.world.robot.action_size))
    deltas[:, {4: 3, 5: 3, 26: 25}.get(deltas.shape[1], 5)] = 1.0
    for _ in range(80 if name == "peg_hole" else 40):
        task.world.advance(deltas)
        assert np.linalg.norm(task.world.robot.twist[:, 3:]) < 4.0
