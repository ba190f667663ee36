"""One leg: its expert stands it up and screws it in, and once the nut has caught it depth follows turn, only then."""

import numpy as np
import pytest
from embodkd.envs.geometry import matrix_from_quat, quat_from_rotvec, rot6d_from_matrix
from embodkd.envs.tasks.assembly.expert import Expert
from embodkd.envs.tasks.assembly.one_leg import (
    CAUGHT,
    LEG,
    LEG_RADIUS,
    PITCH,
    SEAT,
    TURN,
    OneLegLite,
)
from embodkd.envs.tasks.assembly.parts import Poses

SCREW = OneLegLite.pairs[0]
UPRIGHT = (1.0, 0.0, 0.0, 0.0)


def hold(task):
    """Stay, with open fingers."""
    tool = task.tool()
    grip = -np.ones((task.num_envs, 1))
    return np.concatenate([tool.position, rot6d_from_matrix(tool.rotation), grip], axis=1)


def put_leg(task, height, quat=UPRIGHT):
    """The leg at rest over the hole, its middle ``height`` (m) above the top's frame."""
    sim, leg = task.world.sim, task.world.sim.model.joint("leg")
    row, speed = int(leg.qposadr[0]), int(leg.dofadr[0])
    sim.view("qpos")[:, row : row + 3] = task.part("top").position + [0.0, 0.0, height]
    sim.view("qpos")[:, row + 3 : row + 7] = quat
    sim.view("qvel")[:, speed : speed + 6] = 0.0
    sim.forward()


def wrench(task, force=0.0, torque=0.0):
    """Push the leg along (N) and turn it about (Nm) the vertical from now on."""
    body = task.world.sim.model.body("leg").id
    task.world.sim.view("xfrc_applied")[:, body] = [0, 0, force, 0, 0, torque]


def caught(copies=1):
    """Tasks whose leg has dropped onto the nut and been caught."""
    task = OneLegLite(copies)
    task.reset(np.arange(copies))
    put_leg(task, CAUGHT + LEG / 2 + 0.0002)
    for _ in range(4):
        task.step(hold(task))
    nut = task.world.nuts[SCREW]
    assert nut.caught.all()
    return task, nut


@pytest.fixture(scope="module")
def played():
    task = OneLegLite(32)
    expert = Expert(task)
    task.reset(np.arange(32))
    expert.begin()
    paid_N, done_N, off_N = np.zeros(32), np.zeros(32, int), np.zeros(32)
    while task.steps[0] < task.max_steps:
        step = task.step(expert.act())
        paid_N += step.reward
        done_N[(done_N == 0) & step.info["is_success"]] = task.steps[0]
        nut = task.world.nuts[SCREW]
        depth_N = CAUGHT + LEG / 2 - task.relative(SCREW).position[:, 2]
        off_N = np.where(nut.caught, np.maximum(off_N, np.abs(depth_N - PITCH * nut.turn)), off_N)
    return task, paid_N, done_N, off_N


def test_expert_screws_the_leg_in_and_is_paid_once(played):
    task, paid_N, done_N, _ = played
    assert (done_N > 0).mean() >= 0.9
    np.testing.assert_array_equal(paid_N, done_N > 0)
    assert 30 <= done_N[done_N > 0].mean() <= 120
    assert (task.world.nuts[SCREW].turn[done_N > 0] >= TURN).all()


def test_depth_follows_turn_to_a_third_of_a_millimetre_under_the_hand(played):
    assert played[3].max() < 0.35e-3


def test_joined_at_its_place_and_depth_and_not_just_outside():
    def joined(position, tilt=0.0, turn=0.0):
        rotation = matrix_from_quat(quat_from_rotvec(np.array([[tilt, 0, 0]])))
        spin = matrix_from_quat(quat_from_rotvec(np.array([[0, 0, turn]])))
        return SCREW.joined(Poses(np.array([position]), rotation @ spin))[0]

    seat = SEAT + LEG / 2
    assert joined((0, 0, seat)) and joined((0, 0, seat), turn=2.0)
    assert joined((0.0049, 0, seat)) and not joined((0.0051, 0, seat))
    assert joined((0, 0, seat + 0.0049)) and not joined((0, 0, seat + 0.0051))
    assert joined((0, 0, seat), tilt=np.radians(19.9)) and not joined((0, 0, seat), tilt=np.radians(20))


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
    for _ in range(3):
        task.step(hold(task))
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
    for _ in range(10):
        task.step(hold(task))
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
    for _ in range(5):
        task.step(hold(task))
    assert nut.caught.tolist() == [False, True]
    assert task.part("leg").position[0, 2] == pytest.approx(LEG_RADIUS, abs=5e-4)


def test_a_saved_thread_goes_on_bit_for_bit():
    task, _ = caught(2)
    other = OneLegLite(2)
    other.reset(np.arange(2) + 50)
    other.load_state_dict(task.state_dict())
    for each in (task, other):
        wrench(each, torque=-0.12)
        for _ in range(5):
            each.step(hold(each))
    np.testing.assert_array_equal(task.world.sim.state, other.world.sim.state)


def test_released_after_the_turn_it_stays_and_is_still(played):
    task, _, done_N, _ = played
    before = task.relative(SCREW).position.copy()
    for _ in range(20):
        task.step(hold(task))
    good = done_N > 0
    assert np.abs(task.relative(SCREW).position - before)[good].max() < 5e-4
    leg = int(task.world.sim.model.joint("leg").dofadr[0])
    assert np.abs(task.world.sim.view("qvel")[good, leg : leg + 3]).max() < 1e-3


@pytest.mark.parametrize("randomness", ["low", "high"])
def test_untouched_parts_rest_where_they_were_put_in_sight_and_apart(randomness):
    task = OneLegLite(128, randomness=randomness)
    task.reset(np.arange(128))
    before = {part.name: task.part(part.name) for part in task.parts}
    for _ in range(20):
        task.step(hold(task))
    for name, pose in before.items():
        assert np.abs(task.part(name).position - pose.position).max() < 0.0005
    ends = [before["leg"].position + side * LEG / 2 * before["leg"].rotation[:, :, 2] for side in (-1, 1)]
    assert max(np.abs(end[:, :2]).max() for end in ends) <= 0.17
    assert not task.joined_NK.any()
