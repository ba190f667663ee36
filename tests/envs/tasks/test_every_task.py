"""Promise 1 and the draws of an episode, over every task: batch equals singles, doors agree, checkers are silent."""

import warnings
from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest
from embodkd.envs import Stream, make_task, task_names
from embodkd.envs.doors.sb3 import TaskVecEnv
from embodkd.envs.doors.vector import TaskVectorEnv
from every_world import IDS, vectors
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as check_sb3

TASKS = task_names()
NEEDS_PYBULLET = pytest.mark.skipif(find_spec("pybullet") is None, reason="the extra `bullet` is not installed")
WORLDS = [pytest.param(name, "mujoco", id=name) for name in TASKS]
WORLDS += [pytest.param(name, "bullet", id=f"{name}-bullet", marks=NEEDS_PYBULLET) for name in TASKS[:2]]
every_world = pytest.mark.parametrize(("name", "engine"), WORLDS)


def roll(task, seeds, steps):
    """Vector observations and rewards of every copy under actions that depend on the episode's seed alone."""
    task.reset(np.asarray(seeds))
    rows = []
    for k in range(steps):
        actions = np.stack([np.random.default_rng([s, k]).uniform(-1, 1, task.spec.action_size) for s in seeds])
        step = task.step(actions)
        obs = task.observe(vectors(task))
        rows.append(np.concatenate([*obs.values(), step.reward[:, None], step.info["is_success"][:, None]], axis=1))
    return np.stack(rows, axis=1)


@every_world
def test_batch_equals_loop_of_singles_for_any_threads(name, engine):
    seeds = [5, 9, 2]
    batch = roll(make_task(name, 3, engine=engine, threads=2), seeds, 12)
    for row, seed in enumerate(seeds):
        np.testing.assert_array_equal(batch[row], roll(make_task(name, 1, engine=engine, threads=1), [seed], 12)[0])


@every_world
def test_an_episode_does_not_depend_on_what_ran_before(name, engine):
    task = make_task(name, 2, engine=engine)
    fresh = roll(task, [3, 4], 8)
    roll(task, [7, 8], 5)
    np.testing.assert_array_equal(roll(task, [3, 4], 8), fresh)


@every_world
def test_state_dict_continues_bit_for_bit(name, engine):
    changing = {"mass": 0.3, "friction": 0.3, "gains": 0.2, "latency": 2}
    task, other = (make_task(name, 2, engine=engine, randomise=changing) for _ in range(2))
    roll(task, [1, 2], 7)
    saved = task.state_dict()
    other.reset(np.array([50, 60]))
    other.load_state_dict(saved)
    for group, values in task.observe(list(task.spec.groups)).items():
        np.testing.assert_array_equal(values, other.observe([group])[group])
    for k in range(5):
        actions = np.full((2, task.spec.action_size), np.cos(k), np.float32)
        np.testing.assert_array_equal(task.step(actions).reward, other.step(actions).reward)
    for group, values in task.observe(vectors(task)).items():
        np.testing.assert_array_equal(values, other.observe([group])[group])


@every_world
def test_groups_are_what_the_spec_says(name, engine):
    task = make_task(name, 2, engine=engine)
    task.reset(np.arange(2))
    assert any(g.privileged for g in task.spec.groups.values())
    assert any(g.deployable and g.is_image for g in task.spec.groups.values())
    for group, values in task.observe(list(task.spec.groups)).items():
        spec = task.spec.groups[group]
        assert values.shape == (2, *spec.shape) and values.dtype == spec.dtype
        assert np.isfinite(values).all()


@every_world
def test_checkers_are_silent(name, engine):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(IDS[name], engine=engine, render_mode="rgb_array")
        check_env(env.unwrapped)
        check_sb3(env)


@every_world
def test_vector_and_sb3_doors_give_the_same_numbers(name, engine):
    single, vector = gym.make(IDS[name], engine=engine), gym.make_vec(IDS[name], num_envs=2, engine=engine)
    sb3 = TaskVecEnv(make_task(name, 2, engine=engine), vector.unwrapped.groups)
    sb3.seed(11)
    first, (many, _), batch = single.reset(seed=11)[0], vector.reset(seed=11), sb3.reset()
    action = np.full((2, vector.single_action_space.shape[0]), 0.3, np.float32)
    reward, many_reward, batch_reward = single.step(action[0])[1], vector.step(action)[1], sb3.step(action)[1]
    for group in first:
        np.testing.assert_array_equal(first[group], many[group][0])
        np.testing.assert_array_equal(many[group], batch[group])
    assert reward == many_reward[0] == batch_reward[0] and many_reward[1] == batch_reward[1]


@every_world
def test_autoreset_modes_tell_the_same_story(name, engine):
    length = make_task(name, engine=engine).spec.max_steps
    envs = {mode: TaskVectorEnv(name, 2, autoreset_mode=mode, engine=engine) for mode in AutoresetMode}
    action = np.zeros(envs[AutoresetMode.DISABLED].action_space.shape, np.float32)
    last = {}
    for mode, env in envs.items():
        env.reset(seed=1)
        for _ in range(length):
            obs, _, terminated, truncated, info = env.step(action)
        assert truncated.all() and not terminated.any()
        last[mode] = (obs, info)
    final = last[AutoresetMode.SAME_STEP][1]["final_obs"]
    after_next = envs[AutoresetMode.NEXT_STEP].step(action)
    assert (after_next[1] == 0).all() and not after_next[3].any()
    for group, values in last[AutoresetMode.DISABLED][0].items():
        np.testing.assert_array_equal(values, last[AutoresetMode.NEXT_STEP][0][group])
        np.testing.assert_array_equal(values, np.stack([final[i][group] for i in range(2)]))
        np.testing.assert_array_equal(after_next[0][group], last[AutoresetMode.SAME_STEP][0][group])
    with pytest.raises(ValueError, match="reset_mask"):
        envs[AutoresetMode.DISABLED].step(action)


@every_world
def test_stream_keeps_terminal_observations(name, engine):
    stream = Stream(make_task(name, 2, engine=engine), ["proprio"], seed=4)
    stream.reset()
    action = np.zeros((2, stream.task.spec.action_size), np.float32)
    for _ in range(stream.task.spec.max_steps):
        step = stream.step(action)
    assert step.final_ids.tolist() == [0, 1]
    assert not np.array_equal(step.final_obs["proprio"], step.obs["proprio"])


@every_world
def test_pictures_for_people_show_something(name, engine):
    task = make_task(name, 1, engine=engine)
    task.reset(np.arange(1))
    picture = task.render(size=(60, 80))
    assert picture.shape == (1, 60, 80, 3) and picture.dtype == np.uint8 and picture.std() > 5


def test_wrong_names_get_the_nearest_right_one():
    with pytest.raises(ValueError, match="peg_hole"):
        make_task("peg_hol")
    with pytest.raises(ValueError, match="randomness"):
        make_task("peg_hole", randomnes="low")
    with pytest.raises(ValueError, match="wrist_depth"):
        make_task("peg_hole").observe(["wrist_dept"])


def test_bad_actions_name_the_copy():
    task = make_task("peg_hole", 3)
    task.reset(np.arange(3))
    actions = np.zeros((3, 6), np.float32)
    actions[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"\[1\]"):
        task.step(actions)
