"""Looks: drawn from the seed (and the step), seen alike by rays and shapes, and nothing but looks."""

import colorsys
import copy

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.looks import hsv_from_rgb, rgb_from_hsv
from embodkd.envs.randomise import Randomise
from hypothesis import given
from hypothesis import strategies as st

LIGHT = {"light_azimuth": (-3.0, 3.0), "light_height": (0.4, 1.2), "ambient": (0.2, 0.6), "tint": (-0.2, 0.2)}
COLOURS = {"brightness": (0.7, 1.3), "hue": (0.0, 1.0), "saturation": (0.2, 0.9), "value": (0.3, 0.9), "contrast": 0.2}
PATTERNS = {"textures": ("stripes", "checks", "blobs"), "texture_size": (0.01, 0.05), "texture_depth": (0.1, 0.3)}
MORE = {**PATTERNS, "textures": ("plain", "rings", "dots", "zigzag")}
CAMERAS = {"camera_position": (0.001, 0.004), "camera_rotation": (0.01, 0.02)}
EVERY = {**LIGHT, **COLOURS, **PATTERNS, **CAMERAS}
PICTURES = ("wrist_rgb", "front_rgb")


def begun(count=4, task="peg_assembly", **options):
    made = make_task(task, count, image_size=32, **options)
    made.reset(np.arange(count) + 3)
    return made


def moves(task, step):
    """Actions that keep the hand about where it is, turning it a little."""
    action = np.zeros((task.num_envs, 10), np.float32)
    action[:, :9] = task.observe(["proprio"])["proprio"][:, :9]
    return action + 0.02 * np.sin(np.arange(10) + step).astype(np.float32)


@pytest.mark.parametrize("per_frame", [False, True])
def test_only_pictures_change(per_frame):
    plain, drawn = begun(), begun(randomise={**EVERY, "per_frame": per_frame})
    vectors = ["proprio", "privileged", "relations"]
    for step in range(5):
        one, two = (task.observe([*vectors, *PICTURES]) for task in (plain, drawn))
        for name in vectors:
            np.testing.assert_array_equal(one[name], two[name])
        for name in PICTURES:
            assert (one[name] != two[name]).mean() > 0.5
        first, second = (task.step(moves(task, step)) for task in (plain, drawn))
        np.testing.assert_array_equal(first.reward, second.reward)
        np.testing.assert_array_equal(plain.last_action, drawn.last_action)


def test_each_property_alone_changes_pictures_and_nothing_at_all_does_not():
    plain = begun().observe(PICTURES)
    np.testing.assert_array_equal(begun(randomise={"textures": ()}).observe(PICTURES)["wrist_rgb"], plain["wrist_rgb"])
    spans = {name: {name: span} for name, span in (LIGHT | COLOURS | CAMERAS).items() if name != "contrast"}
    for name, how in {**spans, "textures": PATTERNS}.items():
        seen = begun(randomise=how).observe(PICTURES)
        assert all((seen[camera] != plain[camera]).mean() > 0.005 for camera in PICTURES), name


@pytest.mark.parametrize("per_frame", [False, True])
def test_looks_follow_from_seed_and_step_in_any_number_of_copies(per_frame):
    how = {**EVERY, "per_frame": per_frame}
    many, one = begun(5, randomise=how), make_task("peg_assembly", 1, image_size=32, randomise=how)
    one.reset(np.array([100]))
    one.step(moves(one, 9))
    one.reset(np.array([5]))  # the third of the others, whatever was there before
    before = None
    for step in range(4):
        seen = many.observe(PICTURES)
        for name in PICTURES:
            np.testing.assert_array_equal(seen[name][2], one.observe([name])[name][0])
            some = many.observe([name], np.array([0, 2]))[name]
            np.testing.assert_array_equal(some, seen[name][[0, 2]])
        albedo = many.world.cameras["wrist"].looks.albedo_NG3.copy()
        assert before is None or (np.array_equal(albedo, before) is not per_frame)
        before = albedo
        action = moves(many, step)
        many.step(action), one.step(action[2:3])


@pytest.mark.parametrize("per_frame", [False, True])
def test_a_saved_task_goes_on_with_the_same_pictures(per_frame):
    task = begun(randomise={**EVERY, "per_frame": per_frame})
    task.step(moves(task, 0))
    other = copy.deepcopy(task)
    for step in range(3):
        for name, values in task.observe(PICTURES).items():
            np.testing.assert_array_equal(values, other.observe([name])[name])
        task.step(moves(task, step)), other.step(moves(other, step))


def test_cameras_are_as_far_off_as_they_may_be():
    task = begun(64, randomise=CAMERAS)
    for name, eye in task.world.cameras.items():
        there = begun(64).world.cameras[name].pose()
        gap = np.linalg.norm(eye.pose()[0] - there[0], axis=1)
        turned = np.arccos((np.einsum("nij,nij->n", eye.pose()[1], there[1]) - 1) / 2)
        for values, (low, high) in ((gap, CAMERAS["camera_position"]), (turned, CAMERAS["camera_rotation"])):
            assert low - 1e-6 <= values.min() < values.max() <= high + 1e-6
            assert np.ptp(values) > 0.8 * (high - low)


def test_bodies_have_colours_in_range_that_stand_out_from_the_table():
    how = {"hue": (0.1, 0.4), "saturation": (0.3, 0.6), "value": (0.4, 0.8), "contrast": 0.15}
    task = begun(64, "mug_rack", randomise=how)
    looks = task.world.cameras["front"].looks
    nominal = begun(1, "mug_rack").world.cameras["front"].looks.albedo_NG3[0]
    for body in range(len(looks.bodies)):
        mine = looks.owner_G == body
        mean = looks.albedo_NG3[:, mine].mean(axis=1)
        hsv = hsv_from_rgb(mean)
        for part, name in enumerate(("hue", "saturation", "value")):
            low, high = how[name]
            assert low - 1e-9 <= hsv[:, part].min() < hsv[:, part].max() <= high + 1e-9
        # the shapes of a body keep what sets them apart
        shift = looks.albedo_NG3[:, mine] - nominal[mine]
        np.testing.assert_allclose(shift, shift[:, :1].repeat(mine.sum(), axis=1), atol=1e-12)
    table = looks.albedo_NG3[:, looks.owner_G == 0].mean(axis=1)
    for body in range(1, len(looks.bodies)):
        mean = looks.albedo_NG3[:, looks.owner_G == body].mean(axis=1)
        apart = np.sqrt(((mean - table) ** 2 * [0.3, 0.6, 0.1]).sum(axis=1))
        assert (apart >= how["contrast"]).mean() > 0.95


@pytest.mark.parametrize("patterns", [PATTERNS, MORE], ids=["three", "others"])
def test_rays_and_shapes_show_the_same_textures(patterns):
    task = begun(8, "mug_rack", randomise={**EVERY, **patterns})
    for eye in task.world.cameras.values():
        seen = {}
        for eye.by in ("rays", "shapes"):
            seen[eye.by] = eye.rgb().astype(int), eye.segmentation()
        same = np.broadcast_to(seen["rays"][1] == seen["shapes"][1], seen["rays"][0].shape)
        apart = np.abs(seen["rays"][0] - seen["shapes"][0])[same]
        assert same.mean() > 0.99 and apart.max() <= 1 and (apart == 0).mean() > 0.999


@pytest.mark.parametrize("kind", ["stripes", "checks", "blobs", "rings", "dots", "zigzag"])
def test_a_texture_sticks_to_its_body_and_turns_with_it(kind):
    """The point of a body that a pixel shows has the same shade wherever the body is: one camera goes with the mug."""
    from embodkd.envs.camera import Camera
    from embodkd.envs.sim.camera import SimCamera

    how = {"textures": (kind,), "texture_size": (0.02, 0.03), "texture_depth": (0.5, 0.6), "light_height": (1.5, 1.57)}
    task = begun(1, "mug_rack")
    camera = Camera("any", "mug", (0.15, 0.05, 0.1), (0.0, 0.0, 0.03), 0.01, 1.0, size=48)
    eye = SimCamera(task.world.sim, camera, Randomise(**how, ambient=(0.98, 0.9801)))
    ids = np.arange(1)
    eye.place(ids, np.array([7]))
    mug_G = task.world.sim.model.geom_bodyid == task.world.body_ids["mug"]
    shown = []
    for position, quat in (((0.0, 0.0, 0.5), (1.0, 0.0, 0.0, 0.0)), ((0.2, -0.1, 0.8), (0.6, 0.48, 0.64, 0.0))):
        task.world.put("mug", ids, np.array([position]), np.array([quat]))
        task.world.robot.place(ids, np.array([[0.0, 0.0, 2.0]]), np.zeros((1, 3)))
        task.world.settle(ids)
        geom = eye.segmentation()[0, 0].astype(int) - 1
        shown.append((eye.rgb()[0].astype(int), (geom >= 0) & mug_G[geom]))
    (one, here), (two, there) = shown
    assert (here == there).all() and here.sum() > 200
    assert np.abs(one - two)[:, here].max() <= 6  # what is left is the light's share
    assert np.ptp(one[2][here]) > 40  # and there is a pattern


def test_further_looks_show_the_same_moment_and_the_first_comes_back():
    task = begun(randomise=EVERY)
    task.step(moves(task, 0))
    state, first = task.state_dict(), task.observe(PICTURES)
    task.dress(1)
    other = task.observe([*PICTURES, "privileged"])
    assert all((other[name] != first[name]).mean() > 0.5 for name in PICTURES)
    task.dress(0)
    for name, values in first.items():
        np.testing.assert_array_equal(values, task.observe([name])[name])
    for name, values in task.state_dict().items():
        np.testing.assert_array_equal(values, state[name])
    with pytest.raises(ValueError, match="draws none; choose randomise=looks"):
        begun(1).dress(1)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"hue": (0.5, 0.5)}, "randomise.hue: must rise"),
        ({"textures": ("stripes",)}, "give texture_size and texture_depth too"),
        ({"textures": ("tartan",)}, "tartan"),
        ({"contrast": 0.3}, "give a range of hue, saturation or value"),
        ({"light": 1.0}, "light"),
    ],
)
def test_what_cannot_be_drawn_is_said(how, message):
    with pytest.raises(ValueError, match=message):
        begun(1, randomise=how)


@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_hue_saturation_and_value_are_those_of_the_standard_library(rgb):
    ours = hsv_from_rgb(np.array(rgb))
    theirs = colorsys.rgb_to_hsv(*rgb)
    assert abs((ours[0] - theirs[0] + 0.5) % 1 - 0.5) < 1e-9
    np.testing.assert_allclose(ours[1:], theirs[1:], atol=1e-12)
    np.testing.assert_allclose(rgb_from_hsv(ours), rgb, atol=1e-9)
