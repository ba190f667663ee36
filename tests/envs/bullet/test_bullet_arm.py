"""The Panda in both engines: one body, one control law; and in Bullet a grasp that holds what the episode drew."""

import mujoco
import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.bullet.scene import bodies_of
from embodkd.envs.sim.robots.panda_control import STIFFNESS
from embodkd.envs.sim.robots.panda_model import HOME
from embodkd.envs.tasks.pick_lift_scene import OBJECTS, STEP, scene

ENGINES = ("mujoco", "bullet")
p = pytest.importorskip("pybullet", reason="engine bullet needs the extra `bullet` (Python 3.11)")


def world(count, **options):
    task = make_task("pick_lift", count, engine="bullet", **options)
    task.reset(np.arange(count))
    return task


def link_of(sim, name, copy=0):
    """Client, and Bullet's own numbers of a body."""
    client = sim._clients[copy]
    return client, client.at[sim.body(name)]


def posed(joints_N9):
    """Arms with these joints in both engines: Bullet's rows, the model, and MuJoCo's data by copy."""
    sim, model = world(len(joints_N9)).world.sim, scene()[0].compile()
    sim.joint_NJ[:] = joints_N9
    sim.forward()
    data = [mujoco.MjData(model) for _ in joints_N9]
    for joints, row in zip(joints_N9, data, strict=True):
        row.qpos[:9] = joints
        mujoco.mj_forward(model, row)
    return sim, model, data


@pytest.fixture(scope="module")
def anywhere():
    limits = scene()[0].compile().jnt_range[:9]
    return posed(np.random.default_rng(0).uniform(limits[:, 0], limits[:, 1], (6, 9)))


def test_forward_kinematics_agree_at_random_joints(anywhere):
    sim, _, copies = anywhere
    for copy, data in enumerate(copies):
        np.testing.assert_allclose(sim.place_NB3[copy, :13], data.xpos[:13], atol=1e-9)
        np.testing.assert_allclose(sim.rotation_NB33[copy, :13].reshape(13, 9), data.xmat[:13], atol=1e-9)
        for name in ("link3", "link7", "finger1", "tool"):
            client, at = link_of(sim, name, copy)
            bullets = p.getLinkState(*at, computeForwardKinematics=True, physicsClientId=client.id)
            np.testing.assert_allclose(bullets[4], data.body(name).xpos, atol=1e-6)
            turned = np.reshape(p.getMatrixFromQuaternion(bullets[5]), 9)
            np.testing.assert_allclose(turned, data.body(name).xmat, atol=1e-6)


def test_jacobians_agree_at_random_joints(anywhere):
    sim, model, copies = anywhere
    tool = sim.body("tool")
    for copy, data in enumerate(copies):
        expected = np.zeros((6, model.nv))
        mujoco.mj_jacBody(model, data, expected[:3], expected[3:], tool)
        np.testing.assert_allclose(sim.jacobian(tool)[copy], expected[:, :9], atol=1e-9)


def test_torques_accelerate_the_same_inertias():
    """From rest, Bullet's accelerations are those of MuJoCo's mass matrix with the rotors where Bullet has them."""
    near = np.array([*HOME, 0.02, 0.02]) + np.random.default_rng(1).uniform(-0.2, 0.2, (3, 9)) * ([1] * 7 + [0.1] * 2)
    sim, model, copies = posed(near)
    h = model.opt.timestep
    for copy, data in enumerate(copies):
        mass = np.zeros((model.nv, model.nv))
        mujoco.mj_fullM(model, data, mass)
        mass = mass[:9, :9] - np.diag(model.dof_armature[:9])
        for k in range(7):
            body, turning = model.body(f"link{k + 1}").id, np.zeros((3, model.nv))
            mujoco.mj_jacBody(model, data, None, turning, body)
            row = data.xmat[body].reshape(3, 3)[:, 2] @ turning[:, :9]
            mass += (model.dof_armature[k] + h * model.dof_damping[k]) * np.outer(row, row)
        # of the tool's 100 N s/m times h, the fingers' rotors and servos carry 0.188 kg each; 4 Nm s/rad times h turns
        rotor = 0.1 + h * (2.0 + 20.0)
        for name, more, turns in (
            ("finger-1", rotor, 0.0),
            ("finger1", rotor, 0.0),
            ("tool", h * 100 - 2 * rotor, h * 4),
        ):
            body, linear, turning = model.body(name).id, np.zeros((3, model.nv)), np.zeros((3, model.nv))
            mujoco.mj_jac(model, data, linear, turning, data.xipos[body], body)
            mass += (more * linear.T @ linear + turns * turning.T @ turning)[:9, :9]
        found = np.zeros((9, 9))
        for k in range(9):
            sim.forward(np.array([copy]))
            _, states = sim._clients[copy].step([], [], [], (0.1 * np.eye(9)[k]).tolist())
            found[:, k] = [speed / (0.1 * h) for _, speed in states]
        np.testing.assert_allclose(found @ mass, np.eye(9), atol=2e-3)


def test_the_scene_is_the_compiled_model():
    model = scene()[0].compile()
    bodies = bodies_of(model)
    assert [body.name for body in bodies] == [model.body(k).name for k in range(model.nbody)]
    assert [shape.name for body in bodies for shape in body.shapes] == [model.geom(k).name for k in range(model.ngeom)]
    assert {body.name for body in bodies if body.joint is None} == {"world", "panda", "aim", "object"}


def test_free_motion_is_nearly_the_same():
    tasks = [make_task("pick_lift", 4, engine=engine) for engine in ENGINES]
    for task in tasks:
        task.reset(np.arange(4))
    for k in range(10):
        actions = np.random.default_rng(k).uniform(-1, 1, (4, 5))
        actions[:, 2] = np.abs(actions[:, 2])
        for task in tasks:
            task.step(actions)
        ours, theirs = (task.world.robot for task in tasks)
        np.testing.assert_allclose(theirs.position, ours.position, atol=0.003)
        np.testing.assert_allclose(theirs.rotvec, ours.rotvec, atol=0.02)
        np.testing.assert_allclose(theirs.fingers, ours.fingers, atol=0.002)


def test_contact_forces_are_the_same():
    """Closed fingers press on the table: stiffness times delta, whatever the engine."""
    pressed = []
    for engine in ENGINES:
        task = make_task("pick_lift", 2, engine=engine, randomness="high", objects=("box",))
        task.reset(np.array([0, 3]))
        for _ in range(40):
            task.step(np.tile([0.0, 0.0, -0.5, 0.0, -1.0], (2, 1)))
        assert np.abs(task.world.robot.twist[:, 2]).max() < 2e-3
        pressed.append(-task.world.robot.force[:, 2])
    np.testing.assert_allclose(pressed[1], pressed[0], rtol=0.1)
    assert (np.abs(pressed[1] / (STIFFNESS[0] * 0.5 * STEP[0]) - 1) < 0.4).all()


def scripted(task, steps=None):
    """Above, down, close, up: a controller that knows the object."""
    for _ in range(steps or task.spec.max_steps):
        offset, turn = task._offset(), task._turn_error()
        actions = np.zeros((task.num_envs, 5), np.float32)
        above = (np.linalg.norm(offset[:, :2], axis=1) < 0.01) & (np.abs(turn) < 0.15)
        around = (np.abs(offset) < 0.012).all(axis=1)
        actions[:, :2], actions[:, 3] = offset[:, :2] / STEP[0], turn / STEP[1]
        actions[:, 2] = np.where(above, offset[:, 2], offset[:, 2] + 0.06) / STEP[0]
        actions[:, 4] = np.where(around, -1, 1)
        actions[around & (task.world.robot.squeeze.min(axis=1) > 5), 2] = 1
        step = task.step(actions)
    return step


def test_a_scripted_grasp_lifts_every_kind():
    task = world(24)
    assert set(task._kind_N) == set(range(len(OBJECTS)))
    step = scripted(task)
    assert step.info["is_success"].mean() >= 0.95 and step.reward[step.info["is_success"]].min() > 4
    between = np.abs(task._offset()).max(axis=1)
    held = task.world.position("object")[step.info["is_success"], 2]
    assert between[step.info["is_success"]].max() < 0.03 and held.min() > 0.2


def test_open_fingers_lift_nothing():
    task = world(4, objects=("box",), randomness="low")
    for k in range(60):
        offset = task._offset()
        actions = np.zeros((4, 5))
        actions[:, :3], actions[:, 4] = offset / STEP[0], 1
        actions[:, 2] = 1 if k > 20 else actions[:, 2]
        step = task.step(actions)
    assert not step.info["is_success"].any() and (task.world.robot.position[:, 2] > 0.2).all()


def test_a_grasp_goes_on_bit_for_bit_after_loading():
    task, other = world(3), world(3)
    scripted(task, 30)
    assert (task.world.robot.squeeze.min(axis=1) > 5).any() and (task._lift() > 0.01).any()
    other.load_state_dict(task.state_dict())
    for _ in range(8):
        action = np.tile([0.1, 0.0, 1.0, 0.2, -1.0], (3, 1))
        np.testing.assert_array_equal(task.step(action).reward, other.step(action).reward)
    np.testing.assert_array_equal(task.world.position("object"), other.world.position("object"))


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_lie_still_where_the_episode_put_them(name):
    task = world(4, objects=(name,), randomness="high")
    before = task.world.position("object").copy()
    for _ in range(20):
        step = task.step(np.tile([0.0, 0.0, 0.0, 0.0, 1.0], (4, 1)))
    np.testing.assert_allclose(task.world.position("object"), before, atol=0.002)
    assert (step.info["failure"] == 1).all()


def test_bullet_holds_the_shapes_that_the_rows_name():
    task = world(8)
    names = {p.GEOM_BOX: "box", p.GEOM_CYLINDER: "cylinder", p.GEOM_CAPSULE: "capsule", p.GEOM_SPHERE: "sphere"}
    for first in (0, 8):
        task.reset(np.arange(8) + first)
        sim = task.world.sim
        for copy in range(8):
            client, at = link_of(sim, "object", copy)
            (found,) = p.getCollisionShapeData(*at, physicsClientId=client.id)
            kind, (a, b, c) = OBJECTS[task._kind_N[copy]], sim.size_NG3[copy, -1]
            round_one = (a, a, a) if kind == "sphere" else (2 * b, a, 0)
            assert names[found[2]] == kind
            np.testing.assert_allclose(found[3], (2 * a, 2 * b, 2 * c) if kind == "box" else round_one)
            assert p.getDynamicsInfo(*at, physicsClientId=client.id)[0] == sim.mass_NB[copy, -1]


def test_a_released_object_falls_freely():
    task = world(4)
    sim, thing = task.world.sim, task.world.sim.body("object")
    sim.position_NB3[:, thing, 2] = 1.0
    sim.velocity_NB6[:, thing] = [0.3, 0.0, 0.0, 0.0, 0.0, 0.0]
    sim.forward()
    task.step(np.zeros((4, 5)))
    np.testing.assert_allclose(sim.velocity_NB6[:, thing, :3], np.tile([0.3, 0.0, -9.81 * 0.048], (4, 1)), atol=1e-9)


def test_episodes_leave_no_shapes_behind_and_a_new_connection_changes_nothing(monkeypatch):  # R18
    from embodkd.envs.bullet import client

    def played(rounds):
        task = make_task("pick_lift", 2, engine="bullet", randomise={"mass": 0.3})
        for first in range(rounds):
            task.reset(np.arange(2) + 2 * first)
            step = scripted(task, 3)
        return task, step.reward, task.world.sim.state_dict()

    _, reward, rows = played(5)
    monkeypatch.setattr(client, "MOST_SHAPES", 2)
    task, again, other = played(5)
    np.testing.assert_array_equal(reward, again)
    for name, values in rows.items():
        np.testing.assert_array_equal(values, other[name])

    sim, before = task.world.sim, None
    for k in range(600):
        for each in sim._clients:
            each.shape(np.array([k % 4]), np.array([[0.02 + 1e-6 * k, 0.02, 0.02]]))
        if k == 100:
            before = _resident()
    assert (_resident() - before) / 1000 < 1.0, "KiB for each shape"


def _resident():
    """KiB of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4
