"""The mug: its expert hangs it on either peg, a peg through the handle and an empty hand are asked for, it stays."""

import numpy as np
import pytest
from embodkd.envs.geometry import quat_from_matrix
from embodkd.envs.tasks.assembly.mug_rack import AWAY, BAR_HALF, HOLE, HOLE_HALF, MUG, ROOT, SEAT, TILT, TIP, MugRack
from embodkd.envs.tasks.assembly.parts import Poses
from play import hold, played, put, speed, tilted, wait

# side of the post, and whether the mug is in front of the pegs or behind them
POSES = [(1, 0.0), (-1, 0.0), (1, np.pi), (-1, np.pi)]


def around(side, yaw, along=SEAT, across=0.0, up=0.0):
    """An upright mug in the rack's frame, the middle of its hole on a peg's axis but for these distances (m)."""
    axis = np.array([0.0, side * along, ROOT[1] + (along - ROOT[0]) * np.tan(TILT)])
    rotation = tilted(0.0, yaw)
    return Poses((axis + [across, 0.0, up] - rotation @ HOLE)[None], rotation[None])


def hang(task, pose):
    """Put every copy's mug there, at rest; the pose is in the rack's frame."""
    rack, count = task.part("rack"), task.num_envs
    there = rack.after(Poses(pose.position.repeat(count, 0), pose.rotation.repeat(count, 0)))
    put(task, "mug", there.position, quat_from_matrix(there.rotation))


@pytest.fixture(scope="module")
def hung():
    return played(MugRack(32))


def test_expert_hangs_mugs_on_both_pegs_and_is_paid_once(hung):
    done = hung.step_NK[:, 0] > 0
    assert done.mean() >= 0.9
    np.testing.assert_array_equal(hung.paid_N, done)
    assert 30 <= hung.step_NK[done].mean() <= 60
    right = hung.task.relative(hung.task.pairs[0]).position[done, 1] > 0
    assert 0.2 < right.mean() < 0.8


def test_a_hung_mug_stays_and_comes_to_rest_below_its_peg(hung):
    task = hung.task
    wait(task, 30)
    hangs = task.is_joined(task.pairs[0])
    assert hangs[hung.step_NK[:, 0] > 0].all()
    mug = task.part("mug")
    middle = mug.position + MUG / 2 * mug.rotation[:, :, 2]
    assert (middle[hangs, 2] < ROOT[1]).all() and (mug.position[hangs, 2] > 0.02).all()
    assert speed(task, "mug")[hangs].max() < 0.02, "contacts feed energy into the mug"


@pytest.mark.parametrize(("side", "yaw"), POSES)
def test_a_pair_is_a_peg_through_the_hole_and_nothing_beside_it(side, yaw):
    def through(**off):
        return MugRack.pairs[0].joined(around(side, yaw, **off))[0]

    (wide, high), bit = HOLE_HALF, 1e-4
    assert through()
    for sign in (-1, 1):
        assert through(across=sign * (wide - bit)) and not through(across=sign * (wide + bit))
        assert through(up=sign * (high - bit)) and not through(up=sign * (high + bit))
    # the peg must look out of the handle, and the post is where it ends
    assert through(along=TIP[0] - BAR_HALF - bit) and not through(along=TIP[0] - BAR_HALF + bit)
    assert through(along=ROOT[0] + bit) and not through(along=ROOT[0] - bit)


@pytest.mark.parametrize(("side", "yaw"), POSES)
def test_a_mug_hangs_in_each_pose_and_falls_beside_it(side, yaw):
    task = MugRack(2)
    task.reset(np.arange(2))
    hang(task, around(side, yaw, up=-0.5 * HOLE_HALF[1]))
    for _ in range(20):
        step = task.step(hold(task))
    assert step.info["is_success"].all()
    task.reset(np.arange(2))
    hang(task, around(side, yaw, along=TIP[0] + 0.02))
    for _ in range(20):
        step = task.step(hold(task))
    assert not step.info["is_success"].any()
    assert [task.spec.failures[code] for code in step.info["failure"]] == ["mug_dropped"] * 2
    assert (task.part("mug").position[:, 2] < 0.04).all()


def test_a_mug_counts_as_hung_only_when_the_hand_is_away():
    task = MugRack(2)
    task.reset(np.arange(2))
    pose = around(1, 0.0)
    hang(task, pose)
    task.world.settle(np.arange(2))
    mug = task.part("mug")
    for k, height in enumerate((AWAY - 0.002, AWAY + 0.002)):
        task.world.robot.place(np.array([k]), (mug.position + [0.0, 0.0, MUG / 2 + height])[[k]], np.zeros((1, 3)))
    task.world.settle(np.arange(2))
    assert task.pairs[0].joined(task.relative(task.pairs[0])).all()
    assert task.is_joined(task.pairs[0]).tolist() == [False, True]
