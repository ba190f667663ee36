"""Two independent renderers, rays and OpenGL, must see the same scene from the same camera."""

import os
import subprocess
import sys

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.sim.render import ADVICE, probe

# OpenGL's platform is chosen when mujoco is first imported, so the pictures are taken in a child process
PICTURES = """
import sys
import numpy as np
from embodkd.envs import make_task
from embodkd.envs.sim.render import GLRenderer

looks = dict(camera_position=(0.0, 0.02), camera_rotation=(0.0, 0.08), light_azimuth=(-3.0, 3.0), ambient=(0.2, 0.5))
looks |= dict(light_height=(0.5, 1.2), brightness=(0.6, 0.9), tint=(-0.1, 0.1), hue=(0.0, 1.0), value=(0.3, 0.9))
task = make_task("peg_hole", 3, image_size=64, randomise=looks)
task.reset(np.array([1, 2, 3]))
renderer = GLRenderer(task.world.sim)
ids, out = np.array([0, 2]), {}
for name, eye in task.world.cameras.items():
    for what in ("rgb", "depth", "segmentation"):
        out[f"{name}/{what}/rays"] = getattr(eye, what)(ids)
        out[f"{name}/{what}/gl"] = getattr(renderer, what)(eye, ids)
out["unmoved"] = renderer.depth(task.world.cameras["front"].camera, ids, size=32)
renderer.close()
np.savez(sys.argv[1], **out)
"""

# a child that starts OpenGL itself, then one of a process that had: it may neither draw nor start anew, nor hang
FORKS = """
import gc, os, signal
import numpy as np
from embodkd.envs import make_task
from embodkd.envs.sim.render import GLRenderer

task = make_task("peg_hole", 1, image_size=32)
task.reset(np.arange(1))
eye = task.world.cameras["front"]

def in_a_child(work):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0

def draws():
    assert np.abs(GLRenderer(task.world.sim).depth(eye).astype(int) - eye.depth()).mean() < 1

def refuses():
    global renderer
    for use in (lambda: renderer.depth(eye), lambda: GLRenderer(task.world.sim)):
        try:
            use()
        except RuntimeError as error:
            assert "OpenGL does not survive a fork" in str(error)
        else:
            raise AssertionError("it draws")
    renderer.close()
    del renderer
    gc.collect()

in_a_child(draws)
renderer = GLRenderer(task.world.sim)
before = renderer.depth(eye)
in_a_child(refuses)
assert np.array_equal(renderer.depth(eye), before)
renderer.close()
"""


@pytest.fixture(scope="module")
def platform():
    found = probe()
    if found.platform is None:
        pytest.skip(found.advice)
    return os.environ | {"MUJOCO_GL": found.platform}


@pytest.mark.render
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_of_fork_is_refused_where_its_parent_had_started_opengl(platform):
    subprocess.run([sys.executable, "-c", FORKS], env=platform, check=True, timeout=150)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, platform):
    file = tmp_path_factory.mktemp("gl") / "pictures.npz"
    subprocess.run([sys.executable, "-c", PICTURES, str(file)], env=platform, check=True, timeout=120)
    return np.load(file)


def different(pictures, camera, what, tolerance):
    rays, gl = (pictures[f"{camera}/{what}/{way}"].astype(int) for way in ("rays", "gl"))
    assert rays.shape == gl.shape
    return np.abs(rays - gl).max(axis=1) > tolerance


@pytest.mark.render
@pytest.mark.parametrize("camera", ["wrist", "front"])
def test_rays_and_opengl_agree_pixel_by_pixel(pictures, camera):
    # a pixel whose centre lies on an edge within rounding may fall to either side
    assert different(pictures, camera, "segmentation", 0).mean() < 0.002
    assert different(pictures, camera, "depth", 1).mean() < 0.002
    assert different(pictures, camera, "rgb", 2).mean() < 0.002


@pytest.mark.render
@pytest.mark.parametrize("camera", ["wrist", "front"])
def test_the_compared_pictures_show_something(pictures, camera):
    segmentation, depth = pictures[f"{camera}/segmentation/gl"], pictures[f"{camera}/depth/gl"]
    for seen, far in zip(segmentation, depth, strict=True):
        assert len(np.unique(seen)) >= 4 and len(np.unique(far)) > 40
    shifted = np.roll(segmentation, 1, axis=-1)
    assert (shifted != pictures[f"{camera}/segmentation/rays"]).mean() > 0.01  # one pixel off is noticed


@pytest.mark.render
def test_a_plain_camera_ignores_the_drawn_pose(pictures):
    assert pictures["unmoved"].shape == (2, 1, 32, 32)
    coarse = pictures["front/depth/gl"][:, :, 1::2, 1::2]
    assert (np.abs(coarse.astype(int) - pictures["unmoved"]) > 2).mean() > 0.05


def test_a_machine_without_opengl_gets_advice(monkeypatch):
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", "/nonexistent")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr("embodkd.envs.sim.render.PLATFORMS", ("egl",))
    found = probe.__wrapped__()
    assert found.platform is None and "egl: " in found.advice and ADVICE in found.advice


def test_opengl_without_a_platform_says_what_to_set():
    hidden = ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")
    child = subprocess.run(
        [sys.executable, "-m", "embodkd.envs.sim.render"],
        env={name: value for name, value in os.environ.items() if name not in hidden},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode != 0
    assert "set it to egl or osmesa before Python starts" in child.stderr and ADVICE in child.stderr


WITHOUT = """
import os, sys
import numpy as np
from embodkd.envs import make_task, opengl

task = make_task("peg_hole", 1)
task.reset(np.arange(1))
assert task.observe(["wrist_depth"])["wrist_depth"].any()
assert opengl.REASON and os.environ["MUJOCO_GL"] == sys.argv[1] and "PYOPENGL_PLATFORM" not in os.environ
from embodkd.envs.sim.render import GLRenderer

GLRenderer(task.world.sim)
"""


@pytest.mark.parametrize("platform", ["osmesa", "nonsense"])
def test_rays_need_no_opengl_whatever_platform_is_named(platform, tmp_path):
    # what PyOpenGL ends in without the library
    (tmp_path / "OpenGL.py").write_text("raise AttributeError('no glGetError')\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYOPENGL_PLATFORM"}
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT, platform],
        env=environment | {"MUJOCO_GL": platform, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    last = child.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: OpenGL does not start with") and repr(platform) in last and ADVICE in last


@pytest.mark.parametrize("task_name", ["peg_hole", "hand_lift"])
def test_skipping_groups_out_of_sight_changes_no_pixel(task_name):
    # cameras turned by large random angles, so that groups come and go
    how = {"camera_rotation": (0.0, 1.2), "camera_position": (0.0, 0.04)}
    task = make_task(task_name, 4, image_size=24, randomise=how, cameras="rays")
    skipped = 0
    for start in range(5):
        task.reset(np.arange(4) + 4 * start)
        for eye in task.world.cameras.values():
            for copy_id in range(4):
                ids = np.array([copy_id])
                origin, rotation = eye.pose(ids)
                directions = eye.camera.directions(24, 24) @ np.swapaxes(rotation, 1, 2)
                groups = np.ones(6, np.uint8)
                _, geom = task.world.sim.ray(origin[:, None], directions, groups=groups, ids=ids, normals=False)
                np.testing.assert_array_equal(eye.segmentation(ids).ravel(), (geom + 1).ravel().astype(np.uint8))
                xpos, xmat = task.world.sim.view("xpos")[ids], task.world.sim.view("xmat")[ids]
                skipped += (eye._sight.groups(origin, rotation, xpos, xmat, {}) < groups).any()
    assert skipped or task_name != "peg_hole"
