"""The round table: its expert builds it, each joint is judged by its pose, and untouched parts stay where they are."""

import numpy as np
import pytest
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
from play import hold, joined, played, put, rested


@pytest.fixture(scope="module")
def built():
    return played(RoundTableLite(32))


def test_expert_builds_the_table_and_is_paid_once_for_each_joint(built):
    done = (built.step_NK > 0).all(axis=1)
    assert done.mean() >= 0.9
    np.testing.assert_array_equal(built.paid_N[done], 2)
    assert (built.step_NK[done, 0] < built.step_NK[done, 1]).all()  # the leg first, then the foot
    assert 30 <= built.step_NK[done, 1].mean() <= 120


def test_what_is_joined_stands_in_its_hole(built):
    task = built.task
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
    pair = RoundTableLite.pairs[pair]
    assert joined(pair, (0, 0, seat)) and joined(pair, (0, 0, seat), turn=2.0)
    assert joined(pair, (0.0049, 0, seat)) and not joined(pair, (0.0051, 0, seat))
    assert joined(pair, (0, 0, seat + 0.0049)) and not joined(pair, (0, 0, seat + 0.0051))
    degrees = np.radians([19.9, 20.0])
    assert joined(pair, (0, 0, seat), tilt=degrees[0]) and not joined(pair, (0, 0, seat), tilt=degrees[1])


def test_a_leg_above_its_hole_is_not_joined_and_drops_in():
    task = RoundTableLite(1)
    task.reset(np.array([3]))
    put(task, "leg", task.part("top").position + [0.0, 0.0, DISC + HOLE + 0.001])
    joined = []
    for _ in range(8):
        task.step(hold(task))
        joined.append(task.joined_NK[0, 0])
    assert not task.joined_NK[0, 1]
    assert joined[-1] and task.relative(task.pairs[0]).position[0, 2] == pytest.approx(DISC, abs=0.001)


@pytest.mark.parametrize("randomness", ["low", "high"])
def test_untouched_parts_rest_where_they_were_put_in_sight_and_apart(randomness):
    task = RoundTableLite(64, randomness=randomness)
    moved = rested(task)
    for name, wide in (("top", DISC_RADIUS), ("leg", LEG_RADIUS), ("foot", ARM)):
        assert (moved[name] < 0.0005).all()
        assert (np.abs(task.part(name).position[:, :2]) + wide <= 0.16).all()
    assert not task.joined_NK.any()
