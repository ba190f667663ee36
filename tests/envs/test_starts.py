"""How episodes begin: apart, unsolved, on the table, with open eyes, on every robot; `make faults` tries 2,000 each."""

from contextlib import closing
from importlib.util import find_spec

import mujoco
import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.bullet.client import pybullet
from embodkd.envs.bullet.engine import BulletSim
from embodkd.envs.bullet.scene import KINDS, Body, Shape
from embodkd.envs.geometry import unrotate
from every_world import every_world

BATCH = 125
DEEPEST = 0.001  # m that bodies may be in each other: what contacts yield


def things(model):
    """Bodies that a task has put there: loose or standing still."""
    robot = {"gripper", "hand", "aim"}
    loose = model.body_dofnum == 6
    named = [k for k in range(model.nbody) if loose[k] or model.body_mocapid[k] >= 0]
    return [k for k in named if model.body(k).name not in robot]


def starts(name, options, count):
    """A task at one batch of starts after the other."""
    with closing(make_task(name, min(count, BATCH), randomness="high", image_size=6, **options)) as task:
        for first in range(0, count, task.num_envs):
            task.reset(np.arange(first, first + task.num_envs))
            yield task


@every_world
def test_every_start_is_fit(name, options):
    check_starts(name, options, 30 if options["engine"] == "bullet" else BATCH)


def check_starts(name, options, count):
    """All of the first ``count`` starts are as they should be."""
    for task in starts(name, options, count):
        check = on_bullet if options["engine"] == "bullet" else on_mujoco
        check(task)
        assert not getattr(task, "joined_NK", np.zeros(1)).any()
        assert not any(task.is_joined(pair).any() for pair in getattr(task, "pairs", ()))
        assert not task.step(np.zeros(task.last_action.shape)).info["is_success"].any(), "solved at the start"


def on_mujoco(task):
    world, model = task.world, task.world.sim.model
    assert world.sim.penetration(np.arange(task.num_envs)).max() <= DEEPEST
    mine = things(model)
    assert mine
    table = model.geom("table")
    check_table(world.sim.view("xpos")[:, mine], table.pos, table.size)
    check_near(task, np.flatnonzero(np.isin(model.geom_bodyid, mine)))


def on_bullet(task):
    sim = task.world.sim
    assert inside_each_other(sim).max() <= DEEPEST
    mine = [k for k, body in enumerate(sim.bodies) if body.name in ("socket", "object")]
    assert mine
    (table,) = (shape for body in sim.bodies for shape in body.shapes if shape.name == "table")
    check_table(sim.place_NB3[:, mine], table.centre, table.size)
    check_near(task, np.flatnonzero(np.isin(sim.shape_body_G, mine)))
    for eye in task.world.cameras.values():
        assert not is_inside(sim, eye.pose()[0]).any(), "a camera begins inside a body"


def check_table(place, centre, half):
    assert (np.abs(place[..., :2] - centre[:2]) < half[:2]).all() and (place[..., 2] >= 0).all(), "off the table"


def check_near(task, geoms):
    for eye in task.world.cameras:
        seen = task.observe([f"{eye}_depth", f"{eye}_segmentation"])
        near = (seen[f"{eye}_depth"] == 0) & np.isin(seen[f"{eye}_segmentation"], 1 + geoms)
        assert not near.any(), "something stands before the near plane"


def inside_each_other(sim):
    """How deep (m) bodies are in each other in every copy, (N,): by the contacts that Bullet itself would act on."""
    p, found = pybullet(), []
    for client in sim._clients:
        p.performCollisionDetection(physicsClientId=client.id)
        contacts = p.getContactPoints(physicsClientId=client.id)
        found.append(max([0.0, *(-contact[8] for contact in contacts)]))
    return np.array(found)


def is_inside(sim, place_N3):
    """Whether a point is in any solid shape of its copy, (N,)."""
    solid = np.array([shape.solid for body in sim.bodies for shape in body.shapes])
    turn = sim.rotation_NB33[:, sim.shape_body_G]
    centre = sim.place_NB3[:, sim.shape_body_G] + (turn @ sim._centre_G3[:, :, None])[..., 0]
    seen = unrotate(turn @ sim._turn_G33, place_N3[:, None] - centre)
    along, across, (a, b, _) = np.abs(seen[..., 2]), np.hypot(*np.moveaxis(seen[..., :2], -1, 0)), sim.size_NG3.T
    a, b = a.T, b.T
    box, cylinder = (np.abs(seen) < sim.size_NG3).all(-1), (across < a) & (along < b)
    capsule, sphere = np.hypot(across, np.maximum(along - b, 0)) < a, np.hypot(across, along) < a
    return (np.choose(sim.kind_NG, [box, cylinder, capsule, sphere]) & solid).any(1)


@pytest.mark.skipif(not find_spec("pybullet"), reason="needs the extra bullet")
def test_what_is_looked_for_in_bullet_would_be_found():
    with closing(make_task("peg_hole", 3, engine="bullet")) as task:
        task.reset(np.arange(3))
        world, middle = task.world, np.array([1])
        world.put("socket", middle, world.robot.position[middle] + [0.010, 0.0, -0.01], np.array([[1.0, 0, 0, 0]]))
        world.settle(np.arange(3))
        found = inside_each_other(world.sim)
        assert found[1] > 0.002 > DEEPEST > found[0] == found[2]
        tip = world.robot.position + [[0, 0, -0.002], [0, 0, 0.02], [0, 0, 0.078]]
        assert is_inside(world.sim, tip).tolist() == [False, True, True]  # below the peg, in it, in the palm


@pytest.mark.parametrize("kind", KINDS)
def test_a_point_is_inside_a_shape_that_no_ray_leaves_unseen_from_there(kind):
    """Rays do not see a shape from inside of it; from outside, one towards its centre does."""
    shape = Shape("shape", (0.1, 0.2, 0.3), (0.3, 0.2, 0.25), (0, 0, 0), kind, (0.8, 0.6, 0.0, 0.0))
    rng, found = np.random.default_rng(0), []
    with closing(BulletSim([Body("body", (shape,))], 4, timestep=0.004)) as sim:
        for _ in range(50):
            place = rng.uniform(-0.4, 0.6, (4, 3))
            _, seen, _ = sim.ray(place, (np.array(shape.centre) - place)[:, None], np.arange(4))
            found.append(is_inside(sim, place))
            np.testing.assert_array_equal(found[-1], seen[:, 0] < 0)
    assert 0.05 < np.mean(found) < 0.95


def test_penetration_is_what_mujoco_says():
    task = make_task("peg_assembly", 3)
    task.reset(np.arange(3))
    task.world.put(
        "peg", np.array([1]), task.part("socket").position[[1]] + [0.012, 0.0, 0.0], np.array([[1.0, 0, 0, 0]])
    )
    task.world.settle(np.arange(3))
    found = task.world.sim.penetration(np.arange(3))
    for copy in range(3):
        model, data = task.world.sim.snapshot(copy)
        mujoco.mj_collision(model, data)
        assert found[copy] == pytest.approx(max(0.0, -data.contact.dist.min()), abs=1e-9)
    assert found[1] > 0.004 > 0.001 > found[0]


def test_a_start_that_is_drawn_again_is_the_episodes_own():
    """R16, R17: the same in a batch and alone, whatever ran there before; and the eyes are open."""
    pytest.importorskip("gymnasium_robotics")
    seeds = np.array([116, 386, 445, 3])
    task = make_task("hand_lift", 4, randomness="high", object="cylinder")
    task.reset(seeds)
    together = task.observe(["privileged", "wrist_depth"])
    assert (together["wrist_depth"].reshape(4, -1).max(axis=1) > 0).all()
    task.reset(seeds + 900)
    task.reset(seeds[:2], np.array([2, 3]))
    np.testing.assert_array_equal(task.observe(["privileged"])["privileged"][2:], together["privileged"][:2])
    assert task.seeds.tolist() == [1016, 1286, 116, 386]


def test_parts_that_would_begin_in_each_other_are_drawn_again():  # R17
    task = make_task("peg_assembly", 2, randomness="high")
    seeds = np.array([554, 1328])
    task.reset(seeds)
    assert task.world.sim.penetration(np.arange(2)).max() <= 0.001
    task._place(np.arange(2), seeds)  # as they were drawn first
    assert task.world.sim.penetration(np.arange(2)).min() > 0.001
