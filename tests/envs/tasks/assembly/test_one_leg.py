"""One leg: its expert stands it up and screws it in, and once the nut has caught it depth follows turn, only then."""

import numpy as np
import pytest
from embodkd.envs.tasks.assembly.one_leg import (
    CAUGHT,
    LEG,
    LEG_RADIUS,
    PITCH,
    SEAT,
    TURN,
    OneLegLite,
)
from play import UPRIGHT, hold, joined, played, put, rested, speed, wait

SCREW = OneLegLite.pairs[0]


def put_leg(task, height, quat=UPRIGHT):
    """The leg at rest over the hole, its middle ``height`` (m) above the top's frame."""
    put(task, "leg", task.part("top").position + [0.0, 0.0, height], quat)
    task.world.settle(np.arange(task.num_envs))


def wrench(task, force=0.0, torque=0.0):
    """Push the leg along (N) and turn it about (Nm) the vertical from now on."""
    body = task.world.sim.model.body("leg").id
    task.world.sim.view("xfrc_applied")[:, body] = [0, 0, force, 0, 0, torque]


def caught(copies=1):
    """Tasks whose leg has dropped onto the nut and been caught."""
    task = OneLegLite(copies)
    task.reset(np.arange(copies))
    put_leg(task, CAUGHT + LEG / 2 + 0.0002)
    wait(task, 4)
    nut = task.world.nuts[SCREW]
    assert nut.caught.all()
    return task, nut


@pytest.fixture(scope="module")
def screwed():
    """32 legs by the expert, and how far a caught leg has ever been from where its turn says (m), (32,)."""
    task, off_N = OneLegLite(32), np.zeros(32)

    def watch():
        nut = task.world.nuts[SCREW]
        depth_N = CAUGHT + LEG / 2 - task.relative(SCREW).position[:, 2]
        off_N[:] = np.where(nut.caught, np.maximum(off_N, np.abs(depth_N - PITCH * nut.turn)), off_N)

    return played(task, whole=True, watch=watch), off_N


def test_expert_screws_the_leg_in_and_is_paid_once(screwed):
    task, step_NK, paid_N = screwed[0]
    done_N = step_NK[:, 0]
    assert (done_N > 0).mean() >= 0.9
    np.testing.assert_array_equal(paid_N, done_N > 0)
    assert 30 <= done_N[done_N > 0].mean() <= 120
    assert (task.world.nuts[SCREW].turn[done_N > 0] >= TURN).all()


def test_depth_follows_turn_to_a_third_of_a_millimetre_under_the_hand(screwed):
    assert screwed[1].max() < 0.35e-3


def test_joined_at_its_place_and_depth_and_not_just_outside():
    seat, degrees = SEAT + LEG / 2, np.radians([19.9, 20.0])
    assert joined(SCREW, (0, 0, seat)) and joined(SCREW, (0, 0, seat), turn=2.0)
    assert joined(SCREW, (0.0049, 0, seat)) and not joined(SCREW, (0.0051, 0, seat))
    assert joined(SCREW, (0, 0, seat + 0.0049)) and not joined(SCREW, (0, 0, seat + 0.0051))
    assert joined(SCREW, (0, 0, seat), tilt=degrees[0]) and not joined(SCREW, (0, 0, seat), tilt=degrees[1])


@pytest.mark.parametrize(("degrees", "together"), [(59, False), (61, True)])
def test_the_turn_decides_where_the_pose_would_do(degrees, together):
    task, nut = caught()
    assert SCREW.joined(task.relative(SCREW))[0] and not task.is_joined(SCREW)[0]
    sim = task.world.sim
    for kind, value in (("slide", -PITCH * np.radians(degrees)), ("hinge", -np.radians(degrees))):
        sim.view("qpos")[:, int(sim.model.joint(f"leg_nut_{kind}").qposadr[0])] = value
    assert task.is_joined(SCREW)[0] == together


@pytest.mark.parametrize("start", [-2.0, 0.5, 3.0])
def test_a_caught_leg_sinks_as_it_is_turned_from_any_turn(start):
    task = OneLegLite(1)
    task.reset(np.arange(1))
    put_leg(task, CAUGHT + LEG / 2 + 0.0002, (np.cos(start / 2), 0.0, 0.0, np.sin(start / 2)))
    wait(task, 3)
    nut = task.world.nuts[SCREW]
    wrench(task, torque=-0.12)
    for _ in range(40):
        task.step(hold(task))
        sunk = CAUGHT + LEG / 2 - task.relative(SCREW).position[0, 2]
        assert sunk == pytest.approx(PITCH * nut.turn[0], abs=2e-4)
    assert nut.turn[0] >= TURN and task.joined_NK.all()
    x_axis = task.relative(SCREW).rotation[0, :2, 0]
    turned = (start - np.arctan2(x_axis[1], x_axis[0]) + np.pi) % (2 * np.pi) - np.pi
    assert turned == pytest.approx(nut.turn[0], abs=0.03)


@pytest.mark.parametrize("force", [-20.0, 20.0])
def test_pushing_or_pulling_neither_turns_nor_moves_a_caught_leg(force):
    task, nut = caught()
    wrench(task, force=force)
    wait(task, 10)
    assert abs(nut.turn[0]) < 0.02
    assert task.relative(SCREW).position[0, 2] == pytest.approx(CAUGHT + LEG / 2, abs=3e-4)


def test_before_it_is_caught_a_leg_turns_without_sinking_and_the_nut_stops_it():
    task = OneLegLite(1)
    task.reset(np.arange(1))
    nut = task.world.nuts[SCREW]
    put_leg(task, CAUGHT + LEG / 2 + 0.003)
    wrench(task, torque=-0.002)
    task.step(hold(task))
    assert not nut.caught[0]  # it was not near when this step began
    x_axis = task.relative(SCREW).rotation[0, :2, 0]
    assert abs(np.arctan2(x_axis[1], x_axis[0])) > 0.1
    assert nut.turn[0] == pytest.approx(0.0, abs=3e-3)
    wrench(task, force=-20.0)
    for _ in range(3):
        assert task.relative(SCREW).position[0, 2] == pytest.approx(CAUGHT + LEG / 2, abs=5e-4)
        task.step(hold(task))
    assert nut.caught[0]


def test_a_new_episode_has_a_free_leg_and_the_others_keep_theirs():
    task, nut = caught(2)
    task.reset(np.array([5]), np.array([0]))
    assert nut.caught.tolist() == [False, True]
    wait(task, 5)
    assert nut.caught.tolist() == [False, True]
    assert task.part("leg").position[0, 2] == pytest.approx(LEG_RADIUS, abs=5e-4)


def test_a_saved_thread_goes_on_bit_for_bit():
    task, _ = caught(2)
    other = OneLegLite(2)
    other.reset(np.arange(2) + 50)
    other.load_state_dict(task.state_dict())
    for each in (task, other):
        wrench(each, torque=-0.12)
        wait(each, 5)
    np.testing.assert_array_equal(task.world.sim.state, other.world.sim.state)


def test_released_after_the_turn_it_stays_and_is_still(screwed):
    task, step_NK, _ = screwed[0]
    before = task.relative(SCREW).position.copy()
    wait(task, 20)
    good = step_NK[:, 0] > 0
    assert np.abs(task.relative(SCREW).position - before)[good].max() < 5e-4
    assert speed(task, "leg")[good, :3].max() < 1e-3


@pytest.mark.parametrize("randomness", ["low", "high"])
def test_untouched_parts_rest_where_they_were_put_in_sight_and_apart(randomness):
    task = OneLegLite(128, randomness=randomness)
    assert max(moved.max() for moved in rested(task).values()) < 0.0005
    leg = task.part("leg")
    ends = [leg.position + side * LEG / 2 * leg.rotation[:, :, 2] for side in (-1, 1)]
    assert max(np.abs(end[:, :2]).max() for end in ends) <= 0.17
    assert not task.joined_NK.any()
