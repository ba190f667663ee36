"""What befalls the parts of an assembly: by which cause an episode fails, and when a learner's is lost."""

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.geometry import quat_from_rotvec
from embodkd.envs.tasks.assembly.expert import Expert
from embodkd.envs.tasks.assembly.progress import CAUSES
from embodkd.envs.tasks.assembly.world import FLOOR
from play import hold, put, wait

ASIDE = np.array([0.0, 0.15])  # m: nothing else stands there
LYING = quat_from_rotvec(np.array([np.pi / 2, 0.0, 0.0]))


def begun(name, copies=1):
    task = make_task(name, copies)
    task.reset(np.arange(copies))
    return task


def place(task, part, x, y, z, quat=(1.0, 0.0, 0.0, 0.0)):
    put(task, part, np.tile([x, y, z], (task.num_envs, 1)), quat)
    task.world.settle(np.arange(task.num_envs))


def reason(task):
    return task.spec.failures[task.step(hold(task)).info["failure"][0]]


@pytest.mark.parametrize("name", ["peg_assembly", "mug_rack", "one_leg_lite", "stack_lamp", "round_table_lite"])
def test_no_episode_that_its_expert_wins_is_called_lost(name):
    task = make_task(name, 16, randomness="medium")
    task.end_when_lost()
    task.reset(np.arange(16))
    expert, won = Expert(task), np.zeros(16, bool)
    expert.begin()
    while not won.all() and task.steps[0] < task.max_steps:
        step = task.step(expert.act())
        won |= step.info["is_success"]
        # the copies go on after their success: nothing of that counts
        assert not (step.terminated & ~won).any()
    assert won.mean() > 0.9


def test_a_part_that_lies_on_the_table_is_lost_and_one_that_stands_is_not():
    task = begun("peg_assembly")
    place(task, "peg", *ASIDE, 0.0)
    assert not task.lost().any()
    place(task, "peg", *ASIDE, 0.008, LYING)
    assert task.lost().all()
    place(task, "peg", *ASIDE, 0.1, LYING)
    assert not task.lost().any(), "it is in the air"


def test_a_tipped_part_is_not_lost_as_long_as_a_finger_or_its_base_touches_it():
    task = begun("peg_assembly")
    everyone = np.arange(1)
    place(task, "peg", *ASIDE, 0.008, LYING)
    finger = task.world.position("finger1")[0] - task.tool().position[0]
    task.world.robot.place(everyone, np.array([[*(ASIDE - finger[:2]), 0.01]]), np.zeros((1, 3)))
    task.world.settle(everyone)
    assert not task.lost().any()
    task.world.robot.place(everyone, np.array([[0.0, 0.0, 0.2]]), np.zeros((1, 3)))
    task.world.settle(everyone)
    assert task.lost().all()
    socket = task.part("socket").position[0]

    def leans(y):
        place(task, "peg", socket[0], socket[1] + y, 0.008, LYING)
        return not task.lost().any()

    # it lies along y and comes nearer until it touches the socket's wall
    assert any(leans(y) for y in np.arange(0.1, 0.01, -0.0005))


def test_what_leaves_the_table_is_lost_and_comes_to_rest():
    task = begun("peg_assembly")
    place(task, "peg", 0.7, 0.0, 0.0)
    wait(task, 20)
    assert task.lost().all()
    height = task.part("peg").position[0, 2]
    assert FLOOR - 0.002 < height < FLOOR + 0.05
    assert np.abs(task.world.velocity("peg")).max() < 0.01
    assert reason(task) == "peg_off_the_table"


def test_an_episode_ends_when_it_is_lost_only_where_that_was_asked_for():
    for asked in (False, True):
        task = begun("peg_assembly", 2)
        if asked:
            task.end_when_lost()
        put(task, "peg", np.array([[*ASIDE, 0.008], [*ASIDE, 0.0]]), np.stack([LYING, [1.0, 0.0, 0.0, 0.0]]))
        task.world.settle(np.arange(2))
        step = task.step(hold(task))
        assert step.terminated.tolist() == [asked, False]
        assert not step.truncated.any() and not step.info["is_success"].any() and not step.reward.any()


def test_a_task_that_cannot_tell_says_so():
    with pytest.raises(ValueError, match="pick_lift"):
        make_task("pick_lift", 1).end_when_lost()


def test_each_cause_is_named_with_its_part():
    task = begun("peg_assembly")
    assert reason(task) == "peg_never_lifted"
    place(task, "peg", *ASIDE, 0.008, LYING)
    assert reason(task) == "peg_tipped_over"
    place(task, "peg", *ASIDE, 0.1)
    assert reason(task) == "peg_out_of_time"
    place(task, "peg", *ASIDE, 0.008, LYING)
    assert reason(task) == "peg_tipped_over"
    place(task, "peg", *task.part("socket").position[0, :2], 0.1)
    assert reason(task) == "peg_out_of_time"
    place(task, "peg", *ASIDE, 0.008, LYING)
    assert reason(task) == "peg_tipped_at_the_mouth"
    place(task, "peg", *ASIDE, 0.0)
    assert reason(task) == "peg_dropped"
    task.reset(np.arange(1))
    assert reason(task) == "peg_never_lifted", "what an episode came to is forgotten with it"


def test_what_was_together_and_is_taken_apart_is_undone():
    task = begun("stack_lamp")
    place(task, "bulb", *task.part("base").position[0, :2], 0.0125)
    assert reason(task) == "hood_never_lifted"
    place(task, "bulb", *ASIDE, 0.0)
    assert reason(task) == "bulb_undone"


def test_a_part_that_lay_at_the_start_is_not_tipped_by_lying_there():
    task = begun("one_leg_lite")
    assert reason(task) == "leg_never_lifted"
    assert not task.lost().any()


@pytest.mark.parametrize("name", ["peg_assembly", "stack_lamp"])
def test_a_cause_is_told_for_every_part_that_has_a_base(name):
    task = begun(name)
    assert task.spec.failures[0] == "none"
    assert set(task.spec.failures[1:]) == {f"{pair.part}_{cause}" for pair in task.pairs for cause in CAUSES}
