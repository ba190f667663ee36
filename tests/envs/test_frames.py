"""Frames and units say what they are: every column of every group against `mjData`, on every robot and engine."""

import re
from contextlib import closing

import mujoco
import numpy as np
from embodkd.envs import make_task
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.looks import AMBIENT, SKY
from every_world import every_world
from truth import Truth, Vector

SEED = 3
HANDS = {"hand_lift": 16, "grasp": 34}  # steps until the hand has come down and closed


def mujoco_of(task, twin):
    """Copy 0 as a model and data of MuJoCo; ``twin`` is a task on MuJoCo that began the same episode."""
    model, data = (twin or task).world.sim.snapshot(0)
    if twin is not None:
        copy_rows(task.world.sim, model, data)
    return model, data


def copy_rows(sim: BulletSim, model, data):
    """Write the rows of Bullet into MuJoCo's state."""
    joints = iter(range(sim.joint_NJ.shape[1]))
    for k, body in enumerate(sim.bodies):
        if body.joint is not None and body.joint.axis is not None:
            j = next(joints)
            number = model.body(body.name).jntadr[0]
            data.qpos[model.jnt_qposadr[number]], data.qvel[model.jnt_dofadr[number]] = (
                sim.joint_NJ[0, j],
                sim.speed_NJ[0, j],
            )
        elif body.joint is None and body.mass > 0:
            joint = model.joint(body.name)
            pose, twist = (slice(start, start + size) for start, size in ((joint.qposadr[0], 7), (joint.dofadr[0], 6)))
            data.qpos[pose] = [*sim.position_NB3[0, k], *sim.quat_NB4[0, k]]
            linear, angular = sim.velocity_NB6[0, k, :3], sim.velocity_NB6[0, k, 3:]
            data.qvel[twist] = [*linear, *(sim.rotation_NB33[0, k].T @ angular)]
    mujoco.mj_forward(model, data)


def actions(task, k):
    """Small ones, so that no bound is met; the hand goes down and closes on the object."""
    drawn = np.random.default_rng(k).uniform(-0.4, 0.4, (1, task.spec.action_size)).astype(np.float32)
    if task.spec.name in HANDS:
        down = HANDS[task.spec.name] - 6
        drawn[:, :20] = 0.7 * (k > down - 3)
        drawn[:, 22] = -0.6 if k < down else 0.1
    if drawn.shape[1] == 10:  # an absolute pose
        drawn[:, 2] += 0.3
    return drawn


def played(name, options, steps):
    """A task after so many steps, the last one of a single substep, and the truth about it."""
    task = make_task(name, 1, randomness="medium", image_size=6, **options)
    twin = (
        make_task(name, 1, **{**options, "engine": "mujoco"}, randomness="medium")
        if options["engine"] == "bullet"
        else None
    )
    for each in filter(None, (task, twin)):
        each.reset(np.array([SEED]))
    _, first = mujoco_of(task, twin)
    rest = {first.body(k).name: first.xpos[k].copy() for k in range(len(first.xpos))}
    for k in range(steps):
        task.step(actions(task, k))
    world, at = task.world, {}
    world._substeps, inner = 1, world._step

    def step():
        at["before"] = mujoco_of(task, twin)[1]
        inner()

    world._step, action = step, actions(task, steps)
    task.step(action)
    model, now = mujoco_of(task, twin)
    return task, Truth(task, model, at["before"], now, action[0], rest)


@every_world
def test_every_column_is_what_its_words_say(name, options):
    task, truth = played(name, options, HANDS.get(name, 3))
    with closing(task):
        vectors = [group for group in task.spec.groups.values() if len(group.shape) == 1]
        assert vectors and all(group.columns for group in vectors)
        for group in vectors:
            seen, start, last = task.observe([group.name])[group.name][0].astype(float), 0, None
            for column in group.columns:
                part = seen[start : start + column.size]
                expected = truth.column(column.name, column.frame, column.unit, lambda last=last: last)
                assert expected.shape == part.shape, column
                known = np.isfinite(expected)
                np.testing.assert_allclose(part[known], expected[known], rtol=2e-4, atol=2e-5, err_msg=str(column))
                start, last = start + column.size, part
            assert start == group.shape[0]


def test_the_truth_can_tell_frames_apart():
    """In play the tool and the object turn, so another frame would give other numbers."""
    for name, columns in {
        "hand_lift": {"angular velocity of the object": "palm", "tool angular velocity": "tool"},
        "peg_hole": {"tool angular velocity": "tool", "controller force": "world", "controller torque": "world"},
    }.items():
        task, truth = played(name, {"engine": "mujoco"}, HANDS.get(name, 3))
        frames = {"world", "tool", *(("palm", "object") if name == "hand_lift" else ())}
        for column, frame in columns.items():
            found = truth.value(column)
            assert isinstance(found, Vector)
            for other in frames - {frame}:
                away = np.abs(found.world @ truth.axes(other) - found.world @ truth.axes(frame)).max()
                assert away > 1e-3 or (frame, other) == ("tool", "palm"), (column, other)
        task.close()


def looked(model, data, eye, directions, groups):
    """Depth, geom (-1: none) and normal along each direction in the camera's frame, by MuJoCo's single rays."""
    body = data.body(eye.body or "world")
    axes = body.xmat.reshape(3, 3)
    towards = np.array(eye.position) - np.array(eye.target)
    back = towards / np.linalg.norm(towards)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    turn = axes @ np.stack([right, np.cross(back, right), back], axis=1)
    place, found = body.xpos + axes @ np.array(eye.position), []
    for direction in directions:
        geom, normal, ray = np.zeros(1, np.int32), np.zeros(3), turn @ direction
        length = np.linalg.norm(ray)
        reach = mujoco.mj_ray(model, data, place, ray / length, groups, 1, -1, geom, normal)
        found.append((reach / length if reach >= 0 else np.inf, geom[0], normal))
    depth, geom, normal = (np.array(column) for column in zip(*found, strict=True))
    return depth, geom, normal


@every_world
def test_every_picture_is_what_its_words_say(name, options):
    task, truth = played(name, options, 2)
    model, data, agree = truth.model, truth.now, []
    assert model.ngeom < 255, "a geom's id plus one must fit a byte"
    with_material = model.geom_matid >= 0
    assert not with_material.any()
    with closing(task):
        seen = {g: v[0] for g, v in task.observe([*(c.name for c in task.world.camera_groups)]).items()}
        for eye in (camera.camera for camera in task.world.cameras.values()):
            groups = np.ones(mujoco.mjNGROUP, np.uint8)
            groups[list(eye.hidden_groups)] = 0
            depth, geom, normal = looked(model, data, eye, eye.directions(6, 6), groups)
            said = re.fullmatch(r"0..255 is (\d+) to (\d+) mm", task.spec.groups[f"{eye.name}_depth"].unit)
            near, far = (int(mm) / 1000 for mm in said.groups())
            share = np.clip((depth - near) / (far - near) * 255, 0, 255).astype(int)
            agree += list(np.abs(seen[f"{eye.name}_depth"].ravel() - share) <= 1)
            agree += list(seen[f"{eye.name}_segmentation"].ravel() == geom + 1)
            sun = np.array([0.3, -0.4, 1.0]) / np.linalg.norm([0.3, -0.4, 1.0])
            shade = AMBIENT + (1 - AMBIENT) * np.maximum(normal @ sun, 0)
            colour = np.where((geom >= 0)[:, None], model.geom_rgba[geom, :3] * shade[:, None], SKY)
            bytes_ = (255 * colour).astype(int).reshape(6, 6, 3).transpose(2, 0, 1)
            agree += list((np.abs(seen[f"{eye.name}_rgb"].astype(int) - bytes_) <= 1).ravel())
        if name == "grasp":  # its cloud is of two cameras: see test_cloud
            assert np.mean(agree) > 0.999
            return
        first = next(iter(task.world.cameras.values())).camera
        directions = first.directions(16, 32)[::7]
        groups = np.ones(mujoco.mjNGROUP, np.uint8)
        groups[list(first.hidden_groups)] = 0
        depth = np.minimum(looked(model, data, first, directions, groups)[0], first.far)
        agree += list((np.abs(seen["points"][::7] - depth[:, None] * directions) < 1e-4).all(axis=1))
    # along an edge the two engines may differ by a ray
    assert np.mean(agree) > (0.98 if options["engine"] == "bullet" else 0.999)
