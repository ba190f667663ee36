"""The batched simulator, its cameras and its randomness, each held against an independent way."""

import mujoco
import numpy as np
import pytest
from embodkd.envs import draws, make_task
from embodkd.envs.geometry import matrix_from_quat, quat_from_matrix, quat_from_rotvec, quat_multiply, rotvec_from_quat
from embodkd.envs.sim.batch_sim import BatchSim, SimulationDiverged
from hypothesis import given, settings
from hypothesis import strategies as st

FALLING = "<mujoco><worldbody><body pos='0 0 1'><freejoint/><geom size='.1' mass='1'/></body></worldbody></mujoco>"
vectors = st.tuples(*[st.floats(-1.7, 1.7)] * 3).map(np.array)


@given(vectors, vectors)
@settings(max_examples=60)
def test_rotations_agree_with_mujoco(a, b):
    quat, expected, product, matrix = quat_from_rotvec(a[None])[0], np.zeros(4), np.zeros(4), np.zeros(9)
    angle = np.linalg.norm(a)
    mujoco.mju_axisAngle2Quat(expected, a / max(angle, 1e-12), angle)
    np.testing.assert_allclose(quat, expected, atol=1e-9)
    other = quat_from_rotvec(b[None])[0]
    mujoco.mju_mulQuat(product, quat, other)
    np.testing.assert_allclose(quat_multiply(quat[None], other[None])[0], product, atol=1e-12)
    mujoco.mju_quat2Mat(matrix, quat)
    np.testing.assert_allclose(matrix_from_quat(quat[None])[0].ravel(), matrix, atol=1e-12)
    np.testing.assert_allclose(rotvec_from_quat(quat[None])[0], a, atol=1e-7)
    back = quat_from_matrix(matrix.reshape(1, 3, 3))[0]
    np.testing.assert_allclose(back * np.sign(back @ quat), quat, atol=1e-7)


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=5, unique=True), st.integers(1, 6))
@settings(max_examples=50)
def test_draws_depend_on_the_seed_alone(seeds, count):
    together = draws.uniform(np.array(seeds), "stream", count)
    for row, seed in zip(together, seeds, strict=True):
        np.testing.assert_array_equal(row, draws.uniform(np.array([seed]), "stream", count)[0])
    assert not np.array_equal(together, draws.uniform(np.array(seeds), "other", count))


def test_draws_are_uniform_and_uncorrelated():
    values = draws.uniform(np.arange(20_000), "check", 3)
    assert abs(values.mean() - 0.5) < 0.01 and abs(values.std() - 12**-0.5) < 0.01
    assert np.abs(np.corrcoef(np.concatenate([values[1:], values[:-1]], axis=1).T) - np.eye(6)).max() < 0.03
    noise = draws.normal(np.arange(20_000), "check", 1)
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1) < 0.03


def test_stepping_equals_plain_mujoco_with_per_copy_parameters():
    model = mujoco.MjModel.from_xml_string(FALLING)
    sim = BatchSim(model, 2, threads=2)
    sim.parameter("opt.gravity")[1] = [0, 0, -1.0]
    sim.forward()
    sim.step(10)
    alone = mujoco.MjModel.from_xml_string(FALLING)
    alone.opt.gravity[:] = [0, 0, -1.0]
    data = mujoco.MjData(alone)
    for _ in range(10):
        mujoco.mj_step(alone, data)
    np.testing.assert_array_equal(sim.view("qpos")[1], data.qpos)
    sim.restore(np.array([1]))
    assert sim.parameter("opt.gravity")[1, 2] == pytest.approx(-9.81)


def test_divergence_names_the_copy_and_dumps_its_last_state(tmp_path):
    sim = BatchSim(mujoco.MjModel.from_xml_string(FALLING), 3, dump_dir=str(tmp_path))
    sim.forward()
    sim.view("qvel")[1, 0] = np.nan
    with pytest.raises(SimulationDiverged) as caught:
        sim.step(2)
    assert caught.value.copies == [1]
    assert np.load(caught.value.dump)["copies"].tolist() == [1]


def test_depth_of_a_camera_equals_single_rays():
    task = make_task("peg_hole", 1, image_size=16)
    task.reset(np.array([3]))
    eye = task.world.cameras["front"]
    model, data = task.world.sim.snapshot(0)
    rotation = eye._rotation
    expected = np.zeros(256)
    for index, direction in enumerate(eye.camera.directions(16, 16)):
        geom = np.zeros(1, np.int32)
        world = rotation @ direction
        length = np.linalg.norm(world)
        distance = mujoco.mj_ray(model, data, np.array(eye.camera.position), world / length, None, 1, -1, geom, None)
        expected[index] = np.inf if distance < 0 else distance / length
    near, far = eye.camera.near, eye.camera.far
    bytes_ = np.clip((expected - near) * 255 / (far - near), 0, 255).astype(np.uint8)
    difference = np.abs(bytes_.astype(int) - task.observe(["front_depth"])["front_depth"].ravel().astype(int))
    assert difference.max() <= 1


@pytest.mark.parametrize(
    "change",
    [
        {"mass": 0.3},
        {"friction": 0.3},
        {"gains": 0.3},
        {"latency": 3},
        {"camera_position": (0.01, 0.02)},
        {"camera_rotation": (0.1, 0.2)},
        {"light_azimuth": (1.0, 2.0)},
        {"hue": (0.0, 1.0)},
    ],
)
def test_each_randomisation_changes_what_it_names(change):
    plain, changed = make_task("peg_hole", 2), make_task("peg_hole", 2, randomise=change)
    for task in (plain, changed):
        task.reset(np.array([1, 2]))
    looks = change.keys() - {"mass", "friction", "gains", "latency"}
    group = "wrist_rgb" if looks else "proprio"
    if not looks:
        for task in (plain, changed):
            task.reset(np.array([1, 2]))
            for _ in range(30):  # press down and slide, so that contact matters
                task.step(np.tile(np.array([0.5, 0.3, -1, 0, 0, 0.2], np.float32), (2, 1)))
    difference = plain.observe([group])[group] != changed.observe([group])[group]
    assert difference.reshape(2, -1).any(axis=1).any()
