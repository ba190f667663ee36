"""The optional back end of cameras: MuJoCo's own OpenGL renderer, stripped to what a small training image needs.

OpenGL's platform is fixed when ``mujoco`` is first imported, so the choice is made by the environment variable
``MUJOCO_GL`` before Python starts, and ``probe`` finds out in child processes which value works here.  Rays remain the
default: they need no graphics stack.  This back end pays off for textures and for scenes of many mesh faces.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

import mujoco
import numpy as np
from embodkd.envs import opengl
from embodkd.envs.camera import Camera
from embodkd.envs.looks import SKY, Looks
from embodkd.envs.randomise import Randomise
from embodkd.envs.sim import forks
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.sim.camera import SimCamera

PLATFORMS = ("egl", "osmesa")  # egl first: it takes a graphics card where there is one
ADVICE = (
    "install PyOpenGL (extra `gl`) and either `apt-get install libegl1 libopengl0 libgl1-mesa-dri` (MUJOCO_GL=egl) or "
    "`apt-get install libosmesa6` (MUJOCO_GL=osmesa); the default ray cameras need neither"
)
# The process that started OpenGL: its children by fork have its memory and none of the driver's threads.
_started_in: int | None = None
_NEAR, _FAR = 0.001, 50.0  # m, clipping planes; a reversed depth buffer keeps micrometres between them
_EXPENSIVE = (
    mujoco.mjtRndFlag.mjRND_SHADOW,
    mujoco.mjtRndFlag.mjRND_REFLECTION,
    mujoco.mjtRndFlag.mjRND_SKYBOX,
    mujoco.mjtRndFlag.mjRND_HAZE,
    mujoco.mjtRndFlag.mjRND_FOG,
)
_AS_IDS = (mujoco.mjtRndFlag.mjRND_SEGMENT, mujoco.mjtRndFlag.mjRND_IDCOLOR)


@dataclass(frozen=True)
class Probe:
    """What ``probe`` found: ``platform`` is a value for ``MUJOCO_GL`` or None; ``renderer`` is OpenGL's own name for
    the device; ``fps`` counts 64x64 images of a small scene per second; ``advice`` is empty when all is well."""

    platform: str | None
    renderer: str
    fps: float
    advice: str


@functools.cache
def probe(timeout_seconds: float = 60.0) -> Probe:
    """Try each platform in a child process and return the first that draws a right picture (once per process)."""
    reasons = []
    for platform in PLATFORMS:
        # the variable of PyOpenGL would contradict MuJoCo's, which sets it by itself
        environment = {k: v for k, v in os.environ.items() if k != "PYOPENGL_PLATFORM"}
        command = [sys.executable, "-m", "embodkd.envs.sim.render"]
        try:
            child = subprocess.run(
                command,
                env=environment | {"MUJOCO_GL": platform},
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
            )
        except subprocess.TimeoutExpired:
            reasons.append(f"{platform}: no picture within {timeout_seconds:.0f} s")
            continue
        if child.returncode == 0:
            found = json.loads(child.stdout.splitlines()[-1])
            return Probe(platform, found["renderer"], found["fps"], "")
        last_line = (child.stderr.strip().splitlines() or ["died silently"])[-1]
        reasons.append(f"{platform}: {last_line.partition(';')[0]}")
    return Probe(None, "", 0.0, f"no OpenGL here ({'; '.join(reasons)}): {ADVICE}")


class GLRenderer:
    """Draws copies of a ``BatchSim`` through OpenGL, pixel for pixel what ``SimCamera`` sees of the same ``Camera``.

    Methods take a ``Camera``, or a ``SimCamera`` whose pose drawn for the running episodes is then used, and have the
    shapes and units of ``SimCamera``.  Meshes and textures are the model's own, the same for every copy.  Raises
    ``RuntimeError`` with advice when OpenGL does not start, and in a child by ``fork`` of a process that had started it
    (the driver would wait for ever there, or draw something else).
    """

    def __init__(self, sim: BatchSim) -> None:
        global _started_in
        _check_process()
        self.sim = sim
        model = copy.copy(sim.model)
        model.vis.quality.offsamples = 0
        try:
            self._gl = mujoco.GLContext(64, 64)
            self._gl.make_current()
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        except Exception as error:
            chosen, reason = os.environ.get("MUJOCO_GL", ""), opengl.REASON or f"{type(error).__name__}: {error}"
            raise RuntimeError(
                f"OpenGL does not start with MUJOCO_GL={chosen!r} ({reason}); set it to egl or "
                f"osmesa before Python starts, and {ADVICE}"
            ) from error
        _started_in = os.getpid()
        forks.tell(self)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 100)
        self._any_view = mujoco.MjvCamera()

    def rgb(self, camera: Camera | SimCamera, ids: np.ndarray | None = None, size: int | None = None) -> np.ndarray:
        """Colours lit by one distant light, bytes (n, 3, H, W); the model's own textures, but none that randomisation
        draws: ValueError where a camera has those."""
        looks = _eye(self.sim, camera).looks
        if looks.how.textures:
            raise ValueError(
                "randomise.textures: OpenGL draws the model's own textures only; leave them out "
                "(randomise.textures=[]) or see by ray cameras"
            )
        images, inverse = self._draw(camera, ids, size, as_ids=False)
        sky = (255 * looks.sky_N3[slice(None) if ids is None else ids]).astype(np.uint8)
        images = np.where((inverse > 0)[..., None], images, sky[:, None, None])
        return np.ascontiguousarray(np.moveaxis(images, -1, 1))

    def depth(self, camera: Camera | SimCamera, ids: np.ndarray | None = None, size: int | None = None) -> np.ndarray:
        """Depth along the optical axis as bytes, (n, 1, H, W)."""
        _, inverse = self._draw(camera, ids, size, as_ids=True)
        metres = _NEAR * _FAR / (_NEAR + inverse * (_FAR - _NEAR))
        view = _view(camera)
        scaled = (metres - view.near) * (255.0 / (view.far - view.near))
        return np.clip(scaled, 0, 255).astype(np.uint8)[:, None]

    def segmentation(
        self, camera: Camera | SimCamera, ids: np.ndarray | None = None, size: int | None = None
    ) -> np.ndarray:
        """Geom id plus one as bytes (0 where nothing is seen), (n, 1, H, W)."""
        images, _ = self._draw(camera, ids, size, as_ids=True)
        drawn = images.astype(np.int64) @ [1, 2**8, 2**16]
        names = np.zeros(self._scene.ngeom + 1, np.int64)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            names[geom.segid + 1] = geom.objid + 1
        names[0] = 0  # background, and where geoms that were not drawn (segid -1) ended up
        return names[drawn].astype(np.uint8)[:, None]

    def close(self) -> None:
        """Free the context; OSMesa complains at exit when it is left open.  In a child by ``fork`` it does nothing."""
        if _started_in == os.getpid():
            self._context.free()
            self._gl.free()

    def forked(self) -> object:
        """What a child may not free."""
        return self._context, self._gl

    def _draw(
        self, camera: Camera | SimCamera, ids: np.ndarray | None, size: int | None, *, as_ids: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Colours (n, H, W, 3) and the depth buffer (n, H, W: 1 at the near plane, 0 at the far one)."""
        _check_process()
        view = _view(camera)
        side = size or view.size
        eye = _eye(self.sim, camera)
        copies = np.arange(self.sim.num_envs) if ids is None else np.asarray(ids)
        positions, rotations = eye.pose(ids)
        self._gl.make_current()
        mujoco.mjr_resizeOffscreen(side, side, self._context)
        colours = np.zeros((len(copies), side, side, 3), np.uint8)
        inverse = np.zeros((len(copies), side, side), np.float32)
        whole = mujoco.MjrRect(0, 0, side, side)
        for row, copy_id in enumerate(copies):
            self._compose(int(copy_id), view, positions[row], rotations[row])
            self._shade(eye.looks, int(copy_id), as_ids=as_ids)
            mujoco.mjr_render(whole, self._scene, self._context)
            mujoco.mjr_readPixels(colours[row], inverse[row], whole, self._context)
        return colours[:, ::-1], inverse[:, ::-1]  # OpenGL's first row is the lowest

    def _compose(self, copy_id: int, view: Camera, position: np.ndarray, rotation: np.ndarray) -> None:
        model, data = self.sim.snapshot(copy_id)
        shown = mujoco.MjvOption()
        shown.geomgroup[:] = 1
        shown.geomgroup[list(view.hidden_groups)] = 0
        shown.sitegroup[:] = 0
        shown.tendongroup[:] = 0
        things = mujoco.mjtCatBit.mjCAT_STATIC | mujoco.mjtCatBit.mjCAT_DYNAMIC
        mujoco.mjv_updateScene(model, data, shown, None, self._any_view, int(things), self._scene)
        half = _NEAR * np.tan(np.radians(view.fovy) / 2)
        for eye in self._scene.camera:
            eye.pos, eye.forward, eye.up = position, -rotation[:, 2], rotation[:, 1]
            eye.frustum_near, eye.frustum_far = _NEAR, _FAR
            eye.frustum_bottom, eye.frustum_top = -half, half
            eye.frustum_center, eye.frustum_width = 0.0, half

    def _shade(self, looks: Looks, copy_id: int, *, as_ids: bool) -> None:
        """The light and the colours of the ray cameras, which randomisation draws, in place of the model's own."""
        scene = self._scene
        for flag in _EXPENSIVE:
            scene.flags[flag] = False
        for flag in _AS_IDS:
            scene.flags[flag] = as_ids
        for geom in scene.geoms[: scene.ngeom]:
            geom.rgba[:3] = looks.albedo_NG3[copy_id, geom.objid]
        scene.nlight = 1
        sun = scene.lights[0]
        sun.type, sun.headlight, sun.castshadow = int(mujoco.mjtLightType.mjLIGHT_DIRECTIONAL), 0, 0
        ambient, glow = looks.ambient_N[copy_id], looks.glow_N3[copy_id]
        sun.dir, sun.ambient, sun.diffuse = -looks.sun_N3[copy_id], ambient * glow, (1 - ambient) * glow
        sun.specular = [0.0] * 3


def _check_process() -> None:
    if _started_in not in (None, os.getpid()):
        raise RuntimeError(
            f"OpenGL does not survive a fork: process {_started_in} had started it when it made this one; start this "
            "one by spawn, open no GLRenderer before the fork, or use the ray cameras"
        )


def _eye(sim: BatchSim, camera: Camera | SimCamera) -> SimCamera:
    return camera if isinstance(camera, SimCamera) else SimCamera(sim, camera, Randomise())


def _view(camera: Camera | SimCamera) -> Camera:
    return camera.camera if isinstance(camera, SimCamera) else camera


def _probe_here() -> None:
    """What the child does: draw a red ball, look at the picture, print the renderer's name and its speed."""
    ball = "<mujoco><worldbody><geom size='.1' rgba='1 0 0 1'/></worldbody></mujoco>"
    sim = BatchSim(mujoco.MjModel.from_xml_string(ball), 1)
    sim.forward()
    renderer = GLRenderer(sim)
    camera = Camera("probe", "", (0.5, 0.0, 0.2), (0.0, 0.0, 0.0), 0.1, 1.0, size=64)
    image = renderer.rgb(camera)[0]
    if not (image[0, 32, 32] > 80 and image[1, 32, 32] == 0 and image[1, 0, 0] == int(255 * SKY[1])):
        raise RuntimeError("OpenGL starts but draws a wrong picture")
    begin, frames = time.perf_counter(), 0
    while time.perf_counter() - begin < 0.3:
        renderer.rgb(camera)
        frames += 1
    fps = frames / (time.perf_counter() - begin)
    from OpenGL import GL

    name = GL.glGetString(GL.GL_RENDERER).decode()
    renderer.close()
    print(json.dumps({"renderer": name, "fps": round(fps, 1)}))


if __name__ == "__main__":
    _probe_here()
