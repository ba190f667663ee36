"""Grasp: who gets which object, what counts as success, and a copy that diverges and begins again alone."""

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.tasks.grasp.task import HOLD, NEAR, RANDOMNESS

pytest.importorskip("gymnasium_robotics")
ZERO = np.zeros((1, 26), np.float32)


def begun(count, seeds=None, **options):
    task = make_task("grasp", count, threads=1, image_size=6, **options)
    task.reset(np.arange(count) if seeds is None else np.asarray(seeds))
    return task


def test_the_same_seed_has_the_same_object_in_any_company():
    many, one = begun(6, [9, 4, 9, 1, 30, 2]), begun(1, [9])
    assert many.which_N[0] == many.which_N[2] == one.which_N[0] and len({*many.which_N.tolist()}) > 2
    seen = many.observe(["privileged", "points"])
    for group, values in one.observe(["privileged", "points"]).items():
        np.testing.assert_array_equal(values[0], seen[group][0])
        np.testing.assert_array_equal(values[0], seen[group][2])


def test_objects_are_drawn_evenly_from_the_split():
    task = begun(600, split="unseen_size")
    assert {*task.which_N.tolist()} <= {*task.library.pool("unseen_size", ()).tolist()}
    count = np.bincount(task.which_N, minlength=len(task.library.things))
    assert len(np.flatnonzero(count)) == 60 and count.max() < 30
    heights = task.library.resting.height[task.which_N]
    assert np.abs(heights - task.world.position("object")[:, 2:3]).min(axis=1).max() < 1e-12
    away = task.world.position("object")[:, :2] - [0.03, 0.01]
    assert np.abs(away).max() < RANDOMNESS["high"] and np.abs(away).max(axis=0).min() > 0.095


def test_only_one_object():
    task = begun(5, only=("mug_3",), split="all")
    assert {task.library.things[k].name for k in task.which_N} == {"mug_3"}


def carried(task, away):
    """One step in which the object begins at rest ``away`` (m) above the target: it falls by a few millimetres."""
    place = task.target_N3 + [0, 0, away]
    every = np.arange(task.num_envs)
    task.world.put("object", every, place, np.tile([1.0, 0, 0, 0], (task.num_envs, 1)))
    task.world.settle(every)
    return task.step(np.zeros(task.last_action.shape))


def test_success_is_eight_steps_in_a_row_near_the_target():
    task = begun(1)
    said = [carried(task, 0.0).info["is_success"][0] for _ in range(HOLD)]
    assert said == [False] * (HOLD - 1) + [True]
    assert carried(task, 0.0).info["is_success"][0]
    away = carried(task, 0.12)
    assert not away.info["is_success"][0] and task.failures[away.info["failure"][0]] == "not_at_target"
    said = [carried(task, 0.0).info["is_success"][0] for _ in range(HOLD)]
    assert said == [False] * (HOLD - 1) + [True], "the count begins anew"


def test_near_is_five_centimetres():
    task = begun(1)
    fallen = 9.81 * 0.005**2 * 36  # m in eight substeps
    for away, near in ((NEAR - 0.002 - fallen, True), (NEAR + 0.002 - fallen, False)):
        task.reset(np.arange(1))
        for _ in range(HOLD):
            step = carried(task, -away)
        assert step.info["is_success"][0] == near


def test_success_must_hold_at_the_last_step():
    task = begun(1)
    for _ in range(task.spec.max_steps - 1):
        step = carried(task, 0.0)
    assert step.info["is_success"][0] and not step.truncated[0]
    step = carried(task, 0.2)
    assert step.truncated[0] and not step.info["is_success"][0]


def test_failures_say_what_went_wrong():
    task = begun(1)
    assert task.failures[task.step(ZERO).info["failure"][0]] == "not_lifted"
    carried(task, 0.1)
    every, flat = np.arange(1), np.array([[1.0, 0, 0, 0]])
    task.world.put("object", every, np.array([[0.03, 0.01, task._rest_N[0]]]), flat)
    task.world.settle(every)
    assert task.failures[task.step(ZERO).info["failure"][0]] == "dropped"
    task.world.put("object", every, np.array([[0.35, 0.0, 0.05]]), flat)
    task.world.settle(every)
    assert task.failures[task.step(ZERO).info["failure"][0]] == "out_of_reach"


def test_the_target_is_told_and_out_of_the_way():
    task = begun(50)
    robot = task.world.robot
    told = np.einsum("nij,nj->ni", robot.rotation, task.observe(["proprio"])["proprio"][:, -3:])
    np.testing.assert_allclose(robot.position + told, task.target_N3, atol=1e-5)
    low, high = task.target_N3.min(axis=0), task.target_N3.max(axis=0)
    assert (low > [-0.081, -0.081, 0.119]).all() and (high < [0.101, 0.081, 0.201]).all()
    assert (np.linalg.norm(task.target_N3 - task.world.position("object"), axis=1) > NEAR).all()


def test_sparse_reward_is_success():
    task = begun(1, reward="sparse")
    steps = [carried(task, 0.0) for _ in range(HOLD)]
    assert [step.reward[0] for step in steps] == [0.0] * (HOLD - 1) + [1.0]


def actions(k, count):
    return np.random.default_rng(k).uniform(-1, 1, (count, 26)).astype(np.float32)


@pytest.mark.parametrize("spoil", ["qvel", "speed"])
def test_a_copy_that_diverges_begins_again_alone_and_has_failed(tmp_path, monkeypatch, spoil):
    monkeypatch.chdir(tmp_path)
    groups = ["proprio", "privileged", "points"]
    task, other = begun(3), begun(3)
    for k in range(4):
        task.step(actions(k, 3)), other.step(actions(k, 3))
    task.world.sim.view("qvel")[1, 3] = np.nan if spoil == "qvel" else 1e12
    step = task.step(actions(4, 3))
    other.step(actions(4, 3))
    assert task.restarts_N.tolist() == [0, 1, 0]
    assert task.failures[step.info["failure"][1]] == "diverged" and not step.truncated[1]
    fresh = begun(1, [1])
    np.testing.assert_array_equal(task.world.position("object")[1], fresh.world.position("object")[0])
    assert task.which_N[1] == fresh.which_N[0]
    for k in range(5, 12):
        step, plain = task.step(actions(k, 3)), other.step(actions(k, 3))
        for group in groups:
            mine, theirs = task.observe([group])[group], other.observe([group])[group]
            np.testing.assert_array_equal(mine[[0, 2]], theirs[[0, 2]])
        np.testing.assert_array_equal(step.reward[[0, 2]], plain.reward[[0, 2]])
        assert np.isfinite(step.reward).all() and task.restarts_N.tolist() == [0, 1, 0], "it goes on"
    # whatever it does now: it has failed
    for _ in range(HOLD + 1):
        step = carried(task, 0.0)
    assert step.info["is_success"].tolist() == [True, False, True]
    saved = task.state_dict()
    other.load_state_dict(saved)
    assert other.restarts_N.tolist() == [0, 1, 0]
    task.reset(np.array([5]), np.array([1]))
    assert task.restarts_N.tolist() == [0, 0, 0]
    assert task.failures[task.step(actions(0, 3)).info["failure"][1]] == "not_lifted"


def test_all_copies_may_diverge(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = begun(2)
    task.world.sim.view("qvel")[:, 0] = np.nan
    assert (task.step(actions(0, 2)).info["failure"] == task.failures.index("diverged")).all()


def test_a_restart_is_a_function_of_seed_and_actions(tmp_path, monkeypatch):
    """With delayed actions too: nothing of the time before is left in the queue."""
    monkeypatch.chdir(tmp_path)
    seen = []
    for before in (1, 6):
        task = begun(2, [7, 8], randomise={"latency": 2, "mass": 0.2})
        for k in range(before):
            task.step(actions(100 + k, 2))
        task.world.sim.view("qvel")[:, 0] = np.nan
        task.step(np.zeros((2, 26)))
        for k in range(4):
            task.step(actions(k, 2))
        seen.append(task.observe(["privileged"])["privileged"])
    np.testing.assert_array_equal(*seen)
