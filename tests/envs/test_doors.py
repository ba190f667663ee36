"""What every door promises beside the numbers: one time limit, new episodes, seeds of any integer, rates of films."""

import gymnasium as gym
import numpy as np
import pytest
from embodkd.envs import make_task, task_names
from embodkd.envs.doors.gym import TaskEnv
from embodkd.envs.doors.sb3 import TaskVecEnv
from every_world import IDS
from gymnasium.wrappers import TimeAwareObservation

HOLE = IDS["peg_hole"]


def length(env, limit=200):
    """After how many steps an episode is truncated."""
    env.reset(seed=0)
    action = np.zeros(env.action_space.shape, np.float32)
    return next(k + 1 for k in range(limit) if np.all(env.step(action)[3]))


@pytest.mark.parametrize("randomness", ["medium", "high"])
def test_the_limit_is_the_configured_tasks_and_stands_where_people_look(randomness):
    steps = {"medium": 40, "high": 60}[randomness]
    single = gym.make(HOLE, randomness=randomness)
    many = gym.make_vec(HOLE, 2, randomness=randomness)
    assert single.spec.max_episode_steps == single.unwrapped.spec.max_episode_steps == steps
    assert many.spec.max_episode_steps == steps
    assert length(single) == length(many) == steps
    assert gym.spec(HOLE).max_episode_steps is None, "no number in the registration: it depends on the options"


@pytest.mark.parametrize("steps", [10, 75])
def test_a_users_limit_is_the_tasks_through_every_door(steps):
    single = gym.make(HOLE, max_episode_steps=steps)
    many = gym.make_vec(HOLE, 2, max_episode_steps=steps)
    one_by_one = gym.make_vec(HOLE, 2, max_episode_steps=steps, vectorization_mode="sync")
    again, direct = gym.make(single.spec), TaskEnv("peg_hole", max_episode_steps=steps)
    for env in (single, many, again, direct, one_by_one):
        assert length(env) == steps
    for env in (single, many, again):
        assert env.spec.max_episode_steps == steps
    for env in (single, many, again, direct):
        assert env.unwrapped.task.spec.max_steps == steps
    batch = TaskVecEnv(make_task("peg_hole", 2, max_steps=steps), ["proprio"])
    batch.reset()
    assert [batch.step(np.zeros((2, 6)))[2].all() for _ in range(steps)] == [False] * (steps - 1) + [True]


def test_a_limit_belongs_to_the_environment_that_was_asked_for():
    class Outer(gym.Env):
        observation_space = action_space = gym.spaces.Discrete(2)

        def __init__(self):
            self.inner = TaskEnv("peg_hole")

    gym.register("Outer-v0", Outer)
    try:
        assert gym.make("Outer-v0", max_episode_steps=7).unwrapped.inner.task.spec.max_steps == 40
        assert gym.make(HOLE, max_episode_steps=-1).unwrapped.task.spec.max_steps == 40
    finally:
        del gym.registry["Outer-v0"]


def test_time_is_seen_by_who_asks_for_it():
    env = TimeAwareObservation(gym.make(HOLE), flatten=False, normalize_time=True)
    assert env.reset(seed=0)[0]["time"] == 0.0
    assert env.step(np.zeros(6, np.float32))[0]["time"] == pytest.approx(1 / 40)


@pytest.mark.parametrize("steps", [0, -3])
def test_a_limit_is_at_least_one_step(steps):
    with pytest.raises(ValueError, match=r"max_steps.*at least 1"):
        make_task("peg_hole", max_steps=steps)


def test_two_limits_are_refused():
    with pytest.raises(ValueError, match="two limits"):
        gym.make(HOLE, max_episode_steps=10, max_steps=20)


@pytest.mark.parametrize("name", task_names())
def test_films_run_at_the_control_rate(name):
    single, many = gym.make(IDS[name]), gym.make_vec(IDS[name], 1)
    task = single.unwrapped.task
    batch = TaskVecEnv(make_task(name), ["proprio"])
    for metadata in (single.metadata, many.metadata, batch.metadata, batch.get_attr("metadata")[0]):
        assert metadata["render_fps"] == round(task.spec.control_hz)


def test_a_reset_without_a_seed_starts_new_episodes():
    batch = TaskVecEnv(make_task("peg_hole", 2), ["privileged"], seed=4)
    first, second, third = (batch.reset()["privileged"] for _ in range(3))
    assert not np.array_equal(first, second) and not np.array_equal(second, third)
    batch.seed(4)
    np.testing.assert_array_equal(batch.reset()["privileged"], first)
    np.testing.assert_array_equal(batch.reset()["privileged"], second)
    other = TaskVecEnv(make_task("peg_hole", 2), ["privileged"])
    other.stream.load_state_dict(batch.stream.state_dict())
    np.testing.assert_array_equal(other.reset()["privileged"], third)
    many = gym.make_vec(HOLE, 2)
    assert not np.array_equal(many.reset()[0]["privileged"], many.reset()[0]["privileged"])


@pytest.mark.parametrize("kind", [int, np.int32, np.int64, np.uint8, np.uint64])
def test_a_seed_may_be_of_any_integer_type(kind):
    single, many = gym.make(HOLE), gym.make_vec(HOLE, 2)
    batch = TaskVecEnv(make_task("peg_hole", 2), single.unwrapped.groups)
    batch.seed(kind(7))
    expected = make_task("peg_hole", 2)
    expected.reset(np.array([7, 8]))
    seen = expected.observe(["privileged"])["privileged"]
    np.testing.assert_array_equal(single.reset(seed=kind(7))[0]["privileged"], seen[0])
    np.testing.assert_array_equal(many.reset(seed=kind(7))[0]["privileged"], seen)
    np.testing.assert_array_equal(many.reset(seed=[kind(7), kind(8)])[0]["privileged"], seen)
    np.testing.assert_array_equal(batch.reset()["privileged"], seen)


def test_a_seed_that_is_no_whole_number_is_refused():
    with pytest.raises(ValueError, match="whole numbers"):
        make_task("peg_hole", 1).reset(np.array([0.5]))
    with pytest.raises(TypeError):
        gym.make_vec(HOLE, 2).reset(seed=[0.5, 1])


def test_environments_in_processes_of_their_own_do_what_the_batch_does():
    many = gym.make_vec(HOLE, 2)
    many.reset(seed=1)
    many.step(many.action_space.sample())  # its threads are there before the others are made by fork
    apart = gym.make_vec(HOLE, 2, vectorization_mode="async")
    try:
        for mine, yours in (
            (many.reset(seed=5), apart.reset(seed=5)),
            *((stepped(many, k), stepped(apart, k)) for k in range(3)),
        ):
            assert mine[0].keys() == yours[0].keys()
            for group in mine[0]:
                np.testing.assert_array_equal(mine[0][group], yours[0][group])
            for one, other in zip(mine[1:-1], yours[1:-1], strict=True):
                np.testing.assert_allclose(one, other)
    finally:
        apart.close()
        many.close()


def stepped(env, k):
    actions = np.random.default_rng(k).uniform(-1, 1, env.action_space.shape)
    return env.step(actions.astype(np.float32))
