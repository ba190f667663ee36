"""The lamp: its expert stacks it, each pair is judged by its pose, a hood needs its bulb, and all stands still."""

import numpy as np
import pytest
from embodkd.envs.tasks.assembly.parts import Poses
from embodkd.envs.tasks.assembly.stack_lamp import (
    CLEARANCE,
    DISC,
    DISC_RADIUS,
    GLASS_RADIUS,
    HOOD_PLAY,
    HOOD_WALL,
    RIM,
    SIDES,
    StackLamp,
)
from play import hold, joined, played, put, rested, speed, tilted, wait


@pytest.fixture(scope="module")
def stacked():
    return played(StackLamp(32))


def test_expert_stacks_the_lamp_and_is_paid_once_for_each_pair(stacked):
    done = (stacked.step_NK > 0).all(axis=1)
    assert done.mean() >= 0.9
    np.testing.assert_array_equal(stacked.paid_N[done], 2)
    assert (stacked.step_NK[done, 0] < stacked.step_NK[done, 1]).all()  # the bulb first, then the hood
    assert 30 <= stacked.step_NK[done, 1].mean() <= 120


def test_a_lamp_that_is_let_go_stands_still_with_its_parts_around_each_other(stacked):
    task = stacked.task
    for step in range(30):
        task.step(hold(task, rise=0.02 if step >= 3 else 0.0))
    stands = task.is_joined(task.pairs[0]) & task.is_joined(task.pairs[1])
    assert stands.mean() >= 0.9
    bulb, hood = (task.relative(pair).position[stands] for pair in task.pairs)
    # nothing went through a wall; in a corner of an octagon there is a little more room than at its faces
    corner = 1 / np.cos(np.pi / SIDES)
    assert (np.hypot(*bulb[:, :2].T) < CLEARANCE + 0.001).all()
    assert (np.hypot(*(hood - bulb)[:, :2].T) < HOOD_PLAY * corner + 0.001).all()
    np.testing.assert_allclose(bulb[:, 2], DISC, atol=0.001)
    np.testing.assert_allclose(hood[:, 2], RIM, atol=0.001)
    for part in ("bulb", "hood"):
        assert speed(task, part)[stands].max() < 0.02, "contacts feed energy into a part"


def test_a_bulb_is_joined_in_its_seat_with_any_turn_and_not_just_outside():
    bulb, degrees = StackLamp.bulb, np.radians([19.9, 20.0])
    assert joined(bulb, (0, 0, DISC)) and joined(bulb, (0, 0, DISC), turn=2.0)
    assert joined(bulb, (0.0049, 0, DISC)) and not joined(bulb, (0.0051, 0, DISC))
    assert joined(bulb, (0, 0, DISC + 0.0049)) and not joined(bulb, (0, 0, DISC + 0.0051))
    assert joined(bulb, (0, 0, DISC), tilt=degrees[0]) and not joined(bulb, (0, 0, DISC), tilt=degrees[1])


@pytest.mark.parametrize("axis", range(3))
def test_a_hood_is_judged_by_its_position_on_each_axis_alone(axis):
    at = np.array([[0, 0, RIM]] * 4, float)
    at[:, axis] += [0.0049, -0.0049, 0.0051, -0.0051]
    rotation = np.stack([tilted(tilt, turn) for tilt, turn in ((0, 0), (0.5, 2.0), (0, 0), (0.5, 2.0))])
    assert StackLamp.hood.joined(Poses(at, rotation)).tolist() == [True, True, False, False]


def test_a_hood_counts_only_over_a_bulb_that_is_in_the_socket():
    task = StackLamp(2)
    task.reset(np.arange(2))
    base = task.part("base").position
    # in the first copy the bulb stays on the table
    bulb = task.part("bulb").position.copy()
    bulb[1] = base[1] + [0.0, 0.0, DISC + 0.0005]
    put(task, "bulb", bulb)
    put(task, "hood", base + [0.0, 0.0, RIM + 0.0005])
    for _ in range(3):
        step = task.step(hold(task))
    assert super(StackLamp, task).is_joined(task.hood).all()
    assert task.joined_NK.tolist() == [[False, False], [True, True]]
    assert step.info["is_success"].tolist() == [False, True]


def test_a_bulb_drops_into_its_socket_within_its_play_and_stands_on_the_rim_beyond():
    task = StackLamp(2)
    task.reset(np.arange(2))
    base = task.part("base")
    aside = np.einsum("nij,nj->ni", base.rotation, [[0.8 * CLEARANCE, 0, 0], [4 * CLEARANCE, 0, 0]])
    put(task, "bulb", base.position + aside + [0.0, 0.0, RIM + 0.0005])
    wait(task, 8)
    assert task.joined_NK[:, 0].tolist() == [True, False]


@pytest.mark.parametrize("randomness", ["low", "high"])
def test_untouched_parts_rest_where_they_were_put_in_sight_and_apart(randomness):
    task = StackLamp(64, randomness=randomness)
    moved = rested(task)
    outer = (GLASS_RADIUS + HOOD_PLAY + HOOD_WALL) / np.cos(np.pi / SIDES)
    for name, wide in (("base", DISC_RADIUS), ("bulb", GLASS_RADIUS), ("hood", outer)):
        assert (moved[name] < 0.0005).all()
        assert (np.abs(task.part(name).position[:, :2]) + wide <= 0.16).all()
    assert not task.joined_NK.any()
