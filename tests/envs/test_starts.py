"""How episodes begin: apart, unsolved, on the table, with open eyes, on every robot; `make faults` tries 2,000 each."""

from contextlib import closing

import mujoco
import numpy as np
import pytest
from embodkd.envs import make_task
from every_world import every_world

BATCH = 125


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
    check_starts(name, options, 20 if options["engine"] == "bullet" else BATCH)


def check_starts(name, options, count):
    """All of the first ``count`` starts are as they should be."""
    bullet = options["engine"] == "bullet"
    for task in starts(name, options, count):
        world = task.world
        if not bullet:
            model, copies = world.sim.model, np.arange(task.num_envs)
            assert world.sim.penetration(copies).max() <= 0.001
            mine = things(model)
            assert mine
            place = world.sim.view("xpos")[:, mine]
            table = model.geom("table")
            assert (np.abs(place[..., :2] - table.pos[:2]) < table.size[:2]).all() and (place[..., 2] >= 0).all()
            geoms = 1 + np.flatnonzero(np.isin(model.geom_bodyid, mine))
            for eye in world.cameras:
                seen = task.observe([f"{eye}_depth", f"{eye}_segmentation"])
                near = (seen[f"{eye}_depth"] == 0) & np.isin(seen[f"{eye}_segmentation"], geoms)
                assert not near.any(), "something stands before the near plane"
        else:
            assert (world.position("object" if name == "pick_lift" else "socket")[:, 2] >= 0).all()
        assert not getattr(task, "joined_NK", np.zeros(1)).any()
        assert not any(task.is_joined(pair).any() for pair in getattr(task, "pairs", ()))
        assert not task.step(np.zeros(task.last_action.shape)).info["is_success"].any(), "solved at the start"


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
