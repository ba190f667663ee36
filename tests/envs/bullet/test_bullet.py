"""The second engine: the same task to the outside, and physics close enough that what inserts in one does in both."""

import subprocess
import sys

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.bullet.client import pybullet

ENGINES = ("mujoco", "bullet")
TASKS = ("peg_hole", "pick_lift")
ROLLED = 24
every_task = pytest.mark.parametrize("name", TASKS)


def need_bullet():
    pytest.importorskip("pybullet", reason="engine bullet needs the extra `bullet` (Python 3.11)")


def pair(count, name="peg_hole", **options):
    need_bullet()
    tasks = [make_task(name, count, engine=engine, **options) for engine in ENGINES]
    for task in tasks:
        task.reset(np.arange(count))
    return tasks


def bullet(count, name="peg_hole", **options):
    need_bullet()
    return make_task(name, count, engine="bullet", **options)


def scripted(task):
    """Over the socket first, then down: what a careful hand would do, from privileged observations alone."""
    seen = task.observe(["privileged"])["privileged"]
    action = np.zeros((task.num_envs, 6), np.float32)
    action[:, :2], action[:, 3:] = seen[:, :2] / 0.01, seen[:, 6:9] / 0.05
    above = np.clip((0.004 + seen[:, 2]) / 0.01, -1, 1)
    action[:, 2] = np.where(np.linalg.norm(seen[:, :2], axis=1) < 0.002, -1.0, above)
    return action


def pressing(task, seeds, k):
    """Random actions that press down, so that contacts matter; functions of seed and step alone."""
    actions = np.stack([np.random.default_rng([seed, k]).uniform(-1, 1, task.spec.action_size) for seed in seeds])
    actions[:, 2] = -1.0
    return actions


def roll(task, seeds, steps=ROLLED):
    task.reset(np.asarray(seeds))
    rows, force = [], 0.0
    for k in range(steps):
        reward = task.step(pressing(task, seeds, k)).reward
        rows.append(np.concatenate([*task.observe(["proprio", "privileged"]).values(), reward[:, None]], axis=1))
        force = max(force, np.abs(task.world.robot.force).max())
    assert force > 5, "the actions must bring the tool into contact, or this proves little"
    return np.stack(rows, axis=1)


@every_task
def test_both_engines_offer_the_same_task(name):
    mujoco, second = pair(1, name)
    assert mujoco.spec.groups == second.spec.groups
    for part in ("name", "action_size", "control_hz", "max_steps", "failures", "options"):
        assert getattr(mujoco.spec, part) == getattr(second.spec, part)
    assert second.spec.engine == "bullet"


@every_task
@pytest.mark.parametrize(
    "randomise",
    [
        None,
        {"camera_position": (0.0, 0.006), "camera_rotation": (0.0, 0.04), "light_azimuth": (-3.0, 3.0)},
        {"hue": (0.0, 1.0), "textures": ("blobs", "rings"), "texture_size": (0.02, 0.05), "texture_depth": (0.1, 0.3)},
    ],
)
def test_episodes_begin_with_the_same_observations(name, randomise):
    mujoco, second = (task.observe(list(task.spec.groups)) for task in pair(6, name, randomise=randomise))
    for group in ("proprio", "privileged", "points"):
        np.testing.assert_allclose(second[group], mujoco[group], atol=1e-5)
    for group, values in mujoco.items():
        if values.dtype == np.uint8:
            different = np.abs(second[group].astype(int) - values) > 2
            assert different.mean() < 1e-3, f"{group}: {different.mean():.2%} of the pixels differ"
            assert values.std() > 0


@every_task
def test_a_seed_draws_the_same_physics_in_both(name):
    how = {"mass": 0.3, "friction": 0.3, "gains": 0.2, "latency": 2}
    plain, drawn = pair(5, name), pair(5, name, randomise=how)
    ours, theirs = (task.world for task in drawn)
    model = ours.sim.model
    # what is placed after the draw multiplies it, the same with and without
    weighs = [model.body(body.name).id for body in theirs.sim.bodies if body.name in ("gripper", "link3", "object")]
    mass = ours.sim.parameter("body_mass") / (plain[0].world.sim.parameter("body_mass") + 1e-12)
    found = theirs.sim.mass_NB / np.maximum(plain[1].world.sim.mass_NB, 1e-12)
    same = [theirs.sim.body(model.body(index).name) for index in weighs]
    np.testing.assert_allclose(found[:, same], mass[:, weighs], rtol=1e-9)
    assert np.ptp(mass[:, weighs]) > 0.1
    factor = ours.sim.parameter("geom_friction")[:, 0, 0] / model.geom_friction[0, 0]
    squared = (theirs.sim.friction_NB / plain[1].world.sim.friction_NB) ** 2
    np.testing.assert_allclose(squared, np.repeat(factor[:, None], squared.shape[1], axis=1), rtol=1e-9)
    gains = ours.sim.parameter("actuator_gainprm")[..., 0] / model.actuator_gainprm[:, 0]
    np.testing.assert_allclose(theirs.robot.state_dict()["gain"], gains, rtol=1e-9)
    np.testing.assert_array_equal(theirs._delay_N, ours._delay_N)


def test_free_motion_is_the_same():
    tasks = pair(4)
    for k in range(6):
        actions = np.random.default_rng(k).uniform(-1, 1, (4, 6))
        actions[:, 2] = 1.0
        for task in tasks:
            task.step(actions)
        mujoco, second = (task.observe(["proprio"])["proprio"] for task in tasks)
        np.testing.assert_allclose(second, mujoco, atol=1e-4)


@pytest.mark.parametrize("latency", [0, 1])
def test_a_scripted_hand_inserts_in_both(latency):
    for task in pair(20, randomness="medium", randomise={"latency": latency}):
        for _ in range(task.spec.max_steps):
            step = task.step(scripted(task))
        assert step.info["is_success"].mean() >= 0.95, task.spec.engine


def test_the_walls_stop_a_peg_that_is_beside_the_hole():
    task = bullet(8)
    task.reset(np.arange(8))
    for _ in range(15):
        action = scripted(task)
        seen = task.observe(["privileged"])["privileged"]
        action[:, 0] = (seen[:, 0] - 0.012) / 0.01
        action[:, 2] = np.where(np.abs(seen[:, 0] - 0.012) < 0.002, -1.0, np.clip((0.004 + seen[:, 2]) / 0.01, -1, 1))
        task.step(action)
    assert (task.world.robot.position[:, 2] > 0.022).all() and (task.world.robot.force[:, 2] < -8).any()


@every_task
def test_batch_equals_loop_of_singles(name):
    batch = roll(bullet(3, name), [5, 9, 2])
    for row, seed in enumerate([5, 9, 2]):
        np.testing.assert_array_equal(batch[row], roll(bullet(1, name), [seed])[0])


@every_task
def test_an_episode_does_not_depend_on_what_ran_before(name):
    task = bullet(2, name)
    fresh = roll(task, [3, 4])
    roll(task, [7, 8], 13)
    np.testing.assert_array_equal(roll(task, [3, 4]), fresh)


@every_task
def test_state_dict_continues_bit_for_bit_in_contact(name):
    task = bullet(2, name, randomise={"mass": 0.2, "friction": 0.2, "gains": 0.2, "latency": 1, "hue": (0.0, 1.0)})
    roll(task, [1, 2])
    other = bullet(2, name, randomise=task.spec.options["randomise"])
    roll(other, [50, 60], 9)
    other.load_state_dict(task.state_dict())
    for k in range(12):
        actions = pressing(task, [1, 2], 100 + k)
        np.testing.assert_array_equal(task.step(actions).reward, other.step(actions).reward)
        for group, values in task.observe(["proprio", "wrist_rgb"]).items():
            np.testing.assert_array_equal(values, other.observe([group])[group])


@every_task
def test_some_copies_restart_alone(name):
    task = bullet(3, name)
    roll(task, [1, 2, 3], 8)
    before = task.observe(["proprio"])["proprio"]
    task.reset(np.array([9]), np.array([1]))
    after = task.observe(["proprio", "wrist_depth"])
    np.testing.assert_array_equal(after["proprio"][[0, 2]], before[[0, 2]])
    fresh = bullet(1, name)
    fresh.reset(np.array([9]))
    for group, values in fresh.observe(["proprio", "wrist_depth"]).items():
        np.testing.assert_array_equal(values[0], after[group][1])


def test_closed_form_rays_hit_where_bullets_own_do():
    task = bullet(1)
    task.reset(np.arange(1))
    sim, client = task.world.sim, task.world.sim._clients[0].id
    p = pybullet()
    origin, rotation = task.world.cameras["wrist"].pose(None)
    vector = task.world.cameras["wrist"].camera.directions(20, 20) @ rotation[0].T
    distance, box, _ = (hits[0] for hits in sim.ray(origin, vector[None], np.arange(1)))
    hits = p.rayTestBatch(np.tile(origin, (400, 1)), origin + 2.0 * vector, physicsClientId=client)
    body = np.array([hit[0] for hit in hits])
    same = body == np.where(box >= 0, sim.shape_body_G[box], -1)
    assert same.mean() > 0.97 and len(np.unique(body)) == 3
    error = np.abs(2.0 * np.array([hit[2] for hit in hits]) - distance)[same]
    assert np.median(error) < 2e-4 and np.percentile(error, 95) < 3e-3


def test_a_number_that_is_not_finite_names_the_copy(tmp_path, monkeypatch):
    from embodkd.envs.sim.batch_sim import SimulationDiverged

    monkeypatch.chdir(tmp_path)
    task = bullet(3)
    task.reset(np.arange(3))
    task.world.robot._target_N3[:] = np.nan
    task.world.robot.command = lambda actions: None
    task.world.robot._target_N3[[0, 2]] = 0.1
    with pytest.raises(SimulationDiverged, match=r"\[1\]") as error:
        task.step(np.zeros((3, 6)))
    assert error.value.copies == [1] and error.value.dump.exists()


@every_task
def test_pictures_for_people_are_the_same(name):
    mujoco, second = (task.render(np.array([1]), size=(60, 80)) for task in pair(2, name))
    assert second.shape == (1, 60, 80, 3) and second.dtype == np.uint8 and second.std() > 5
    assert (np.abs(second.astype(int) - mujoco) > 2).mean() < 0.01


def test_what_bullet_lacks_is_said_with_the_mend():
    with pytest.raises(ValueError, match="gripper"):
        bullet(1, robot="panda")
    with pytest.raises(ValueError, match="1000"):
        bullet(2000)


def test_a_missing_pybullet_is_said_with_the_mend():
    code = (
        "import sys; sys.modules['pybullet'] = None\n"
        "from embodkd.envs import make_task\n"
        "try: make_task('peg_hole', 1, engine='bullet')\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "embodkd[bullet]" in said and "3.11" in said and "mujoco" in said


def test_closing_twice_is_harmless():
    task = bullet(2)
    task.close()
    task.close()
