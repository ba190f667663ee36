"""The cloud of points: of what is above the table, on the surfaces that contacts meet, and nothing that says whose."""

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.geometry import matrix_from_quat, rotate
from embodkd.envs.sim.distances import distance
from embodkd.envs.tasks.grasp.cloud import HIGH, LOW, POINTS

pytest.importorskip("gymnasium_robotics")


@pytest.fixture(scope="module")
def task():
    made = make_task("grasp", 8, threads=1, image_size=6)
    made.reset(np.arange(8))
    for k in range(10):
        made.step(np.random.default_rng(k).uniform(-0.5, 0.5, (8, 26)))
    return made


def test_points_lie_on_the_shapes_that_contacts_meet(task):
    """R: what rays see is what contacts see. By MuJoCo's fields of each copy and formulas of our own."""
    place, geom = task.world.cloud.seen(None)
    slots, sim, table = task.world.slots, task.world.sim, task.library.table
    found = 0
    for copy in range(8):
        which = task.which_N[copy]
        for k, slot in enumerate(slots.geoms):
            mine = place[copy, geom[copy] == slot]
            if not len(mine):
                continue
            assert table["geom_contype"][which, k] == 1
            local = (mine - sim.view("geom_xpos")[copy, slot]) @ sim.view("geom_xmat")[copy, slot].reshape(3, 3)
            away = distance(int(table["geom_type"][which, k]), table["geom_size"][which, k], local)
            np.testing.assert_allclose(away, 0, atol=1e-6)
            turn = matrix_from_quat(table["geom_quat"][which, k])
            inner = rotate(turn, local) + table["geom_pos"][which, k]
            back = (mine - task.world.position("object")[copy]) @ task.world.rotation("object")[copy]
            np.testing.assert_allclose(inner, back, atol=1e-9)
            found += len(mine)
    assert found > 100


def test_points_are_in_the_tools_frame_above_the_table(task):
    place, geom = task.world.cloud.seen(None)
    assert (geom >= 0).all() and (place > LOW).all() and (place < HIGH).all()
    points = task.observe(["points"])["points"]
    robot = task.world.robot
    world = points @ np.swapaxes(robot.rotation, 1, 2) + robot.position[:, None]
    np.testing.assert_allclose(world, place, atol=1e-6)
    table = task.world.sim.model.geom("table").id
    assert not (geom == table).any() and not (geom == task.world.sim.model.geom("target").id).any()


def test_a_cloud_of_some_copies_is_theirs(task):
    all_ = task.observe(["points"])["points"]
    np.testing.assert_array_equal(task.observe(["points"], np.array([2, 5]))["points"], all_[[2, 5]])
    assert all_.shape == (8, POINTS, 3) and all_.dtype == np.float32


def test_most_objects_are_seen_by_enough_points(task):
    _, geom = task.world.cloud.seen(None)
    count = np.isin(geom, task.world.slots.geoms).sum(axis=1)
    assert np.median(count) > 15


def test_a_cloud_of_nothing_is_the_tool_itself(task):
    other = make_task("grasp", 1, threads=1, image_size=6)
    other.reset(np.arange(1))
    far = np.array([[0.0, 0.0, 5.0]])
    other.world.put("object", np.arange(1), far + [0, 0, 1], np.array([[1.0, 0, 0, 0]]))
    other.world.robot.place(np.arange(1), far, np.zeros((1, 3)))
    other.world.settle(np.arange(1))
    np.testing.assert_array_equal(other.observe(["points"])["points"], np.zeros((1, POINTS, 3)))
