"""The assembly family: when a pair is together, what an action does, what is paid, contacts that hold still."""

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.geometry import rot6d_from_matrix
from embodkd.envs.tasks.assembly.expert import Expert
from embodkd.envs.tasks.assembly.parts import Insertion, Placement, Poses
from embodkd.envs.tasks.assembly.peg import PegAssembly
from embodkd.envs.tasks.peg_hole_scene import DEPTH
from play import hold, played, tilted

HERE = ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))


def turned(axis, degrees):
    return tilted(np.radians(degrees), about=axis)[None]


@pytest.mark.parametrize(
    ("axis", "passes", "fails"), [((0, 0, 1), 19.9, 20.0), ((1, 1, 1), 24.4, 24.6)], ids=["yaw", "diagonal"]
)
def test_rotation_tolerance_is_the_simulators(axis, passes, fails):  # N12
    pair = Placement("base", "part", (HERE,))
    still = np.zeros((1, 3))
    assert pair.joined(Poses(still, turned(axis, passes)))[0]
    assert not pair.joined(Poses(still, turned(axis, fails)))[0]


def test_position_tolerance_counts_its_bound_on_each_axis():  # N12
    pair = Placement("base", "part", (HERE,))
    at = np.array([[0.005, -0.005, 0.005], [0.0, 0.0, 0.0051]])
    assert pair.joined(Poses(at, turned((0, 0, 1), 0.0).repeat(2, 0))).tolist() == [True, False]


def test_any_listed_pose_will_do_and_a_position_only_pair_may_turn():
    far = ((0.1, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))
    at = Poses(np.array([[0.1, 0.0, 0.0]]), turned((0, 0, 1), 90.0))
    assert not Placement("base", "part", (HERE, far)).joined(at)[0]
    assert Placement("base", "part", (HERE, far), any_turn=True).joined(at)[0]
    assert not Placement("base", "part", (HERE,), any_turn=True).joined(at)[0]


def test_an_insertion_asks_for_place_depth_and_tilt():
    pair = Insertion("base", "part", height=0.005)
    place = np.array([[0, 0, 0.004], [0.0021, 0, 0.004], [0, 0, 0.006], [0, 0, 0.004]])
    rotation = np.concatenate([turned((0, 0, 1), 70.0)] * 3 + [turned((1, 0, 0), 5.2)])
    assert pair.joined(Poses(place, rotation)).tolist() == [True, False, False, False]


@pytest.mark.parametrize("robot", ["gripper", "panda"])
def test_an_action_is_where_the_tool_shall_be(robot):
    task = make_task("peg_assembly", 2, robot=robot)
    task.reset(np.arange(2))
    goal = hold(task)
    goal[:, :3] += [0.02, -0.01, 0.015]
    goal[:, 3:9] = rot6d_from_matrix(turned((0, 0, 1), 17.0))
    for _ in range(4):
        task.step(goal)
    np.testing.assert_allclose(task.tool().position, goal[:, :3], atol=0.002)
    np.testing.assert_allclose(task.tool().rotation[:, :2].reshape(2, 6), goal[:, 3:9], atol=0.03)


def test_one_step_goes_no_further_than_its_bound():
    task = make_task("peg_assembly", 1)
    task.reset(np.arange(1))
    before = task.tool()
    far = hold(task)
    far[:, :3] += [0.2, 0.0, 0.2]
    far[:, 3:9] = rot6d_from_matrix(turned((0, 0, 1), 170.0))
    task.step(far)
    moved = task.tool().within(before)
    assert np.abs(moved.position).max() < 0.027
    assert np.arccos((np.trace(moved.rotation[0]) - 1) / 2) < 0.38


def test_the_expert_joins_the_pair_and_is_paid_once():
    task = make_task("peg_assembly", 32)
    expert = Expert(task)
    task.reset(np.arange(32))
    expert.begin()
    paid, ended = np.zeros(32), np.zeros(32, bool)
    for _ in range(60):
        step = task.step(expert.act())
        paid += step.reward
        assert (ended <= step.info["is_success"]).all(), "success was taken back"
        np.testing.assert_array_equal(step.terminated, step.info["is_success"])
        ended |= step.terminated
    assert ended.mean() > 0.95
    np.testing.assert_array_equal(paid, ended)


def test_half_a_millimetre_of_play_holds_still_for_ten_seconds():
    task = played(make_task("peg_assembly", 4), whole=True).task
    speeds, drift = [], []
    start = task.relative(PegAssembly.pairs[0])
    for _ in range(100):
        task.step(hold(task))  # let go and wait
        relative = task.relative(PegAssembly.pairs[0])
        drift.append(np.abs(relative.position - start.position).max())
        speeds.append(np.abs(task.world.sim.view("qvel")).max())
        assert (relative.position[:, 2] > -0.001).all(), "the peg went through the table"
    assert max(drift[20:]) < DEPTH / 5
    assert np.mean(speeds[-20:]) < 0.02, "contacts feed energy into the peg"


def test_pushes_only_come_in_the_perturbation_mode_and_belong_to_the_episode():
    still, hit = (make_task("peg_assembly", 16, perturb=p, randomness="medium") for p in (False, True))
    places = []
    for task, seeds in ((still, np.arange(16)), (hit, np.arange(16)), (hit, np.arange(16))):
        task.reset(seeds)
        goal = hold(task)
        for _ in range(60):
            task.step(goal)
        places.append(task.part("peg").position.copy())
    moved = np.abs(places[1] - places[0]).max(axis=1) > 1e-3
    assert 2 <= moved.sum() <= 15
    np.testing.assert_array_equal(places[1], places[2])
