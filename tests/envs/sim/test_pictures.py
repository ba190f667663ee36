"""Pictures by shapes are those of rays, but where two surfaces are as near or a ray just grazes one."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.camera import Camera
from embodkd.envs.geometry import matrix_from_quat, quat_from_rotvec
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.camera import SimCamera
from embodkd.envs.sim.pictures import Painter
from embodkd.envs.sim.pixels import Grid
from every_world import WORLDS
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = ("box", "sphere", "capsule", "cylinder")
GRAZING = 1e-6  # m beside the hit
SIMULATED = pytest.mark.parametrize(("name", "options"), [w for w in WORLDS if w.values[1]["engine"] == "mujoco"])


def scene(seed: int, floor: bool = True) -> str:
    """Some geoms of any kind, size and turn around the origin."""
    draw = np.random.default_rng(seed)
    geoms = ["<geom type='plane' size='0 0 .1' pos='0 0 -.3'/>"] if floor else []
    for _ in range(draw.integers(1, 7)):
        size = " ".join(f"{s:.6f}" for s in draw.uniform(0.01, 0.3, 3))
        place = " ".join(f"{p:.6f}" for p in draw.uniform(-0.4, 0.4, 3))
        turn = " ".join(f"{r:.6f}" for r in draw.uniform(-180, 180, 3))
        geoms.append(f"<geom type='{draw.choice(KINDS)}' size='{size}' pos='{place}' euler='{turn}'/>")
    return f"<mujoco><worldbody>{''.join(geoms)}</worldbody></mujoco>"


def compare(eye: SimCamera, rows: int, columns: int, dtype: type):
    """(by shapes, by rays) of depth, geom and lightness, and which rays graze an edge or meet two surfaces at once."""
    light = np.tile([0.36, -0.48, 0.8], (eye.sim.num_envs, 1))
    where, rays = eye.pose(), eye.camera.directions(rows, columns)
    grid, pictures = Grid(*eye.camera.axes(rows, columns), dtype), Painter(eye.sim, eye.camera.hidden_groups)
    geom, lit = pictures.lit(*where, grid, None, light)
    ours = [a.reshape(len(light), -1) for a in (pictures.depth(*where, grid, None), geom, lit)]
    ours[0][np.isinf(ours[0])] = -1

    def by_rays(vectors):
        depth, hit, normal = eye.hits(*where, vectors @ np.swapaxes(where[1], 1, 2), None, normals=True)
        return depth, hit, np.einsum("nri,ni->nr", normal, light)

    theirs = by_rays(rays)
    aside_of = GRAZING / np.maximum(theirs[0], 0.01)[..., None]
    tied = (ours[1] != theirs[1]) & (np.abs(ours[0] - theirs[0]) <= GRAZING)
    for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1), (0.7, 0.7), (-0.7, 0.7), (0.7, -0.7), (-0.7, -0.7)):
        _, hit, shade = by_rays(rays + aside_of * np.array([x, y, 0.0]))
        tied |= (hit != theirs[1]) | (np.abs(shade - theirs[2]) > 0.02)
    return ours, theirs, tied


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_what_rays_hit_in_any_scene_even_from_inside_a_shape(seed):
    draw = np.random.default_rng(seed)
    sim = BatchSim(mujoco.MjModel.from_xml_string(scene(seed)), 1)
    sim.forward()
    position = draw.uniform(-0.6, 0.6, 3)
    camera = Camera(
        "any", "", tuple(position), tuple(draw.uniform(-0.3, 0.3, 3)), 0.01, 2.0, fovy=draw.uniform(20, 110)
    )
    (depth, geom, lit), (far, hit, facing), tied = compare(SimCamera(sim, camera, Randomise()), 20, 24, np.float64)
    sure = ~tied
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(geom[sure], hit[sure])
    np.testing.assert_allclose(depth[sure], far[sure], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(lit[sure], facing[sure], atol=1e-5)


@SIMULATED
def test_every_camera_of_every_task_sees_by_shapes_what_it_sees_by_rays(name, options):
    """Bytes of depth and colour, ids and points; as many copies as are drawn together, and some more."""
    task = make_task(name, 20, image_size=32, **options)
    task.reset(np.arange(20))
    draw = np.random.default_rng(0)
    for _ in range(6):
        task.step(draw.uniform(-1, 1, task.last_action.shape).astype(np.float32))
    for eye in task.world.cameras.values():
        seen = {}
        for by in ("shapes", "rays"):
            eye.by = by
            seen[by] = eye.depth(), eye.rgb(), eye.segmentation(), eye.points()
        _, _, tied = compare(eye, 32, 32, np.float64)
        sure = ~tied.reshape(20, 1, 32, 32)
        assert sure.mean() > 0.97
        for shapes, rays in list(zip(*seen.values(), strict=True))[:2]:
            apart = np.abs(shapes.astype(int) - rays)[np.broadcast_to(sure, shapes.shape)]
            assert apart.max() <= 1 and (apart == 0).mean() >= 0.9999
        np.testing.assert_array_equal(seen["shapes"][2][sure], seen["rays"][2][sure])
        sure = ~compare(eye, 16, 32, np.float64)[2]
        np.testing.assert_allclose(seen["shapes"][3][sure], seen["rays"][3][sure], atol=1e-6)


def test_a_picture_is_the_same_among_any_number_of_copies():
    task = make_task("pick_lift", 21, image_size=24, cameras="shapes")
    task.reset(np.arange(21))
    for eye in task.world.cameras.values():
        every = eye.depth(), eye.rgb(), eye.points()
        for ids in ([0], [3, 20], [16, 17, 18]):
            some = eye.depth(np.array(ids)), eye.rgb(np.array(ids)), eye.points(np.array(ids))
            for one, all_of_them in zip(some, every, strict=True):
                np.testing.assert_array_equal(one, all_of_them[ids])


def test_threads_change_no_picture():
    seen = []
    for threads in (1, 2):
        task = make_task("pick_lift", 40, image_size=48, threads=threads, cameras="shapes")
        task.reset(np.arange(40))
        seen.append([(e.depth(), e.rgb(), e.segmentation()) for e in task.world.cameras.values()])
    for one, two in zip(*seen, strict=True):
        for alone, together in zip(one, two, strict=True):
            np.testing.assert_array_equal(alone, together)


def test_a_camera_left_to_itself_sees_each_kind_as_it_says_and_by_rays_where_shapes_cannot():
    task = make_task("peg_hole", 2, image_size=24, cameras="auto")
    task.reset(np.arange(2))
    eye = task.world.cameras["wrist"]
    eye.camera = replace(eye.camera, shapes=("depth",))
    asked = []
    eye._pictures.depth = lambda *_: asked.append("depth") or np.ones((2, 24, 24), np.float32)
    eye._pictures.lit = lambda *_: asked.append("rgb")
    assert eye.by == "auto"
    eye.depth(), eye.rgb(), eye.points(), eye.segmentation()
    assert asked == ["depth"]
    eye._pictures.able = lambda: False
    eye.depth()
    assert asked == ["depth"]


def test_planes_are_seen_from_their_front_only_and_what_is_transparent_not_at_all():
    xml = "<mujoco><worldbody><geom type='plane' size='0 0 1'/><geom size='.1' rgba='0 0 0 0'/></worldbody></mujoco>"
    sim = BatchSim(mujoco.MjModel.from_xml_string(xml), 1)
    sim.forward()
    for height in (0.5, -0.5):
        eye = SimCamera(sim, Camera("any", "", (0.2, 0.0, height), (0.0, 0.0, 0.0), 0.1, 2.0, size=16), Randomise())
        by = {}
        for eye.by in ("shapes", "rays"):
            by[eye.by] = eye.segmentation()
        np.testing.assert_array_equal(by["shapes"], by["rays"])
        assert by["rays"].any() == (height > 0)


@pytest.mark.parametrize("geom", ["type='ellipsoid' size='.1 .2 .3'", "type='plane' size='1 1 1'"])
def test_what_is_no_simple_shape_is_seen_by_rays_and_refused_to_shapes(geom):
    sim = BatchSim(mujoco.MjModel.from_xml_string(f"<mujoco><worldbody><geom {geom}/></worldbody></mujoco>"), 1)
    sim.forward()
    eye = SimCamera(sim, Camera("any", "", (0.0, 0.5, 0.9), (0.0, 0.0, 0.0), 0.1, 2.0, size=16), Randomise())
    by_rays = []
    for eye.by in ("rays", "auto"):
        by_rays.append(eye.depth())
    np.testing.assert_array_equal(*by_rays)
    eye.by = "shapes"
    with pytest.raises(ValueError, match=r"camera any: shapes draw boxes.*engine\.cameras=rays"):
        eye.depth()


def test_the_choice_goes_with_a_copy_and_is_refused_where_there_is_none():
    import copy

    task = make_task("peg_hole", 2, cameras="shapes")
    task.reset(np.arange(2))
    assert {eye.by for eye in copy.deepcopy(task).world.cameras.values()} == {"shapes"}
    pytest.importorskip("pybullet", reason="needs pybullet (extra: bullet)")
    with pytest.raises(ValueError, match="cameras=shapes: this engine has rays only"):
        make_task("peg_hole", 1, engine="bullet", cameras="shapes")


def test_turned_cameras_see_the_same_scene_turned():
    """An identity that no ray is needed for: turning scene and camera together changes no picture."""
    sim = BatchSim(mujoco.MjModel.from_xml_string(scene(5, floor=False)), 1)
    sim.forward()
    turn = matrix_from_quat(quat_from_rotvec(np.array([[0.3, -0.8, 0.5]])))[0]
    pictures = Painter(sim, ())
    grid = Grid(*Camera("any", "", (0, 0, 0), (1, 0, 0), 0.1, 1.0).axes(16, 16), np.float64)
    rotation = np.eye(3)[None]
    above, light = np.array([[0.0, 0.0, 1.2]]), np.array([[0.6, 0.0, 0.8]])
    one = pictures.depth(above, rotation, grid, None), *pictures.lit(above, rotation, grid, None, light)
    placed = sim.view("geom_xpos").copy(), sim.view("geom_xmat").copy()
    views = {"geom_xpos": placed[0] @ turn.T, "geom_xmat": (turn @ placed[1].reshape(1, -1, 3, 3)).reshape(1, -1, 9)}
    sim.view = views.__getitem__
    turned = above @ turn.T, turn[None] @ rotation
    two = pictures.depth(*turned, grid, None), *pictures.lit(*turned, grid, None, light @ turn.T)
    assert (one[1] >= 0).any()
    np.testing.assert_array_equal(one[1], two[1])
    np.testing.assert_allclose(one[0], two[0], atol=1e-9)
    np.testing.assert_allclose(one[2], two[2], atol=1e-9)
