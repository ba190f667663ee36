"""The round table: its expert builds it, each joint is judged by its pose, and untouched parts stay where they are."""

import numpy as np
import pytest
from embodkd.envs.tasks.assembly.expert import Expert
from embodkd.envs.tasks.assembly.parts import Poses
from embodkd.envs.tasks.assembly.round_table import (
    ARM,
    CLEARANCE,
    DISC,
    DISC_RADIUS,
    HOLE,
    LEG,
    LEG_RADIUS,
    RoundTableLite,
)


def build(seeds, **options):
    """Play the expert until all are done or time is up; per copy and pair the step of its reward (0: never)."""
    task = RoundTableLite(len(seeds), **options)
    expert = Expert(task)
    task.reset(np.asarray(seeds))
    expert.begin()
    paid_NK = np.zeros((len(seeds), 2), int)
    total_N = np.zeros(len(seeds))
    while not task.joined_NK.all() and task.steps[0] < task.max_steps:
        before_NK = task.joined_NK.copy()
        total_N += task.step(expert.act()).reward
        paid_NK[task.joined_NK & ~before_NK] = task.steps[0]
    return task, paid_NK, total_N


@pytest.fixture(scope="module")
def built():
    return build(np.arange(32))


def test_expert_builds_the_table_and_is_paid_once_for_each_joint(built):
    _, paid_NK, total_N = built
    done = (paid_NK > 0).all(axis=1)
    assert done.mean() >= 0.9
    np.testing.assert_array_equal(total_N[done], 2)
    assert (paid_NK[done, 0] < paid_NK[done, 1]).all()  # the leg first, then the foot
    assert 30 <= paid_NK[done, 1].mean() <= 120


def test_what_is_joined_stands_in_its_hole(built):
    task, _, _ = built
    for pair, seat in zip(task.pairs, (DISC, LEG - HOLE), strict=True):
        seen = task.relative(pair)
        together = pair.joined(seen)
        assert together.mean() >= 0.9
        position_n3 = seen.position[together]
        # within the hole's play, sideways and by tilt, and nowhere through the block below
        assert (np.abs(position_n3[:, :2]) < 3 * CLEARANCE).all()
        assert (position_n3[:, 2] > seat - 0.001).all()


@pytest.mark.parametrize(("pair", "seat"), [(0, DISC), (1, LEG - HOLE)])
def test_joined_at_its_place_with_any_turn_and_not_just_outside(pair, seat):
    def joined(position, angle=0.0, turn=0.0):
        tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        spin = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        return RoundTableLite.pairs[pair].joined(Poses(np.array([position]), (tilt @ spin)[None]))[0]

    assert joined((0, 0, seat)) and joined((0, 0, seat), turn=2.0)
    assert joined((0.0049, 0, seat)) and not joined((0.0051, 0, seat))
    assert joined((0, 0, seat + 0.0049)) and not joined((0, 0, seat + 0.0051))
    assert joined((0, 0, seat), angle=np.radians(19.9)) and not joined((0, 0, seat), angle=np.radians(20))


def test_a_leg_above_its_hole_is_not_joined_and_drops_in():
    task = RoundTableLite(1)
    task.reset(np.array([3]))
    top = task.part("top")
    start = task.world._qpos[task.order["leg"]]
    task.world.sim.view("qpos")[:, start : start + 3] = top.position + [0.0, 0.0, DISC + HOLE + 0.001]
    hold = np.r_[task.tool().position[0], task.tool().rotation[0, :2].ravel(), -1.0]
    joined = []
    for _ in range(8):
        task.step(hold[None])
        joined.append(task.joined_NK[0, 0])
    assert not task.joined_NK[0, 1]
    assert joined[-1] and task.relative(task.pairs[0]).position[0, 2] == pytest.approx(DISC, abs=0.001)


@pytest.mark.parametrize("randomness", ["low", "high"])
def test_untouched_parts_rest_where_they_were_put_in_sight_and_apart(randomness):
    task = RoundTableLite(64, randomness=randomness)
    task.reset(np.arange(64))
    before = {part.name: task.part(part.name).position.copy() for part in task.parts}
    hold = np.concatenate([task.tool().position, task.tool().rotation[:, :2].reshape(-1, 6), -np.ones((64, 1))], axis=1)
    for _ in range(20):
        task.step(hold)
    for name, wide in (("top", DISC_RADIUS), ("leg", LEG_RADIUS), ("foot", ARM)):
        position_N3 = before[name]
        assert (np.abs(task.part(name).position - position_N3) < 0.0005).all()
        assert (np.abs(position_N3[:, :2]) + wide <= 0.16).all()
    assert not task.joined_NK.any()
