"""HandLift: where episodes start, what counts as lifted, what the hand feels, and what it must not know."""

import importlib.util

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.sim.robots.hand import SMOOTHING, STEP, STIFFNESS

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gymnasium_robotics") is None, reason="the hand's model needs embodkd[hand]"
)


def started(count=4, **options):
    task = make_task("hand_lift", count, threads=1, **options)
    task.reset(np.arange(count))
    return task


def still(task):
    return np.zeros(task.last_action.shape, np.float32)


def move_object(task, copy, position):
    """Put a copy's object somewhere, at rest."""
    world = task.world
    world.sim.view("qpos")[copy, world._qpos][:3] = position
    world.sim.view("qvel")[copy, world._qvel] = 0.0
    world.sim.forward()


def grasp_and_lift(task):
    """Down, close every finger, up: the same blind motion in every copy; returns the last step."""
    for k in range(task.spec.max_steps):
        action = still(task)
        action[:, 22] = -0.4 if k < 9 else 1.0 if 26 <= k < 45 else 0.0
        if k >= 12:
            action[:, [3, 4, 6, 7, 9, 10, 13, 14]] = 0.8
            action[:, [16, 19]] = [0.6, -0.7]
        step = task.step(action)
    return step


def test_episodes_start_as_declared():
    task = started(256)
    place = task.world.position("object")
    assert np.ptp(place[:, :2], axis=0) == pytest.approx([0.08, 0.08], abs=0.004)
    np.testing.assert_allclose(place[:, 2], task.world.rest_height)
    yaw = 2 * np.arctan2(task.world.object_quat[:, 3], task.world.object_quat[:, 0])
    assert np.ptp(yaw) > 6.0
    np.testing.assert_allclose(task.world.robot.position[:, 2], 0.1, atol=0.0051)
    assert not task.world.contacts.any(), "nothing touches the object at the start"


@pytest.mark.parametrize("shape", ["box", "cylinder", "sphere"])
def test_objects_rest_and_the_hand_floats_while_nothing_is_done(shape):
    task = started(object=shape)
    hand, thing = task.world.robot.position.copy(), task.world.position("object").copy()
    for _ in range(task.spec.max_steps):
        step = task.step(still(task))
    np.testing.assert_allclose(task.world.robot.position, hand, atol=2e-3)
    np.testing.assert_allclose(task.world.position("object"), thing, atol=2e-3)
    assert step.truncated.all() and not step.info["is_success"].any()
    assert [task.spec.failures[code] for code in step.info["failure"]] == ["not_lifted"] * 4


def test_success_and_failures_are_judged_by_where_the_object_is():
    task = started()
    rest = task.world.rest_height
    move_object(task, 0, [0.3, 0.0, rest + 0.13])
    move_object(task, 1, [0.3, 0.0, rest])
    move_object(task, 2, [0.15, 0.15, rest + 0.09])
    step = task.step(still(task))
    assert step.info["is_success"].tolist() == [True, False, False, False]
    names = [task.spec.failures[code] for code in step.info["failure"]]
    assert names == ["none", "out_of_reach", "dropped", "not_lifted"]


def test_a_blind_scripted_grasp_lifts_some_objects_and_sparse_reward_says_which():
    task = started(32, reward="sparse")
    step = grasp_and_lift(task)
    lifted = step.info["is_success"]
    assert 6 <= lifted.sum() < 32, "with creeping friction most would slip out before the end"
    np.testing.assert_array_equal(step.reward, lifted.astype(np.float32))
    # what is lifted is held by something, and only what is held is lifted
    assert task.world.contacts[lifted].any(axis=1).all()
    np.testing.assert_allclose(task.world.position("object")[~lifted, 2], task.world.rest_height, atol=0.07)


def test_dense_reward_prefers_a_near_and_a_lifted_object():
    task = started()
    rest = task.world.rest_height
    move_object(task, 0, [0.15, 0.15, rest])
    move_object(task, 1, [0.1, 0.1, rest])
    move_object(task, 2, [0.03, 0.0, rest])
    move_object(task, 3, [0.1, 0.1, rest + 0.12])
    reward = task.step(still(task)).reward
    assert reward[0] < reward[1] < reward[2] < reward[3]


@pytest.mark.parametrize("shape", ["box", "cylinder", "sphere"])
def test_tilting_an_object_on_the_table_lifts_nothing(shape):
    task = started(64, object=shape)
    world = task.world
    np.testing.assert_allclose(world.clearance, 0.0, atol=1e-9)
    rng = np.random.default_rng(0)
    quat = rng.normal(size=(64, 4))
    world.sim.view("qpos")[:, world._qpos][:, 3:] = quat / np.linalg.norm(quat, axis=1, keepdims=True)
    world.sim.view("qpos")[:, world._qpos][:, :3] = [0.3, 0.3, 0.2]
    world.sim.forward()
    # a plane of rays from below finds the lowest point independently
    x, y = np.meshgrid(np.linspace(-0.05, 0.05, 41), np.linspace(-0.05, 0.05, 41))
    origin = np.stack([0.3 + x, 0.3 + y, np.full_like(x, 0.05)], axis=-1).reshape(1, -1, 3).repeat(64, 0)
    up = np.zeros_like(origin) + [0.0, 0.0, 1.0]
    distance, _, *_ = world.sim.ray(origin, up, groups=None, ids=None, normals=False)
    lowest = 0.05 + np.where(distance < 0, np.inf, distance).min(axis=1)
    np.testing.assert_allclose(world.clearance, lowest, atol=2.5e-3)


def test_proprioception_does_not_know_where_the_object_is():
    task = started(2)
    before = task.observe(["proprio", "privileged"])
    for copy in range(2):
        move_object(task, copy, [0.1, -0.2, 0.2])
    after = task.observe(["proprio", "privileged"])
    np.testing.assert_array_equal(before["proprio"], after["proprio"])
    assert (np.abs(before["privileged"] - after["privileged"]).max(axis=1) > 0.05).all()


def test_the_object_is_seen_from_the_palm():
    task = started(1)
    before = task.observe(["privileged"])["privileged"][0, :3]
    move_object(task, 0, task.world.position("object")[0] + [0.0, 0.0, 0.01])
    moved = task.observe(["privileged"])["privileged"][0, :3] - before
    # the palm looks down within the start's 0.09 rad, and its z points out of the back of the hand
    np.testing.assert_allclose(moved, [0, 0, 0.01], atol=1.5e-3)
    assert before[2] < 0


def test_finger_targets_follow_their_goals_smoothly():
    task = started(1)
    hand = task.world.robot
    action = still(task)
    action[:, 3] = 1.0  # first finger's knuckle
    gaps = []
    for _ in range(3):
        gaps.append(hand._high[3] - task.world.sim.view("ctrl")[0, hand._fingers][3])
        task.step(action)
    np.testing.assert_allclose(gaps, gaps[0] * (1 - SMOOTHING) ** np.arange(3), rtol=1e-6)


def test_pushing_down_is_bounded_and_felt():
    task = started(2)
    action = still(task)
    action[:, 22] = -1.0
    for _ in range(40):
        task.step(action)
    assert (task.world.robot.position[:, 2] > 0.02).all()
    force = task.observe(["proprio"])["proprio"][:, 80:86]
    assert (force[:, 2] < -1.0).all()
    assert (np.abs(force[:, 2]) < 1.5 * STIFFNESS[0] * STEP[0]).all()


def test_forces_and_contacts_survive_a_saved_state():
    task = started(8)
    for _ in range(25):
        action = still(task)
        action[:, 22] = -0.4
        action[:, :20] = 0.6
        task.step(action)
    seen = task.observe(["proprio", "privileged"])
    assert seen["proprio"][:, 86:91].any(), "some fingertip feels something"
    other = started(8)
    other.load_state_dict(task.state_dict())
    for group, values in other.observe(["proprio", "privileged"]).items():
        np.testing.assert_array_equal(values, seen[group])


def test_the_wrist_camera_sees_the_object():
    task = started(8, randomness="low")
    geom = task.world.sim.model.geom("object").id + 1
    seen = (task.observe(["wrist_segmentation"])["wrist_segmentation"] == geom).mean(axis=(1, 2, 3))
    assert (seen > 0.05).all()


def test_wrong_options_and_missing_assets_are_explained(monkeypatch):
    with pytest.raises(ValueError, match="hand_lift.object.*box.*cylinder.*sphere"):
        make_task("hand_lift", object="teapot")
    with pytest.raises(ValueError, match="no engine 'bullet'"):
        make_task("hand_lift", engine="bullet")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"embodkd\[hand\]"):
        make_task("hand_lift")
