"""A copy that was given an object is what a model compiled with that object alone would be."""

import mujoco
import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.geometry import quat_from_rotvec
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.tasks.grasp.library import primitives
from embodkd.envs.tasks.grasp.slots import FRICTION, Slots, add_slots
from embodkd.envs.tasks.grasp.solids import SLOTS, Solid, Thing, box, capsule, cylinder, sphere
from embodkd.envs.tasks.grasp.table import add_hulls, add_solids, compiled
from embodkd.envs.tasks.hand_scene import hand_table

pytest.importorskip("gymnasium_robotics")


def odd_hull():
    """A hull without any symmetry, whose own frame MuJoCo turns and moves."""
    return Solid("hull", corners=np.random.default_rng(0).normal(scale=[0.02, 0.03, 0.015], size=(14, 3)) + 0.01)


def some_things():
    """One object of every kind of solid, several at once, and one of each class of the library."""
    tilted = box(0.03, 0.05, 0.02).turned("x", 0.4).at(0.02, 0.01, 0.0)
    made = {
        "ball": [sphere(0.05)],
        "can": [cylinder(0.05, 0.08)],
        "stick": [capsule(0.03, 0.1).turned("y", 0.3)],
        "many": [tilted, sphere(0.03).at(-0.03, 0, 0), capsule(0.02, 0.06).at(0, 0.03, 0), cylinder(0.04, 0.02)],
        "hull": [odd_hull()],
        "hulls": [odd_hull(), box(0.02, 0.02, 0.06).at(0.03, 0, 0), Solid("hull", corners=-odd_hull().corners - 0.03)],
    }
    first = {thing.kind: thing for thing in reversed(primitives().things)}
    return [*(Thing.of(name, name, solids, 0.07) for name, solids in made.items()), *first.values()]


THINGS = some_things()
TABLE = compiled(THINGS)


def alone(row):
    """The hand's table with one object compiled into it."""
    spec, thing = hand_table(), THINGS[row]
    add_hulls(spec, [thing])
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
    body = spec.worldbody.add_body(name="object")
    body.add_freejoint(name="object")
    add_solids(body, thing)
    for geom in body.geoms:
        geom.pos, geom.friction, geom.condim = geom.pos - TABLE["centre"][row], FRICTION, 6
    body.explicitinertial, body.mass, body.ipos = True, thing.mass, [0, 0, 0]
    body.inertia, body.iquat = TABLE["body_inertia"][row], TABLE["body_iquat"][row]
    return spec.compile()


@pytest.fixture(scope="module")
def switched():
    """All of them side by side in copies of one model, in an order of their own."""
    spec = hand_table()
    add_slots(spec, THINGS)
    sim = BatchSim(spec.compile(), len(THINGS), threads=1)
    slots = Slots(sim, TABLE)
    every = np.arange(len(THINGS))
    slots.take(every, every[::-1])  # what was there before leaves nothing behind
    sim.restore(every)
    slots.take(every, every)
    return sim


def place(qpos):
    qpos[..., :3] = 0.01, 0.02, 0.12
    qpos[..., 3:] = quat_from_rotvec(np.array([[0.4, -0.7, 0.2]]))[0]


ROWS = pytest.mark.parametrize("row", range(len(THINGS)), ids=[thing.name for thing in THINGS])


@ROWS
def test_fields_right_after_a_switch_are_those_of_the_model(switched, row):
    mine, model = switched.snapshot(row)[0], alone(row)
    body, own, count = mine.body("object").id, model.body("object").id, len(THINGS[row].solids)
    first, other = mine.geom("object0").id, model.geom(f"{THINGS[row].name}/0").id
    for field in ("body_mass", "body_subtreemass", "body_inertia", "body_iquat", "body_ipos", "body_invweight0"):
        np.testing.assert_allclose(getattr(mine, field)[body], getattr(model, field)[own], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(mine.dof_invweight0[-6:], model.dof_invweight0[-6:], rtol=1e-9)
    for field in ("type", "size", "pos", "quat", "aabb", "rbound", "contype", "conaffinity", "condim", "friction"):
        values = [getattr(m, f"geom_{field}")[g : g + count] for m, g in ((mine, first), (model, other))]
        np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-12, err_msg=field)
    assert (mine.geom_contype[first + count : first + SLOTS] == 0).all()


@ROWS
def test_it_falls_and_touches_as_alone(switched, row):
    sim, model = switched, alone(row)
    sim.reset()
    place(sim.view("qpos"))
    sim.forward()
    data = mujoco.MjData(model)
    place(data.qpos)
    touched = 0
    for _ in range(40):
        sim.step(5)
        mujoco.mj_step(model, data, 5)
        mujoco.mj_step1(model, data)
        _, mine = sim.snapshot(row)
        touched += data.ncon
        np.testing.assert_allclose(sim.view("qpos")[row], data.qpos, atol=1e-6)
        assert mine.ncon == data.ncon
        np.testing.assert_allclose(mine.contact.dist, data.contact.dist, atol=1e-6)
    assert touched


@ROWS
def test_rays_meet_what_contacts_meet(switched, row):
    sim, model = switched, alone(row)
    sim.reset()
    place(sim.view("qpos"))
    sim.forward()
    data = mujoco.MjData(model)
    place(data.qpos)
    mujoco.mj_forward(model, data)
    rng = np.random.default_rng(row)
    origin = data.body("object").xpos + [*rng.uniform(-0.2, 0.2, 2), 0.2]
    rays = data.body("object").xpos + rng.uniform(-0.06, 0.06, (200, 3)) - origin
    every = np.repeat(origin[None, None], sim.num_envs, 0)
    depth, geom = sim.ray(every, np.tile(rays, (sim.num_envs, 1, 1)), groups=None, ids=None, normals=False)
    first, shift = sim.model.geom("object0").id, model.geom(f"{THINGS[row].name}/0").id
    hit, found = 0, np.zeros(1, np.int32)
    for k, ray in enumerate(rays):
        reach = mujoco.mj_ray(model, data, origin, ray, None, 1, -1, found, None)
        assert depth[row, k] == pytest.approx(reach, abs=1e-9)
        if reach >= 0 and found[0] >= shift:
            assert geom[row, k] - first == found[0] - shift
            hit += 1
    assert hit > 10


def test_switching_one_copy_leaves_the_others_as_they_are():
    def run(again):
        task = make_task("grasp", 3, threads=1)
        task.reset(np.arange(3))
        for k in range(12):
            if again and k == 6:
                task.reset(np.array([77]), np.array([1]))
            task.step(np.random.default_rng(k).uniform(-1, 1, (3, 26)))
        seen = task.observe(list(task.spec.groups))
        task.close()
        return seen

    plain, changed = run(False), run(True)
    for group, values in plain.items():
        np.testing.assert_array_equal(values[[0, 2]], changed[group][[0, 2]])
    assert not np.array_equal(plain["privileged"][1], changed["privileged"][1])


def test_a_drawn_mass_stays_a_factor_of_the_objects_own():
    plain, drawn = (make_task("grasp", 8, randomise=how) for how in (None, {"mass": 0.3}))
    for task in (plain, drawn):
        task.reset(np.arange(8))
    body = plain.world.body_ids["object"]
    own = plain.library.table["body_mass"][plain.which_N]
    np.testing.assert_array_equal(plain.world.sim.parameter("body_mass")[:, body], own)
    factor = drawn.world.sim.parameter("body_mass")[:, body] / own
    assert (np.abs(factor - 1) <= 0.3).all() and factor.std() > 0.05
    turn = drawn.world.sim.parameter("body_inertia")[:, body] / plain.world.sim.parameter("body_inertia")[:, body]
    np.testing.assert_allclose(turn, np.tile(factor[:, None], 3))
    drawn.reset(np.arange(8))  # once more: nothing piles up
    np.testing.assert_allclose(drawn.world.sim.parameter("body_mass")[:, body] / own, factor)


def test_seven_solids_do_not_fit():
    with pytest.raises(AssertionError, match="7 solids"):
        Thing.of("heap", "heap", [sphere(0.01)] * 7, 0.1)
