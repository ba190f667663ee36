"""The scripted grasp: it succeeds, needs no memory, is an actor like any other, and as careful as it is told to be."""

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.tasks.grasp.script import FOUND, Numbers, Script, grasp

from embodkd.evaluation.record import record

pytest.importorskip("gymnasium_robotics")


def begun(count, **options):
    task = make_task("grasp", count, threads=1, image_size=6, **options)
    task.reset(np.arange(count))
    return task


def test_it_succeeds_with_most_objects():
    """Of these 40 episodes it won 35 when it was written; a third less would be another script."""
    task = begun(40)
    for _ in range(task.spec.max_steps):
        step = task.step(grasp(task, FOUND))
    assert step.info["is_success"].sum() >= 26


def test_it_acts_by_the_state_alone():
    """Another task that continues from the saved state is told the same."""
    task, other = begun(4), begun(4)
    for _ in range(30):
        task.step(Script(task, noise=0.5).act())
    other.load_state_dict(task.state_dict())
    np.testing.assert_array_equal(Script(task).act(), Script(other).act())
    assert (task.last_action[:, 8] > 0).any(), "some are closing"


def test_numbers_may_differ_between_copies():
    task = begun(3)
    each = Numbers(*np.array(FOUND)[:, None].repeat(3, axis=1))
    np.testing.assert_array_equal(grasp(task, each), grasp(task, FOUND))
    other = each._replace(pitch=np.array([each.pitch[0], 0.3, each.pitch[2]]))
    differ = (grasp(task, other) != grasp(task, FOUND)).any(axis=1)
    assert differ.tolist() == [False, True, False]


def test_noise_is_the_episodes_own_and_may_be_none():
    task = begun(3)
    exact, noisy = Script(task, noise=0.0), Script(task)
    np.testing.assert_array_equal(exact.act(), grasp(task, FOUND))
    assert not np.array_equal(noisy.act(), exact.act())
    alone = begun(1)
    np.testing.assert_array_equal(Script(alone).act()[0], noisy.act()[0])
    np.testing.assert_array_equal(noisy.act(ids=np.array([2])), noisy.act()[[2]])


def test_it_can_be_recorded():
    task = begun(8)
    kept = list(record(task, Script(task), 3, ["proprio", "privileged"], quiet=True))
    assert len(kept) == 3 and all(one.success and len(one.action) == 75 for one in kept)
    with pytest.raises(ValueError, match="in its own task of 8 copies"):
        Script(task).session(3)
