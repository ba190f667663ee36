"""The life of a task: it can be copied, survives a fork, says when it is closed, and gives back what it took."""

import copy
import gc
import os
import pickle
import signal
import sys
import weakref

import gymnasium as gym
import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.diverged import SimulationDiverged
from embodkd.envs.doors.sb3 import TaskVecEnv
from every_world import IDS, every_robot, every_world, vectors

COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda task: pickle.loads(pickle.dumps(task))}


def begun(name, count=2, steps=3, **options):
    task = make_task(name, count, **options)
    task.reset(np.arange(count))
    for k in range(steps):
        task.step(actions(task, k))
    return task


def actions(task, k):
    return np.random.default_rng(k).uniform(-1, 1, (task.num_envs, task.spec.action_size)).astype(np.float32)


def same(one, other, steps=3):
    """Both see the same now and after each of some steps."""
    for k in range(steps + 1):
        for group, values in one.observe(vectors(one)).items():
            np.testing.assert_array_equal(values, other.observe([group])[group])
        if k < steps:
            np.testing.assert_array_equal(one.step(actions(one, k)).reward, other.step(actions(one, k)).reward)


@pytest.mark.parametrize("how", COPIES)
@every_robot
def test_a_copy_goes_on_by_itself(name, options, how):
    task = begun(name, **options, randomise={"mass": 0.3, "latency": 1})
    other = COPIES[how](task)
    assert type(other) is type(task) and other.spec == task.spec
    same(task, other)
    task.step(actions(task, 9))
    assert not np.array_equal(task.observe(["proprio"])["proprio"], other.observe(["proprio"])["proprio"])


def test_a_copy_of_a_task_that_has_not_begun_has_not_begun():
    with pytest.raises(ValueError, match="step before reset"):
        copy.deepcopy(make_task("peg_hole")).step(np.zeros((1, 6)))


@pytest.mark.parametrize("how", COPIES)
def test_doors_can_be_copied(how):
    single, many = gym.make(IDS["peg_hole"]), gym.make_vec(IDS["peg_hole"], 2)
    batch = TaskVecEnv(make_task("peg_hole", 2), ["proprio"])
    for env in (single, many, batch):
        env.reset()
        other = COPIES[how](env)
        action = np.zeros(env.action_space.shape if env is not batch else (2, 6), np.float32)
        for mine, yours in zip(env.step(action)[:2], other.step(action)[:2], strict=True):
            for a, b in zip(_flat(mine), _flat(yours), strict=True):
                np.testing.assert_array_equal(a, b)


def _flat(values):
    return values.values() if isinstance(values, dict) else [values]


@every_robot
def test_a_closed_task_says_so(name, options):
    task = begun(name, **options, steps=1)
    task.close()
    task.close()
    for use in (
        lambda: task.step(actions(task, 0)),
        lambda: task.reset(np.arange(2)),
        lambda: task.observe(["proprio"]),
        lambda: task.observe(["wrist_depth"]),
        task.render,
        task.state_dict,
        lambda: copy.deepcopy(task),
    ):
        with pytest.raises(ValueError, match=rf"task '{name}' is closed; make it anew"):
            use()


@every_world
def test_what_nobody_holds_is_gone_at_once(name, options):
    """Not at the next collection: a world takes much memory, and one collects rarely where much lives."""
    task = begun(name, **options)
    task.observe(list(task.spec.groups))
    left = [weakref.ref(part) for part in (task, task.world, task.world.sim)]
    gc.disable()
    try:
        del task
        assert [part() for part in left] == [None, None, None]
    finally:
        gc.enable()


DOORS = {
    "single": lambda: gym.make(IDS["peg_hole"]),
    "many": lambda: gym.make_vec(IDS["peg_hole"], 2),
    "batch": lambda: TaskVecEnv(make_task("peg_hole", 2), ["proprio"]),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_that_nobody_holds_is_gone_at_once(door):
    env = DOORS[door]()
    env.reset()
    left = weakref.ref(env.stream.task if door == "batch" else env.unwrapped.task)
    gc.disable()
    try:
        del env
        assert left() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("options", [{"threads": 2}, {"threads": 1}, {"engine": "bullet"}], ids=str)
def test_a_child_of_fork_goes_on_with_the_task_and_ends(options):
    if options.get("engine") == "bullet":
        pytest.importorskip("pybullet")
    task, other = (begun("peg_hole", **options, randomise={"mass": 0.2}) for _ in range(2))
    idle = begun("peg_hole", **options)  # nobody uses it in the child, and it must not hold it up
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a hang is a failure
        code = 1
        try:
            same(task, begun("peg_hole", **options, randomise={"mass": 0.2}))
            task.observe(["wrist_depth"])
            del idle
            gc.collect()
            task.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    same(task, other)
    idle.step(actions(idle, 0))


def test_closing_gives_the_memory_back():
    def made_and_closed(count):
        for _ in range(count):
            task = begun("peg_hole", 1, 0, threads=1)
            task.close()

    gc.disable()  # what waits for a collection may wait for long
    try:
        made_and_closed(5)
        before = resident()
        made_and_closed(20)
        assert (resident() - before) / 20 < 0.1, "MiB for each task that was made and closed"
    finally:
        gc.enable()


def resident():
    """MiB of this process in memory."""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_divergence_says_which_copy_when_and_why(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    causes = {
        "qvel": lambda task: task.world.sim.view("qvel").__setitem__((1, 0), np.nan),
        "mocap_pos": lambda task: task.world.sim.view("mocap_pos").__setitem__((1, 0), np.inf),
        "body_mass is not finite": lambda task: task.world.sim.parameter("body_mass").__setitem__((1, 2), np.nan),
        "joint gripper was the fastest": lambda task: task.world.sim.view("qvel").__setitem__((1, 3), 1e9),
    }
    for words, spoil in causes.items():
        task = begun("peg_hole", 3)
        task.reset(np.array([70, 71, 72]))
        task.step(actions(task, 0))
        spoil(task)
        with pytest.raises(SimulationDiverged, match=words) as caught:
            task.step(actions(task, 1))
        assert caught.value.copies == [1] and caught.value.dump.exists()
        assert "copy 1: step 2 (0.10 s) of episode 71" in str(caught.value)
