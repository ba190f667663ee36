"""PickLift and its Panda: the arm goes where it is told, objects are what the episode drew, lifting is success."""

import mujoco
import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.robots.fingers import OPEN
from embodkd.envs.sim.robots.panda import PandaArm
from embodkd.envs.sim.robots.panda_control import STIFFNESS
from embodkd.envs.tasks.pick_lift_scene import OBJECTS, STEP, half_extents


def arm_alone(count, **options):
    spec = mujoco.MjSpec()
    spec.option.timestep = 0.004
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.3, 0.3, 0.01], pos=[0, 0, -0.01])
    arm = PandaArm(**options)
    arm.build(spec)
    arm.bind(BatchSim(spec.compile(), count))
    return arm


def put(arm, position, rotvec):
    ids = np.arange(len(position))
    arm.sim.reset(ids)
    arm.place(ids, position, rotvec)
    arm.sim.forward(ids)


def scripted(task, close=True):
    """Above, down, close, up: a controller that knows the object."""
    for _ in range(task.spec.max_steps):
        offset, turn = task._offset(), task._turn_error()
        actions = np.zeros((task.num_envs, task.spec.action_size), np.float32)
        above = (np.linalg.norm(offset[:, :2], axis=1) < 0.01) & (np.abs(turn) < 0.15)
        around = (np.abs(offset) < 0.012).all(axis=1)
        actions[:, :2], actions[:, 3] = offset[:, :2] / STEP[0], turn / STEP[1]
        actions[:, 2] = np.where(above, offset[:, 2] / STEP[0], (offset[:, 2] + 0.06) / STEP[0])
        actions[:, 4] = np.where(around & close, -1, 1)
        actions[around & (task.world.robot.squeeze.min(axis=1) > 5), 2] = 1
        step = task.step(actions)
    return step


@pytest.mark.parametrize("options", [{"grip": True, "reach": 0.0}, {}])
def test_inverse_kinematics_reach_the_whole_workspace(options):
    rng = np.random.default_rng(0)
    position = rng.uniform([-0.15, -0.2, 0.02], [0.15, 0.2, 0.3], (64, 3))
    rotvec = np.column_stack([rng.uniform(-0.05, 0.05, (64, 2)), rng.uniform(-1.5, 1.5, 64)])
    arm = arm_alone(64, **options)
    put(arm, position, rotvec)
    np.testing.assert_allclose(arm.position, position, atol=1e-6)
    np.testing.assert_allclose(arm.rotvec, rotvec, atol=1e-6)


def test_zero_action_holds_the_hand_against_gravity():
    arm = arm_alone(2, grip=True, actions="yaw", reach=0.0)
    position, rotvec = np.array([[0, 0, 0.1], [0.1, -0.15, 0.25]]), np.array([[0, 0, 0.0], [0, 0, 1.0]])
    put(arm, position, rotvec)
    for _ in range(20):
        arm.command(np.array([[0, 0, 0, 0, 1.0]] * 2, np.float32))
        arm.sim.step(12)
    np.testing.assert_allclose(arm.position, position, atol=0.003)
    np.testing.assert_allclose(arm.fingers, OPEN, atol=1e-4)


def test_deltas_move_along_the_tools_own_axes():
    arm = arm_alone(6, step=(0.02, 0.1))
    rotvec = np.tile([0.0, 0.0, 0.5], (6, 1))
    put(arm, np.tile([0.0, 0.0, 0.2], (6, 1)), rotvec)
    before = arm.rotation[0].copy()
    for _ in range(8):
        arm.command(np.eye(6, dtype=np.float32))
        arm.sim.step(12)
    moved = (arm.position[:3] - [0, 0, 0.2]) @ before
    assert (np.diag(moved) > 0.03).all() and np.abs(moved - np.diag(np.diag(moved))).max() < 0.01
    turned = (arm.rotvec[3:] - rotvec[3:])[:, 2]
    assert turned[2] > 0.15 and np.abs(turned[:2]).max() < 0.08


def test_pressing_on_the_table_is_bounded_by_stiffness_times_delta():
    arm = arm_alone(1, grip=True, actions="yaw", reach=0.0)
    put(arm, np.array([[0, 0, 0.02]]), np.zeros((1, 3)))
    for _ in range(40):
        arm.command(np.array([[0, 0, -1, 0, -1]], np.float32))
        arm.sim.step(12)
    assert abs(arm.twist[0, 2]) < 1e-3
    assert 0.5 < -arm.force[0, 2] / (STIFFNESS[0] * 0.01) < 1.1


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_lie_still_where_the_episode_put_them(name):
    task = make_task("pick_lift", 8, objects=(name,), randomness="high")
    task.reset(np.arange(8))
    before = task.world.position("object").copy()
    assert (np.abs(before[:, :2]) <= 0.12).all()
    hold = np.zeros((8, 5), np.float32)
    hold[:, 4] = 1
    for _ in range(20):
        step = task.step(hold)
    np.testing.assert_allclose(task.world.position("object"), before, atol=0.002)
    assert not step.info["is_success"].any() and (step.info["failure"] == 1).all()


def test_each_copy_has_its_own_object_in_the_engine():
    task = make_task("pick_lift", 32)
    task.reset(np.arange(32))
    assert set(task._kind_N) == set(range(len(OBJECTS)))
    types = {"box": "BOX", "cylinder": "CYLINDER", "capsule": "CAPSULE", "sphere": "SPHERE"}
    masses = []
    for copy in range(6):
        model, data = task.world.sim.snapshot(copy)
        kind = task._kind_N[copy]
        assert model.geom("object").type[0] == getattr(mujoco.mjtGeom, f"mjGEOM_{types[OBJECTS[kind]]}")
        half = half_extents(np.array([kind]), model.geom("object").size[None])[0]
        assert half.min() > 0.013 and half.max() < 0.06 and half[1] < OPEN
        masses.append(model.body("object").mass[0])
        assert 0.05 <= masses[-1] <= 0.2
        inertia = model.body("object").inertia
        assert (inertia < inertia.sum() / 2 + 1e-12).all() and (inertia > 0).all()
    assert len(set(masses)) == 6


def test_the_engine_knows_where_the_mass_of_each_object_is():
    task, other = make_task("pick_lift", 4), make_task("pick_lift", 4)
    task.reset(np.arange(4))
    other.reset(np.arange(4) + 9)
    other.load_state_dict(task.state_dict())
    for world in (task.world, other.world):
        np.testing.assert_allclose(world.sim.view("subtree_com")[:, world._body], world.position("object"), atol=1e-12)


def test_a_spinning_object_in_free_fall_stays_physical():
    task = make_task("pick_lift", 32)
    task.reset(np.arange(32))
    sim, world = task.world.sim, task.world
    pose, twist = world.loose("object")
    sim.view("qpos")[:, pose.start + 2] = 5.0
    sim.view("qvel")[:, twist] = [1.0, 0.0, 0.0, 40.0, 10.0, -30.0]
    sim.forward()
    seconds = 0.5
    sim.step(round(seconds / 0.004))
    np.testing.assert_allclose(world.velocity("object"), np.tile([1.0, 0.0, -9.81 * seconds], (32, 1)), atol=1e-3)
    assert np.linalg.norm(sim.view("qvel")[:, twist][:, 3:], axis=1).max() < 80


def test_proprioception_does_not_know_the_object():
    task = make_task("pick_lift", 2)
    task.reset(np.array([1, 2]))
    before = task.observe(["proprio", "privileged"])
    task.world.sim.view("qpos")[:, task.world.loose("object")[0].start] += 0.05
    task.world.sim.forward()
    after = task.observe(["proprio", "privileged"])
    np.testing.assert_array_equal(before["proprio"], after["proprio"])
    assert (before["privileged"] != after["privileged"]).any(axis=1).all()


@pytest.mark.parametrize(("camera", "share"), [("wrist", 0.85), ("front", 1.0)])
def test_cameras_see_the_object_at_the_start(camera, share):
    task = make_task("pick_lift", 32)
    task.reset(np.arange(32))
    group = f"{camera}_segmentation"
    seen = (task.observe([group])[group] == task.world._geom + 1).reshape(32, -1).sum(axis=1)
    assert (seen >= 6).mean() >= share


def test_turning_half_way_round_changes_nothing_for_the_fingers():
    task = make_task("pick_lift", 4, objects=("box", "capsule"))
    task.reset(np.arange(4))
    turn = task._turn_error()
    assert (np.abs(turn) <= np.pi / 2).all() and np.abs(turn).max() > 0.05
    pose = task.world.loose("object")[0]
    quat = task.world.sim.view("qpos")[:, pose][:, 3:].copy()
    # multiply by a half turn about the vertical, from the left
    task.world.sim.view("qpos")[:, pose.start + 3 : pose.stop] = np.stack(
        [-quat[:, 3], -quat[:, 2], quat[:, 1], quat[:, 0]], axis=1
    )
    task.world.sim.forward()
    np.testing.assert_allclose(task._turn_error(), turn, atol=1e-9)


def test_a_scripted_grasp_lifts_and_open_fingers_never_do():
    task = make_task("pick_lift", 24, objects=("box", "cylinder"), randomness="low")
    task.reset(np.arange(24))
    held = scripted(task)
    assert held.info["is_success"].mean() >= 0.8
    good = held.info["is_success"]
    assert (held.info["failure"][good] == 0).all() and held.reward[good].min() > 4
    task.reset(np.arange(24))
    empty = scripted(task, close=False)
    assert not empty.info["is_success"].any() and empty.reward.max() < 2


def test_sparse_reward_is_success():
    task = make_task("pick_lift", 8, reward="sparse", objects=("box",), randomness="low")
    task.reset(np.arange(8))
    step = scripted(task)
    np.testing.assert_array_equal(step.reward, step.info["is_success"].astype(np.float32))
    assert step.reward.any()


def test_randomised_mass_multiplies_the_drawn_one():
    plain, changed = make_task("pick_lift", 4), make_task("pick_lift", 4, randomise={"mass": 0.2})
    for task in (plain, changed):
        task.reset(np.arange(4))
        task.reset(np.arange(4))
    body = plain.world._body
    ratio = changed.world.sim.parameter("body_mass")[:, body] / plain.world.sim.parameter("body_mass")[:, body]
    assert (np.abs(ratio - 1) <= 0.2).all() and np.ptp(ratio) > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [({"objects": ("cube",)}, "cube"), ({"objects": ()}, "one or more"), ({"engine": "bulet"}, "or bullet")],
)
def test_wrong_options_say_what_to_choose(options, message):
    with pytest.raises(ValueError, match=message):
        make_task("pick_lift", 1, **options)
