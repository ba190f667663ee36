"""The lamp: its expert stacks it, each pair is judged by its pose, a hood needs its bulb, and all stands still."""

import numpy as np
import pytest
from embodkd.envs.tasks.assembly.expert import Expert
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


def act(task, rise=0.0):
    """Open the fingers; the tool stays, or rises by ``rise`` (m) a step."""
    tool = task.tool()
    return np.concatenate(
        [tool.position + [0.0, 0.0, rise], tool.rotation[:, :2].reshape(-1, 6), -np.ones((task.num_envs, 1))], axis=1
    )


def put(task, part, place_N3):
    """Move a loose part there, upright and at rest."""
    sim, k = task.world.sim, task.order[part]
    row, speed = task.world._qpos[k], task.world._qvel[k]
    sim.view("qpos")[:, row : row + 7] = np.c_[place_N3, np.tile([1.0, 0, 0, 0], (len(place_N3), 1))]
    sim.view("qvel")[:, speed : speed + 6] = 0.0


@pytest.fixture(scope="module")
def stacked():
    """32 lamps by the expert; per copy and pair the step of its reward (0: never), and what was paid."""
    task = StackLamp(32)
    expert = Expert(task)
    task.reset(np.arange(32))
    expert.begin()
    paid_NK, total_N = np.zeros((32, 2), int), np.zeros(32)
    while not task.joined_NK.all() and task.steps[0] < 150:
        before_NK = task.joined_NK.copy()
        total_N += task.step(expert.act()).reward
        paid_NK[task.joined_NK & ~before_NK] = task.steps[0]
    return task, paid_NK, total_N


def test_expert_stacks_the_lamp_and_is_paid_once_for_each_pair(stacked):
    _, paid_NK, total_N = stacked
    done = (paid_NK > 0).all(axis=1)
    assert done.mean() >= 0.9
    np.testing.assert_array_equal(total_N[done], 2)
    assert (paid_NK[done, 0] < paid_NK[done, 1]).all()  # the bulb first, then the hood
    assert 30 <= paid_NK[done, 1].mean() <= 120


def test_a_lamp_that_is_let_go_stands_still_with_its_parts_around_each_other(stacked):
    task = stacked[0]
    for step in range(30):
        task.step(act(task, rise=0.02 if step >= 3 else 0.0))
    stands = task.is_joined(task.pairs[0]) & task.is_joined(task.pairs[1])
    assert stands.mean() >= 0.9
    bulb, hood = (task.relative(pair).position[stands] for pair in task.pairs)
    # nothing went through a wall; in a corner of an octagon there is a little more room than at its faces
    corner = 1 / np.cos(np.pi / SIDES)
    assert (np.hypot(*bulb[:, :2].T) < CLEARANCE + 0.001).all()
    assert (np.hypot(*(hood - bulb)[:, :2].T) < HOOD_PLAY * corner + 0.001).all()
    np.testing.assert_allclose(bulb[:, 2], DISC, atol=0.001)
    np.testing.assert_allclose(hood[:, 2], RIM, atol=0.001)
    for k in task.world._qvel.values():
        assert np.abs(task.world.sim.view("qvel")[stands, k : k + 6]).max() < 0.02, "contacts feed energy into a part"


def spun(tilt, turn):
    over = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    return over @ np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])


def test_a_bulb_is_joined_in_its_seat_with_any_turn_and_not_just_outside():
    def joined(position, tilt=0.0, turn=0.0):
        return StackLamp.bulb.joined(Poses(np.array([position]), spun(np.radians(tilt), turn)[None]))[0]

    assert joined((0, 0, DISC)) and joined((0, 0, DISC), turn=2.0)
    assert joined((0.0049, 0, DISC)) and not joined((0.0051, 0, DISC))
    assert joined((0, 0, DISC + 0.0049)) and not joined((0, 0, DISC + 0.0051))
    assert joined((0, 0, DISC), tilt=19.9) and not joined((0, 0, DISC), tilt=20)


@pytest.mark.parametrize("axis", range(3))
def test_a_hood_is_judged_by_its_position_on_each_axis_alone(axis):
    at = np.array([[0, 0, RIM]] * 4, float)
    at[:, axis] += [0.0049, -0.0049, 0.0051, -0.0051]
    rotation = np.stack([spun(tilt, turn) for tilt, turn in ((0, 0), (0.5, 2.0), (0, 0), (0.5, 2.0))])
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
        step = task.step(act(task))
    assert super(StackLamp, task).is_joined(task.hood).all()
    assert task.joined_NK.tolist() == [[False, False], [True, True]]
    assert step.info["is_success"].tolist() == [False, True]


def test_a_bulb_drops_into_its_socket_within_its_play_and_stands_on_the_rim_beyond():
    task = StackLamp(2)
    task.reset(np.arange(2))
    base = task.part("base")
    aside = np.einsum("nij,nj->ni", base.rotation, [[0.8 * CLEARANCE, 0, 0], [4 * CLEARANCE, 0, 0]])
    put(task, "bulb", base.position + aside + [0.0, 0.0, RIM + 0.0005])
    for _ in range(8):
        task.step(act(task))
    assert task.joined_NK[:, 0].tolist() == [True, False]


@pytest.mark.parametrize("randomness", ["low", "high"])
def test_untouched_parts_rest_where_they_were_put_in_sight_and_apart(randomness):
    task = StackLamp(64, randomness=randomness)
    task.reset(np.arange(64))
    before = {part.name: task.part(part.name).position.copy() for part in task.parts}
    for _ in range(20):
        task.step(act(task))
    outer = (GLASS_RADIUS + HOOD_PLAY + HOOD_WALL) / np.cos(np.pi / SIDES)
    for name, wide in (("base", DISC_RADIUS), ("bulb", GLASS_RADIUS), ("hood", outer)):
        assert (np.abs(task.part(name).position - before[name]) < 0.0005).all()
        assert (np.abs(before[name][:, :2]) + wide <= 0.16).all()
    assert not task.joined_NK.any()
